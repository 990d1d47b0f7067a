//! The terminal itself: two screens, a cursor, and what each printed thing does to them. Knows
//! neither how output is cut into sequences nor how a screen is painted.

use super::answers::Answers;
use super::cell::Pen;
use super::charset::Charsets;
use super::history::{History, Leaving};
use super::keyframe;
use super::modes::{Mode, Modes};
use super::row::Row;

/// Columns between tab stops.
const TAB: u16 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    pub(super) row: u16,
    pub(super) column: u16,
    /// The last column was printed on; the next character wraps first.
    pub(super) at_edge: bool,
}

/// What `ESC 7` saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Saved {
    pub(super) row: u16,
    pub(super) column: u16,
    pub(super) pen: Pen,
    pub(super) charsets: Charsets,
    pub(super) origin: bool,
}

#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) rows: u16,
    pub(super) cols: u16,
    pub(super) primary: Vec<Row>,
    /// There while it is shown.
    pub(super) alternate: Option<Vec<Row>>,
    pub(super) history: History,
    pub(super) cursor: Cursor,
    pub(super) pen: Pen,
    pub(super) charsets: Charsets,
    /// Of the primary and of the alternate screen.
    pub(super) saved: [Saved; 2],
    pub(super) modes: Modes,
    /// The first and the last row that scroll.
    pub(super) margins: (u16, u16),
    pub(super) tabs: Vec<bool>,
    pub(super) title: String,
    /// As in `CSI n SP q`.
    pub(super) cursor_style: u8,
    /// xterm's `modifyOtherKeys`.
    pub(super) other_keys: u8,
    pub(super) answers: Answers,
    pub(super) last_printed: Option<char>,
    /// Cells and rows that may still be touched before others have a turn: a few bytes of output
    /// can ask for a million.
    pub(super) strength: u64,
    /// All that is shown was printed since this was last taken away.
    pub(super) cleared: bool,
}

impl Terminal {
    pub(super) fn new(rows: u16, cols: u16) -> Self {
        Self {
            rows,
            cols,
            primary: vec![Row::default(); usize::from(rows)],
            alternate: None,
            history: History::default(),
            cursor: Cursor::default(),
            pen: Pen::default(),
            charsets: Charsets::default(),
            saved: [Saved::default(); 2],
            modes: Modes::default(),
            margins: (0, rows - 1),
            tabs: usual_tabs(cols),
            title: String::new(),
            cursor_style: 0,
            other_keys: 0,
            answers: Answers::default(),
            last_printed: None,
            strength: u64::MAX,
            cleared: false,
        }
    }

    /// All but the answers goes back to how it began.
    pub(super) fn reset(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        self.tire(self.rows.into());
        let strength = self.strength;
        *self = Self { answers, strength, cleared: true, ..Self::new(self.rows, self.cols) };
    }

    /// So many cells or rows were touched.
    pub(super) fn tire(&mut self, touched: usize) {
        self.strength = self.strength.saturating_sub(touched as u64);
    }

    /// What `CSI ! p` resets: what would hinder a shell after a program that left it all set.
    pub(super) fn soft_reset(&mut self) {
        self.pen = Pen::default();
        self.charsets = Charsets::default();
        self.margins = (0, self.rows - 1);
        *self.saved_mut() = Saved::default();
        self.modes.insert = false;
        for (mode, on) in [
            (Mode::Origin, false),
            (Mode::CursorKeys, false),
            (Mode::KeypadKeys, false),
            (Mode::AutoWrap, true),
            (Mode::CursorShown, true),
        ] {
            self.modes.set(mode, on);
        }
    }

    /// Rows above are lost to the history when they do not fit; columns are cut and not reflowed.
    pub(super) fn resize(&mut self, rows: u16, cols: u16) {
        if (rows, cols) == (self.rows, self.cols) {
            return;
        }
        if cols != self.cols {
            self.history.break_line();
            let all = self.primary.iter_mut().chain(self.alternate.iter_mut().flatten());
            all.for_each(|row| row.wrapped = false);
            let kept = self.tabs.len().min(usize::from(cols));
            let more = usual_tabs(cols);
            self.tabs.truncate(kept);
            self.tabs.extend_from_slice(&more[kept..]);
        }
        // The screen that is not shown has its cursor where it was left.
        let lowest = if self.alternate.is_some() { self.saved[0].row } else { self.cursor.row };
        let excess = (lowest + 1).saturating_sub(rows);
        let cut = usize::from(excess);
        let kept_cols = self.cols.min(cols);
        for at in 0..cut {
            let next = self.primary.get(at + 1);
            let wrapped = keyframe::joins(&self.primary[at], next, kept_cols);
            let end = self.primary[at].painted(kept_cols);
            let row = std::mem::take(&mut self.primary[at]);
            self.history.push(Leaving { row, end, wrapped, cols: kept_cols });
        }
        self.primary.drain(..cut);
        self.primary.resize_with(usize::from(rows), Row::default);
        self.saved[0].row -= self.saved[0].row.min(excess);
        if let Some(alternate) = &mut self.alternate {
            let excess = (self.cursor.row + 1).saturating_sub(rows);
            alternate.drain(..usize::from(excess));
            alternate.resize_with(usize::from(rows), Row::default);
            self.cursor.row -= excess;
        } else {
            self.cursor.row -= excess;
        }
        for grid in [Some(&mut self.primary), self.alternate.as_mut()].into_iter().flatten() {
            if let Some(last) = grid.last_mut() {
                last.wrapped = false;
            }
        }
        (self.rows, self.cols) = (rows, cols);
        self.margins = (0, rows - 1);
        self.cursor.at_edge = false;
        self.cursor.column = self.cursor.column.min(cols - 1);
        for saved in &mut self.saved {
            saved.row = saved.row.min(rows - 1);
            saved.column = saved.column.min(cols - 1);
        }
    }

