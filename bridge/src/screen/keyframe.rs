//! Paints a terminal as output that another terminal turns into the same screen. Reads only; a
//! sequence is written whole or not at all.

use super::cell::{Cell, Colour, Pen, Place};
use super::charset::Charsets;
use super::history::{Leaving, PastRow};
use super::modes::Mode;
use super::row::Row;
use super::sgr::{self, write_number};
use super::terminal::{Saved, Terminal};

/// What brings any terminal to a known state: CAN ends whatever sequence it is in the midst of, RIS
/// resets all the rest, the screen that is shown, modes and history included.
const RESET: &[u8] = b"\x18\x1bc";

/// How much of a screen is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Everything.
    Full,
    /// Characters without colours and attributes.
    Plain,
    /// As `Plain`, only the screen that is shown, and of it as many of the lowest rows as fit.
    Lowest,
    /// No character at all.
    Empty,
}

/// The terminal as output of at most `max` bytes; nothing at all where not even an empty screen
/// fits. `unfinished` is what the parser is in the midst of.
pub(super) fn paint(terminal: &Terminal, unfinished: &[u8], max: usize) -> Vec<u8> {
    [Detail::Full, Detail::Plain, Detail::Lowest, Detail::Empty]
        .into_iter()
        .find_map(|detail| Painter { terminal, detail, out: Vec::new(), max }.paint(unfinished))
        .unwrap_or_default()
}

/// How far a row is to be painted, and whether its line goes on in the next one.
fn extent(row: &Row, next: Option<&Row>, cols: u16) -> (u16, bool) {
    let wrapped = joins(row, next, cols);
    (if wrapped { cols } else { row.painted(cols) }, wrapped)
}

/// A row that has left the screen for the history.
pub(super) fn paint_past(leaving: &Leaving) -> PastRow {
    let Leaving { row, end, wrapped, cols } = leaving;
    let mut painted = Vec::with_capacity(usize::from(*end) + 8);
    paint_columns(row, *end, *cols, true, &mut painted);
    PastRow {
        painted: painted.into_boxed_slice(),
        wrapped: *wrapped,
        blanks: cols - end,
        coloured: colours_all(row, *end, *cols),
    }
}

/// Whether a row's line goes on in the next row, and can be painted so.
pub(super) fn joins(row: &Row, next: Option<&Row>, cols: u16) -> bool {
    row.wrapped && next.is_some_and(|next| continues(next, cols))
}

/// Whether printing a row after one that is painted up to the edge wraps into it.
fn continues(row: &Row, cols: u16) -> bool {
    row.painted(cols) > 0
}

struct Painter<'a> {
    terminal: &'a Terminal,
    detail: Detail,
    out: Vec<u8>,
    max: usize,
}

