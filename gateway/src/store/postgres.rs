//! The store in Postgres, for one gateway at a time. Why it is as it is stands in
//! docs/decisions/0006-postgres.md.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::StoreError;
use super::statement::{Row, Statement};

mod connector;
mod holder;
mod no_connection;
mod pool;

pub use connector::Passwords;
pub use no_connection::NoConnection;

use connector::{Connector, Purpose, close};
use holder::Holder;
use pool::Pool;

/// How often somebody who waits looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Which Postgres it is. Holds no password.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// Its host, or the directory with its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// Who signs in.
    pub user: String,
    /// Whether by TLS, with a certificate for `host`.
    pub tls: bool,
    /// Authorities (PEM) that may have signed it, besides those that browsers trust.
    pub authorities: Option<String>,
    /// Connections for statements, at most. One more holds the store.
    pub connections: usize,
    /// How long a start waits for a database that is not there yet.
    pub start_wait: Duration,
    /// What the gateway is called where the database shows who is connected; 63 bytes.
    pub name: String,
}

impl PostgresConfig {
    /// Where it is, in words.
    #[must_use]
    pub fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The store in Postgres, held by this gateway.
#[derive(Debug)]
pub struct Postgres {
    /// The gateway's name as holder: of this start and no other.
    gateway: String,
    pool: Pool,
    holder: Holder,
}

impl Postgres {
    /// Waits until the database is there, for a bounded time, and until no other gateway has the
    /// store, as long as it takes; then takes it and brings its tables up to date. `waiting` says, in
    /// words, what is waited for.
    ///
    /// # Errors
    /// Where the database does not come, or waiting for it is of no use.
    pub async fn open(
        config: PostgresConfig,
        passwords: Option<Passwords>,
        waiting: &watch::Sender<String>,
    ) -> Result<Self, StoreError> {
        let gateway = Uuid::new_v4().simple().to_string();
        let connector = Arc::new(Connector::new(config, passwords));
        let mut connection = claim(&connector, waiting).await?;
        holder::hold_while(&connector, &mut connection, migrate(&connector)).await?;
        holder::write_name(&mut connection, &gateway).await?;
        holder::end_others(&mut connection).await?;
        let pool = Pool::new(connector.clone(), gateway.clone());
        let holder = Holder::keep(connection, connector, gateway.clone());
        Ok(Self { gateway, pool, holder })
    }

    /// Closes all connections; then the store is free.
    pub async fn close(&self) {
        self.pool.close().await;
        self.holder.let_go().await;
    }

    /// Whether the store answers, can be written, and is this gateway's.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        let statement = Statement::new("UPDATE holder SET gateway = $1 WHERE gateway = $1");
        match self.run(statement.text(&self.gateway)).await? {
            1 => Ok(()),
            _ => Err(NoConnection::NotOurs.into()),
        }
    }

    /// Waits, as long as it takes, until another gateway has the store: in words, which.
    pub async fn lost(&self) -> String {
        self.holder.lost().await
    }

    /// Does a statement: how many rows it has changed.
    pub(super) async fn run(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.pool.run(statement).await
    }

    /// Does a statement, for its rows.
    pub(super) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.pool.rows(statement).await
    }
}

/// The connection that has the store, once there is one.
async fn claim(
    connector: &Connector,
    waiting: &watch::Sender<String>,
) -> Result<PgConnection, StoreError> {
    let say = |why: String| {
        let is_news = waiting.send_if_modified(|said| {
            let is_news = *said != why;
            said.clone_from(&why);
            is_news
        });
        if is_news {
            tracing::warn!("not ready: {why}");
        }
    };
    let mut away = Instant::now();
    loop {
        let asked = async {
            let mut connection = connector.connect(Purpose::Holder).await?;
            while let Err(who) = holder::take(connector, &mut connection).await? {
                say(format!("another gateway has the store, and this one waits its turn: {who}"));
                // It is there: from now on it may be away for as long again.
                away = Instant::now();
                sleep(AGAIN).await;
            }
            Ok::<_, StoreError>(connection)
        };
        let error = match asked.await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let may_pass = match &error {
            StoreError::NoConnection(error) => error.may_pass(),
            error => error.is_retryable(),
        };
        if !may_pass || away.elapsed() >= connector.config.start_wait {
            return Err(error);
        }
        say(error.to_string());
        sleep(AGAIN).await;
    }
}

/// Brings the tables up to date. What a newer version has added stays: this one reads around it.
async fn migrate(connector: &Connector) -> Result<(), StoreError> {
    let mut connection = connector.connect(Purpose::Migration).await?;
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.set_ignore_missing(true);
    let done = migrator.run(&mut connection).await;
    close(connection).await;
    done.map_err(|error| {
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            let said = inner.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
            if said.is_some_and(|said| said.code().as_deref() == Some("42501")) {
                return StoreError::MayNotMakeTables(inner.to_string());
            }
            source = inner.source();
        }
        error.into()
    })
}
