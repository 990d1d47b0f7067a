//! Tickets that wait to be used, and the audit trail; and how both are forgotten.

use shellgate_protocol::client_leg::Role;

use super::statement::{Row, Statement};
use super::{Store, StoreError};
use crate::audit::Entry;
use crate::auth::origin::Origin;
use crate::auth::ticket::{TicketGrant, TicketHash};
use crate::auth::{Scopes, UserId};
use crate::clock::{millis_of, time_of};

impl Store {
    /// Keeps a ticket's hash and what it was made out for.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn keep_ticket(
        &self,
        hash: &TicketHash,
        grant: &TicketGrant,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(
            "INSERT INTO tickets (hash, session, role, issuer, subject, scopes, expires_ms,
                                  token_expires_ms, origin)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        );
        let statement = statement
            .bytes(&hash.0[..])
            .text(grant.session.to_string())
            .yes(grant.role == Role::Driver)
            .text(grant.user.issuer())
            .text(grant.user.subject())
            .text(grant.scopes.to_string())
            .whole(millis_of(grant.expires_at))
            .whole(millis_of(grant.token_expires_at))
            .maybe_text(grant.origin.as_ref().map(Origin::as_str));
        self.run(statement).await?;
        Ok(())
    }

    /// Uses a ticket up: what it was made out for, to exactly one caller. Where the answer is lost,
    /// to none: it is used up all the same.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn use_ticket(&self, hash: &TicketHash) -> Result<Option<TicketGrant>, StoreError> {
        let statement = Statement::new("DELETE FROM tickets WHERE hash = $1 RETURNING *");
        let rows = self.changed_rows(statement.bytes(&hash.0[..])).await?;
        rows.first().map(grant).transpose()
    }

    /// Adds to the audit trail.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn audit(&self, entry: &Entry) -> Result<(), StoreError> {
        let statement = Statement::new(
            "INSERT INTO audit (at_ms, session, actor, action, detail) VALUES ($1, $2, $3, $4, $5)",
        );
        let statement = statement
            .whole(entry.at_ms)
            .maybe_text(entry.session.map(|id| id.to_string()))
            .maybe_text(entry.actor.as_ref().map(ToString::to_string))
            .text(entry.action)
            // The one character that Postgres has in no text.
            .text(entry.detail.replace('\0', "\u{fffd}"));
        self.run(statement).await?;
        Ok(())
    }

    /// Forgets what is older than it needs to be: expired tickets, sessions that ended before
    /// `ended_before_ms`, audit entries and removals likewise.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn sweep(&self, now_ms: i64, ended_before_ms: i64) -> Result<(), StoreError> {
        for (sql, before) in [
            ("DELETE FROM tickets WHERE expires_ms < $1", now_ms),
            ("DELETE FROM sessions WHERE state = 'ended' AND ended_ms < $1", ended_before_ms),
            ("DELETE FROM removals WHERE ended_ms < $1", ended_before_ms),
            ("DELETE FROM audit WHERE at_ms < $1", ended_before_ms),
        ] {
            self.run(Statement::new(sql).whole(before)).await?;
        }
        Ok(())
    }
}

fn grant(row: &Row) -> Result<TicketGrant, StoreError> {
    let unreadable = |what: &str| StoreError::Unreadable(format!("a ticket's {what}"));
    let origin = match row.get::<Option<String>>("origin")? {
        Some(text) => Some(Origin::parse(&text).ok_or_else(|| unreadable("origin"))?),
        None => None,
    };
    let (issuer, subject): (String, String) = (row.get("issuer")?, row.get("subject")?);
    let session: String = row.get("session")?;
    let scopes: String = row.get("scopes")?;
    Ok(TicketGrant {
        session: session.parse().map_err(|_| unreadable("session"))?,
        role: if row.get("role")? { Role::Driver } else { Role::Observer },
        user: UserId::new(&issuer, &subject).ok_or_else(|| unreadable("user"))?,
        scopes: Scopes::parse(&scopes),
        expires_at: time_of(row.get("expires_ms")?),
        token_expires_at: time_of(row.get("token_expires_ms")?),
        origin,
    })
}
