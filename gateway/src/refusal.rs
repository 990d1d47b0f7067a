//! Every no that a caller hears, and the one table that maps it to an HTTP status, a close code
//! and a name for machines. What it says is all that a caller learns.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shellgate_protocol::{CloseCode, SessionId};

use crate::admission::{Denied, Reason, Scope};
use crate::auth::{AuthError, UserId};
use crate::clock;
use crate::store::StoreError;

/// A problem document's media type (RFC 9457, section 3).
pub const PROBLEM: &str = "application/problem+json";

/// A no.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Who is calling could not be settled.
    #[error("not authenticated: {0}")]
    Auth(#[from] AuthError),
    /// They may not do this.
    #[error("not allowed: {0}")]
    Forbidden(&'static str),
    /// It does not exist, or belongs to somebody else: callers can't tell which.
    #[error("session {0} does not exist or belongs to someone else")]
    NoSuchSession(SessionId),
    /// The request is not as it must be.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The request's body is not said to be JSON.
    #[error("a body that is not said to be JSON")]
    NotJson,
    /// The request's body is too large.
    #[error("a body that is too large")]
    TooLarge,
    /// The request is no WebSocket upgrade.
    #[error("no upgrade: {0}")]
    NotAnUpgrade(&'static str),
    /// There is no such template.
    #[error("there is no template {0:?}")]
    NoSuchTemplate(String),
    /// A session of that name is being stopped.
    #[error("session {0} is being stopped")]
    Stopping(SessionId),
    /// The user is being removed.
    #[error("{0} is being removed")]
    BeingRemoved(UserId),
    /// Nothing of this user is here.
    #[error("there is nothing of {0}")]
    NoSuchUser(UserId),
    /// Nobody has asked for such a removal, or long ago.
    #[error("there is no removal {0:?}")]
    NoSuchRemoval(String),
    /// A limit is reached.
    #[error("denied: {0:?}")]
    Denied(Denied),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] StoreError),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    GoingAway,
    /// The session's keeper is too busy to hear.
    #[error("the session's keeper does not answer")]
    Timeout,
}

