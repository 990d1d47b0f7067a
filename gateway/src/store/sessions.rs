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
             ended_ms, detail, gateway FROM sessions ",
            $rest
        ))
    };
}

/// A write that makes whole sessions this gateway's, and returns them. `$1` is the gateway.
macro_rules! take {
    ($which:literal) => {
        Statement::new(concat!(
            "UPDATE sessions SET gateway = $1 WHERE ",
            $which,
            " RETURNING id, issuer, subject, name, state, launch, pinned_key, dial, created_ms, \
             ended_ms, detail, gateway"
        ))
    };
}

/// Orders new sessions, so that each sees how many there are: "sessions" in ASCII.
const LOCK: i64 = 0x7365_7373_696f_6e73;

/// How many sessions there may be that have not ended.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of one user.
    pub of_user: u32,
    /// Of all.
    pub in_all: u32,
}

/// A session, and who keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// It.
    pub record: Record,
    /// The gateway that keeps it, or did so last; it may be gone.
    pub gateway: Option<String>,
}

impl Store {
    /// Stores a new session, which this gateway keeps, unless there are too many that have not ended.
    /// One that is stored already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] where its owner has a live one of that name,
    /// [`StoreError::TooManySessions`] where they have too many, [`StoreError::Full`] where all have.
    pub async fn insert(&self, record: &Record, most: Most) -> Result<(), StoreError> {
        let detail = detail_text(&record.detail)?;
        for _ in 0..INSERTS {
            let statement = Statement::new(
                "INSERT INTO sessions
                     (id, issuer, subject, name, state, launch, created_ms, detail, gateway)
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
                 WHERE (SELECT COUNT(*) FROM sessions
                        WHERE issuer = $2 AND subject = $3 AND state <> 'ended' AND id <> $1) < $10
                   AND (SELECT COUNT(*) FROM sessions WHERE state <> 'ended' AND id <> $1) < $11
                 ON CONFLICT DO NOTHING",
            );
            let statement = statement
                .text(record.id.to_string())
                .text(record.owner.issuer())
                .text(record.owner.subject())
                .maybe_text(record.name.as_deref())
                .text(record.life.state.as_str())
                .whole(record.life.link.launch.0)
                .whole(record.created_ms)
                .text(&detail)
                .text(&self.gateway)
                .whole(most.of_user)
                .whole(most.in_all)
                .in_turn(LOCK);
            if self.run(statement).await? == 1 || self.find(record.id).await?.is_some() {
                return Ok(());
            }
            let name = record.name.as_deref().unwrap_or_default();
            if let Some(taken) = self.find_by_name(&record.owner, name).await? {
                return Err(StoreError::NameTaken(taken.record.id));
            }
            if self.unended_of(&record.owner).await?.len() >= most.of_user as usize {
                return Err(StoreError::TooManySessions);
            }
            if self.running().await?.len() >= most.in_all as usize {
                return Err(StoreError::Full);
            }
            // Whoever was in the way has ended since.
        }
        Err(StoreError::Busy)
    }

