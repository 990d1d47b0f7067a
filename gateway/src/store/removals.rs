//! Removals of users, as rows: written before their effects. Knows no step of one.

use super::statement::{Row, Statement};
use super::{Store, StoreError};
use crate::auth::UserId;
use crate::removal::Removal;

impl Store {
    /// Stores a new removal, at which this gateway works, unless one of the same user is under way:
    /// `false`.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn begin_removal(&self, removal: &Removal) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "INSERT INTO removals (user_key, removal, ended_ms, gateway) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_key) DO UPDATE
                 SET removal = excluded.removal, ended_ms = excluded.ended_ms,
                     gateway = excluded.gateway
             WHERE removals.ended_ms IS NOT NULL",
        );
        Ok(self.run(values(statement, removal)?.text(&self.gateway)).await? == 1)
    }

    /// Stores what has become of a removal; `false` where it is over already, or another gateway works
    /// at it.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn save_removal(&self, removal: &Removal) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "UPDATE removals SET removal = $2, ended_ms = $3
             WHERE user_key = $1 AND ended_ms IS NULL AND gateway = $4",
        );
        Ok(self.run(values(statement, removal)?.text(&self.gateway)).await? == 1)
    }

    /// Has this gateway work at a removal that is under way, where no other does, or `whoever` does.
    /// `false` where another one works at it, or it is over.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn take_removal(&self, user_key: &str, whoever: bool) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "UPDATE removals SET gateway = $2 WHERE user_key = $1 AND ended_ms IS NULL
               AND ($3 OR gateway IS NULL OR gateway = $2
                    OR gateway NOT IN (SELECT id FROM gateways))",
        );
        let statement = statement.text(user_key).text(&self.gateway).yes(whoever);
        Ok(self.run(statement).await? == 1)
    }

    /// The newest removal of a user.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn removal(&self, user_key: &str) -> Result<Option<Removal>, StoreError> {
        let statement = Statement::new("SELECT removal FROM removals WHERE user_key = $1");
        let rows = self.rows(statement.text(user_key)).await?;
        rows.first().map(removal).transpose()
    }

    /// Every removal that is under way.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn unended_removals(&self) -> Result<Vec<Removal>, StoreError> {
        let statement = Statement::new("SELECT removal FROM removals WHERE ended_ms IS NULL");
        self.rows(statement).await?.iter().map(removal).collect()
    }

    /// Whether anything of a user is stored that a removal takes away.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn knows(&self, user: &UserId) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "SELECT 1 AS one FROM sessions WHERE issuer = $1 AND subject = $2
             UNION SELECT 1 AS one FROM volumes WHERE user_key = $3",
        );
        let statement = statement.text(user.issuer()).text(user.subject()).text(user.key());
        Ok(!self.rows(statement).await?.is_empty())
    }

    /// Forgets where a user's files are, their sessions that have ended and their tickets, where this
    /// gateway works at their removal. Their uid stays theirs.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget(&self, user: &UserId) -> Result<(), StoreError> {
        for of_user in [
            "DELETE FROM tickets WHERE issuer = $1 AND subject = $2 AND EXISTS
                 (SELECT 1 FROM removals WHERE user_key = $3 AND gateway = $4 AND ended_ms IS NULL)",
            "DELETE FROM sessions WHERE issuer = $1 AND subject = $2 AND state = 'ended' AND EXISTS
                 (SELECT 1 FROM removals WHERE user_key = $3 AND gateway = $4 AND ended_ms IS NULL)",
        ] {
            let statement = Statement::new(of_user).text(user.issuer()).text(user.subject());
            self.run(statement.text(user.key()).text(&self.gateway)).await?;
        }
        let statement = Statement::new(
            "DELETE FROM volumes WHERE user_key = $1 AND EXISTS
                 (SELECT 1 FROM removals WHERE user_key = $1 AND gateway = $2 AND ended_ms IS NULL)",
        );
        self.run(statement.text(user.key()).text(&self.gateway)).await?;
        Ok(())
    }
}

fn values<'a>(statement: Statement<'a>, removal: &Removal) -> Result<Statement<'a>, StoreError> {
    let text = serde_json::to_string(removal)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok(statement.text(removal.user.key()).text(text).maybe_whole(removal.ended_ms))
}

fn removal(row: &Row) -> Result<Removal, StoreError> {
    serde_json::from_str(&row.get::<String>("removal")?)
        .map_err(|error| StoreError::Unreadable(error.to_string()))
}