    pub(super) fn grid(&self) -> &[Row] {
        self.alternate.as_deref().unwrap_or(&self.primary)
    }

    pub(super) fn row_mut(&mut self, row: u16) -> &mut Row {
        let grid = self.alternate.as_mut().unwrap_or(&mut self.primary);
        // Every row number here is clamped to the screen where it is set.
        &mut grid[usize::from(row)]
    }

    pub(super) fn saved_mut(&mut self) -> &mut Saved {
        &mut self.saved[usize::from(self.alternate.is_some())]
    }

    // Moving.

    /// To a row and a column from 0, within the margins where these are the origin.
    pub(super) fn move_to(&mut self, row: u16, column: u16) {
        let (top, bottom) = self.bounds();
        self.cursor.row = top.saturating_add(row).min(bottom);
        self.move_to_column(column);
    }

    pub(super) fn move_to_column(&mut self, column: u16) {
        self.cursor.column = column.min(self.cols - 1);
        self.cursor.at_edge = false;
    }

    /// Up or down, stopping at the margin if it began within.
    pub(super) fn move_rows(&mut self, by: i32) {
        let (top, bottom) = self.margins;
        let row = i32::from(self.cursor.row);
        let lowest = if self.cursor.row >= top { top } else { 0 };
        let highest = if self.cursor.row <= bottom { bottom } else { self.rows - 1 };
        let to = row.saturating_add(by).clamp(i32::from(lowest), i32::from(highest));
        self.cursor.row = to as u16;
        self.cursor.at_edge = false;
    }

    pub(super) fn move_columns(&mut self, by: i32) {
        let to = i32::from(self.cursor.column).saturating_add(by);
        self.move_to_column(to.clamp(0, i32::from(self.cols)) as u16);
    }

    pub(super) fn tab(&mut self, count: u16) {
        for _ in 0..count.min(self.cols) {
            let column = self.cursor.column;
            if self.cursor.at_edge || column == self.cols - 1 {
                return;
            }
            let from = usize::from(column) + 1;
            let next = self.tabs[from.min(self.tabs.len())..].iter().position(|tab| *tab);
            let to = next.map_or(self.cols - 1, |next| (from + next) as u16);
            self.tire((to - column).into());
            self.move_to_column(to);
        }
    }

    pub(super) fn tab_back(&mut self, count: u16) {
        for _ in 0..count.min(self.cols) {
            let column = usize::from(self.cursor.column);
            if column == 0 {
                break;
            }
            let to = self.tabs[..column].iter().rposition(|tab| *tab).unwrap_or(0);
            self.tire(column - to);
            self.move_to_column(to as u16);
        }
    }

    pub(super) fn set_tab(&mut self, on: bool) {
        let column = usize::from(self.cursor.column);
        self.tabs[column] = on;
    }

    /// The rows that a cursor may be moved to.
    pub(super) fn bounds(&self) -> (u16, u16) {
        if self.modes.has(Mode::Origin) { self.margins } else { (0, self.rows - 1) }
    }

    pub(super) fn set_margins(&mut self, top: u16, bottom: u16) {
        let bottom = bottom.min(self.rows) - 1;
        let top = top - 1;
        if top < bottom {
            self.margins = (top, bottom);
            self.move_to(0, 0);
        }
    }

    // Saving, and the other screen.

    pub(super) fn save_cursor(&mut self) {
        let Cursor { row, column, .. } = self.cursor;
        let origin = self.modes.has(Mode::Origin);
        *self.saved_mut() = Saved { row, column, pen: self.pen, charsets: self.charsets, origin };
    }

    pub(super) fn restore_cursor(&mut self) {
        let saved = *self.saved_mut();
        self.modes.set(Mode::Origin, saved.origin);
        self.pen = saved.pen;
        self.charsets = saved.charsets;
        let (top, bottom) = self.bounds();
        let row = saved.row.clamp(top, bottom);
        self.cursor = Cursor { row, column: saved.column, at_edge: false };
    }

    pub(super) fn show_alternate(&mut self) {
        if self.alternate.is_none() {
            let blank = Row::blank(self.pen.background);
            self.alternate = Some(vec![blank; usize::from(self.rows)]);
            self.tire(self.rows.into());
        }
    }

    pub(super) fn show_primary(&mut self) {
        if self.alternate.take().is_some() {
            self.saved[1] = Saved::default();
        }
    }
}

fn usual_tabs(cols: u16) -> Vec<bool> {
    (0..cols).map(|column| column > 0 && column % TAB == 0).collect()
}
