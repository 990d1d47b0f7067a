//! What a gateway says when it says no: RFC 9457 problem details. Knows no transport.

use http::HeaderMap;
use http::header::RETRY_AFTER;
use serde::Deserialize;

/// A problem document, as much of it as is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// What kind of problem, in words.
    #[serde(default)]
    pub title: Option<String>,
    /// What it is about this time, in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// For machines.
    #[serde(default)]
    pub code: Option<String>,
    /// Seconds after which it may be tried again.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// Reads a problem; `None` where it is none.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// The seconds of a `Retry-After` header. A date is not read: the gateway sends none.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Words from outside, fit for a terminal: no control characters, at most 500 characters.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// What the system says about a failure, without its number: people know "Connection refused".
#[must_use]
pub fn in_words(text: &str) -> String {
    let words = text.rsplit_once(" (os error ").map_or(text, |(words, _)| words);
    plain(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_system_is_said_without_its_number() {
        assert_eq!(in_words("Connection refused (os error 111)"), "Connection refused");
        assert_eq!(in_words("no route\u{7}"), "no route");
    }

    #[test]
    fn a_problem_with_little_in_it_is_read_and_garbage_is_none() {
        let body = br#"{"type":"about:blank","title":"No","status":404,"code":"no_such_session"}"#;
        assert_eq!(Problem::parse(body).unwrap().code.as_deref(), Some("no_such_session"));
        assert_eq!(Problem::parse(b"<html>"), None);
    }
}
