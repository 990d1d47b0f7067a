//! The golden messages of `vectors/*.json`, which the TypeScript tests read as well: both sides
//! must make the same of them.

#![allow(clippy::unwrap_used, reason = "a vector that is not as it must be fails its test")]

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shellgate_protocol::close::{Then, after};
use shellgate_protocol::frame::BadFrame;
use shellgate_protocol::{
    CloseCode, Frame, FromBridge, FromClient, Kind, LinkFrame, Object, ToBridge, ToClient,
};

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn cases<'a>(file: &'a Value, list: &str) -> &'a Vec<Value> {
    let cases = file[list].as_array().unwrap();
    assert!(!cases.is_empty(), "{list} has no cases");
    cases
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte in {hex}");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn message(case: &Value) -> Bytes {
    let mut bytes = unhex(case["hex"].as_str().unwrap());
    if let Some(fill) = case.get("fill") {
        let byte = unhex(fill["byte"].as_str().unwrap())[0];
        bytes.resize(bytes.len() + fill["count"].as_u64().unwrap() as usize, byte);
    }
    bytes.into()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Data => "data",
        Kind::Replay => "replay",
        Kind::Keyframe => "keyframe",
        Kind::Ack => "ack",
        Kind::Applied => "applied",
    }
}

fn bad_name(bad: BadFrame) -> &'static str {
    match bad {
        BadFrame::Short(_) => "short",
        BadFrame::Kind(_) => "kind",
        BadFrame::Direction(_) => "direction",
        BadFrame::Offset => "offset",
        BadFrame::Length { .. } => "length",
    }
}

fn check_frame(name: &str, expected: &Value, parsed: Result<Frame, BadFrame>, message: &Bytes) {
    match parsed {
        Err(bad) => assert_eq!(expected, &json!({ "bad": bad_name(bad) }), "{name}"),
        Ok(frame) => {
            assert_eq!(expected["kind"], kind_name(frame.kind), "{name}");
            assert_eq!(expected["offset"], frame.offset.get(), "{name}");
            if let Some(payload) = expected.get("payload") {
                assert_eq!(unhex(payload.as_str().unwrap()), frame.payload, "{name}");
            }
            assert_eq!(&frame.to_bytes(), message, "{name}: written as it was read");
        }
    }
}

#[test]
fn frames_are_read_and_written_as_the_vectors_say() {
    let file = vectors("frames");
    for case in cases(&file, "frames") {
        let name = case["name"].as_str().unwrap();
        let message = message(case);
        check_frame(name, &case["from_client"], Frame::from_client(message.clone()), &message);
        check_frame(name, &case["to_client"], Frame::to_client(message.clone()), &message);
    }
}

#[test]
fn link_frames_are_read_and_written_as_the_vectors_say() {
    let file = vectors("frames");
    for case in cases(&file, "link_frames") {
        let name = case["name"].as_str().unwrap();
        let message = message(case);
        match LinkFrame::parse(message.clone()) {
            Err(bad) => assert_eq!(case["bad"], bad_name(bad), "{name}"),
            Ok(frame) => {
                assert_eq!(case["channel"], frame.channel.0, "{name}");
                assert_eq!(unhex(case["inner"].as_str().unwrap()), frame.inner, "{name}");
                assert_eq!(frame.to_bytes(), message, "{name}: written as it was read");
            }
        }
    }
}

fn check_control<M: DeserializeOwned + Serialize + Debug + PartialEq>(file: &Value, list: &str) {
    for case in cases(file, list) {
        let name = format!("{list}: {}", case["name"].as_str().unwrap());
        let parsed = serde_json::from_str::<Object<M>>(case["json"].as_str().unwrap());
        match (case.get("means"), parsed) {
            (Some(means), Ok(Object(message))) => {
                assert_eq!(&serde_json::to_value(&message).unwrap(), means, "{name}");
                // What is written means the same when it is read again.
                assert_eq!(serde_json::from_value::<M>(means.clone()).unwrap(), message, "{name}");
            }
            (None, Err(_)) => assert!(case["bad"].is_string(), "{name} says no reason"),
            (Some(_), Err(error)) => panic!("{name} was refused: {error}"),
            (None, Ok(message)) => panic!("{name} was taken: {message:?}"),
        }
    }
}

#[test]
fn control_messages_of_the_client_leg_mean_what_the_vectors_say() {
    let file = vectors("client_leg");
    check_control::<FromClient>(&file, "from_client");
    check_control::<ToClient>(&file, "to_client");
}

#[test]
fn control_messages_of_the_link_leg_mean_what_the_vectors_say() {
    let file = vectors("link_leg");
    check_control::<FromBridge>(&file, "from_bridge");
    check_control::<ToBridge>(&file, "to_bridge");
}

fn then_name(then: Then) -> &'static str {
    match then {
        Then::Stop => "stop",
        Then::Return => "return",
        Then::Retry => "retry",
        Then::BackOff => "back_off",
        Then::Renew => "renew",
    }
}

fn number(case: &Value) -> Option<u16> {
    case["code"].as_u64().map(|code| code.try_into().unwrap())
}

#[test]
fn close_codes_are_followed_as_the_vectors_say() {
    let file = vectors("close");
    let known = cases(&file, "codes");
    assert_eq!(known.len(), CloseCode::ALL.len(), "every code has its vector");
    for case in known {
        let code = CloseCode::from_u16(number(case).unwrap()).unwrap();
        assert_eq!(case["name"], format!("{code:?}"));
        assert_eq!(case["then"], then_name(code.then()), "{code}");
        assert_eq!(after(number(case)), code.then());
    }
    for case in cases(&file, "unknown") {
        assert_eq!(number(case).and_then(CloseCode::from_u16), None, "{case}");
        assert_eq!(case["then"], then_name(after(number(case))), "{case}");
    }
}
