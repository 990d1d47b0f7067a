//! A terminal's size in cells.

use std::marker::PhantomData;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::EDGE_RANGE;
use crate::object::Members;

/// A terminal's size in cells; both edges lie in [`EDGE_RANGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "Unchecked")]
pub struct TerminalSize {
    cols: u16,
    rows: u16,
}

impl TerminalSize {
    /// The size of a terminal that nobody has measured: 80 × 24.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// A size; `None` where an edge lies outside [`EDGE_RANGE`].
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Option<Self> {
        (EDGE_RANGE.contains(&cols) && EDGE_RANGE.contains(&rows)).then_some(Self { cols, rows })
    }

    /// Cells in a row.
    #[must_use]
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Rows.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

impl Default for TerminalSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl<'de> Deserialize<'de> for TerminalSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // By its fields, so that it leaves the others of a message that it is a part of.
        let size: Unchecked =
            from.deserialize_struct("TerminalSize", FIELDS, Members(PhantomData))?;
        Self::try_from(size).map_err(D::Error::custom)
    }
}

/// A size's members.
const FIELDS: &[&str] = &["cols", "rows"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    cols: u16,
    rows: u16,
}

impl TryFrom<Unchecked> for TerminalSize {
    type Error = String;

    fn try_from(size: Unchecked) -> Result<Self, String> {
        Self::new(size.cols, size.rows).ok_or_else(|| {
            format!(
                "a terminal edge is {} to {} cells, not {} × {}",
                EDGE_RANGE.start(),
                EDGE_RANGE.end(),
                size.cols,
                size.rows
            )
        })
    }
}

impl From<TerminalSize> for Unchecked {
    fn from(size: TerminalSize) -> Self {
        Self { cols: size.cols, rows: size.rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_out_of_range_does_not_parse() {
        let parse = |text| serde_json::from_str::<TerminalSize>(text);
        assert_eq!(parse(r#"{"cols":80,"rows":24}"#).unwrap(), TerminalSize::DEFAULT);
        for wrong in [
            r#"{"cols":0,"rows":24}"#,
            r#"{"cols":80,"rows":1001}"#,
            r#"{"cols":80,"rows":-1}"#,
            r#"{"cols":80}"#,
            r#"{"cols":80,"rows":24,"depth":3}"#,
            "[80,24]",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
