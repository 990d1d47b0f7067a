//! One cell of a screen: a character, the marks upon it, and how it looks. Does not know where it
//! is.

/// A colour as the program named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Colour {
    #[default]
    Default,
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// How text looks. The flags are bits, each named by the SGR number that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pen {
    pub(super) foreground: Colour,
    pub(super) background: Colour,
    pub(super) underline_colour: Colour,
    /// 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    pub(super) underline: u8,
    pub(super) flags: u8,
}

/// The flags of a pen: the bit, and the SGR number that sets it.
pub(super) const FLAGS: [(u8, u16); 8] = [
    (Pen::BOLD, 1),
    (Pen::DIM, 2),
    (Pen::ITALIC, 3),
    (Pen::BLINK, 5),
    (Pen::INVERSE, 7),
    (Pen::HIDDEN, 8),
    (Pen::STRUCK, 9),
    (Pen::OVERLINED, 53),
];

impl Pen {
    pub(super) const BOLD: u8 = 1;
    pub(super) const DIM: u8 = 2;
    pub(super) const ITALIC: u8 = 4;
    pub(super) const BLINK: u8 = 8;
    pub(super) const INVERSE: u8 = 16;
    pub(super) const HIDDEN: u8 = 32;
    pub(super) const STRUCK: u8 = 64;
    pub(super) const OVERLINED: u8 = 128;

    /// The pen of space that nothing was printed on: only its background shows.
    pub(super) fn blank(background: Colour) -> Self {
        Self { background, ..Self::default() }
    }
}

/// How many columns a cell's character takes, and which of them this cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Single,
    /// The left half of a wide character.
    Head,
    /// The right half of the one before.
    Tail,
}

/// Bits of a character in the packed marks.
const MARK_BITS: u32 = 21;

/// Marks that a cell can carry. More are left out, so that a cell has one size.
const MARKS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) base: char,
    /// Three characters of 21 bits, halved so that a cell needs only four-byte alignment.
    marks: [u32; 2],
    pub(super) pen: Pen,
    pub(super) place: Place,
}

impl Cell {
    pub(super) fn new(base: char, place: Place, pen: Pen) -> Self {
        Self { base, marks: [0; 2], pen, place }
    }

    pub(super) fn blank(background: Colour) -> Self {
        Self::new(' ', Place::Single, Pen::blank(background))
    }

    /// Puts a combining character on top.
    pub(super) fn add_mark(&mut self, mark: char) {
        let mut packed = self.packed();
        for slot in 0..MARKS {
            if packed >> (slot * MARK_BITS) & ((1 << MARK_BITS) - 1) == 0 {
                packed |= u64::from(u32::from(mark)) << (slot * MARK_BITS);
                self.marks = [packed as u32, (packed >> 32) as u32];
                return;
            }
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marks != [0; 2]
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = char> + use<> {
        let packed = self.packed();
        (0..MARKS)
            .map(move |slot| (packed >> (slot * MARK_BITS)) as u32 & ((1 << MARK_BITS) - 1))
            .take_while(|mark| *mark != 0)
            .filter_map(char::from_u32)
    }

    fn packed(&self) -> u64 {
        u64::from(self.marks[0]) | u64::from(self.marks[1]) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_carries_three_marks_and_leaves_out_the_fourth() {
        let mut cell = Cell::new('a', Place::Single, Pen::default());
        for mark in ['\u{301}', '\u{10FFFF}', '\u{200D}', '\u{302}'] {
            cell.add_mark(mark);
        }
        assert_eq!(cell.marks().collect::<String>(), "\u{301}\u{10FFFF}\u{200D}");
        assert_eq!(size_of::<Cell>(), 28);
    }
}
