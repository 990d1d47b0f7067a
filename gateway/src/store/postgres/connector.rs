//! Makes connections to Postgres. Knows what a connection is for, and nothing of what is asked on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::{NoConnection, PostgresConfig};
use crate::kept::Given;

/// How long making a connection may take, its password included.
const CONNECT: Duration = Duration::from_secs(5);

/// After what time the server gives up a statement.
const STATEMENT: Duration = Duration::from_secs(5);

/// Likewise, a step of a migration.
const MIGRATION: Duration = Duration::from_secs(600);

/// What connections that carry statements are called. Whoever takes the store ends all of them that
/// others have left.
pub(super) const ROWS: &str = "shellgate-store";

/// How long the server keeps a silent connection that holds the store. A gateway whose machine has
/// gone, or that stands still, lets go after it.
pub(super) const HOLDER_SILENT: Duration = Duration::from_secs(20);

/// How long a connection that is closed is waited for.
const CLOSE: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Statements.
    Rows,
    /// Bringing the tables up to date.
    Migration,
    /// Holding the store, or waiting for it.
    Holder,
}

/// Where passwords come from: asked for each connection.
pub type Passwords = Arc<dyn Fn() -> Given + Send + Sync>;

/// Makes connections.
pub(super) struct Connector {
    pub config: PostgresConfig,
    passwords: Option<Passwords>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Connector {
    pub fn new(config: PostgresConfig, passwords: Option<Passwords>) -> Self {
        Self { config, passwords }
    }

    /// A new connection.
    pub async fn connect(&self, purpose: Purpose) -> Result<PgConnection, NoConnection> {
        let made = async {
            let mut options = self.options(purpose);
            if let Some(passwords) = &self.passwords {
                let password = passwords().await.map_err(NoConnection::NoPassword)?;
                options = options.password(&password);
            }
            options.connect().await.map_err(|error| NoConnection::of(error, &self.config))
        };
        timeout(CONNECT, made).await.unwrap_or_else(|_| {
            let why = format!("no answer within {CONNECT:?}");
            Err(NoConnection::Unreachable { at: self.config.at(), why })
        })
    }

    fn options(&self, purpose: Purpose) -> PgConnectOptions {
        let config = &self.config;
        let (name, statement, silent) = match purpose {
            Purpose::Rows => (ROWS.to_owned(), STATEMENT, Duration::ZERO),
            Purpose::Migration => (format!("{ROWS} migration"), MIGRATION, Duration::ZERO),
            Purpose::Holder => (config.name.clone(), STATEMENT, HOLDER_SILENT),
        };
        let millis = |of: Duration| of.as_millis().to_string();
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&config.host)
            .port(config.port)
            .database(&config.database)
            .username(&config.user)
            .application_name(&name)
            .ssl_mode(if config.tls { PgSslMode::VerifyFull } else { PgSslMode::Disable })
            .options([
                ("statement_timeout", millis(statement)),
                ("idle_session_timeout", millis(silent)),
            ]);
        if let Some(authorities) = &config.authorities {
            options = options.ssl_root_cert_from_pem(authorities.clone().into_bytes());
        }
        options
    }
}

/// Closes a connection, and tells the server so.
pub(super) async fn close(connection: PgConnection) {
    if !matches!(timeout(CLOSE, connection.close()).await, Ok(Ok(()))) {
        tracing::debug!("a connection to the database was not closed in good order");
    }
}

/// Whether a connection still leads to somebody who answers, soon.
pub(super) async fn answers(connection: &mut PgConnection, within: Duration) -> bool {
    matches!(timeout(within, connection.ping()).await, Ok(Ok(())))
}