impl From<JsonRejection> for Refusal {
    fn from(why: JsonRejection) -> Self {
        match why {
            JsonRejection::MissingJsonContentType(_) => Self::NotJson,
            why if why.status() == StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            why => Self::BadRequest(why.body_text()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooManySessions => Denied::new(Reason::TooManySessions).into(),
            StoreError::Full => Denied::new(Reason::GatewayFull).into(),
            error => Self::Store(error),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// An RFC 9457 problem document.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` is the problem's type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong and what to do, for a person.
    pub detail: String,
    /// What went wrong, for a machine: the table in `docs/protocol.md` has them all.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    pub code: Cow<'static, str>,
    /// Seconds after which it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// What somebody reads whose request has failed by no fault of theirs.
pub const FAILED: &str = "The gateway failed; its operator finds why in its log.";

/// What somebody can do whose credential was not accepted: a sentence for each group of codes, which
/// says no more than the code.
#[must_use]
pub fn what_to_do(error: &AuthError) -> &'static str {
    match error {
        AuthError::NoToken => "Send a token: Authorization: Bearer, and a JSON Web Token.",
        AuthError::Header(_) => "Send one Authorization header: Bearer, and a JSON Web Token.",
        AuthError::Malformed(_)
        | AuthError::Algorithm
        | AuthError::UnknownIssuer
        | AuthError::UnknownKey
        | AuthError::Signature
        | AuthError::Audience
        | AuthError::Expired
        | AuthError::Times(_) => "Sign in again: the token was not accepted.",
        AuthError::NotYetValid => "The token does not hold yet; try again in a moment.",
        AuthError::AnotherUser => "The new token is not this user's: sign in as the same one.",
        AuthError::Subprotocols(_) => "Offer shellgate.v1, and at most one ticket beside it.",
        AuthError::Ticket(_) | AuthError::TicketExpired => {
            "Get another ticket: this one was not accepted."
        }
        AuthError::Origin(_) => {
            "This web page's origin is not among listen.origins of the gateway."
        }
        AuthError::KeysUnavailable => {
            "The keys that tokens are checked with can't be had; try again in a moment."
        }
        // Bridges hear no sentences.
        AuthError::Enrolment | AuthError::Proof => "The bridge was not accepted.",
        AuthError::NoRandomness => FAILED,
    }
}

impl Refusal {
    /// What the caller learns: status, close code, a name for machines.
    #[must_use]
    pub fn wire(&self) -> (StatusCode, CloseCode, &'static str) {
        match self {
            // A newer token would not help.
            Self::Auth(error @ AuthError::Origin(_)) => {
                (StatusCode::FORBIDDEN, CloseCode::Forbidden, error.code())
            }
            Self::Auth(error) => match error.fault() {
                crate::auth::Fault::Caller => {
                    (StatusCode::UNAUTHORIZED, CloseCode::Unauthenticated, error.code())
                }
                crate::auth::Fault::Issuer | crate::auth::Fault::Gateway => {
                    (StatusCode::SERVICE_UNAVAILABLE, CloseCode::Overloaded, error.code())
                }
            },
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, CloseCode::Forbidden, "forbidden"),
            Self::NoSuchSession(_) => {
                (StatusCode::NOT_FOUND, CloseCode::NotFound, "no_such_session")
            }
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, CloseCode::BadRequest, "bad_request"),
            Self::NotJson => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, CloseCode::BadRequest, "not_json")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, CloseCode::TooBig, "too_large"),
            Self::NotAnUpgrade(_) => {
                (StatusCode::UPGRADE_REQUIRED, CloseCode::BadRequest, "upgrade_required")
            }
            Self::NoSuchTemplate(_) => {
                (StatusCode::BAD_REQUEST, CloseCode::BadRequest, "no_such_template")
            }
            Self::Stopping(_) => (StatusCode::CONFLICT, CloseCode::Overloaded, "session_stopping"),
            Self::BeingRemoved(_) => {
                (StatusCode::CONFLICT, CloseCode::Overloaded, "user_being_removed")
            }
            Self::NoSuchUser(_) => (StatusCode::NOT_FOUND, CloseCode::NotFound, "no_such_user"),
            Self::NoSuchRemoval(_) => {
                (StatusCode::NOT_FOUND, CloseCode::NotFound, "no_such_removal")
            }
            Self::Denied(denied) => match denied.scope {
                Scope::User => (StatusCode::TOO_MANY_REQUESTS, CloseCode::Quota, denied.code),
                Scope::Gateway => {
                    (StatusCode::SERVICE_UNAVAILABLE, CloseCode::Overloaded, denied.code)
                }
            },
            Self::Store(error) if error.is_retryable() => {
                (StatusCode::SERVICE_UNAVAILABLE, CloseCode::Overloaded, "store_unavailable")
            }
            Self::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, CloseCode::Internal, "internal"),
            Self::GoingAway => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::Restart, "going_away"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, CloseCode::Timeout, "session_busy"),
        }
    }

    /// What went wrong and what to do, for the caller.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Auth(error) => what_to_do(error).into(),
            Self::Forbidden(what) => format!("The token does not allow this: {what}."),
            Self::NoSuchSession(id) => format!("You have no session {id}."),
            Self::BadRequest(what) => format!("The request is not as it must be: {what}."),
            Self::NotJson => "Send the body with Content-Type: application/json.".into(),
            Self::TooLarge => "The body is larger than any request needs.".into(),
            Self::NotAnUpgrade(lacks) => format!("The request opens no WebSocket: {lacks}."),
            Self::NoSuchTemplate(name) => format!("There is no template {name:?} here."),
            Self::Stopping(id) => {
                format!("Session {id} has that name and is being stopped; try again in a moment.")
            }
            Self::BeingRemoved(_) => {
                "You are being removed here: your sessions and files are deleted. \
                Until that is done you get no other session."
                    .into()
            }
            Self::NoSuchUser(user) => format!("There is nothing of {user} here."),
            Self::NoSuchRemoval(id) => {
                format!("There is no removal {id:?}: ask for it, or it was done a month ago.")
            }
            Self::Denied(denied) => denied.detail(),
            Self::Store(error) if error.is_retryable() => {
                "The gateway can't reach its store; try again in a moment.".into()
            }
            Self::Store(_) => FAILED.into(),
            Self::GoingAway => "The gateway is restarting; try again in a moment.".into(),
            Self::Timeout => "The session is too busy to hear it; try again.".into(),
        }
    }

    /// Whether something failed here that nobody else tells the operator of. Limits that are reached
    /// and keys that can't be had are no news with every request that they turn away: anybody can
    /// send those without end, and without a credential.
    #[must_use]
    pub fn is_a_failure(&self) -> bool {
        match self {
            Self::Auth(error) => error.fault() == crate::auth::Fault::Gateway,
            Self::Store(_) | Self::Timeout => true,
            Self::Forbidden(_)
            | Self::NoSuchSession(_)
            | Self::BadRequest(_)
            | Self::NotJson
            | Self::TooLarge
            | Self::NotAnUpgrade(_)
            | Self::NoSuchTemplate(_)
            | Self::Stopping(_)
            | Self::BeingRemoved(_)
            | Self::NoSuchUser(_)
            | Self::NoSuchRemoval(_)
            | Self::Denied(_)
            | Self::GoingAway => false,
        }
    }

    /// After what time the caller may try again, with jitter; `None` where that is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let base = match self {
            Self::Denied(denied) => denied.retry_after?,
            Self::Stopping(_) | Self::GoingAway | Self::Timeout => Duration::from_secs(1),
            // Files take their time.
            Self::BeingRemoved(_) => Duration::from_secs(30),
            Self::Store(error) if error.is_retryable() => Duration::from_secs(2),
            Self::Auth(error) if error.is_retryable() => Duration::from_secs(2),
            Self::Auth(_)
            | Self::Forbidden(_)
            | Self::NoSuchSession(_)
            | Self::BadRequest(_)
            | Self::NotJson
            | Self::TooLarge
            | Self::NotAnUpgrade(_)
            | Self::NoSuchTemplate(_)
            | Self::NoSuchUser(_)
            | Self::NoSuchRemoval(_)
            | Self::Store(_) => return None,
        };
        Some(base + clock::chance(base / 2 + Duration::from_secs(1)))
    }

    /// The problem document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, _, code) = self.wire();
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail(),
            code: code.into(),
            retry_after: self.retry_after().map(|after| after.as_secs().max(1)),
        }
    }
}

