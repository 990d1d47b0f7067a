//! How a pen is changed by `CSI … m`, and how one is written as such. Knows one pen at a time.

use super::cell::{Colour, FLAGS, Pen};
use super::parser::Csi;

/// Applies a whole `CSI … m`.
pub(super) fn apply(csi: &Csi, pen: &mut Pen) {
    let mut groups = csi.groups();
    while let Some(group) = groups.next() {
        let number = group[0];
        match number {
            0 => *pen = Pen::default(),
            4 => pen.underline = group.get(1).map_or(1, |style| (*style).min(5) as u8),
            6 => pen.flags |= Pen::BLINK,
            21 => pen.underline = 2,
            22 => pen.flags &= !(Pen::BOLD | Pen::DIM),
            23 => pen.flags &= !Pen::ITALIC,
            24 => pen.underline = 0,
            25 => pen.flags &= !Pen::BLINK,
            27 => pen.flags &= !Pen::INVERSE,
            28 => pen.flags &= !Pen::HIDDEN,
            29 => pen.flags &= !Pen::STRUCK,
            55 => pen.flags &= !Pen::OVERLINED,
            30..=37 => pen.foreground = Colour::Indexed((number - 30) as u8),
            90..=97 => pen.foreground = Colour::Indexed((number - 82) as u8),
            39 => pen.foreground = Colour::Default,
            40..=47 => pen.background = Colour::Indexed((number - 40) as u8),
            100..=107 => pen.background = Colour::Indexed((number - 92) as u8),
            49 => pen.background = Colour::Default,
            59 => pen.underline_colour = Colour::Default,
            38 | 48 | 58 => {
                let colour =
                    if group.len() > 1 { colons(&group[1..]) } else { semicolons(&mut groups) };
                let Some(colour) = colour else { continue };
                match number {
                    38 => pen.foreground = colour,
                    48 => pen.background = colour,
                    _ => pen.underline_colour = colour,
                }
            }
            _ => {
                if let Some((flag, _)) = FLAGS.iter().find(|(_, set)| *set == number) {
                    pen.flags |= flag;
                }
            }
        }
    }
}

/// `5:n`, `2:r:g:b` or `2:space:r:g:b`.
fn colons(parts: &[u16]) -> Option<Colour> {
    match parts {
        [5, index, ..] => Some(Colour::Indexed(byte(*index))),
        [2, r, g, b] | [2, _, r, g, b, ..] => Some(Colour::Rgb(byte(*r), byte(*g), byte(*b))),
        _ => None,
    }
}

/// `5;n` or `2;r;g;b`.
fn semicolons<'a>(groups: &mut impl Iterator<Item = &'a [u16]>) -> Option<Colour> {
    let mut next = || groups.next().map(|group| group[0]);
    match next()? {
        5 => Some(Colour::Indexed(byte(next()?))),
        2 => Some(Colour::Rgb(byte(next()?), byte(next()?), byte(next()?))),
        _ => None,
    }
}

fn byte(number: u16) -> u8 {
    number.min(255) as u8
}

/// Writes what turns one pen into another.
pub(super) fn write(from: &Pen, to: &Pen, out: &mut Vec<u8>) {
    if from == to {
        return;
    }
    if *to == Pen::default() {
        return out.extend_from_slice(b"\x1b[m");
    }
    let mut sgr = Sgr { bytes: [0; SGR_MAX], len: 0 };
    // What is set is taken back all at once: the numbers that take back one thing take back two.
    let loses = from.flags & !to.flags != 0;
    let reset = Pen::default();
    let from = if loses { &reset } else { from };
    sgr.text(if loses { b"\x1b[0;" } else { b"\x1b[" });
    if to.flags != from.flags {
        for (flag, set) in FLAGS {
            if to.flags & !from.flags & flag != 0 {
                sgr.numbers(b"", &[set], b';');
            }
        }
    }
    if to.underline != from.underline {
        match to.underline {
            0 => sgr.text(b"24;"),
            1 => sgr.text(b"4;"),
            style => sgr.numbers(b"4:", &[u16::from(style)], b':'),
        }
    }
    if to.foreground != from.foreground {
        sgr.colour(to.foreground, 30);
    }
    if to.background != from.background {
        sgr.colour(to.background, 40);
    }
    if to.underline_colour != from.underline_colour {
        // With colons, which a terminal without such colours skips as a whole.
        match to.underline_colour {
            Colour::Default => sgr.text(b"59;"),
            Colour::Indexed(index) => sgr.numbers(b"58:5:", &[u16::from(index)], b':'),
            Colour::Rgb(r, g, b) => sgr.numbers(b"58:2::", &[r, g, b].map(u16::from), b':'),
        }
    }
    // Each part ends in a semicolon, of which the last one becomes the end.
    out.extend_from_slice(&sgr.bytes[..sgr.len.saturating_sub(1)]);
    out.push(b'm');
}

/// Bytes of the longest `CSI … m`: everything set, three colours by their parts.
const SGR_MAX: usize = 96;

/// One `CSI … m` in the making. A keyframe has one for nearly every cell of a colourful screen.
struct Sgr {
    bytes: [u8; SGR_MAX],
    len: usize,
}

impl Sgr {
    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    /// Numbers after something, with a separator between them and a semicolon at the end.
    fn numbers(&mut self, before: &[u8], numbers: &[u16], separator: u8) {
        self.text(before);
        for number in numbers {
            self.len += put_number(*number, &mut self.bytes[self.len..]);
            self.bytes[self.len] = separator;
            self.len += 1;
        }
        self.bytes[self.len - 1] = b';';
    }

    fn colour(&mut self, colour: Colour, base: u16) {
        match colour {
            Colour::Default => self.numbers(b"", &[base + 9], b';'),
            Colour::Indexed(index @ 0..8) => {
                self.numbers(b"", &[base + u16::from(index)], b';');
            }
            Colour::Indexed(index @ 8..16) => {
                self.numbers(b"", &[base + 52 + u16::from(index)], b';');
            }
            Colour::Indexed(index) => self.numbers(b"", &[base + 8, 5, u16::from(index)], b';'),
            Colour::Rgb(r, g, b) => {
                let [r, g, b] = [r, g, b].map(u16::from);
                self.numbers(b"", &[base + 8, 2, r, g, b], b';');
            }
        }
    }
}

/// Writes a decimal number.
pub(super) fn write_number(number: u16, out: &mut Vec<u8>) {
    let mut digits = [0; 5];
    let len = put_number(number, &mut digits);
    out.extend_from_slice(&digits[..len]);
}

/// Puts a decimal number at the beginning of `place`; gives back its length, at most 5.
fn put_number(number: u16, place: &mut [u8]) -> usize {
    let len = match number {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        1000..10_000 => 4,
        10_000.. => 5,
    };
    let (mut at, mut rest) = (len, number);
    while at > 0 {
        at -= 1;
        place[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_change_of_pen_fits_and_says_all() {
        let colour = Colour::Rgb(255, 254, 253);
        let all = Pen {
            foreground: colour,
            background: colour,
            underline_colour: colour,
            underline: 5,
            flags: 0xff,
        };
        let mut out = Vec::new();
        write(&Pen::default(), &all, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[1;2;3;5;7;8;9;53;4:5;38;2;255;254;253;48;2;255;254;253;58:2::255:254:253m"
        );
        let fewer = Pen { flags: Pen::BOLD, ..all };
        let mut out = Vec::new();
        write(&all, &fewer, &mut out);
        assert!(out.starts_with(b"\x1b[0;1;4:5;38;2;") && out.len() < SGR_MAX);
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, u16::MAX] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
