//! The rows that have left the primary screen at its top. Keeps the newest, and paints them once
//! it is known which those are: of a flood hardly any row is left, and a painted one costs no more
//! memory than its text.

use std::collections::VecDeque;

use super::keyframe;
use super::row::Row;

/// Rows that are kept.
const ROWS_MAX: usize = 300;

/// Bytes of painted rows that are kept, so that an idle screen stays small.
const BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct PastRow {
    /// The row as terminal output up to the last column that shows something; begins and ends with
    /// the default pen.
    pub(super) painted: Box<[u8]>,
    /// The row after it belongs to the same line.
    pub(super) wrapped: bool,
    /// Columns from there to the edge.
    pub(super) blanks: u16,
    /// Where its line ends, what is beyond is to be cleared.
    pub(super) coloured: bool,
}

/// A row that is not painted yet.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) row: Row,
    /// It shows nothing from this column on.
    pub(super) end: u16,
    /// As in [`PastRow`].
    pub(super) wrapped: bool,
    /// The screen's width when it left.
    pub(super) cols: u16,
}

#[derive(Debug, Default)]
pub(super) struct History {
    rows: VecDeque<PastRow>,
    bytes: usize,
    /// Newer than all `rows`.
    leaving: VecDeque<Leaving>,
    /// Columns of those; each takes at least a byte.
    columns: usize,
}

impl History {
    /// Takes a row. May give one back that is not needed any more, for its memory.
    pub(super) fn push(&mut self, row: Leaving) -> Option<Row> {
        self.columns += usize::from(row.end);
        self.leaving.push_back(row);
        let mut spare = None;
        while self.leaving.len() > ROWS_MAX || self.columns > BYTES_MAX {
            // What is older goes first.
            self.drop_painted();
            let Some(oldest) = self.leaving.pop_front() else { break };
            self.columns -= usize::from(oldest.end);
            spare = Some(oldest.row);
        }
        spare
    }

    /// Paints what has come since the last time.
    pub(super) fn settle(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        self.columns = 0;
        let (mut painted, mut bytes) = (Vec::new(), 0);
        for row in std::mem::take(&mut self.leaving).into_iter().rev() {
            let past = keyframe::paint_past(&row);
            bytes += past.painted.len();
            if bytes > BYTES_MAX {
                self.drop_painted();
                break;
            }
            painted.push(past);
        }
        painted.into_iter().rev().for_each(|row| self.keep(row));
    }

    fn drop_painted(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    fn keep(&mut self, row: PastRow) {
        self.bytes += row.painted.len();
        self.rows.push_back(row);
        while self.rows.len() > ROWS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.rows.pop_front() else { break };
            self.bytes -= oldest.painted.len();
        }
    }

    /// The newest row ends its line: the screen's width has changed under it.
    pub(super) fn break_line(&mut self) {
        if let Some(newest) = self.leaving.back_mut() {
            newest.wrapped = false;
        } else if let Some(newest) = self.rows.back_mut() {
            newest.wrapped = false;
        }
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let leaving = self.leaving.iter().map(|row| row.row.bytes()).sum::<usize>();
        self.rows.capacity() * size_of::<PastRow>() + self.bytes + leaving
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The newest rows that take at most `bytes` together with their line ends, oldest first. Only
    /// what was settled counts.
    pub(super) fn newest(&self, bytes: usize) -> impl Iterator<Item = &PastRow> {
        debug_assert!(self.leaving.is_empty());
        let mut left = bytes;
        let fitting = self.rows.iter().rev().take_while(|row| {
            let line_end = if row.coloured { 5 } else { 2 };
            let beyond = if row.wrapped { usize::from(row.blanks).max(line_end) } else { line_end };
            let cost = row.painted.len() + beyond;
            let fits = cost <= left;
            left = left.saturating_sub(cost);
            fits
        });
        let count = fitting.count();
        self.rows.iter().skip(self.rows.len() - count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::Pen;
    use super::*;

    fn row(len: usize) -> PastRow {
        PastRow { painted: vec![b'x'; len].into(), wrapped: false, blanks: 0, coloured: false }
    }

    fn leaving(text: &str) -> Leaving {
        let mut row = Row::default();
        let cols = text.len() as u16;
        assert!(row.put_run(0, text.as_bytes(), Pen::default(), cols));
        Leaving { row, end: cols, wrapped: false, cols }
    }

    fn texts(history: &History) -> Vec<String> {
        let rows = history.newest(usize::MAX);
        rows.map(|row| String::from_utf8_lossy(&row.painted).into_owned()).collect()
    }

    #[test]
    fn of_a_flood_the_newest_rows_are_painted_in_their_order() {
        let mut history = History::default();
        history.push(leaving("older"));
        history.settle();
        let mut spares = 0;
        for n in 0..1000 {
            spares += usize::from(history.push(leaving(&n.to_string())).is_some());
        }
        history.settle();
        let expected: Vec<_> = (1000 - ROWS_MAX..1000).map(|n| n.to_string()).collect();
        assert_eq!(texts(&history), expected);
        assert_eq!((spares, history.columns), (1000 - ROWS_MAX, 0));
        history.push(leaving("newer"));
        history.settle();
        assert_eq!(texts(&history)[ROWS_MAX - 2..], ["999", "newer"]);
    }

    #[test]
    fn no_row_is_left_out_between_two_that_are_kept() {
        let long = "x".repeat(1000);
        let mut history = History::default();
        history.push(leaving("short"));
        history.settle();
        (0..100).for_each(|_| drop(history.push(leaving(&long))));
        (0..3).for_each(|_| drop(history.push(leaving("end"))));
        history.settle();
        assert!(!texts(&history).contains(&"short".to_owned()));
        assert!(history.bytes <= BYTES_MAX && history.bytes > BYTES_MAX - 1000);
    }

    #[test]
    fn history_is_bounded_in_rows_and_in_bytes() {
        let mut history = History::default();
        (0..1000).for_each(|_| history.keep(row(1)));
        assert_eq!(history.rows.len(), ROWS_MAX);
        (0..1000).for_each(|_| history.keep(row(1000)));
        assert!(history.bytes <= BYTES_MAX && history.rows.len() == BYTES_MAX / 1000);
        history.keep(row(BYTES_MAX + 1));
        assert_eq!((history.rows.len(), history.bytes), (0, 0));
    }

    #[test]
    fn the_newest_rows_are_those_that_fit() {
        let mut history = History::default();
        [5, 3, 4].into_iter().for_each(|len| history.keep(row(len)));
        let newest = |bytes| history.newest(bytes).map(|row| row.painted.len()).collect::<Vec<_>>();
        assert_eq!(newest(11), [3, 4]);
        assert_eq!(newest(5), [] as [usize; 0]);
        assert_eq!(newest(100), [5, 3, 4]);
    }
}
