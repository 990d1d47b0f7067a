//! The character sets that a program can choose between: ASCII and the VT100's line drawing. Does
//! not print.

/// `ESC ( 0` … and which of the two that are loaded is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Charsets {
    /// Whether G0 and G1 hold line drawing.
    pub(super) drawing: [bool; 2],
    /// G1 is in use.
    pub(super) shifted: bool,
}

/// What `_` to `~` stand for.
const DRAWING: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─',
    '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charsets {
    pub(super) fn is_drawing(self) -> bool {
        self.drawing[usize::from(self.shifted)]
    }

    pub(super) fn translate(self, base: char) -> char {
        match base {
            '_'..='~' if self.is_drawing() => DRAWING[base as usize - '_' as usize],
            _ => base,
        }
    }
}
