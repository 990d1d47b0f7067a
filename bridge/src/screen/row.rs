//! One row of cells, as long as what was printed on it. Knows neither cursor nor screen; the width
//! comes with each call.

use super::cell::{Cell, Colour, Pen, Place};

#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What was printed. May be longer than the screen is wide: a screen made narrower and wide
    /// again shows what it showed, until the row is written to.
    cells: Vec<Cell>,
    /// The background of everything after `cells`.
    fill: Colour,
    /// The text goes on in the next row because it came to the edge.
    pub(super) wrapped: bool,
}

impl Row {
    pub(super) fn blank(fill: Colour) -> Self {
        Self { cells: Vec::new(), fill, wrapped: false }
    }

    /// A blank row in the memory of this one.
    pub(super) fn cleared(mut self, fill: Colour) -> Self {
        self.cells.clear();
        Self { cells: self.cells, ..Self::blank(fill) }
    }

    /// How many cells are real.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The same everywhere, up to the edge.
    pub(super) fn full(cell: Cell, cols: u16) -> Self {
        Self { cells: vec![cell; usize::from(cols)], ..Self::default() }
    }

    /// What a screen of this width shows at a column.
    pub(super) fn shown(&self, column: u16, cols: u16) -> Cell {
        let cell =
            self.cells.get(usize::from(column)).copied().unwrap_or_else(|| Cell::blank(self.fill));
        if cell.place == Place::Head && column + 1 >= cols {
            Cell::blank(cell.pen.background)
        } else {
            cell
        }
    }

    /// Columns up to the last one that does not look like a cleared screen.
    pub(super) fn painted(&self, cols: u16) -> u16 {
        if self.fill != Colour::Default && self.cells.len() < usize::from(cols) {
            return cols;
        }
        let blank = Cell::blank(Colour::Default);
        // At most `cols`, a u16.
        let len = self.cells.len().min(usize::from(cols)) as u16;
        (0..len).rev().find(|at| self.shown(*at, cols) != blank).map_or(0, |last| last + 1)
    }

    /// Prints a character at a column; the right half of a wide one must fit.
    pub(super) fn put(&mut self, column: u16, cell: Cell, cols: u16) {
        if cell.place == Place::Single && self.put_plainly(usize::from(column), cell, cols) {
            return;
        }
        let width = if cell.place == Place::Head { 2 } else { 1 };
        self.reach(column + width, cols);
        self.split(column);
        self.split(column + width);
        let at = usize::from(column);
        self.cells[at] = cell;
        if cell.place == Place::Head {
            self.cells[at + 1] = Cell::new(' ', Place::Tail, cell.pen);
        }
    }

    /// Prints ASCII that fits before the edge; `false` where a wide character is in the way.
    pub(super) fn put_run(&mut self, column: u16, run: &[u8], pen: Pen, cols: u16) -> bool {
        self.reach(column, cols);
        let at = usize::from(column);
        let over = self.cells.len().min(at + run.len());
        if self.cells[at..over].iter().any(|cell| cell.place != Place::Single) {
            return false;
        }
        let cell = |byte: &u8| Cell::new(char::from(*byte), Place::Single, pen);
        let (replacing, adding) = run.split_at(over - at);
        for (old, byte) in self.cells[at..over].iter_mut().zip(replacing) {
            *old = cell(byte);
        }
        self.cells.extend(adding.iter().map(cell));
        true
    }

    /// The usual case of [`Self::put`], where no wide character is near; `false` in any other.
    fn put_plainly(&mut self, at: usize, cell: Cell, cols: u16) -> bool {
        let len = self.cells.len();
        if at == len && at < usize::from(cols) {
            self.cells.push(cell);
            return true;
        }
        if len > usize::from(cols) || at >= len || self.cells[at].place != Place::Single {
            return false;
        }
        self.cells[at] = cell;
        true
    }

    /// Puts a mark on the character at a column, or on the one whose right half is there.
    pub(super) fn mark(&mut self, column: u16, mark: char, cols: u16) {
        self.reach(column + 1, cols);
        let mut at = usize::from(column);
        if self.cells[at].place == Place::Tail {
            at -= 1;
        }
        self.cells[at].add_mark(mark);
    }

    /// Clears columns `from..to`.
    pub(super) fn erase(&mut self, from: u16, to: u16, background: Colour, cols: u16) {
        let (from, to) = (from.min(cols), to.min(cols));
        if from >= to {
            return;
        }
        self.reach(from, cols);
        self.split(from);
        self.split(to);
        if to == cols {
            self.cells.truncate(usize::from(from));
            self.fill = background;
            self.wrapped = false;
        } else {
            self.reach(to, cols);
            self.cells[usize::from(from)..usize::from(to)].fill(Cell::blank(background));
        }
    }

