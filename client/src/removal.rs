//! A removal of a user as the gateway's REST interface describes it, for operators. Knows no request.

use serde::{Deserialize, Serialize};

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalState {
    /// The user's sessions are being ended.
    EndingSessions,
    /// The user's files are being deleted.
    DeletingFiles,
    /// What is stored of the user is being deleted.
    DeletingRecords,
    /// All of it is gone.
    Done,
    /// It waits for somebody to ask for it again, and its user gets no session meanwhile.
    Failed,
}

/// A removal of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Its id.
    pub id: String,
    /// Who vouches for the user.
    pub issuer: String,
    /// The user, by the issuer's name for them.
    pub user: String,
    /// How far it is.
    pub state: RemovalState,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Who asked for it.
    pub asked_by: String,
    /// When (RFC 3339).
    pub asked_at: String,
    /// When it was done (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<String>,
}
