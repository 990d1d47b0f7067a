//! Why a WebSocket closes, and what its client does then: part of the contract.

use std::fmt;

/// The close codes of the client leg (RFC 6455, section 7.4; 4000 and up are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The session ended, or the client left by itself.
    Normal = 1000,
    /// The gateway is going away.
    GoingAway = 1001,
    /// A WebSocket rule was broken.
    Protocol = 1002,
    /// Not UTF-8 where it must be.
    NotUtf8 = 1007,
    /// A message over its limit.
    TooBig = 1009,
    /// The gateway restarts.
    Restart = 1012,
    /// Too much to do.
    Overloaded = 1013,
    /// A message that this protocol does not have, or not here.
    BadRequest = 4400,
    /// The token is missing, wrong or has run out.
    Unauthenticated = 4401,
    /// The token does not allow this.
    Forbidden = 4403,
    /// No such session, or somebody else's.
    NotFound = 4404,
    /// The session was stopped because nobody worked in it.
    Idle = 4408,
    /// Another client drives.
    AnotherDriver = 4409,
    /// The session has ended.
    Ended = 4410,
    /// A limit of this user or this gateway is reached.
    Quota = 4429,
    /// The gateway failed.
    Internal = 4500,
    /// The gateway lost the link to the task.
    LinkLost = 4502,
    /// The task did not come up, or did not answer, in time.
    Timeout = 4504,
}

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Nothing: say why, where there is a why.
    Stop,
    /// Come back at once, after a moment's jitter: the gateway leaves in good order.
    Return,
    /// Come back at once; if that fails, back off from 0.5 s to 30 s with full jitter.
    Retry,
    /// Come back after a pause: back off from the start.
    BackOff,
    /// Get a newer token once and come back; stop when it happens again without `attached` between.
    Renew,
}

impl CloseCode {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::NotUtf8,
        Self::TooBig,
        Self::Restart,
        Self::Overloaded,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Idle,
        Self::AnotherDriver,
        Self::Ended,
        Self::Quota,
        Self::Internal,
        Self::LinkLost,
        Self::Timeout,
    ];

    /// The code with this number.
    #[must_use]
    pub fn from_u16(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == code)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// What a client does.
    #[must_use]
    pub const fn then(self) -> Then {
        match self {
            Self::Normal
            | Self::Protocol
            | Self::NotUtf8
            | Self::TooBig
            | Self::BadRequest
            | Self::Forbidden
            | Self::NotFound
            | Self::Idle
            | Self::AnotherDriver
            | Self::Ended
            | Self::Quota => Then::Stop,
            Self::GoingAway | Self::Restart => Then::Return,
            Self::Overloaded => Then::BackOff,
            Self::Unauthenticated => Then::Renew,
            Self::Internal | Self::LinkLost | Self::Timeout => Then::Retry,
        }
    }
}

/// The reason of a [`CloseCode::BadRequest`] that a client mends by itself: its input stream is not
/// known any more, and it comes back with another one.
pub const STREAM_FORGOTTEN: &str = "stream_forgotten";

/// What a client does after a close with this number, or with none at all.
#[must_use]
pub fn after(code: Option<u16>) -> Then {
    // A code that this version does not know, and a connection that just broke, are worth a retry.
    code.and_then(CloseCode::from_u16).map_or(Then::Retry, CloseCode::then)
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number_and_none_is_reserved() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_u16(code.number()), Some(code));
            assert!(![1005, 1006, 1015].contains(&code.number()));
        }
        assert_eq!(after(None), Then::Retry);
        assert_eq!(after(Some(4999)), Then::Retry);
        assert_eq!(after(Some(4409)), Then::Stop);
    }
}
