//! What survives a gateway: sessions, uids, tickets, the audit trail. In SQLite or in Postgres, by the
//! same statements. Knows no tasks and no wire.

use std::time::Duration;

use shellgate_protocol::SessionId;
use tokio::sync::Mutex;
use uuid::Uuid;

mod gateways;
mod homes;
pub mod open;
pub mod postgres;
mod removals;
mod sessions;
pub mod sqlite;
mod statement;
mod tickets;

pub use gateways::{Registered, Registration};
use postgres::{NoConnection, Postgres};
pub use sessions::{Kept, Most};
use sqlite::Sqlite;
use statement::{Row, Statement};

/// How long a statement may wait for its turn, besides a configured wait for a lock.
const TURN: Duration = Duration::from_secs(5);

/// Why the store said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A live session of this owner has that name already.
    #[error("a session of that name exists: {0}")]
    NameTaken(SessionId),
    /// This owner has as many sessions as they may.
    #[error("this user has as many sessions as they may")]
    TooManySessions,
    /// There are as many sessions as there may be.
    #[error("there are as many sessions as there may be")]
    Full,
    /// No uid is left in the configured range.
    #[error("no uid is left for another user in the configured range")]
    NoUidLeft,
    /// What is stored can't be read: another version wrote it, or the file is damaged.
    #[error("what is stored is not readable: {0}")]
    Unreadable(String),
    /// Too many others wait for their turn.
    #[error("the database has too much to do")]
    Busy,
    /// The gateway has closed it.
    #[error("the database is closed")]
    Closed,
    /// The database's file is not where it belongs: a later gateway would not find what is written.
    #[error("the database's file is not in its place: {0}")]
    NotInPlace(&'static str),
    /// There is no connection to the database.
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    /// The database takes too long over a statement. It may have done it, or still do it.
    #[error("the database did not answer within {0:?}")]
    Late(Duration),
    /// The database is locked, full or broken.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The database's tables can't be brought to this version's form.
    #[error("the database can't be prepared: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Likewise, because its user may not make tables.
    #[error(
        "the database can't be prepared: {0}. Its user must be allowed to make tables: \
         GRANT CREATE ON SCHEMA public"
    )]
    MayNotMakeTables(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database(_)
            | Self::Busy
            | Self::NotInPlace(_)
            | Self::NoConnection(_)
            | Self::Late(_) => true,
            Self::Closed
            | Self::NameTaken(_)
            | Self::TooManySessions
            | Self::Full
            | Self::NoUidLeft
            | Self::Unreadable(_)
            | Self::Migration(_)
            | Self::MayNotMakeTables(_) => false,
        }
    }
}

/// A page of sessions that somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Of this owner; of everybody where absent.
    pub owner: Option<crate::auth::UserId>,
    /// In this state only.
    pub state: Option<crate::session::State>,
    /// Older than this one.
    pub before: Option<SessionId>,
    /// At most so many.
    pub limit: u32,
}

/// The store of a gateway. What it keeps of each noun stands in the noun's own file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// This gateway's id, by which what it keeps is its own.
    gateway: String,
    /// Whose turn it is to be given a uid.
    choosing: Mutex<()>,
}

/// One of the kinds.
#[derive(Debug)]
enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(Box<Postgres>),
}

impl From<Sqlite> for Store {
    fn from(of: Sqlite) -> Self {
        // One gateway has the file: what an earlier one kept is this one's.
        let gateway = "this".to_owned();
        Self { database: Database::Sqlite(Box::new(of)), gateway, choosing: Mutex::default() }
    }
}

impl From<Postgres> for Store {
    fn from(of: Postgres) -> Self {
        let gateway = Uuid::new_v4().simple().to_string();
        Self { database: Database::Postgres(Box::new(of)), gateway, choosing: Mutex::default() }
    }
}

impl Store {
    /// Closes it in good order.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(of) => of.close().await,
            Database::Postgres(of) => of.close().await,
        }
    }

    /// Whether the store answers and can be written.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.check().await,
            Database::Postgres(of) => of.check().await,
        }
    }

    /// Does a statement that writes: how many rows it has changed.
    async fn run(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.run(statement).await,
            Database::Postgres(of) => of.run(statement).await,
        }
    }

    /// Does a statement that writes, for the rows that it has changed.
    async fn changed_rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.changed_rows(statement).await,
            Database::Postgres(of) => of.rows(statement).await,
        }
    }

    /// Does a statement about signs of life: how many rows it has changed.
    async fn run_aside(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.run(statement).await,
            Database::Postgres(of) => of.run_aside(statement).await,
        }
    }

    /// Does a statement about signs of life that only reads.
    async fn rows_aside(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.rows(statement).await,
            Database::Postgres(of) => of.rows_aside(statement).await,
        }
    }

    /// Does a statement that only reads.
    async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match &self.database {
            Database::Sqlite(of) => of.rows(statement).await,
            Database::Postgres(of) => of.rows(statement).await,
        }
    }
}
