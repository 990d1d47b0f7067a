//! Why a credential was not accepted. Knows no HTTP: the gateway's table of refusals does.

use super::jwt::{Flaw, Part};

/// Whose doing a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The credential, or the request that carried it.
    Caller,
    /// The issuer, whose signing keys can't be had.
    Issuer,
    /// This machine.
    Gateway,
}

/// Why a credential was not accepted. `Display` and `Debug` are for operators and contain nothing
/// of the credential; [`AuthError::code`] is all that a caller learns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("there is no token")]
    NoToken,
    /// The `Authorization` header is repeated, of another scheme, or not to be parsed.
    #[error("the Authorization header {0}")]
    Header(&'static str),
    /// The token is not a JSON Web Token of the form that is accepted here.
    #[error("the token {0}")]
    Malformed(Flaw),
    /// Its algorithm is unknown, not allowed for its issuer, or not its key's.
    #[error("the token's algorithm is not one that its issuer and key allow")]
    Algorithm,
    /// It is from an issuer that is not configured.
    #[error("the token's issuer is not configured")]
    UnknownIssuer,
    /// It names a key that its issuer does not have, or none where there are several.
    #[error("the token's key is not among its issuer's")]
    UnknownKey,
    /// Its signature does not hold.
    #[error("the token's signature does not hold")]
    Signature,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It has run out.
    #[error("the token has run out")]
    Expired,
    /// It holds from a later time on.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its times make no sense together, or it lives longer than its issuer may allow.
    #[error("the token's times {0}")]
    Times(&'static str),
    /// It belongs to another user than the one who is attached.
    #[error("the new token belongs to another user")]
    AnotherUser,
    /// Its issuer's keys can't be had at present.
    #[error("the issuer's keys can't be had: its key server does not answer as it must")]
    KeysUnavailable,
    /// The offered WebSocket subprotocols are not a list that this gateway takes.
    #[error("the offered subprotocols {0}")]
    Subprotocols(&'static str),
    /// The ticket is unknown, used up, or made out for something else.
    #[error("the ticket {0}")]
    Ticket(&'static str),
    /// The ticket, or the token behind it, has run out.
    #[error("the ticket has run out")]
    TicketExpired,
    /// The page that asks is not on the list, or says nothing where it must.
    #[error("the origin {0}")]
    Origin(&'static str),
    /// The enrolment token is not that of this session and launch.
    #[error("the enrolment token is not that of this session and launch")]
    Enrolment,
    /// A bridge's signature over the link's transcript does not hold.
    #[error("the bridge's proof does not hold")]
    Proof,
    /// The operating system has no random numbers.
    #[error("there are no random numbers to be had")]
    NoRandomness,
}

impl AuthError {
    /// What the caller may read: one constant word, never a detail of a key.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken => "token_missing",
            Self::Header(_) => "authorization_malformed",
            Self::Malformed(flaw) => match flaw {
                Flaw::TooLong => "token_too_long",
                Flaw::Parts | Flaw::Base64(_) | Flaw::Json(_) | Flaw::Duplicate(_) => {
                    "token_malformed"
                }
                Flaw::Member(Part::Header, _) => "token_header",
                Flaw::Member(Part::Claims | Part::Signature, _) => "token_claims",
            },
            Self::Algorithm => "token_algorithm",
            Self::UnknownIssuer => "token_issuer",
            Self::UnknownKey => "token_key",
            Self::Signature => "token_signature",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Times(_) => "token_times",
            Self::AnotherUser => "token_user",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Subprotocols(_) => "subprotocols_malformed",
            Self::Ticket(_) => "ticket_refused",
            Self::TicketExpired => "ticket_expired",
            Self::Origin(_) => "origin_refused",
            Self::Enrolment => "enrolment_refused",
            Self::Proof => "proof_refused",
            Self::NoRandomness => "internal",
        }
    }

    /// Whose doing it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoToken
            | Self::Header(_)
            | Self::Malformed(_)
            | Self::Algorithm
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::Signature
            | Self::Audience
            | Self::Expired
            | Self::NotYetValid
            | Self::Times(_)
            | Self::AnotherUser
            | Self::Subprotocols(_)
            | Self::Ticket(_)
            | Self::TicketExpired
            | Self::Origin(_)
            | Self::Enrolment
            | Self::Proof => Fault::Caller,
            Self::KeysUnavailable => Fault::Issuer,
            Self::NoRandomness => Fault::Gateway,
        }
    }

    /// Whether the same credential may be accepted later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotYetValid | Self::KeysUnavailable | Self::NoRandomness => true,
            Self::NoToken
            | Self::Header(_)
            | Self::Malformed(_)
            | Self::Algorithm
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::Signature
            | Self::Audience
            | Self::Expired
            | Self::Times(_)
            | Self::AnotherUser
            | Self::Subprotocols(_)
            | Self::Ticket(_)
            | Self::TicketExpired
            | Self::Origin(_)
            | Self::Enrolment
            | Self::Proof => false,
        }
    }
}

impl From<Flaw> for AuthError {
    fn from(flaw: Flaw) -> Self {
        Self::Malformed(flaw)
    }
}