impl Painter<'_> {
    /// `None` where it comes to more than `max` bytes.
    fn paint(mut self, unfinished: &[u8]) -> Option<Vec<u8>> {
        let terminal = self.terminal;
        self.out.extend_from_slice(RESET);
        self.tabs();
        let tail = self.tail(unfinished);
        let history_at = self.out.len();
        if let Some(alternate) = &terminal.alternate {
            if self.detail != Detail::Lowest {
                self.grid(&terminal.primary)?;
            }
            self.saved(&terminal.saved[0]);
            // Saves the cursor as it is now, and switches.
            self.out.extend_from_slice(b"\x1b[?1049h");
            self.pen(&terminal.saved[0].pen, &Pen::default());
            self.unsave(&terminal.saved[0]);
            self.out.extend_from_slice(b"\x1b[2J\x1b[H");
            self.grid_within(alternate, tail.len())?;
            self.save(&terminal.saved[1]);
        } else {
            self.grid_within(&terminal.primary, tail.len())?;
            self.save(&terminal.saved[0]);
        }
        self.out.extend_from_slice(&tail);
        let room = self.max.checked_sub(self.out.len())?;
        if self.detail == Detail::Full {
            let past = self.past(room);
            self.out.splice(history_at..history_at, past);
        }
        Some(self.out)
    }

    /// What comes after the cells: everything that would disturb the painting of them.
    fn tail(&self, unfinished: &[u8]) -> Vec<u8> {
        let terminal = self.terminal;
        let mut tail = Painter { terminal, detail: self.detail, out: Vec::new(), max: self.max };
        tail.modes();
        tail.cursor();
        tail.out.extend_from_slice(unfinished);
        tail.out
    }

    fn tabs(&mut self) {
        let usual = Terminal::new(1, self.terminal.cols).tabs;
        if self.terminal.tabs == usual {
            return;
        }
        self.out.extend_from_slice(b"\x1b[3g");
        for (column, _) in self.terminal.tabs.iter().enumerate().filter(|(_, tab)| **tab) {
            self.out.extend_from_slice(b"\x1b[");
            // A column is a u16.
            write_number(column as u16 + 1, &mut self.out);
            self.out.extend_from_slice(b"G\x1bH");
        }
        self.out.extend_from_slice(b"\r");
    }

    /// The history's newest rows that fit, ahead of the primary screen.
    fn past(&self, room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rows = self.terminal.history.newest(room).peekable();
        while let Some(row) = rows.next() {
            // The row after it may have changed since it left.
            let is_continued = match rows.peek() {
                Some(next) => !next.painted.is_empty(),
                None => {
                    let first = self.terminal.primary.first();
                    first.is_some_and(|first| continues(first, self.terminal.cols))
                }
            };
            out.extend_from_slice(&row.painted);
            if row.wrapped && is_continued {
                // Up to the edge, so that its line goes on in the next row.
                out.resize(out.len() + usize::from(row.blanks), b' ');
            } else {
                out.extend_from_slice(if row.coloured { b"\x1b[K\r\n" } else { b"\r\n" });
            }
        }
        out
    }

    fn grid_within(&mut self, grid: &[Row], reserved: usize) -> Option<()> {
        match self.detail {
            Detail::Full | Detail::Plain => self.grid(grid),
            Detail::Lowest => {
                self.lowest(grid, reserved);
                Some(())
            }
            Detail::Empty => Some(()),
        }
    }

    /// All rows from the top left, so that rows above them scroll out of sight, and lines that went
    /// on at the edge do so again.
    fn grid(&mut self, grid: &[Row]) -> Option<()> {
        if self.detail == Detail::Empty {
            return Some(());
        }
        let cols = self.terminal.cols;
        for (at, row) in grid.iter().enumerate() {
            let (end, joins) = extent(row, grid.get(at + 1), cols);
            paint_cells(row, end, cols, self.detail == Detail::Full, &mut self.out);
            if !joins && at + 1 < grid.len() {
                self.out.extend_from_slice(b"\r\n");
            }
            if self.out.len() > self.max {
                return None;
            }
        }
        Some(())
    }

    fn lowest(&mut self, grid: &[Row], reserved: usize) {
        let cols = self.terminal.cols;
        for (at, row) in grid.iter().enumerate().rev() {
            let before = self.out.len();
            // A row is a u16.
            self.place(at as u16, 0);
            paint_cells(row, row.painted(cols), cols, false, &mut self.out);
            if self.out.len() + reserved > self.max {
                self.out.truncate(before);
                return;
            }
        }
    }

    /// Moves to a place counted from 0.
    fn place(&mut self, row: u16, column: u16) {
        self.out.extend_from_slice(b"\x1b[");
        write_number(row + 1, &mut self.out);
        self.out.push(b';');
        write_number(column + 1, &mut self.out);
        self.out.push(b'H');
    }

    fn pen(&mut self, from: &Pen, to: &Pen) {
        sgr::write(from, to, &mut self.out);
    }

    fn charsets(&mut self, from: Charsets, to: Charsets) {
        for (at, name) in [b'(', b')'].into_iter().enumerate() {
            if from.drawing[at] != to.drawing[at] {
                let set = if to.drawing[at] { b'0' } else { b'B' };
                self.out.extend_from_slice(&[0x1b, name, set]);
            }
        }
        if from.shifted != to.shifted {
            self.out.push(if to.shifted { 0x0e } else { 0x0f });
        }
    }

    /// Makes the terminal's cursor, pen and character sets what was saved.
    fn saved(&mut self, saved: &Saved) {
        // The margins are not set yet, so that the origin is the screen's.
        if saved.origin {
            self.out.extend_from_slice(b"\x1b[?6h");
        }
        self.place(saved.row, saved.column);
        self.pen(&Pen::default(), &saved.pen);
        self.charsets(Charsets::default(), saved.charsets);
    }

    fn unsave(&mut self, saved: &Saved) {
        self.charsets(saved.charsets, Charsets::default());
        if saved.origin {
            self.out.extend_from_slice(b"\x1b[?6l");
        }
    }

    fn save(&mut self, saved: &Saved) {
        if *saved == Saved::default() {
            return;
        }
        self.saved(saved);
        self.out.extend_from_slice(b"\x1b7");
        self.pen(&saved.pen, &Pen::default());
        self.unsave(saved);
    }

    fn margins(&mut self) {
        let (top, bottom) = self.terminal.margins;
        if (top, bottom) != (0, self.terminal.rows - 1) {
            self.out.extend_from_slice(b"\x1b[");
            write_number(top + 1, &mut self.out);
            self.out.push(b';');
            write_number(bottom + 1, &mut self.out);
            self.out.push(b'r');
        }
    }

    fn modes(&mut self) {
        let terminal = self.terminal;
        if !terminal.title.is_empty() && self.detail != Detail::Empty {
            self.out.extend_from_slice(b"\x1b]2;");
            self.out.extend_from_slice(terminal.title.as_bytes());
            self.out.push(0x07);
        }
        if terminal.cursor_style != 0 {
            self.out.extend_from_slice(&[0x1b, b'[', b'0' + terminal.cursor_style, b' ', b'q']);
        }
        if terminal.other_keys != 0 {
            self.out.extend_from_slice(&[0x1b, b'[', b'>', b'4', b';']);
            self.out.extend_from_slice(&[b'0' + terminal.other_keys, b'm']);
        }
        for (number, on) in terminal.modes.changed() {
            // The keypad's older form is the one that every terminal has.
            if number == Mode::KeypadKeys as u16 {
                self.out.extend_from_slice(b"\x1b=");
                continue;
            }
            self.out.extend_from_slice(b"\x1b[?");
            write_number(number, &mut self.out);
            self.out.push(if on { b'h' } else { b'l' });
        }
    }

    /// Margins, place, and what the next character printed depends on.
    fn cursor(&mut self) {
        let terminal = self.terminal;
        self.margins();
        let mut top = 0;
        if terminal.modes.has(Mode::Origin) {
            self.out.extend_from_slice(b"\x1b[?6h");
            top = terminal.margins.0;
        }
        let cursor = terminal.cursor;
        let mut pen = Pen::default();
        let row = &terminal.grid()[usize::from(cursor.row)];
        let at_edge = cursor.at_edge.then(|| {
            let edge = row.shown(cursor.column, terminal.cols);
            let head = u16::from(edge.place == Place::Tail);
            (cursor.column - head, row.shown(cursor.column - head, terminal.cols))
        });
        // Only printing on the last column brings a cursor to the edge.
        if let Some((column, cell)) = at_edge {
            self.place(cursor.row - top, column);
            if self.detail == Detail::Full {
                self.pen(&pen, &cell.pen);
                pen = cell.pen;
            }
            let shown =
                if self.detail == Detail::Empty { Cell::blank(Colour::Default) } else { cell };
            paint_text(&shown, &mut self.out);
        } else {
            self.place(cursor.row.saturating_sub(top), cursor.column);
        }
        self.pen(&pen, &terminal.pen);
        self.charsets(Charsets::default(), terminal.charsets);
        for (on, sequence) in [
            (terminal.modes.insert, b"\x1b[4h".as_slice()),
            (terminal.modes.newline, b"\x1b[20h"),
            (!terminal.modes.has(Mode::AutoWrap), b"\x1b[?7l"),
        ] {
            if on {
                self.out.extend_from_slice(sequence);
            }
        }
    }
}

