//! Removals of users, as rows: written before their effects. Knows no step of one.

use super::{Sqlite, StoreError};
use crate::auth::UserId;
use crate::removal::Removal;

impl Sqlite {
    /// Stores a new removal, unless one of the same user is under way: `false`.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn begin_removal(&self, removal: &Removal) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO removals (user_key, removal, ended_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (user_key) DO UPDATE SET removal = ?2, ended_ms = ?3
             WHERE removals.ended_ms IS NOT NULL",
        )
        .bind(removal.user.key())
        .bind(text_of(removal)?)
        .bind(removal.ended_ms)
        .execute(&mut *self.write().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores what has become of a removal; `false` where it is over already: somebody else was
    /// quicker.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save_removal(&self, removal: &Removal) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE removals SET removal = ?2, ended_ms = ?3
             WHERE user_key = ?1 AND ended_ms IS NULL",
        )
        .bind(removal.user.key())
        .bind(text_of(removal)?)
        .bind(removal.ended_ms)
        .execute(&mut *self.write().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The newest removal of a user.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn removal(&self, user_key: &str) -> Result<Option<Removal>, StoreError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT removal FROM removals WHERE user_key = ?")
                .bind(user_key)
                .fetch_optional(&mut *self.reader.hold().await?)
                .await?;
        text.as_deref().map(removal).transpose()
    }

    /// Every removal that is under way.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended_removals(&self) -> Result<Vec<Removal>, StoreError> {
        let texts: Vec<String> =
            sqlx::query_scalar("SELECT removal FROM removals WHERE ended_ms IS NULL")
                .fetch_all(&mut *self.reader.hold().await?)
                .await?;
        texts.iter().map(String::as_str).map(removal).collect()
    }

    /// Whether anything of a user is stored that a removal takes away.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn knows(&self, user: &UserId) -> Result<bool, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM sessions WHERE issuer = ?1 AND subject = ?2)
                  + (SELECT COUNT(*) FROM volumes WHERE user_key = ?3)",
        )
        .bind(user.issuer())
        .bind(user.subject())
        .bind(user.key())
        .fetch_one(&mut *self.reader.hold().await?)
        .await?;
        Ok(rows > 0)
    }

    /// Forgets where a user's files are, their sessions that have ended and their tickets. Their uid
    /// stays theirs.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget(&self, user: &UserId) -> Result<(), StoreError> {
        for of_user in [
            "DELETE FROM tickets WHERE issuer = ? AND subject = ?",
            "DELETE FROM sessions WHERE issuer = ? AND subject = ? AND state = 'ended'",
        ] {
            sqlx::query(of_user)
                .bind(user.issuer())
                .bind(user.subject())
                .execute(&mut *self.write().await?)
                .await?;
        }
        sqlx::query("DELETE FROM volumes WHERE user_key = ?")
            .bind(user.key())
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }
}

fn text_of(removal: &Removal) -> Result<String, StoreError> {
    serde_json::to_string(removal).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn removal(text: &str) -> Result<Removal, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable(error.to_string()))
}
