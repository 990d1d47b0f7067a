//! Why there is no connection to Postgres, and what to do about it. Never holds a password.

use std::error::Error as _;

use sqlx::Error;

use super::PostgresConfig;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// Nobody answers there, or too late, or says that it will later.
    #[error("the database at {at} can't be reached: {why}")]
    Unreachable {
        /// Where it should be.
        at: String,
        /// What stands in the way.
        why: String,
    },
    /// It takes no writes: after a failover, a connection may lead to the old writer for a moment.
    #[error("the database at {0} takes no writes: it is a standby, or was made read-only")]
    ReadOnly(String),
    /// The password or the token can't be had.
    #[error("no password for the database: {0}")]
    NoPassword(String),
    /// It does not know this user by this password.
    #[error(
        "the database at {at} does not let {user:?} in: {why}. With store.auth = \"password\", look at \
         store.user and at what store.password names; with \"iam\", the user must have been granted \
         rds_iam and the gateway's role be allowed rds-db:connect"
    )]
    SignIn {
        /// Where it is.
        at: String,
        /// Who asks.
        user: String,
        /// What it said.
        why: String,
    },
    /// It has no database of that name.
    #[error("the server at {at} has no database {database:?}: make it, or set store.database")]
    NoDatabase {
        /// Where it is.
        at: String,
        /// Which.
        database: String,
    },
    /// The user may not connect to it.
    #[error(
        "{user:?} may not use the database {database:?} at {at}: {why}. GRANT CONNECT is missing"
    )]
    NotAllowed {
        /// Where it is.
        at: String,
        /// Which.
        database: String,
        /// Who asks.
        user: String,
        /// What it said.
        why: String,
    },
    /// It is not shown to be whom it should be.
    #[error(
        "the server at {at} can't be trusted: {why}. Its certificate must be for the name that \
         store.host has, by an authority that store.ca names"
    )]
    NotTrusted {
        /// Where it is.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// It says no to what a gateway needs.
    #[error("the database at {at} says no: {why}. Postgres 14 or newer is needed")]
    Refused {
        /// Where it is.
        at: String,
        /// What it said.
        why: String,
    },
}

impl NoConnection {
    /// Whether it may be there in a moment, with nobody doing anything: worth waiting for when a
    /// gateway starts.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ReadOnly(_) | Self::NoPassword(_) => true,
            Self::SignIn { .. }
            | Self::NoDatabase { .. }
            | Self::NotAllowed { .. }
            | Self::NotTrusted { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// What the driver's error means for a connection that was to be made.
    pub(super) fn of(error: Error, config: &PostgresConfig) -> Self {
        let (at, user, database) = (config.at(), config.user.clone(), config.database.clone());
        match error {
            Error::Database(said) => {
                let why = said.message().to_owned();
                match said.code().as_deref().unwrap_or_default() {
                    "28P01" | "28000" => Self::SignIn { at, user, why },
                    "3D000" => Self::NoDatabase { at, database },
                    "42501" => Self::NotAllowed { at, database, user, why },
                    code if is_passing(code) => Self::Unreachable { at, why },
                    _ => Self::Refused { at, why },
                }
            }
            Error::Tls(error) => Self::NotTrusted { at, why: error.to_string() },
            Error::Io(error) => {
                let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                let why = error.to_string();
                if tls { Self::NotTrusted { at, why } } else { Self::Unreachable { at, why } }
            }
            Error::Protocol(why) => Self::Refused { at, why },
            other => {
                let why = match other.source() {
                    Some(source) => format!("{other}: {source}"),
                    None => other.to_string(),
                };
                Self::Refused { at, why }
            }
        }
    }
}

/// Whether a code of Postgres' says that the server, and not the statement, is in the way: it starts,
/// stops, is full up, or has broken off. After such a one a connection is of no more use.
pub(super) fn is_passing(code: &str) -> bool {
    // Connection exception, insufficient resources, operator intervention (but for a statement that
    // was cancelled, as one is that took too long), and a write to what has become a standby.
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "57" | "58" | "XX") && code != "57014" || code == "25006"
}
