//! The terminal's sizes, each from an offset of the output on. Knows nobody who follows them.

use std::collections::VecDeque;

use shellgate_protocol::{Offset, TerminalSize};

/// Changes that are kept; older ones are merged into the first size.
const KEPT: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Change {
    number: u64,
    at: Offset,
    size: TerminalSize,
}

/// A bounded list of changes in the order of the output. Each has a number, and numbers grow, so
/// that a follower knows which it has seen.
#[derive(Debug)]
pub struct Sizes {
    first: TerminalSize,
    next: u64,
    changes: VecDeque<Change>,
}

impl Sizes {
    /// The terminal starts with this size.
    #[must_use]
    pub fn new(first: TerminalSize) -> Self {
        Self { first, next: 0, changes: VecDeque::new() }
    }

    /// From `at` on the size is another one; `at` never goes back. Tells whether it is another.
    pub fn change(&mut self, at: Offset, size: TerminalSize) -> bool {
        if self.now() == size {
            return false;
        }
        // Of several at one offset only the last can be seen: nothing was printed in between.
        if self.changes.back().is_some_and(|last| last.at == at) {
            self.changes.pop_back();
        }
        if self.changes.len() == KEPT
            && let Some(oldest) = self.changes.pop_front()
        {
            self.first = oldest.size;
        }
        self.changes.push_back(Change { number: self.next, at, size });
        self.next += 1;
        true
    }

    /// The size now.
    #[must_use]
    pub fn now(&self) -> TerminalSize {
        self.changes.back().map_or(self.first, |change| change.size)
    }

    /// The size in force at `at`.
    #[must_use]
    pub fn at(&self, at: Offset) -> TerminalSize {
        let before = self.changes.partition_point(|change| change.at <= at);
        before.checked_sub(1).and_then(|i| self.changes.get(i)).map_or(self.first, |c| c.size)
    }

    /// The number from which on changes lie after `at`.
    #[must_use]
    pub fn after(&self, at: Offset) -> u64 {
        let first = self.changes.partition_point(|change| change.at <= at);
        self.changes.get(first).map_or(self.next, |change| change.number)
    }

    /// The first change with this number or a later one: where it lies, its size, and the number to
    /// ask for after it.
    #[must_use]
    pub fn from_number(&self, number: u64) -> Option<(Offset, TerminalSize, u64)> {
        let first = self.changes.partition_point(|change| change.number < number);
        self.changes.get(first).map(|change| (change.at, change.size, change.number + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn size(cols: u16) -> TerminalSize {
        TerminalSize::new(cols, 24).unwrap()
    }

    #[test]
    fn a_size_holds_from_its_offset_on() {
        let mut sizes = Sizes::new(size(80));
        assert!(sizes.change(at(10), size(100)));
        assert!(!sizes.change(at(12), size(100)));
        assert!(sizes.change(at(20), size(120)));
        assert_eq!([9, 10, 19, 20].map(|o| sizes.at(at(o)).cols()), [80, 100, 100, 120]);
        let from = sizes.after(at(10));
        assert_eq!(sizes.from_number(from), Some((at(20), size(120), from + 1)));
        assert_eq!(sizes.from_number(from + 1), None);
    }

    #[test]
    fn of_many_at_one_offset_the_last_is_seen_even_by_who_saw_an_earlier_one() {
        let mut sizes = Sizes::new(size(80));
        sizes.change(at(10), size(100));
        let (_, _, next) = sizes.from_number(0).unwrap();
        sizes.change(at(10), size(101));
        assert_eq!(sizes.from_number(next).unwrap().1, size(101));
        assert_eq!(sizes.changes.len(), 1);
    }

    #[test]
    fn a_storm_of_changes_is_bounded_and_merged_into_the_first() {
        let mut sizes = Sizes::new(size(80));
        for n in 0..5000u64 {
            sizes.change(at(n), size(1 + (n % 999) as u16));
        }
        assert_eq!(sizes.changes.len(), KEPT);
        assert_eq!(sizes.at(at(0)), sizes.first);
        assert_eq!(sizes.at(at(4500)), size(1 + 4500 % 999));
    }
}
