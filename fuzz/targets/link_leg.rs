//! Control messages of the link leg, from either side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shellgate_protocol::{FromBridge, Object, ToBridge};

/// A message that is understood means the same once it has been written again.
fn reads_back<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &[u8]) {
    if let Ok(Object(message)) = serde_json::from_slice::<Object<M>>(text) {
        let written = serde_json::to_vec(&message).expect("a message can be written");
        let Object(again) =
            serde_json::from_slice::<Object<M>>(&written).expect("what was written can be read");
        assert_eq!(again, message);
    }
}

fuzz_target!(|text: &[u8]| {
    reads_back::<FromBridge>(text);
    reads_back::<ToBridge>(text);
});
