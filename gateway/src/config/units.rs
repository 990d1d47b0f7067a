//! Durations, sizes and shares of a processor as people write them: always with a unit. Knows no key.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuantity(String);

/// A duration: `90s`, `10m`, `1h30m`; units `ms`, `s`, `m`, `h`, `d`, the larger ones first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

/// The units of a duration in milliseconds, the larger ones first.
const PERIOD_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Period {
    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes.
    #[must_use]
    pub const fn mins(minutes: u64) -> Self {
        Self::secs(minutes * 60)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::mins(hours * 60)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Made of whole milliseconds below 2^64, so nothing is lost.
        let mut left = self.0.as_millis() as u64;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in PERIOD_UNITS {
            if left >= millis {
                write!(f, "{}{unit}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl FromStr for Period {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || BadQuantity(format!("{text:?} is not a duration"));
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadQuantity(format!("{text:?} has no unit (90s? 90m?)")));
        }
        let mut left = text;
        let mut units = PERIOD_UNITS.iter();
        let mut total: u64 = 0;
        if text.is_empty() {
            return Err(bad());
        }
        while !left.is_empty() {
            let (number, rest) = number(left).ok_or_else(bad)?;
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (unit, rest) = rest.split_at(end);
            // `units` only moves on: a unit that comes twice, or after a smaller one, is not found.
            let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
            total =
                number.checked_mul(*millis).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
            left = rest;
        }
        Ok(Self::millis(total))
    }
}

/// An amount of memory or of bytes on the wire: `64KiB`, `1MiB`, `512B`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// The units of a size in bytes, the larger ones first.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many times 1024 KiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// So many times 1024 MiB.
    #[must_use]
    pub const fn gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// In bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, bytes): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = SIZE_UNITS.iter().find(whole).unwrap_or(&SIZE_UNITS[4]);
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl FromStr for ByteSize {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || BadQuantity(format!("{text:?} is not a size"));
        let (number, unit) = number(text).ok_or_else(bad)?;
        if unit.is_empty() {
            return Err(BadQuantity(format!("{text:?} has no unit ({text}KiB? {text}MiB?)")));
        }
        let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        number.checked_mul(*bytes).map(Self).ok_or_else(bad)
    }
}

/// A share of the processor: `0.5cores`, `1core`, `500m` (thousandths of a core).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Cores(u32);

impl Cores {
    /// So many thousandths of a core.
    #[must_use]
    pub const fn millis(millis: u32) -> Self {
        Self(millis)
    }

    /// In thousandths of a core.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1000 => f.write_str("1core"),
            millis if millis.is_multiple_of(1000) => write!(f, "{}cores", millis / 1000),
            millis => write!(f, "{millis}m"),
        }
    }
}

impl FromStr for Cores {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || BadQuantity(format!("{text:?} is not a share of the processor"));
        let (whole, rest) = number(text).ok_or_else(bad)?;
        let (thousandths, unit) = match rest.strip_prefix('.') {
            Some(rest) => {
                let (_, unit) = number(rest).ok_or_else(bad)?;
                let digits = &rest[..rest.len() - unit.len()];
                if digits.len() > 3 {
                    return Err(BadQuantity(format!("{text:?} is finer than a thousandth")));
                }
                (format!("{digits:0<3}").parse::<u64>().map_err(|_| bad())?, unit)
            }
            None => (0, rest),
        };
        let millis = match unit {
            "core" | "cores" => whole.checked_mul(1000).and_then(|n| n.checked_add(thousandths)),
            "m" if !rest.starts_with('.') => Some(whole),
            "" => return Err(BadQuantity(format!("{text:?} has no unit ({text}cores?)"))),
            _ => None,
        };
        millis.and_then(|millis| u32::try_from(millis).ok()).map(Self).ok_or_else(bad)
    }
}

/// The number that a text begins with, and the rest of it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Makes a quantity a text for serde.
macro_rules! as_text {
    ($($name:ident)+) => {$(
        impl TryFrom<String> for $name {
            type Error = BadQuantity;

            fn try_from(text: String) -> Result<Self, BadQuantity> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(quantity: $name) -> Self {
                quantity.to_string()
            }
        }
    )+};
}
as_text!(Period ByteSize Cores);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_read_with_its_units_only() {
        let read = |text: &str| text.parse::<Period>().map(Period::get);
        assert_eq!(read("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(read("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(read("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "90",
            "s",
            "1x",
            "-1s",
            "1.5h",
            "1s1s",
            "1m1h",
            " 1s",
            "1 s",
            "1S",
            "9999999999999d",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_is_read_with_its_unit_only() {
        let read = |text: &str| text.parse::<ByteSize>().map(ByteSize::get);
        assert_eq!(read("64KiB"), Ok(65536));
        assert_eq!(read("1MiB"), Ok(1 << 20));
        assert_eq!(read("7B"), Ok(7));
        for wrong in ["", "64", "64k", "64KB", "KiB", "-1B", "1.5MiB", "99999999999TiB"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_of_the_processor_is_read_with_its_unit_only() {
        let read = |text: &str| text.parse::<Cores>().map(Cores::get);
        assert_eq!(read("1core"), Ok(1000));
        assert_eq!(read("1.5cores"), Ok(1500));
        assert_eq!(read("0.05cores"), Ok(50));
        assert_eq!(read("250m"), Ok(250));
        for wrong in ["", "1", "1.5", "1.m", "1.5m", "0.0001cores", "5000000cores", "-1core"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same(n: u32, shift in 0u32..31) {
            let number = u64::from(n) << shift;
            let millis = Period::millis(number);
            prop_assert_eq!(millis.to_string().parse(), Ok(millis));
            let bytes = ByteSize::bytes(number);
            prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
            let cores = Cores::millis(n);
            prop_assert_eq!(cores.to_string().parse(), Ok(cores));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = (text.parse::<Period>(), text.parse::<ByteSize>(), text.parse::<Cores>());
        }
    }
}
