//! Binary messages of the client leg, from either side.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shellgate_protocol::limits::{INPUT_FRAME_MAX, OUTPUT_FRAME_MAX};
use shellgate_protocol::{Frame, Kind, Offset};

fuzz_target!(|message: &[u8]| {
    let message = Bytes::copy_from_slice(message);
    let Ok(frame) = Frame::parse(message.clone()) else {
        assert!(Frame::from_client(message.clone()).is_err());
        assert!(Frame::to_client(message).is_err());
        return;
    };
    assert_eq!(frame.to_bytes(), message, "what was parsed is what was sent");
    assert!(frame.end() <= Offset::MAX);
    assert_eq!(frame.end().since(frame.offset), frame.payload.len() as u64);
    if let Ok(input) = Frame::from_client(message.clone()) {
        assert!(input.payload.len() <= INPUT_FRAME_MAX);
        assert!(matches!(input.kind, Kind::Data | Kind::Ack));
    }
    if let Ok(output) = Frame::to_client(message) {
        assert!(output.payload.len() <= OUTPUT_FRAME_MAX);
        assert_ne!(output.kind, Kind::Ack);
    }
});
