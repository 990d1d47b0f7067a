//! What every provider on AWS shares: one configuration, one way to call, one kind of error. Knows no
//! service.
//!
//! Every call has a deadline, is a span that carries AWS's request id, and is named as IAM names it
//! (`ecs:RunTask`), so that a refusal says which permission is missing and a test can hold the
//! deployment's policies against the code.

#[cfg(feature = "aws")]
mod account;
#[cfg(feature = "aws")]
mod again;
#[cfg(feature = "aws")]
mod database;

use std::fmt;

#[cfg(feature = "aws")]
pub(crate) use self::account::call;
#[cfg(feature = "aws")]
pub use self::account::{Aws, AwsSettings};
#[cfg(feature = "aws")]
pub(crate) use self::again::{again, pause, random, share};

/// What kind of no it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// Too many calls; later it may be taken.
    Throttled,
    /// IAM says no: a permission is missing.
    Denied,
    /// AWS can't be reached, broke off, took too long, or failed inside.
    Unreachable,
    /// AWS understood the call and says no to it; [`AwsError::code`] says why.
    Refused,
}

/// A call that AWS did not answer as it should. `Display` is for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// The call, as IAM names it: `ecs:RunTask`.
    pub action: &'static str,
    /// What kind of no.
    pub kind: AwsErrorKind,
    /// AWS's own code, such as `AccessPointAlreadyExists`; empty where it gave none.
    pub code: String,
    /// AWS's own words; at most 1 KiB, without control characters.
    pub message: String,
    /// By which AWS's support finds it.
    pub request_id: Option<String>,
}

impl AwsError {
    /// AWS did what was asked, and what was to come of it did not come in time.
    pub(crate) fn late(action: &'static str, message: String) -> Self {
        let (kind, code) = (AwsErrorKind::Unreachable, String::new());
        Self { action, kind, code, message, request_id: None }
    }

    /// What a user who waits for it should know, in words that name nothing of AWS's.
    #[must_use]
    pub fn told(&self) -> &'static str {
        match self.is_retryable() {
            true => "AWS does not answer as it should; try again in some minutes",
            false => "this gateway is not set up right; its operator can see why",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            AwsErrorKind::Throttled | AwsErrorKind::Unreachable => true,
            AwsErrorKind::Denied | AwsErrorKind::Refused => false,
        }
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, code, message, .. } = self;
        match self.kind {
            AwsErrorKind::Throttled => write!(f, "{action}: AWS takes no more calls for now"),
            AwsErrorKind::Denied => {
                let missing = missing(message).unwrap_or(action);
                write!(f, "{action}: the gateway's role must be allowed {missing}: {message}")
            }
            AwsErrorKind::Unreachable | AwsErrorKind::Refused if code.is_empty() => {
                write!(f, "{action}: {message}")
            }
            AwsErrorKind::Unreachable | AwsErrorKind::Refused => {
                write!(f, "{action}: {code}: {message}")
            }
        }?;
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AwsError {}

/// Which permission IAM misses: a call may need others than its own, such as `iam:PassRole`.
fn missing(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    rest.split_whitespace().next()
}

/// AWS's words, as they may stand in a log line and on a page.
pub(crate) fn plain(text: &str) -> String {
    let mut words: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1024).collect();
    while words.len() > 1024 {
        words.pop();
    }
    words
}
