//! A session as the gateway's REST interface describes it. Knows no request.

use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::{EndReason, Mode, Phase};
use shellgate_protocol::{Launch, SessionId};

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its task is being started.
    Starting,
    /// It runs and can be reached.
    Live,
    /// It runs, and the gateway waits for its bridge to call again.
    Severed,
    /// Its task is being stopped.
    Stopping,
    /// Its task is gone.
    Ended,
}

impl State {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Severed => "severed",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
        }
    }
}

/// Whose session it is; told to operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Who vouches for the user.
    pub issuer: String,
    /// The user, by the issuer's name for them.
    pub user: String,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// The program's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The name of the signal that ended the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What its user should know besides: why it could not be started, the end of what a line-mode
    /// program wrote on stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When its task was gone (RFC 3339); absent while it is being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What the reason was concluded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its name; unique among its user's sessions that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it was made from.
    pub template: String,
    /// Where it is in its life.
    pub state: State,
    /// What a starting session waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Which task of it runs.
    pub launch: Launch,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// How its program runs.
    pub mode: Mode,
    /// Somebody drives it now.
    #[serde(default)]
    pub attached: bool,
    /// So many watch it now.
    #[serde(default)]
    pub observers: u32,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// When it stops as idle unless somebody works in it (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_at: Option<String>,
    /// When its longest life is over (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// What its program reaches: `none` is no network at all, `operator` what the operator's network
    /// lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// How it ended, or is ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// A page of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Where the next page starts, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A single-use stand-in for a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// What goes after `ticket.` among the subprotocols.
    pub ticket: String,
    /// Seconds for which it holds.
    pub expires_in: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}
