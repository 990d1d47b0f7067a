//! The store in one SQLite file: WAL, one writer, and a deadline for getting a turn.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::MappedMutexGuard;

use super::StoreError;
use super::statement::{Row, Statement};

mod line;
mod place;

use line::Line;
use place::{Place, Whereabouts};

/// The store in one SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    place: Arc<Place>,
    writer: Line,
    reader: Line,
}

impl Sqlite {
    /// Opens the file, makes it where it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// Where the file can't be opened, or was written by a newer version.
    pub async fn open(path: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A crash of the gateway loses nothing; a crash of the machine takes its tasks along.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(busy_timeout);
        let mut writer = options.connect().await?;
        sqlx::migrate!("migrations/sqlite").run(&mut writer).await?;
        let place = Arc::new(Place::of(path).map_err(sqlx::Error::from)?);
        let options = options.create_if_missing(false);
        let reading = options.clone().read_only(true);
        let reader = reading.connect().await?;
        Ok(Self {
            writer: Line::new(writer, options, place.clone())?,
            reader: Line::new(reader, reading, place.clone())?,
            place,
        })
    }

    /// Closes the file in good order.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Whether the store answers and can be written.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        // Writes a page although nobody reads the number: a full disk shows in nothing less.
        sqlx::query("PRAGMA user_version = 1").execute(&mut *self.write().await?).await?;
        Ok(())
    }

    /// The writer's turn, in the file that a later gateway will find.
    async fn write(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let mut writer = self.writer.hold().await?;
        match self.place.look().map_err(sqlx::Error::from)? {
            Whereabouts::InPlace => return Ok(writer),
            Whereabouts::Moved => return Err(StoreError::NotInPlace("it was moved away")),
            Whereabouts::Replaced => {
                return Err(StoreError::NotInPlace("another file has its place"));
            }
            // What is open has all that it had.
            Whereabouts::Deleted => {}
        }
        let next = self.place.next().map_err(sqlx::Error::from)?;
        let Some(name) = next.to_str() else {
            return Err(StoreError::NotInPlace("it was deleted, and its name is not UTF-8"));
        };
        sqlx::query("VACUUM INTO ?").bind(name).execute(&mut *writer).await?;
        self.place.give_to(&next).map_err(sqlx::Error::from)?;
        tracing::error!(
            "the database or its log was deleted: all that it held has been written anew"
        );
        drop(writer);
        let mut writer = self.writer.hold().await?;
        // The first statement makes the new file's log; from then on it is watched.
        sqlx::query("PRAGMA user_version").execute(&mut *writer).await?;
        self.place.look().map_err(sqlx::Error::from)?;
        Ok(writer)
    }

    /// Does a statement that writes: how many rows it has changed.
    pub(super) async fn run(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        Ok(statement.run_in_sqlite(&mut *self.write().await?).await?)
    }

    /// Does a statement that writes, for the rows that it has changed.
    pub(super) async fn changed_rows(&self, of: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(of.rows_of_sqlite(&mut *self.write().await?).await?)
    }

    /// Does a statement that only reads.
    pub(super) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(statement.rows_of_sqlite(&mut *self.reader.hold().await?).await?)
    }
}
