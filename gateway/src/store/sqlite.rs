//! The store in one SQLite file: WAL, one writer, and a deadline for getting a turn.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shellgate_infra::volumes::VolumeRef;
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, SessionId};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};
use tokio::sync::MappedMutexGuard;

use super::{Page, StoreError};
use crate::auth::origin::Origin;
use crate::auth::ticket::{TicketGrant, TicketHash};
use crate::auth::{Scopes, UserId};
use crate::clock::{millis_of, time_of};
use crate::session::{Detail, Life, LinkId, Record, State};

mod line;
mod place;
mod removals;

use line::Line;
use place::{Place, Whereabouts};

/// A query for whole sessions.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, issuer, subject, name, state, launch, pinned_key, dial, created_ms, \
             ended_ms, detail FROM sessions ",
            $rest
        )
    };
}

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
        sqlx::migrate!().run(&mut writer).await?;
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

    /// Stores a new session.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] where its owner has a live one of that name.
    pub async fn insert(&self, record: &Record) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO sessions (id, issuer, subject, name, state, launch, created_ms, detail)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(record.id.to_string())
        .bind(record.owner.issuer())
        .bind(record.owner.subject())
        .bind(&record.name)
        .bind(record.life.state.as_str())
        .bind(record.life.link.launch.0)
        .bind(record.created_ms)
        .bind(detail_text(&record.detail)?)
        .execute(&mut *write)
        .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        // Nobody else writes meanwhile: whoever has the name keeps it until it was found.
        let name = record.name.as_deref().unwrap_or_default();
        match self.find_by_name(&record.owner, name).await? {
            Some(taken) => Err(StoreError::NameTaken(taken.id)),
            None => Err(StoreError::Unreadable("a session was neither new nor there".into())),
        }
    }

    /// Stores what has become of a session. Its key and dial have their own write, and are those of a
    /// launch: the next one has none yet.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save(&self, record: &Record) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET state = ?1, ended_ms = ?2, detail = ?3, launch = ?4,
                 pinned_key = CASE WHEN launch = ?4 THEN pinned_key END,
                 dial = CASE WHEN launch = ?4 THEN dial ELSE 0 END
             WHERE id = ?5",
        )
        .bind(record.life.state.as_str())
        .bind(record.ended_ms)
        .bind(detail_text(&record.detail)?)
        .bind(record.life.link.launch.0)
        .bind(record.id.to_string())
        .execute(&mut *self.write().await?)
        .await?;
        Ok(())
    }

    /// Stores a last screen.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save_screen(&self, id: SessionId, screen: &[u8]) -> Result<(), StoreError> {
        sqlx::query("UPDATE sessions SET screen = ? WHERE id = ?")
            .bind(screen)
            .bind(id.to_string())
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }

    /// Burns a launch's enrolment token, pins the key and takes the dial, in one write. `false`
    /// where another key is pinned, the launch is over, or the dial is not newer.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn enrol(
        &self,
        id: SessionId,
        link: LinkId,
        key: &Bytes32,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET pinned_key = ?1, dial = ?2
             WHERE id = ?3 AND launch = ?4 AND dial < ?2
               AND (pinned_key IS NULL OR pinned_key = ?1)
               AND state IN ('starting', 'live', 'severed')",
        )
        .bind(&key.0[..])
        .bind(link.dial.0)
        .bind(id.to_string())
        .bind(link.launch.0)
        .execute(&mut *self.write().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The session with this id.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        let row = sqlx::query(select!("WHERE id = ?"))
            .bind(id.to_string())
            .fetch_optional(&mut *self.reader.hold().await?)
            .await?;
        row.map(|row| record(&row)).transpose()
    }

    /// The live session of this owner with this name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find_by_name(
        &self,
        owner: &UserId,
        name: &str,
    ) -> Result<Option<Record>, StoreError> {
        let row = sqlx::query(select!(
            "WHERE issuer = ? AND subject = ? AND name = ? AND state <> 'ended'"
        ))
        .bind(owner.issuer())
        .bind(owner.subject())
        .bind(name)
        .fetch_optional(&mut *self.reader.hold().await?)
        .await?;
        row.map(|row| record(&row)).transpose()
    }

    /// A page of sessions, the youngest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, page: &Page) -> Result<Vec<Record>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE (?1 IS NULL OR issuer = ?1) AND (?2 IS NULL OR subject = ?2)
               AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR id < ?4)
             ORDER BY id DESC LIMIT ?5"
        ))
        .bind(page.owner.as_ref().map(UserId::issuer))
        .bind(page.owner.as_ref().map(UserId::subject))
        .bind(page.state.map(State::as_str))
        .bind(page.before.map(|id| id.to_string()))
        .bind(page.limit)
        .fetch_all(&mut *self.reader.hold().await?)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Every session that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended(&self) -> Result<Vec<Record>, StoreError> {
        let rows = sqlx::query(select!("WHERE state <> 'ended'"))
            .fetch_all(&mut *self.reader.hold().await?)
            .await?;
        rows.iter().map(record).collect()
    }

    /// The last screen of an ended session.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn screen(&self, id: SessionId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT screen FROM sessions WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&mut *self.reader.hold().await?)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// The uid of a user, chosen once from the range.
    ///
    /// # Errors
    /// [`StoreError::NoUidLeft`] where the range is used up.
    pub async fn uid(
        &self,
        user_key: &str,
        range: &std::ops::RangeInclusive<u32>,
    ) -> Result<u32, StoreError> {
        let chosen = "SELECT uid FROM uids WHERE user_key = ?";
        let reading = sqlx::query_scalar(chosen).bind(user_key);
        // Each dial asks, and writes nothing: a store that is full for now cuts nobody off.
        if let Some(uid) = reading.fetch_optional(&mut *self.reader.hold().await?).await? {
            return Ok(uid);
        }
        let row = sqlx::query(
            "INSERT INTO uids (user_key, uid)
             SELECT ?1, COALESCE((SELECT MAX(uid) + 1 FROM uids WHERE uid BETWEEN ?2 AND ?3), ?2)
             WHERE NOT EXISTS (SELECT 1 FROM uids WHERE user_key = ?1)
               AND COALESCE((SELECT MAX(uid) FROM uids WHERE uid BETWEEN ?2 AND ?3), ?2 - 1) < ?3",
        )
        .bind(user_key)
        .bind(range.start())
        .bind(range.end());
        let mut write = self.write().await?;
        row.execute(&mut *write).await?;
        let reading = sqlx::query_scalar(chosen).bind(user_key);
        let uid: Option<u32> = reading.fetch_optional(&mut *write).await?;
        uid.ok_or(StoreError::NoUidLeft)
    }

    /// Where a user's files are, if that was ever stored.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn volume(&self, user_key: &str) -> Result<Option<VolumeRef>, StoreError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT volume FROM volumes WHERE user_key = ?")
                .bind(user_key)
                .fetch_optional(&mut *self.reader.hold().await?)
                .await?;
        let read = |text: String| serde_json::from_str(&text);
        text.map(read).transpose().map_err(|error| StoreError::Unreadable(error.to_string()))
    }

    /// Stores where a user's files are, once: returns what was stored first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keep_volume(
        &self,
        user_key: &str,
        volume: &VolumeRef,
    ) -> Result<VolumeRef, StoreError> {
        let unreadable = |error: serde_json::Error| StoreError::Unreadable(error.to_string());
        let text = serde_json::to_string(volume).map_err(unreadable)?;
        let mut write = self.write().await?;
        sqlx::query("INSERT INTO volumes (user_key, volume) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(user_key)
            .bind(text)
            .execute(&mut *write)
            .await?;
        let kept: String = sqlx::query_scalar("SELECT volume FROM volumes WHERE user_key = ?")
            .bind(user_key)
            .fetch_one(&mut *write)
            .await?;
        serde_json::from_str(&kept).map_err(unreadable)
    }

    /// Keeps a ticket's hash and what it was made out for.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keep_ticket(
        &self,
        hash: &TicketHash,
        grant: &TicketGrant,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tickets (hash, session, role, issuer, subject, scopes, expires_ms,
                                  token_expires_ms, origin)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&hash.0[..])
        .bind(grant.session.to_string())
        .bind(grant.role == Role::Driver)
        .bind(grant.user.issuer())
        .bind(grant.user.subject())
        .bind(grant.scopes.to_string())
        .bind(millis_of(grant.expires_at))
        .bind(millis_of(grant.token_expires_at))
        .bind(grant.origin.as_ref().map(Origin::as_str))
        .execute(&mut *self.write().await?)
        .await?;
        Ok(())
    }

    /// Uses a ticket up: what it was made out for, to exactly one caller.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn use_ticket(&self, hash: &TicketHash) -> Result<Option<TicketGrant>, StoreError> {
        // To the end of the statement, where it is committed: whoever stops at its first row is not
        // told that it could not be.
        let mut rows = sqlx::query("DELETE FROM tickets WHERE hash = ? RETURNING *")
            .bind(&hash.0[..])
            .fetch_all(&mut *self.write().await?)
            .await?;
        rows.pop().map(|row| grant(&row)).transpose()
    }

    /// Adds to the audit trail.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn audit(&self, entry: &crate::audit::Entry) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit (at_ms, session, actor, action, detail) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(entry.at_ms)
        .bind(entry.session.map(|id| id.to_string()))
        .bind(entry.actor.as_ref().map(ToString::to_string))
        .bind(entry.action)
        .bind(&entry.detail)
        .execute(&mut *self.write().await?)
        .await?;
        Ok(())
    }

    /// Forgets what is older than it needs to be: expired tickets, sessions that ended before
    /// `ended_before_ms`, audit entries and removals likewise.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn sweep(&self, now_ms: i64, ended_before_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tickets WHERE expires_ms < ?")
            .bind(now_ms)
            .execute(&mut *self.write().await?)
            .await?;
        sqlx::query("DELETE FROM sessions WHERE state = 'ended' AND ended_ms < ?")
            .bind(ended_before_ms)
            .execute(&mut *self.write().await?)
            .await?;
        sqlx::query("DELETE FROM removals WHERE ended_ms < ?")
            .bind(ended_before_ms)
            .execute(&mut *self.write().await?)
            .await?;
        sqlx::query("DELETE FROM audit WHERE at_ms < ?")
            .bind(ended_before_ms)
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }
}

