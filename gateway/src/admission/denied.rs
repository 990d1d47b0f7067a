//! Admission's no: why, whose limit it is, and when to come back. Knows no HTTP.

use std::time::Duration;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The user has as many sessions as a user may have.
    TooManySessions,
    /// The user has started as many sessions in a minute as a user may.
    StartRate,
    /// The session has as many attachments as a session may have.
    TooManyAttachments,
    /// The user follows as many event streams as a user may.
    TooManyStreams,
    /// The address has as many unauthenticated sockets as an address may have.
    TooManySockets,
    /// The gateway has no place for anybody: connections, sessions, starts or descriptors.
    GatewayFull,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The caller's own: 429.
    User,
    /// The gateway's: 503.
    Gateway,
}

/// Admission's no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not admitted: {code}")]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// Why, as a machine reads it.
    pub code: &'static str,
    /// Whose limit it is.
    pub scope: Scope,
    /// When it may be worth a try, before jitter.
    pub retry_after: Option<Duration>,
}

impl Denied {
    /// A no with the time in which such a place usually becomes free.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        let seconds = match reason {
            // Somebody has to end a session first.
            Reason::TooManySessions => 30,
            // Starts that are all under way; where one has been kept its own time is known.
            Reason::StartRate => 5,
            // A page is closed, a handshake done.
            Reason::TooManyAttachments | Reason::TooManyStreams | Reason::TooManySockets => 5,
            Reason::GatewayFull => 10,
        };
        let retry_after = Some(Duration::from_secs(seconds));
        Self { reason, code: reason.code(), scope: reason.scope(), retry_after }
    }

    /// What is the matter and what to do, for the caller.
    #[must_use]
    pub fn detail(&self) -> String {
        match self.reason {
            Reason::TooManySessions => "You have as many sessions as you may: stop one first.",
            Reason::StartRate => "You have started as many sessions in a minute as you may: wait.",
            Reason::TooManyAttachments => {
                "This session has as many clients attached as it may: close one first."
            }
            Reason::TooManyStreams => {
                "You follow as many event streams as you may: close one first."
            }
            Reason::TooManySockets => {
                "Too many connections from your address are signing in: wait."
            }
            Reason::GatewayFull => "The gateway is full: try again later.",
        }
        .into()
    }
}

impl Reason {
    /// As a machine reads it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooManySessions => "too_many_sessions",
            Self::StartRate => "start_rate",
            Self::TooManyAttachments => "too_many_attachments",
            Self::TooManyStreams => "too_many_streams",
            Self::TooManySockets => "too_many_sockets",
            Self::GatewayFull => "gateway_full",
        }
    }

    /// Whose limit it is. That of an address is the gateway's: those behind one address need not
    /// know each other.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::TooManySessions
            | Self::StartRate
            | Self::TooManyAttachments
            | Self::TooManyStreams => Scope::User,
            Self::TooManySockets | Self::GatewayFull => Scope::Gateway,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_names_its_reason_whose_it_is_and_when_to_come_back() {
        let all = [
            (Reason::TooManySessions, "too_many_sessions", Scope::User),
            (Reason::StartRate, "start_rate", Scope::User),
            (Reason::TooManyAttachments, "too_many_attachments", Scope::User),
            (Reason::TooManyStreams, "too_many_streams", Scope::User),
            (Reason::TooManySockets, "too_many_sockets", Scope::Gateway),
            (Reason::GatewayFull, "gateway_full", Scope::Gateway),
        ];
        for (reason, code, scope) in all {
            let denied = Denied::new(reason);
            assert_eq!((denied.code, denied.scope), (code, scope));
            assert!(denied.retry_after.is_some_and(|after| after >= Duration::from_secs(1)));
            assert!(denied.detail().contains(": "), "what, and what to do");
        }
    }
}
