//! Which gateway has the store: an advisory lock of Postgres', on a connection of its own, and the
//! name of the last holder in a row.
//!
//! A gateway takes the store by the connection that has the lock, so that who has lost that does not go on
//! in the midst of it, and in this order: the lock; its name into the row; an end to every
//! connection by which an earlier holder could still write. Each new connection of a pool looks at
//! the row before it is used. So once a gateway has the store, nobody else writes into it, whatever
//! an earlier holder believes.
//!
//! A holder that has lost the lock's connection, as in a failover, tries to get it back. Where the row
//! still has its name, nobody has had the store meanwhile, and all goes on; where it has another's,
//! the store is lost for good.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connector::{Connector, HOLDER_SILENT, Purpose, ROWS, answers, close};
use super::{AGAIN, NoConnection};
use crate::store::StoreError;
use crate::store::statement::Statement;

/// The advisory lock that means a store of Shellgate: "shelgate" in ASCII.
const LOCK: i64 = 0x7368_656c_6761_7465;

/// How often the lock's connection says that its gateway is alive. The server closes one that has said
/// nothing for [`HOLDER_SILENT`].
const ALIVE: Duration = Duration::from_secs(5);
const _: () = assert!(ALIVE.as_secs() * 3 < HOLDER_SILENT.as_secs());

/// How long a statement about the lock may take.
const STATEMENT: Duration = Duration::from_secs(7);

/// How often connections that were told to end are looked for, and how long that may take.
const ENDING: Duration = Duration::from_millis(50);
const ENDED: Duration = Duration::from_secs(10);

/// Tries to take the lock, once; where another gateway has it, says which.
pub(super) async fn take(
    connector: &Connector,
    connection: &mut PgConnection,
) -> Result<Result<(), String>, StoreError> {
    let asked = async {
        let statement = Statement::new(
            "SELECT current_setting('transaction_read_only') = 'on' AS read_only, \
             pg_try_advisory_lock($1) AS ours",
        );
        let rows = statement.whole(LOCK).rows_of_postgres(connection).await?;
        let row = rows.first().ok_or_else(|| StoreError::Unreadable("no row".into()))?;
        if row.get::<bool>("read_only")? {
            return Err(NoConnection::ReadOnly(connector.config.at()).into());
        }
        Ok(match row.get::<bool>("ours")? {
            true => Ok(()),
            false => Err(who(connection).await?),
        })
    };
    timeout(STATEMENT, asked).await.map_err(|_| StoreError::Late(STATEMENT))?
}

/// Who has the lock, in words.
async fn who(connection: &mut PgConnection) -> Result<String, StoreError> {
    let statement = Statement::new(
        "SELECT a.application_name || COALESCE(' at ' || host(a.client_addr), '') AS who, \
         to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since \
         FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (l.classid::bigint << 32) | l.objid::bigint = $1",
    );
    let rows = statement.whole(LOCK).rows_of_postgres(connection).await?;
    let Some(row) = rows.first() else { return Ok("it has just left".into()) };
    let who: Option<String> = row.get("who")?;
    let since: Option<String> = row.get("since")?;
    let unknown = || "unknown".to_owned();
    Ok(format!("{} since {}", who.unwrap_or_else(unknown), since.unwrap_or_else(unknown)))
}

/// Does something that may take long, and keeps the connection that has the lock meanwhile: the server
/// would close a silent one.
pub(super) async fn hold_while(
    connector: &Connector,
    connection: &mut PgConnection,
    doing: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), StoreError> {
    let mut doing = std::pin::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = sleep(ALIVE) => {}
        }
        if !answers(connection, ALIVE).await {
            let (at, why) = (connector.config.at(), "the connection broke".to_owned());
            return Err(NoConnection::Unreachable { at, why }.into());
        }
    }
}

