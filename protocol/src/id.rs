//! Names on the wire, each a type of its own: a user's id does not parse as a session's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {expected}")]
pub struct BadId {
    what: &'static str,
    expected: &'static str,
}

/// Declares an id that prints as `prefix_<32 hexadecimal digits>` and sorts by age.
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUID version 7, RFC 9562): later ones sort after earlier ones.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes, as they enter a signature or a token.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId {
                    what: concat!("a ", stringify!($name)),
                    expected: concat!("expected ", $prefix, "_ and 32 lower-case hexadecimal digits"),
                };
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or_else(|| bad.clone())?;
                // One spelling only: what is compared, logged and signed is the same text.
                if !is_lower_hex(digits, 32) {
                    return Err(bad);
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| bad)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

typed_id!(
    /// One shell from first request until its task is gone: `ses_` and 32 hexadecimal digits.
    SessionId,
    "ses"
);

/// Declares 128 random bits that print as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Takes 128 random bits.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// A fresh one, from the operating system's random numbers.
            #[must_use]
            pub fn random() -> Self {
                // Version 4 fixes six of the bits; two of them folded together leave none fixed.
                Self(Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { what: $what, expected: "expected 32 lower-case hexadecimal digits" };
                if !is_lower_hex(text, 32) {
                    return Err(bad);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| bad)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A client's page load or process: made once, never stored, so that a reconnect of the same
    /// page replaces its own older socket and nobody else's.
    ClientId,
    "a client id"
);

random_id!(
    /// One client's input: offsets count within it. Made per page load or process, never stored.
    InputStream,
    "an input stream"
);

/// Declares a counter that is a number on the wire.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// The n-th task of a session, from 1: fences everything left over from earlier ones.
    Launch
);
counter!(
    /// The n-th time that a bridge dials within its launch, from 1.
    Dial
);
counter!(
    /// An attachment as the bridge sees it. Never given twice on a link; 0 is never given.
    ChannelNumber
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_has_one_spelling() {
        let id = SessionId::generate();
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.parse::<SessionId>(), Ok(id));
        for wrong in ["", "ses_", &text.to_uppercase(), &text[4..], &format!("{text}0"), "usr_0"] {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn later_sessions_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..1000).map(|_| SessionId::generate().to_string()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn an_input_stream_round_trips_and_its_leading_zeros_stay() {
        let stream = InputStream::from_bits(7);
        assert_eq!(stream.to_string(), format!("{:0>32}", 7));
        assert_eq!(stream.to_string().parse(), Ok(stream));
        assert!("+0000000000000000000000000000007".parse::<InputStream>().is_err());
    }
}