fn grant(row: &SqliteRow) -> Result<TicketGrant, StoreError> {
    let unreadable = |what: &str| StoreError::Unreadable(format!("a ticket's {what}"));
    let driver: bool = row.try_get("role")?;
    let origin: Option<&str> = row.try_get("origin")?;
    let origin = match origin {
        Some(text) => Some(Origin::parse(text).ok_or_else(|| unreadable("origin"))?),
        None => None,
    };
    Ok(TicketGrant {
        session: row.try_get::<&str, _>("session")?.parse().map_err(|_| unreadable("session"))?,
        role: if driver { Role::Driver } else { Role::Observer },
        user: UserId::new(row.try_get("issuer")?, row.try_get("subject")?)
            .ok_or_else(|| unreadable("user"))?,
        scopes: Scopes::parse(row.try_get("scopes")?),
        expires_at: time_of(row.try_get("expires_ms")?),
        token_expires_at: time_of(row.try_get("token_expires_ms")?),
        origin,
    })
}

fn detail_text(detail: &Detail) -> Result<String, StoreError> {
    serde_json::to_string(detail).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn record(row: &SqliteRow) -> Result<Record, StoreError> {
    let unreadable = |what: &str| StoreError::Unreadable(format!("a session's {what}"));
    let detail: Detail = serde_json::from_str(row.try_get("detail")?)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let pinned_key = row
        .try_get::<Option<Vec<u8>>, _>("pinned_key")?
        .map(|key| key.try_into().map(Bytes32).map_err(|_| unreadable("key")))
        .transpose()?;
    let state = State::parse(row.try_get("state")?).ok_or_else(|| unreadable("state"))?;
    let link = LinkId { launch: Launch(row.try_get("launch")?), dial: Dial(row.try_get("dial")?) };
    Ok(Record {
        id: row.try_get::<&str, _>("id")?.parse().map_err(|_| unreadable("id"))?,
        owner: UserId::new(row.try_get("issuer")?, row.try_get("subject")?)
            .ok_or_else(|| unreadable("owner"))?,
        name: row.try_get("name")?,
        life: Life { state, link, reason: detail.reason },
        pinned_key,
        created_ms: row.try_get("created_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        detail,
    })
}
