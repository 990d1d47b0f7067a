//! What a bridge signs and a gateway derives when a link is made, as bytes. Both sides take these
//! bytes from here; the cryptography is theirs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::id::{Dial, Launch, SessionId};

/// Label under which a bridge signs.
const PROOF_LABEL: &[u8] = b"shellgate link proof v1\0";

/// Label under which the enrolment token is derived.
const TOKEN_LABEL: &[u8] = b"shellgate enrolment token v1\0";

/// Label of the exporter that binds a proof to its TLS channel (RFC 9266, section 2). Its context is
/// empty, and it is 32 bytes long.
pub const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Bytes of fixed number, as unpadded base64url (RFC 4648, section 5) on the wire.
macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
                let len = bytes.len();
                bytes.try_into().map(Self).map_err(|_| {
                    serde::de::Error::custom(format!("expected {} bytes, not {len}", $len))
                })
            }
        }
    };
}

fixed_bytes!(
    /// A nonce, a public key, an exporter's value: 32 bytes.
    Bytes32,
    32
);
fixed_bytes!(
    /// An Ed25519 signature: 64 bytes.
    Bytes64,
    64
);

/// Bytes of any number, as unpadded base64url on the wire. `Debug` shows how many, not which.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Opaque(pub Vec<u8>);

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Opaque {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        URL_SAFE_NO_PAD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The bytes that a bridge signs: a fixed label, both nonces, session, launch, dial, and the
/// channel binding (on TLS the exporter of RFC 9266, on a Unix socket nothing).
#[must_use]
pub fn transcript(
    bridge_nonce: &Bytes32,
    gateway_nonce: &Bytes32,
    session: SessionId,
    launch: Launch,
    dial: Dial,
    binding: Option<&Bytes32>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend_from_slice(PROOF_LABEL);
    bytes.extend_from_slice(&bridge_nonce.0);
    bytes.extend_from_slice(&gateway_nonce.0);
    bytes.extend_from_slice(session.as_bytes());
    bytes.extend_from_slice(&launch.0.to_be_bytes());
    bytes.extend_from_slice(&dial.0.to_be_bytes());
    // Every part before this one has a fixed length, so no two transcripts share their bytes.
    bytes.push(u8::from(binding.is_some()));
    if let Some(binding) = binding {
        bytes.extend_from_slice(&binding.0);
    }
    bytes
}

/// The bytes whose HMAC-SHA-256 under the gateway's key is the enrolment token of one launch.
#[must_use]
pub fn token_message(session: SessionId, launch: Launch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(TOKEN_LABEL);
    bytes.extend_from_slice(session.as_bytes());
    bytes.extend_from_slice(&launch.0.to_be_bytes());
    bytes
}

/// A token or a ticket as text: unpadded base64url.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of such a text; `None` where it is anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_transcript_counts() {
        let session = SessionId::generate();
        let [a, b] = [Bytes32([1; 32]), Bytes32([2; 32])];
        let all = [
            transcript(&a, &b, session, Launch(1), Dial(1), None),
            transcript(&b, &a, session, Launch(1), Dial(1), None),
            transcript(&a, &b, SessionId::generate(), Launch(1), Dial(1), None),
            transcript(&a, &b, session, Launch(2), Dial(1), None),
            transcript(&a, &b, session, Launch(1), Dial(2), None),
            transcript(&a, &b, session, Launch(1), Dial(1), Some(&a)),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_key_of_the_wrong_length_does_not_parse() {
        assert!(serde_json::from_str::<Bytes32>("\"AAAA\"").is_err());
        let text = serde_json::to_string(&Bytes32([7; 32])).unwrap();
        assert_eq!(serde_json::from_str::<Bytes32>(&text).unwrap(), Bytes32([7; 32]));
    }
}
