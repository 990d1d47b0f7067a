//! Positions in a stream, and what is left of a message that overlaps what is known already.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A byte position in one launch's output, or in one client's input stream.
///
/// Stays below 2^53, so that JSON numbers and TypeScript carry it exactly; every parser of
/// outside bytes checks that.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Offset(u64);

impl Offset {
    /// The first byte.
    pub const ZERO: Self = Self(0);

    /// The largest offset: 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// An offset; `None` at 2^53 and beyond.
    #[must_use]
    pub const fn new(at: u64) -> Option<Self> {
        if at <= Self::MAX.0 { Some(Self(at)) } else { None }
    }

    /// The position as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `len` bytes on, held at [`Offset::MAX`]: at 1 GiB a second it is 97 days away.
    #[must_use]
    pub const fn plus(self, len: u64) -> Self {
        let sum = self.0.saturating_add(len);
        if sum > Self::MAX.0 { Self::MAX } else { Self(sum) }
    }

    /// Bytes from `earlier` up to here; 0 where `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Offset> for u64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl TryFrom<u64> for Offset {
    type Error = String;

    fn try_from(at: u64) -> Result<Self, String> {
        Self::new(at).ok_or_else(|| format!("an offset lies below 2^53, not at {at}"))
    }
}

/// How a message that starts at some offset meets what its receiver has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The first so many bytes are known already (perhaps none); the rest follows on.
    New {
        /// Bytes to leave out.
        skip: usize,
    },
    /// All of it is known already.
    Known,
    /// Bytes are missing between what is known and this message.
    Missing,
}

/// Lays a message of `len` bytes at `start` against a stream that is known up to `known`.
#[must_use]
pub fn overlap(known: Offset, start: Offset, len: usize) -> Overlap {
    if start > known {
        return Overlap::Missing;
    }
    let skip = known.since(start);
    // A message without bytes at the known end repeats nothing.
    if skip > len as u64 || (skip == len as u64 && len > 0) {
        Overlap::Known
    } else {
        // `skip` is at most `len`, which is a usize.
        Overlap::New { skip: skip as usize }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cutting_of_a_stream_with_repeats_gives_each_byte_once(
            total in 1usize..500, cuts in proptest::collection::vec((0usize..500, 0usize..64), 1..200)
        ) {
            let mut known = Offset::ZERO;
            let mut taken = Vec::new();
            for (start, len) in cuts {
                let (start, len) = (start.min(total), len.min(total - start.min(total)));
                match overlap(known, Offset(start as u64), len) {
                    Overlap::New { skip } => {
                        taken.extend(start + skip..start + len);
                        known = Offset((start + len) as u64);
                    }
                    Overlap::Known => prop_assert!(start as u64 + len as u64 <= known.get()),
                    Overlap::Missing => prop_assert!(start as u64 > known.get()),
                }
            }
            prop_assert_eq!(taken, (0..known.get() as usize).collect::<Vec<_>>());
        }
    }

    #[test]
    fn offsets_end_below_2_to_the_53() {
        assert_eq!(Offset::new(1 << 53), None);
        assert_eq!(Offset::MAX.plus(1), Offset::MAX);
        assert!(serde_json::from_str::<Offset>("9007199254740992").is_err());
        assert_eq!(serde_json::from_str::<Offset>("9007199254740991").unwrap(), Offset::MAX);
    }
}
