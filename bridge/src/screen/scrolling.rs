//! How a terminal's rows move and are cleared: scrolling, erasing, inserting, deleting. Prints nothing.

use super::cell::{Cell, Pen, Place};
use super::history::Leaving;
use super::keyframe;
use super::row::Row;
use super::terminal::Terminal;

impl Terminal {
    pub(super) fn line_feed(&mut self) {
        self.cursor.at_edge = false;
        if self.cursor.row == self.margins.1 {
            self.scroll_up(self.margins.0, 1, true);
        } else if self.cursor.row < self.rows - 1 {
            self.cursor.row += 1;
        }
    }

    pub(super) fn reverse_line_feed(&mut self) {
        self.cursor.at_edge = false;
        if self.cursor.row == self.margins.0 {
            self.scroll_down(self.margins.0, 1);
        } else {
            self.cursor.row = self.cursor.row.saturating_sub(1);
        }
    }

    /// A row that moves is less work than a cell that is written.
    fn tire_of_moving(&mut self, rows: u16) {
        self.tire(usize::from(rows / 4 + 1));
    }

    /// Moves the rows from `top` to the bottom margin up. Rows that leave the top of the primary
    /// screen go into its history where `keep` says so.
    pub(super) fn scroll_up(&mut self, top: u16, count: u16, keep: bool) {
        let bottom = self.margins.1;
        let count = count.min(bottom - top + 1);
        self.tire_of_moving(bottom - top + 1);
        let fill = self.pen.background;
        let cols = self.cols;
        let is_top = top == 0 && self.alternate.is_none();
        let keep = keep && is_top;
        if is_top && !keep {
            self.history.break_line();
        }
        if keep {
            // Each is looked at to its end, and takes a place elsewhere.
            self.tire(8 * usize::from(count));
        }
        let grid = self.alternate.as_mut().unwrap_or(&mut self.primary);
        if keep {
            for at in 0..usize::from(count) {
                let wrapped = keyframe::joins(&grid[at], grid.get(at + 1), cols);
                let end = grid[at].painted(cols);
                let row = std::mem::take(&mut grid[at]);
                let spare = self.history.push(Leaving { row, end, wrapped, cols });
                grid[at] = spare.map_or_else(|| Row::blank(fill), |spare| spare.cleared(fill));
            }
        }
        let rows = &mut grid[usize::from(top)..=usize::from(bottom)];
        rows.rotate_left(usize::from(count));
        if !keep {
            let end = rows.len();
            rows[end - usize::from(count)..].fill(Row::blank(fill));
        }
        // Joined lines are those that have moved together.
        if top > 0 {
            grid[usize::from(top) - 1].wrapped = false;
        }
        if bottom + 1 < self.rows {
            let last = usize::from(bottom - count.min(bottom));
            grid[last].wrapped = false;
        }
    }

    pub(super) fn scroll_down(&mut self, top: u16, count: u16) {
        let bottom = self.margins.1;
        let count = count.min(bottom - top + 1);
        self.tire_of_moving(bottom - top + 1);
        let blank = Row::blank(self.pen.background);
        let grid = self.alternate.as_mut().unwrap_or(&mut self.primary);
        if top > 0 {
            grid[usize::from(top) - 1].wrapped = false;
        } else if self.alternate.is_none() {
            self.history.break_line();
        }
        let grid = self.alternate.as_mut().unwrap_or(&mut self.primary);
        let rows = &mut grid[usize::from(top)..=usize::from(bottom)];
        rows.rotate_right(usize::from(count));
        rows[..usize::from(count)].fill(blank);
        if let Some(last) = rows.last_mut() {
            last.wrapped = false;
        }
    }

    /// `CSI L` (down) and `CSI M` (up): from the cursor's row to the bottom margin.
    pub(super) fn shift_rows(&mut self, count: u16, down: bool) {
        let row = self.cursor.row;
        if (self.margins.0..=self.margins.1).contains(&row) {
            if down {
                self.scroll_down(row, count);
            } else {
                self.scroll_up(row, count, false);
            }
            self.move_to_column(0);
        }
    }

    /// `CSI n J`.
    pub(super) fn erase_screen(&mut self, what: u16) {
        let row = self.cursor.row;
        let rows = match what {
            0 => {
                self.erase_line(0);
                row + 1..self.rows
            }
            1 => {
                self.erase_line(1);
                0..row
            }
            2 => 0..self.rows,
            3 => return self.history.clear(),
            _ => return,
        };
        if rows.start == 0 && self.alternate.is_none() && !rows.is_empty() {
            self.history.break_line();
        }
        self.tire(rows.len());
        self.cleared |= what == 2;
        for row in rows {
            let background = self.pen.background;
            *self.row_mut(row) = Row::blank(background);
        }
    }

    /// `CSI n K`.
    pub(super) fn erase_line(&mut self, what: u16) {
        let column = self.cursor.column;
        match what {
            0 => self.erase(column, self.cols),
            1 => self.erase(0, column + 1),
            2 => self.erase(0, self.cols),
            _ => {}
        }
    }

    pub(super) fn erase_cells(&mut self, count: u16) {
        let column = self.cursor.column;
        self.erase(column, column.saturating_add(count));
    }

    /// Changes the cursor's row. That may make cells real that were not.
    pub(super) fn change_row<T>(&mut self, change: impl FnOnce(&mut Row) -> T) -> T {
        let row = self.row_mut(self.cursor.row);
        let before = row.len();
        let changed = change(row);
        let more = row.len().saturating_sub(before);
        self.tire(more);
        changed
    }

    fn erase(&mut self, from: u16, to: u16) {
        let (background, cols) = (self.pen.background, self.cols);
        let touched = if to < cols { to.saturating_sub(from) } else { 0 };
        self.tire(touched.into());
        self.change_row(|row| row.erase(from, to, background, cols));
    }

    pub(super) fn insert_cells(&mut self, count: u16) {
        let (column, background, cols) = (self.cursor.column, self.pen.background, self.cols);
        self.tire((cols - column).into());
        self.change_row(|row| row.insert(column, count, background, cols));
        self.cursor.at_edge = false;
    }

    pub(super) fn delete_cells(&mut self, count: u16) {
        let (column, background, cols) = (self.cursor.column, self.pen.background, self.cols);
        self.tire((cols - column).into());
        self.change_row(|row| row.delete(column, count, background, cols));
        self.cursor.at_edge = false;
    }

    /// Fills the screen with `E`, as `ESC # 8` does.
    pub(super) fn fill_with_e(&mut self) {
        self.margins = (0, self.rows - 1);
        self.move_to(0, 0);
        self.tire(usize::from(self.rows) * usize::from(self.cols));
        let row = Row::full(Cell::new('E', Place::Single, Pen::default()), self.cols);
        self.alternate.as_mut().unwrap_or(&mut self.primary).fill(row);
    }
}
