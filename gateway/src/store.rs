//! What survives a gateway: sessions, uids, tickets, the audit trail. Knows no tasks and no wire.

use shellgate_protocol::SessionId;

pub mod sqlite;

pub use sqlite::Sqlite;

/// Why the store said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A live session of this owner has that name already.
    #[error("a session of that name exists: {0}")]
    NameTaken(SessionId),
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
    /// The database is locked, full or broken.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The database's tables can't be brought to this version's form.
    #[error("the database can't be prepared: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database(_) | Self::Busy | Self::NotInPlace(_) => true,
            Self::Closed
            | Self::NameTaken(_)
            | Self::NoUidLeft
            | Self::Unreadable(_)
            | Self::Migration(_) => false,
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
