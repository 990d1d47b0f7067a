//! The store in Postgres. Why it is as it is stands in docs/decisions/0006-postgres.md.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::StoreError;
use super::open::say;
use super::statement::{Row, Statement};

mod connector;
mod no_connection;
mod pool;

pub use connector::Passwords;
pub use no_connection::NoConnection;

use connector::{Connector, Purpose, close};
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
    /// Connections, at most, besides one for signs of life.
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

/// The store in Postgres.
#[derive(Debug)]
pub struct Postgres {
    pool: Pool,
    /// For signs of life, however much the others have to do.
    aside: Pool,
}

impl Postgres {
    /// Waits until the database is there, for a bounded time, and brings its tables up to date.
    /// `waiting` says, in words, what is waited for.
    ///
    /// # Errors
    /// Where the database does not come, or waiting for it is of no use.
    pub async fn open(
        config: PostgresConfig,
        passwords: Option<Passwords>,
        waiting: &watch::Sender<String>,
    ) -> Result<Self, StoreError> {
        let connector = Arc::new(Connector::new(config, passwords));
        wait_for(&connector, waiting).await?;
        migrate(&connector).await?;
        let most = connector.config.connections;
        Ok(Self { pool: Pool::new(connector.clone(), most), aside: Pool::new(connector, 1) })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
        self.aside.close().await;
    }

    /// Whether the store answers and can be written.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        // Writes nothing, and is refused where nothing can be written.
        self.run(Statement::new("DELETE FROM gateways WHERE id = ''")).await?;
        Ok(())
    }

    /// Does a statement: how many rows it has changed.
    pub(super) async fn run(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.pool.run(statement).await
    }

    /// The same, by a connection that nothing else has to do with.
    pub(super) async fn run_aside(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.aside.run(statement).await
    }

    /// Likewise, for its rows.
    pub(super) async fn rows_aside(&self, of: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.aside.rows(of).await
    }

    /// Does a statement, for its rows.
    pub(super) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.pool.rows(statement).await
    }
}

/// Waits until the database lets this gateway in.
async fn wait_for(
    connector: &Connector,
    waiting: &watch::Sender<String>,
) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        let error = match connector.connect(Purpose::Rows).await {
            Ok(connection) => {
                close(connection).await;
                return Ok(());
            }
            Err(error) => error,
        };
        if !error.may_pass() || began.elapsed() >= connector.config.start_wait {
            return Err(error.into());
        }
        say(waiting, error.to_string());
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
