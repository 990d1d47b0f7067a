//! One connection to the database, held by one caller at a time, who came first. A pool of one would
//! do the same, but a caller that gives up waiting in it can leave the others waiting.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

use super::place::{FileId, Place};
use crate::store::{StoreError, TURN};

/// A connection, and to which file.
#[derive(Debug)]
struct Held {
    connection: SqliteConnection,
    to: FileId,
}

/// The line before one connection.
#[derive(Debug, Clone)]
pub(super) struct Line {
    options: SqliteConnectOptions,
    place: Arc<Place>,
    held: Arc<Mutex<Option<Held>>>,
}

impl Line {
    /// A line before this connection to the place's file; another one is made with the options.
    pub fn new(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        place: Arc<Place>,
    ) -> Result<Self, StoreError> {
        let held = Held { connection, to: place.file().map_err(sqlx::Error::from)? };
        Ok(Self { options, place, held: Arc::new(Mutex::new(Some(held))) })
    }

    /// The connection, once it is the caller's turn.
    pub async fn hold(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let mut guard = timeout(TURN, self.held.lock()).await.map_err(|_| StoreError::Busy)?;
        let held = guard.as_mut().ok_or(StoreError::Closed)?;
        let file = self.place.file().map_err(sqlx::Error::from)?;
        if held.to != file {
            // The file that it leads to was deleted, and everything has been written anew.
            let connection = self.options.connect().await?;
            if self.place.file_there().map_err(sqlx::Error::from)? != file {
                return Err(StoreError::NotInPlace("another file has its place"));
            }
            *held = Held { connection, to: file };
        }
        MutexGuard::try_map(guard, |held| held.as_mut().map(|held| &mut held.connection))
            .map_err(|_| StoreError::Closed)
    }

    /// Closes the connection in good order.
    pub async fn close(&self) {
        if let Some(held) = self.held.lock().await.take()
            && let Err(error) = held.connection.close().await
        {
            tracing::warn!(%error, "the database was not closed in good order");
        }
    }
}
