//! Sessions, as rows. Each write is one statement, and may be repeated: whoever did not hear the
//! answer does it again.

use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, SessionId};

use super::statement::{Row, Statement};
use super::{Page, Store, StoreError};
use crate::auth::UserId;
use crate::session::{Detail, Life, LinkId, Record, State};

/// How often a session is inserted whose name is somebody's, and then is not.
const INSERTS: u32 = 3;

/// A query for whole sessions.
macro_rules! select {
    ($rest:literal) => {
        Statement::new(concat!(
            "SELECT id, issuer, subject, name, state, launch, pinned_key, dial, created_ms, \
             ended_ms, detail FROM sessions ",
            $rest
        ))
    };
}

impl Store {
    /// Stores a new session. One that is stored already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] where its owner has a live one of that name.
    pub async fn insert(&self, record: &Record) -> Result<(), StoreError> {
        let detail = detail_text(&record.detail)?;
        for _ in 0..INSERTS {
            let statement = Statement::new(
                "INSERT INTO sessions (id, issuer, subject, name, state, launch, created_ms, detail)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            );
            let statement = statement
                .text(record.id.to_string())
                .text(record.owner.issuer())
                .text(record.owner.subject())
                .maybe_text(record.name.as_deref())
                .text(record.life.state.as_str())
                .whole(record.life.link.launch.0)
                .whole(record.created_ms)
                .text(&detail);
            if self.run(statement).await? == 1 || self.find(record.id).await?.is_some() {
                return Ok(());
            }
            let name = record.name.as_deref().unwrap_or_default();
            if let Some(taken) = self.find_by_name(&record.owner, name).await? {
                return Err(StoreError::NameTaken(taken.id));
            }
            // Whoever had the name has ended since.
        }
        Err(StoreError::Busy)
    }

    /// Stores what has become of a session. Its key and dial have their own write, and are those of a
    /// launch: the next one has none yet.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save(&self, record: &Record) -> Result<(), StoreError> {
        let statement = Statement::new(
            "UPDATE sessions SET state = $1, ended_ms = $2, detail = $3, launch = $4,
                 pinned_key = CASE WHEN launch = $4 THEN pinned_key END,
                 dial = CASE WHEN launch = $4 THEN dial ELSE 0 END
             WHERE id = $5",
        );
        let statement = statement
            .text(record.life.state.as_str())
            .maybe_whole(record.ended_ms)
            .text(detail_text(&record.detail)?)
            .whole(record.life.link.launch.0)
            .text(record.id.to_string());
        self.run(statement).await?;
        Ok(())
    }

    /// Stores a last screen.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save_screen(&self, id: SessionId, screen: &[u8]) -> Result<(), StoreError> {
        let statement = Statement::new("UPDATE sessions SET screen = $1 WHERE id = $2");
        self.run(statement.bytes(screen).text(id.to_string())).await?;
        Ok(())
    }

    /// Burns a launch's enrolment token, pins the key and takes the dial, in one write. `false`
    /// where another key is pinned, the launch is over, or the dial is older than one that was taken.
    /// The same key and dial once more are what they were.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn enrol(
        &self,
        id: SessionId,
        link: LinkId,
        key: &Bytes32,
    ) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "UPDATE sessions SET pinned_key = $1, dial = $2
             WHERE id = $3 AND launch = $4
               AND (dial < $2 OR (dial = $2 AND pinned_key = $1))
               AND (pinned_key IS NULL OR pinned_key = $1)
               AND state IN ('starting', 'live', 'severed')",
        );
        let statement = statement
            .bytes(&key.0[..])
            .whole(link.dial.0)
            .text(id.to_string())
            .whole(link.launch.0);
        Ok(self.run(statement).await? == 1)
    }

    /// The session with this id.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        let rows = self.rows(select!("WHERE id = $1").text(id.to_string())).await?;
        rows.first().map(record).transpose()
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
        let statement =
            select!("WHERE issuer = $1 AND subject = $2 AND name = $3 AND state <> 'ended'");
        let statement = statement.text(owner.issuer()).text(owner.subject()).text(name);
        self.rows(statement).await?.first().map(record).transpose()
    }

    /// A page of sessions, the youngest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, page: &Page) -> Result<Vec<Record>, StoreError> {
        let statement = select!(
            "WHERE ($1 IS NULL OR issuer = $1) AND ($2 IS NULL OR subject = $2)
               AND ($3 IS NULL OR state = $3) AND ($4 IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        );
        let statement = statement
            .maybe_text(page.owner.as_ref().map(UserId::issuer))
            .maybe_text(page.owner.as_ref().map(UserId::subject))
            .maybe_text(page.state.map(State::as_str))
            .maybe_text(page.before.map(|id| id.to_string()))
            .whole(page.limit);
        self.rows(statement).await?.iter().map(record).collect()
    }

    /// Every session that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended(&self) -> Result<Vec<Record>, StoreError> {
        self.rows(select!("WHERE state <> 'ended'")).await?.iter().map(record).collect()
    }

    /// Every session of a user that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended_of(&self, owner: &UserId) -> Result<Vec<Record>, StoreError> {
        let statement = select!("WHERE issuer = $1 AND subject = $2 AND state <> 'ended'");
        let statement = statement.text(owner.issuer()).text(owner.subject());
        self.rows(statement).await?.iter().map(record).collect()
    }

    /// The last screen of an ended session.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn screen(&self, id: SessionId) -> Result<Option<Vec<u8>>, StoreError> {
        let statement = Statement::new("SELECT screen FROM sessions WHERE id = $1");
        let rows = self.rows(statement.text(id.to_string())).await?;
        Ok(rows.first().map(|row| row.get("screen")).transpose()?.flatten())
    }
}

fn detail_text(detail: &Detail) -> Result<String, StoreError> {
    serde_json::to_string(detail).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn record(row: &Row) -> Result<Record, StoreError> {
    let unreadable = |what: &str| StoreError::Unreadable(format!("a session's {what}"));
    let number =
        |column: &str| u32::try_from(row.get::<i64>(column)?).map_err(|_| unreadable(column));
    let detail: Detail = serde_json::from_str(&row.get::<String>("detail")?)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let pinned_key = row
        .get::<Option<Vec<u8>>>("pinned_key")?
        .map(|key| key.try_into().map(Bytes32).map_err(|_| unreadable("key")))
        .transpose()?;
    let state: String = row.get("state")?;
    let state = State::parse(&state).ok_or_else(|| unreadable("state"))?;
    let link = LinkId { launch: Launch(number("launch")?), dial: Dial(number("dial")?) };
    let (issuer, subject): (String, String) = (row.get("issuer")?, row.get("subject")?);
    Ok(Record {
        id: row.get::<String>("id")?.parse().map_err(|_| unreadable("id"))?,
        owner: UserId::new(&issuer, &subject).ok_or_else(|| unreadable("owner"))?,
        name: row.get("name")?,
        life: Life { state, link, reason: detail.reason },
        pinned_key,
        created_ms: row.get("created_ms")?,
        ended_ms: row.get("ended_ms")?,
        detail,
    })
}
