//! A range of uids that a root gateway gives to users. Knows no user.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A range of uids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UidRange {
    first: u32,
    last: u32,
}

impl UidRange {
    /// A range; `None` where it is empty, begins among the system's own uids (below 1000), or
    /// reaches the two largest numbers, which are no uids.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Option<Self> {
        if first >= 1000 && first <= last && last < u32::MAX - 1 {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// As the standard library has it.
    #[must_use]
    pub fn get(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }
}

impl Default for UidRange {
    /// A range that systemd's table of uids leaves unused on every Linux system, and that fits a
    /// signed number.
    fn default() -> Self {
        Self { first: 1_900_000_000, last: 1_900_065_535 }
    }
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Why a text is not a range of uids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of uids from 1000 up")]
pub struct BadUidRange(String);

impl FromStr for UidRange {
    type Err = BadUidRange;

    fn from_str(text: &str) -> Result<Self, BadUidRange> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
        });
        parsed.ok_or_else(|| BadUidRange(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_off_root_and_the_system_and_the_numbers_that_are_no_uids() {
        assert_eq!("2000-3000".parse::<UidRange>().map(UidRange::get), Ok(2000..=3000));
        let default = UidRange::default();
        assert_eq!(default.to_string().parse(), Ok(default));
        for wrong in ["", "0-5", "999-2000", "3000-2000", "2000", "2000-4294967294", "a-b"] {
            assert!(wrong.parse::<UidRange>().is_err(), "{wrong}");
        }
    }
}
