//! The connections that statements go by: so many at most, each for one caller at a time, who came
//! first. sqlx's own pool would do, but that a caller who gives up waiting in it can leave the
//! others waiting.
//!
//! A connection whose statement did not come to its end, because its caller gave up or the network
//! did, is closed and never used again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::connector::{Connector, Purpose, answers, close};
use super::no_connection::is_passing;
use crate::store::statement::{Row, Statement};
use crate::store::{StoreError, TURN};

/// How long a statement may take. The server gives it up before that.
const STATEMENT: Duration = Duration::from_secs(7);

/// Unused for longer than this, a connection is asked whether it is still there: a server that has
/// failed over meanwhile costs nobody a statement then.
const FRESH: Duration = Duration::from_secs(1);

/// How long it may take to say so.
const PING: Duration = Duration::from_secs(2);

/// The connections.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<Connector>,
    turns: Semaphore,
    most: usize,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// What a statement is done for.
enum For {
    Count,
    Rows,
}

impl For {
    async fn done(
        self,
        statement: Statement<'_>,
        at: &mut PgConnection,
    ) -> Result<(u64, Vec<Row>), sqlx::Error> {
        match self {
            Self::Count => Ok((statement.run_in_postgres(at).await?, Vec::new())),
            Self::Rows => Ok((0, statement.rows_of_postgres(at).await?)),
        }
    }
}

impl Pool {
    /// So many connections at the most.
    pub fn new(connector: Arc<Connector>, most: usize) -> Self {
        let (turns, idle) = (Semaphore::new(most), Mutex::default());
        Self { connector, turns, most, idle }
    }

    /// Does a statement: how many rows it has changed.
    pub async fn run(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        Ok(self.do_for(For::Count, statement).await?.0)
    }

    /// Does a statement, for its rows.
    pub async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.do_for(For::Rows, statement).await?.1)
    }

    async fn do_for(
        &self,
        what: For,
        statement: Statement<'_>,
    ) -> Result<(u64, Vec<Row>), StoreError> {
        let turn = timeout(TURN, self.turns.acquire()).await.map_err(|_| StoreError::Busy)?;
        let _turn = turn.map_err(|_| StoreError::Closed)?;
        // Ours until it is put back: whoever gives up here drops it, and that closes it.
        let mut connection = self.connection().await?;
        let doing = async {
            let Some(turn) = statement.turn else {
                return what.done(statement, &mut connection).await;
            };
            // The lock first, in a statement of its own: what a statement sees is settled when it begins.
            let mut transaction = connection.begin().await?;
            let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(turn);
            lock.execute(&mut *transaction).await?;
            let done = what.done(statement, &mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        };
        let done = timeout(STATEMENT, doing).await.map_err(|_| StoreError::Late(STATEMENT))?;
        match &done {
            Ok(_) => self.put_back(connection),
            Err(sqlx::Error::Database(said)) => {
                if said.code().is_some_and(|code| is_passing(&code)) {
                    self.let_go_of_idle();
                } else {
                    self.put_back(connection);
                }
            }
            // The others lead to the same server.
            Err(_) => self.let_go_of_idle(),
        }
        done.map_err(|error: sqlx::Error| error.into())
    }

    /// A connection that works: one that was used before, or a new one.
    async fn connection(&self) -> Result<PgConnection, StoreError> {
        while let Some(Idle { mut connection, since }) = self.take_idle() {
            if since.elapsed() < FRESH || answers(&mut connection, PING).await {
                return Ok(connection);
            }
            // The others lead to the same server.
            self.let_go_of_idle();
        }
        Ok(self.connector.connect(Purpose::Rows).await?)
    }

    fn take_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, connection: PgConnection) {
        if !self.turns.is_closed() {
            let idle = Idle { connection, since: Instant::now() };
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
    }

    fn let_go_of_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets statements that are under way come to their end, and closes all connections.
    pub async fn close(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        let rest = timeout(TURN, self.turns.acquire_many(all)).await;
        if rest.is_err() {
            tracing::warn!("the database is left with statements under way");
        }
        self.turns.close();
        while let Some(idle) = self.take_idle() {
            close(idle.connection).await;
        }
    }
}
