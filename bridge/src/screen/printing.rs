//! How characters get onto a terminal's screen: widths, wrapping at the edge, marks, repetition. Knows
//! nothing of sequences.

use unicode_width::UnicodeWidthChar as _;

use super::cell::{Cell, Place};
use super::modes::Mode;
use super::terminal::{Cursor, Terminal};

impl Terminal {
    pub(super) fn print_text(&mut self, text: &str) {
        if self.charsets.is_drawing() {
            return text.chars().for_each(|c| self.print_char(self.charsets.translate(c)));
        }
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let printed = self.print_run(rest.as_bytes());
            if printed == 0 {
                self.print_char(first);
                rest = &rest[first.len_utf8()..];
            } else {
                rest = &rest[printed..];
            }
        }
    }

    /// Prints as much ASCII as the row takes, if nothing about it is special: most output is such.
    fn print_run(&mut self, text: &[u8]) -> usize {
        let Cursor { column, at_edge, .. } = self.cursor;
        if at_edge || self.modes.insert {
            return 0;
        }
        let room = usize::from(self.cols - column);
        let run = text.iter().take(room).position(|byte| !byte.is_ascii());
        let run = &text[..run.unwrap_or(text.len().min(room))];
        let (pen, cols) = (self.pen, self.cols);
        let Some(last) = run.last() else { return 0 };
        if !self.change_row(|row| row.put_run(column, run, pen, cols)) {
            return 0;
        }
        self.last_printed = Some(char::from(*last));
        if run.len() < room {
            // Less than the room, which is a u16.
            self.cursor.column = column + run.len() as u16;
        } else {
            self.cursor.column = cols - 1;
            self.cursor.at_edge = self.modes.has(Mode::AutoWrap);
        }
        run.len()
    }

    fn print_char(&mut self, base: char) {
        let width = if base.is_ascii() { 1 } else { base.width().unwrap_or(0) };
        if width == 0 {
            return self.print_mark(base);
        }
        self.last_printed = Some(base);
        // A wide character needs a screen of two columns.
        let width = if width == 1 { 1 } else { 2 };
        if width > self.cols {
            return;
        }
        if self.cursor.column + width > self.cols || self.cursor.at_edge {
            if self.modes.has(Mode::AutoWrap) {
                let row = self.cursor.row;
                self.row_mut(row).wrapped = true;
                self.cursor.column = 0;
                self.line_feed();
            } else if width == 2 {
                return;
            }
            self.cursor.at_edge = false;
        }
        let column = self.cursor.column;
        let place = if width == 1 { Place::Single } else { Place::Head };
        let cell = Cell::new(base, place, self.pen);
        let (cols, insert, background) = (self.cols, self.modes.insert, self.pen.background);
        if insert {
            self.tire((cols - column).into());
        }
        self.change_row(|row| {
            if insert {
                row.insert(column, width, background, cols);
            }
            row.put(column, cell, cols);
        });
        if column + width < cols {
            self.cursor.column = column + width;
        } else {
            self.cursor.column = cols - 1;
            self.cursor.at_edge = self.modes.has(Mode::AutoWrap);
        }
    }

    fn print_mark(&mut self, mark: char) {
        let Cursor { column, at_edge, .. } = self.cursor;
        let cols = self.cols;
        if at_edge {
            self.change_row(|row| row.mark(column, mark, cols));
        } else if column > 0 {
            self.change_row(|row| row.mark(column - 1, mark, cols));
        }
    }

    /// Prints the last character again, at most a screen full.
    pub(super) fn repeat(&mut self, count: u16) {
        let Some(last) = self.last_printed else { return };
        let most = usize::from(self.rows) * usize::from(self.cols);
        let count = usize::from(count).min(most);
        self.tire(count);
        (0..count).for_each(|_| self.print_char(last));
    }
}