    /// Stores what has become of a session. Its key and dial have their own write, and are those of a
    /// launch: the next one has none yet. `false` where another gateway keeps it.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save(&self, record: &Record) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "UPDATE sessions SET state = $1, ended_ms = $2, detail = $3, launch = $4,
                 pinned_key = CASE WHEN launch = $4 THEN pinned_key END,
                 dial = CASE WHEN launch = $4 THEN dial ELSE 0 END
             WHERE id = $5 AND gateway = $6",
        );
        let statement = statement
            .text(record.life.state.as_str())
            .maybe_whole(record.ended_ms)
            .text(detail_text(&record.detail)?)
            .whole(record.life.link.launch.0)
            .text(record.id.to_string())
            .text(&self.gateway);
        Ok(self.run(statement).await? == 1)
    }

    /// Stores a last screen, where this gateway keeps its session.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save_screen(&self, id: SessionId, screen: &[u8]) -> Result<(), StoreError> {
        let statement =
            Statement::new("UPDATE sessions SET screen = $1 WHERE id = $2 AND gateway = $3");
        self.run(statement.bytes(screen).text(id.to_string()).text(&self.gateway)).await?;
        Ok(())
    }

    /// Burns a launch's enrolment token, pins the key and takes the dial, in one write. `false`
    /// where another key is pinned, the launch is over, the dial is older than one that was taken, or
    /// another gateway keeps the session.
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
               AND state IN ('starting', 'live', 'severed') AND gateway = $5",
        );
        let statement = statement
            .bytes(&key.0[..])
            .whole(link.dial.0)
            .text(id.to_string())
            .whole(link.launch.0)
            .text(&self.gateway);
        Ok(self.run(statement).await? == 1)
    }

    /// Makes a session this gateway's, because its bridge has proved here who it is, with a newer dial
    /// than any that was taken, or with any where it `is_another` than the one that was pinned. `None`
    /// where it is not so any more.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn take_by_link(
        &self,
        id: SessionId,
        link: LinkId,
        is_another: bool,
    ) -> Result<Option<Record>, StoreError> {
        let statement = take!(
            "id = $2 AND launch = $3 AND (dial < $4 OR $5) \
             AND state IN ('starting', 'live', 'severed')"
        );
        let statement = statement
            .text(&self.gateway)
            .text(id.to_string())
            .whole(link.launch.0)
            .whole(link.dial.0)
            .yes(is_another);
        self.changed_rows(statement).await?.first().map(record).transpose()
    }

    /// Makes up to `most` sessions this gateway's that have not ended and are nobody's.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn take_unkept(&self, most: u32) -> Result<Vec<Record>, StoreError> {
        // Said twice: whoever waits for another to take one finds that it is somebody's.
        let statement = take!(
            "id IN (SELECT id FROM sessions WHERE state <> 'ended' \
                    AND (gateway IS NULL OR gateway NOT IN (SELECT id FROM gateways)) \
                    ORDER BY id LIMIT $2) \
             AND state <> 'ended' AND (gateway IS NULL OR gateway NOT IN (SELECT id FROM gateways))"
        );
        let statement = statement.text(&self.gateway).whole(most);
        let taken = self.changed_rows(statement).await?;
        let readable = taken.iter().filter_map(|row| match record(row) {
            Ok(record) => Some(record),
            // It is this gateway's now, and nobody's trouble but its own.
            Err(error) => {
                let id: Option<String> = row.get("id").ok();
                tracing::error!(session = id, %error, "a session has no keeper");
                None
            }
        });
        Ok(readable.collect())
    }

    /// Lets go of a session: it is nobody's, where it was this gateway's.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn let_go(&self, id: SessionId) -> Result<(), StoreError> {
        let statement =
            Statement::new("UPDATE sessions SET gateway = NULL WHERE id = $1 AND gateway = $2");
        self.run(statement.text(id.to_string()).text(&self.gateway)).await?;
        Ok(())
    }

    /// Who keeps a session that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keeper_of(&self, id: SessionId) -> Result<Option<String>, StoreError> {
        let statement =
            Statement::new("SELECT gateway FROM sessions WHERE id = $1 AND state <> 'ended'");
        let rows = self.rows(statement.text(id.to_string())).await?;
        Ok(rows.first().map(|row| row.get("gateway")).transpose()?.flatten())
    }

    /// The session with this id.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.kept(id).await?.map(|kept| kept.record))
    }

    /// The session with this id, and who keeps it.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn kept(&self, id: SessionId) -> Result<Option<Kept>, StoreError> {
        let rows = self.rows(select!("WHERE id = $1").text(id.to_string())).await?;
        rows.first().map(kept).transpose()
    }

    /// The live session of this owner with this name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn find_by_name(
        &self,
        owner: &UserId,
        name: &str,
    ) -> Result<Option<Kept>, StoreError> {
        let statement =
            select!("WHERE issuer = $1 AND subject = $2 AND name = $3 AND state <> 'ended'");
        let statement = statement.text(owner.issuer()).text(owner.subject()).text(name);
        self.rows(statement).await?.first().map(kept).transpose()
    }

    /// A page of sessions, the youngest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, page: &Page) -> Result<Vec<Kept>, StoreError> {
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
        self.rows(statement).await?.iter().map(kept).collect()
    }

    /// Every session that this gateway is to keep and that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn ours(&self) -> Result<Vec<SessionId>, StoreError> {
        let statement =
            Statement::new("SELECT id FROM sessions WHERE gateway = $1 AND state <> 'ended'");
        let rows = self.rows(statement.text(&self.gateway)).await?;
        let unreadable = |_| StoreError::Unreadable("a session's id".into());
        rows.iter().map(|row| row.get::<String>("id")?.parse().map_err(unreadable)).collect()
    }

    /// Every session that has not ended, whoever keeps it, and its launch.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn running(&self) -> Result<Vec<(SessionId, Launch)>, StoreError> {
        let statement = Statement::new("SELECT id, launch FROM sessions WHERE state <> 'ended'");
        let unreadable = || StoreError::Unreadable("a session's id or launch".into());
        let read = |row: &Row| {
            let id = row.get::<String>("id")?.parse().map_err(|_| unreadable())?;
            let launch = u32::try_from(row.get::<i64>("launch")?).map_err(|_| unreadable())?;
            Ok((id, Launch(launch)))
        };
        self.rows(statement).await?.iter().map(read).collect()
    }

    /// Every session of a user that has not ended.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended_of(&self, owner: &UserId) -> Result<Vec<Kept>, StoreError> {
        let statement = select!("WHERE issuer = $1 AND subject = $2 AND state <> 'ended'");
        let statement = statement.text(owner.issuer()).text(owner.subject());
        self.rows(statement).await?.iter().map(kept).collect()
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

fn kept(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept { record: record(row)?, gateway: row.get("gateway")? })
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