/// Writes down that this gateway has the store, by the connection that has the lock.
pub(super) async fn write_name(
    connection: &mut PgConnection,
    gateway: &str,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO holder (gateway) VALUES ($1) ON CONFLICT (one) DO UPDATE SET gateway = $1",
    );
    let done = timeout(STATEMENT, statement.text(gateway).run_in_postgres(connection)).await;
    done.map_err(|_| StoreError::Late(STATEMENT))??;
    Ok(())
}

/// Ends the connections by which an earlier holder could still write, and sees that they have ended.
pub(super) async fn end_others(connection: &mut PgConnection) -> Result<(), StoreError> {
    let ending = async {
        loop {
            let statement = Statement::new(
                "SELECT pg_terminate_backend(pid) AS told FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name LIKE $1 || '%'",
            );
            let rows = statement.text(ROWS).rows_of_postgres(connection).await?;
            if rows.is_empty() {
                return Ok::<_, StoreError>(());
            }
            sleep(ENDING).await;
        }
    };
    let ended = timeout(ENDED, ending).await;
    ended.map_err(|_| StoreError::Late(ENDED))?
}

/// Keeps the store this gateway's.
#[derive(Debug)]
pub(super) struct Holder {
    lost: watch::Receiver<Option<String>>,
    let_go: CancellationToken,
    keeping: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Holder {
    /// Keeps the connection that has the lock.
    pub fn keep(connection: PgConnection, connector: Arc<Connector>, gateway: String) -> Self {
        let (lose, lost) = watch::channel(None);
        let let_go = CancellationToken::new();
        let keeping = keep(connection, connector, gateway, lose, let_go.clone());
        let keeping = AbortOnDropHandle::new(TaskTracker::new().spawn(keeping));
        Self { lost, let_go, keeping: Mutex::new(Some(keeping)) }
    }

    /// Waits until the store is another's.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(who) => who.clone().unwrap_or_default(),
            // It was let go of, and not lost.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives the store free.
    pub async fn let_go(&self) {
        self.let_go.cancel();
        if let Some(keeping) = self.keeping.lock().await.take() {
            // It waits for nothing that has no deadline.
            let _ = keeping.await;
        }
    }
}

async fn keep(
    mut connection: PgConnection,
    connector: Arc<Connector>,
    gateway: String,
    lose: watch::Sender<Option<String>>,
    let_go: CancellationToken,
) {
    loop {
        tokio::select! {
            () = sleep(ALIVE) => {}
            () = let_go.cancelled() => return close(connection).await,
        }
        if answers(&mut connection, ALIVE).await {
            continue;
        }
        drop(connection);
        tracing::warn!("the database was lost; the store is this gateway's until another takes it");
        connection = loop {
            match take_back(&connector, &gateway).await {
                Ok(Some(connection)) => break connection,
                Ok(None) => tracing::debug!("the store is not free yet"),
                Err(StoreError::NoConnection(NoConnection::NotOurs)) => {
                    let who = "another gateway has taken the store meanwhile".to_owned();
                    lose.send_replace(Some(who));
                    return let_go.cancelled().await;
                }
                Err(error) => tracing::warn!(%error, "the database is not back yet"),
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                () = let_go.cancelled() => return,
            }
        };
        tracing::info!("the database is back, and the store is still this gateway's");
    }
}

/// Takes the lock again, where the store is still this gateway's.
async fn take_back(
    connector: &Connector,
    gateway: &str,
) -> Result<Option<PgConnection>, StoreError> {
    let mut connection = connector.connect(Purpose::Holder).await?;
    let taken = take(connector, &mut connection).await?.is_ok();
    // Looked at after the lock was asked for: whoever has it has written a name, or will.
    let rows = Statement::new("SELECT gateway FROM holder").rows_of_postgres(&mut connection);
    let rows = timeout(STATEMENT, rows).await.map_err(|_| StoreError::Late(STATEMENT))??;
    let ours = match rows.first() {
        Some(row) => row.get::<String>("gateway")? == gateway,
        None => false,
    };
    if ours && taken {
        return Ok(Some(connection));
    }
    close(connection).await;
    if ours { Ok(None) } else { Err(NoConnection::NotOurs.into()) }
}
