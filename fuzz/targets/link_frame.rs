//! Binary messages of the link leg: a channel's number and a client's frame.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shellgate_protocol::{Frame, LinkFrame};

fuzz_target!(|message: &[u8]| {
    let message = Bytes::copy_from_slice(message);
    let Ok(link) = LinkFrame::parse(message.clone()) else { return };
    assert_eq!(link.to_bytes(), message, "what was parsed is what was sent");
    if let Ok(frame) = Frame::parse(link.inner.clone()) {
        assert_eq!(frame.to_bytes(), link.inner);
    }
});
