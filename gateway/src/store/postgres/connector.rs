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

/// After what time it gives up a transaction whose next statement does not come.
const IN_TRANSACTION: Duration = Duration::from_secs(10);

/// How long a connection that is closed is waited for.
const CLOSE: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Statements.
    Rows,
    /// Bringing the tables up to date.
    Migration,
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

    /// A new connection, to where writes are taken.
    pub async fn connect(&self, purpose: Purpose) -> Result<PgConnection, NoConnection> {
        let made = async {
            let mut options = self.options(purpose);
            if let Some(passwords) = &self.passwords {
                let password = passwords().await.map_err(NoConnection::NoPassword)?;
                options = options.password(&password);
            }
            let connecting = async {
                let mut connection = options.connect().await?;
                let asked = "SELECT current_setting('transaction_read_only') = 'on'";
                let read_only: bool = sqlx::query_scalar(asked).fetch_one(&mut connection).await?;
                Ok((connection, read_only))
            };
            match connecting.await {
                Ok((connection, false)) => Ok(connection),
                Ok((_, true)) => Err(NoConnection::ReadOnly(self.config.at())),
                Err(error) => Err(NoConnection::of(error, &self.config)),
            }
        };
        timeout(CONNECT, made).await.unwrap_or_else(|_| {
            let why = format!("no answer within {CONNECT:?}");
            Err(NoConnection::Unreachable { at: self.config.at(), why })
        })
    }

    fn options(&self, purpose: Purpose) -> PgConnectOptions {
        let config = &self.config;
        let statement = match purpose {
            Purpose::Rows => STATEMENT,
            Purpose::Migration => MIGRATION,
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&config.host)
            .port(config.port)
            .database(&config.database)
            .username(&config.user)
            .application_name(&config.name)
            .ssl_mode(if config.tls { PgSslMode::VerifyFull } else { PgSslMode::Disable })
            .options([
                ("statement_timeout", statement.as_millis().to_string()),
                // Whoever vanishes within a transaction keeps its locks no longer.
                ("idle_in_transaction_session_timeout", IN_TRANSACTION.as_millis().to_string()),
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
