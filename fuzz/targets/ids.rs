//! Ids, tokens and sizes as they stand in paths, subprotocols, headers and queries.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use shellgate_protocol::id::{ClientId, InputStream};
use shellgate_protocol::{Offset, SessionId, TerminalSize, enrolment};

/// An id has one spelling: what is compared, logged and signed is the same text.
fn has_one_spelling<I: FromStr + Display + Debug>(text: &str) {
    if let Ok(id) = text.parse::<I>() {
        assert_eq!(id.to_string(), text);
    }
}

fuzz_target!(|text: &str| {
    has_one_spelling::<SessionId>(text);
    has_one_spelling::<ClientId>(text);
    has_one_spelling::<InputStream>(text);
    if let Some(bytes) = enrolment::decode(text) {
        assert_eq!(enrolment::encode(&bytes), text);
    }
    if let Ok(offset) = serde_json::from_str::<Offset>(text) {
        assert!(offset <= Offset::MAX);
    }
    if let Ok(size) = serde_json::from_str::<TerminalSize>(text) {
        assert_eq!(TerminalSize::new(size.cols(), size.rows()), Some(size));
    }
});
