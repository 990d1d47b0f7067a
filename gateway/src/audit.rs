//! The audit trail: who did what to which session. Written to the log at once and to the store
//! behind it; never holds a secret.

use shellgate_protocol::SessionId;

use crate::auth::UserId;
use crate::clock;
use crate::store::Store;

/// Something that must be accounted for.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// To which session.
    pub session: Option<SessionId>,
    /// By whom, where it was a user.
    pub actor: Option<UserId>,
    /// What: `session.created`, `enrolment.refused`.
    pub action: &'static str,
    /// The rest, in words.
    pub detail: String,
}

/// Accounts for an action. A store that fails loses the trail's row, not the log's line.
pub async fn record(
    store: &Store,
    session: Option<SessionId>,
    actor: Option<&UserId>,
    action: &'static str,
    detail: impl Into<String>,
) {
    let entry = Entry {
        at_ms: clock::unix_millis(),
        session,
        actor: actor.cloned(),
        action,
        detail: detail.into(),
    };
    tracing::info!(
        target: "audit",
        action,
        session = session.map(tracing::field::display),
        actor = actor.map(tracing::field::display),
        detail = entry.detail,
    );
    if let Err(error) = store.audit(&entry).await {
        tracing::error!(%error, action, "an audit entry was not stored");
    }
}