/// An error that no handler of ours has made, as a problem document with the same status.
#[must_use]
pub fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let problem = Problem {
        kind: "about:blank",
        detail: format!("{title}."),
        // As all codes are spelled: `not_found`, `method_not_allowed`.
        code: title.to_ascii_lowercase().replace(' ', "_").into(),
        title,
        status: status.as_u16(),
        retry_after: None,
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Response::from_parts(parts, body.into())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let (status, _, code) = self.wire();
        if self.is_a_failure() {
            tracing::warn!(code, error = %self, "refused");
        } else {
            tracing::debug!(code, error = %self, "refused");
        }
        let retry_after = problem.retry_after;
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_of_credentials_that_fail_has_a_sentence_of_its_own() {
        let groups = [
            AuthError::NoToken,
            AuthError::Header("stands twice"),
            AuthError::Expired,
            AuthError::NotYetValid,
            AuthError::Subprotocols("are none"),
            AuthError::TicketExpired,
            AuthError::Origin("is missing"),
            AuthError::KeysUnavailable,
        ];
        let sentences: std::collections::HashSet<_> =
            groups.iter().cloned().map(|error| Refusal::from(error).detail()).collect();
        assert_eq!(sentences.len(), groups.len());
    }
    #[test]
    fn what_anybody_can_bring_about_does_not_fill_the_log() {
        assert!(Refusal::from(AuthError::NoRandomness).is_a_failure());
        assert!(Refusal::Timeout.is_a_failure());
        let full = Denied::new(crate::admission::Reason::TooManySockets);
        for quiet in [full.into(), AuthError::KeysUnavailable.into(), Refusal::GoingAway] {
            assert!(!quiet.is_a_failure(), "{quiet}");
            assert!(quiet.wire().0.is_server_error());
        }
    }
}