    /// Moves what stands from `column` on `count` columns to the right.
    pub(super) fn insert(&mut self, column: u16, count: u16, background: Colour, cols: u16) {
        let count = count.min(cols.saturating_sub(column));
        self.reach(column, cols);
        self.split(column);
        let at = usize::from(column);
        let blanks = std::iter::repeat_n(Cell::blank(background), usize::from(count));
        self.cells.splice(at..at, blanks);
        self.fit(cols);
        self.wrapped = false;
    }

    /// Moves what stands right of `column + count` to `column`.
    pub(super) fn delete(&mut self, column: u16, count: u16, background: Colour, cols: u16) {
        let count = count.min(cols.saturating_sub(column));
        self.reach(cols, cols);
        self.split(column);
        self.split(column + count);
        let at = usize::from(column);
        self.cells.drain(at..at + usize::from(count));
        self.fill = background;
        self.wrapped = false;
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.cells.capacity() * size_of::<Cell>()
    }

    /// Makes the cells before `column` real, and forgets those beyond the edge.
    fn reach(&mut self, column: u16, cols: u16) {
        self.fit(cols);
        let len = usize::from(column.min(cols));
        if self.cells.len() < len {
            self.cells.resize(len, Cell::blank(self.fill));
        }
    }

    fn fit(&mut self, cols: u16) {
        self.cells.truncate(usize::from(cols));
        if self.cells.len() == usize::from(cols)
            && let Some(last) = self.cells.last_mut()
            && last.place == Place::Head
        {
            *last = Cell::blank(last.pen.background);
        }
    }

    /// Blanks a wide character of which `column` is the right half: it is about to lose one half.
    fn split(&mut self, column: u16) {
        let at = usize::from(column);
        if at > 0 && self.cells.get(at).is_some_and(|cell| cell.place == Place::Tail) {
            for half in &mut self.cells[at - 1..=at] {
                *half = Cell::blank(half.pen.background);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        let mut row = Row::default();
        for (column, base) in text.chars().enumerate() {
            row.put(column as u16, Cell::new(base, Place::Single, Pen::default()), 10);
        }
        row
    }

    fn text(row: &Row, cols: u16) -> String {
        (0..cols).map(|column| row.shown(column, cols).base).collect()
    }

    #[test]
    fn insert_and_delete_move_the_rest_of_a_row() {
        let mut row = row("abcdefghij");
        row.insert(2, 3, Colour::Default, 10);
        assert_eq!(text(&row, 10), "ab   cdefg");
        row.delete(2, 3, Colour::Default, 10);
        assert_eq!(text(&row, 10), "abcdefg   ");
        row.delete(0, 65535, Colour::Default, 10);
        assert_eq!(text(&row, 10), "          ");
    }

    #[test]
    fn a_wide_character_that_loses_a_half_is_gone() {
        let wide = Cell::new('世', Place::Head, Pen::default());
        let mut row = row("abcdef");
        row.put(2, wide, 10);
        row.put(3, Cell::new('x', Place::Single, Pen::default()), 10);
        assert_eq!(text(&row, 6), "ab xef");
        row.put(4, wide, 10);
        row.insert(0, 5, Colour::Default, 10);
        assert_eq!(text(&row, 10), "     ab x ");
    }

    #[test]
    fn a_row_shows_what_it_showed_when_its_screen_grows_back() {
        let mut row = row("abcdefghij");
        assert_eq!(text(&row, 4), "abcd");
        assert_eq!(text(&row, 10), "abcdefghij");
        row.put(0, Cell::new('x', Place::Single, Pen::default()), 4);
        assert_eq!(text(&row, 10), "xbcd      ");
    }

    #[test]
    fn half_a_wide_character_beyond_a_narrower_screen_is_not_painted() {
        let mut row = row("abcdefgh");
        row.put(8, Cell::new('世', Place::Head, Pen::default()), 10);
        assert_eq!((row.painted(10), row.painted(9), text(&row, 9).as_str()), (10, 8, "abcdefgh "));
    }

    #[test]
    fn a_background_that_begins_at_the_edge_is_not_painted() {
        let mut row = Row::blank(Colour::Indexed(4));
        assert!(row.put_run(0, b"abc ", Pen::default(), 4));
        assert_eq!((row.painted(4), row.painted(5)), (3, 5));
    }

    #[test]
    fn erasing_to_the_edge_costs_no_cells() {
        let mut row = row("abcdefghij");
        row.erase(3, 10, Colour::Indexed(4), 10);
        assert_eq!(row.cells.len(), 3);
        assert_eq!(row.shown(9, 10), Cell::blank(Colour::Indexed(4)));
        assert_eq!(row.painted(10), 10);
    }
}
