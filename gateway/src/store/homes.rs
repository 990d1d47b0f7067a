//! What a user keeps from session to session: a uid, and where their files are.

use std::ops::RangeInclusive;

use shellgate_infra::volumes::VolumeRef;
use tokio::time::timeout;

use super::statement::Statement;
use super::{Store, StoreError, TURN};

/// How often a uid is chosen that somebody else has chosen at the same time. Choices wait for each
/// other, so that happens to none but the last in the range.
const CHOICES: u32 = 3;

/// Orders choices: "uids" in ASCII.
const LOCK: i64 = 0x7569_6473;

impl Store {
    /// The uid of a user, chosen once from the range.
    ///
    /// # Errors
    /// [`StoreError::NoUidLeft`] where the range is used up.
    pub async fn uid(
        &self,
        user_key: &str,
        range: &RangeInclusive<u32>,
    ) -> Result<u32, StoreError> {
        // Each dial asks, and writes nothing: a store that is full for now cuts nobody off.
        if let Some(uid) = self.chosen_uid(user_key).await? {
            return Ok(uid);
        }
        let _turn = timeout(TURN, self.choosing.lock()).await.map_err(|_| StoreError::Busy)?;
        for _ in 0..CHOICES {
            let statement = Statement::new(
                "INSERT INTO uids (user_key, uid)
                 SELECT $1, COALESCE((SELECT MAX(uid) + 1 FROM uids WHERE uid BETWEEN $2 AND $3), $2)
                 WHERE COALESCE((SELECT MAX(uid) FROM uids WHERE uid BETWEEN $2 AND $3), $2 - 1) < $3
                 ON CONFLICT DO NOTHING",
            );
            let (first, last) = (*range.start(), *range.end());
            let statement = statement.text(user_key).whole(first).whole(last);
            self.run(statement.in_turn(LOCK)).await?;
            if let Some(uid) = self.chosen_uid(user_key).await? {
                return Ok(uid);
            }
            let statement = Statement::new("SELECT 1 AS one FROM uids WHERE uid = $1");
            if !self.rows(statement.whole(last)).await?.is_empty() || first > last {
                return Err(StoreError::NoUidLeft);
            }
        }
        Err(StoreError::Busy)
    }

    async fn chosen_uid(&self, user_key: &str) -> Result<Option<u32>, StoreError> {
        let statement = Statement::new("SELECT uid FROM uids WHERE user_key = $1");
        let rows = self.rows(statement.text(user_key)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let uid = u32::try_from(row.get::<i64>("uid")?);
        uid.map(Some).map_err(|_| StoreError::Unreadable("a user's uid".into()))
    }

    /// Where a user's files are, if that was ever stored.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn volume(&self, user_key: &str) -> Result<Option<VolumeRef>, StoreError> {
        let statement = Statement::new("SELECT volume FROM volumes WHERE user_key = $1");
        let rows = self.rows(statement.text(user_key)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        serde_json::from_str(&row.get::<String>("volume")?).map(Some).map_err(unreadable)
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
        let text = serde_json::to_string(volume).map_err(unreadable)?;
        let statement = Statement::new(
            "INSERT INTO volumes (user_key, volume) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        );
        self.run(statement.text(user_key).text(text)).await?;
        let kept = self.volume(user_key).await?;
        kept.ok_or_else(|| StoreError::Unreadable("a volume was neither new nor there".into()))
    }
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::Unreadable(error.to_string())
}