/// Columns `0..end` of a row, from default pen to default pen.
fn paint_cells(row: &Row, end: u16, cols: u16, with_pen: bool, out: &mut Vec<u8>) {
    paint_columns(row, end, cols, with_pen, out);
    if with_pen && colours_all(row, end, cols) {
        out.extend_from_slice(b"\x1b[K");
    }
}

/// Whether what is beyond `end` has to be cleared: where a coloured background wraps into a new row,
/// terminals colour all of that row.
fn colours_all(row: &Row, end: u16, cols: u16) -> bool {
    0 < end && end < cols && row.shown(0, cols).pen.background != Colour::Default
}

fn paint_columns(row: &Row, end: u16, cols: u16, with_pen: bool, out: &mut Vec<u8>) {
    let mut pen = Pen::default();
    for column in 0..end {
        let cell = row.shown(column, cols);
        if cell.place == Place::Tail {
            continue;
        }
        if with_pen && cell.pen != pen {
            sgr::write(&pen, &cell.pen, out);
            pen = cell.pen;
        }
        paint_text(&cell, out);
    }
    sgr::write(&pen, &Pen::default(), out);
}

fn paint_text(cell: &Cell, out: &mut Vec<u8>) {
    if cell.base.is_ascii() {
        out.push(cell.base as u8);
    } else {
        let mut buffer = [0; 4];
        out.extend_from_slice(cell.base.encode_utf8(&mut buffer).as_bytes());
    }
    if cell.is_marked() {
        for mark in cell.marks() {
            let mut buffer = [0; 4];
            out.extend_from_slice(mark.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::TerminalSize;

    use crate::screen::Screen;

    /// What a screen shows after this output is shown the same by whoever is given its keyframe.
    fn is_shown_again(cols: u16, rows: u16, output: &str) {
        let screen = || Screen::new(TerminalSize::new(cols, rows).expect("a size"));
        let (mut first, mut again) = (screen(), screen());
        first.feed(output.as_bytes());
        let keyframe = first.keyframe(4096);
        again.feed(&keyframe);
        assert_eq!(again.keyframe(4096), keyframe);
    }

    #[test]
    fn a_line_that_is_broken_in_the_history_is_not_filled_up_to_the_edge() {
        // A wide character that does not fit leaves a blank at the edge, and goes on below.
        is_shown_again(2, 3, "a\u{6bef}\u{6bef}b\x1b[2J");
    }

    #[test]
    fn a_line_whose_second_row_was_erased_keeps_its_rows() {
        let mut screen = Screen::new(TerminalSize::new(3, 2).expect("a size"));
        // "d" is erased once "abc" has left, and leaves as well.
        screen.feed(b"abcd\r\nx\x1b[H\x1b[2K\x1b[2H\r\ny");
        let keyframe = String::from_utf8(screen.keyframe(4096)).expect("UTF-8");
        assert!(keyframe.contains("abc\r\n\r\nx\r\ny"), "{keyframe:?}");
    }

    #[test]
    fn a_coloured_line_that_is_broken_in_the_history_is_cleared_beyond_its_end() {
        is_shown_again(3, 2, "\x1b[100m\u{6bef}\x1b[49m\u{6bef}\u{6bef}\x1b[2J");
    }
}
