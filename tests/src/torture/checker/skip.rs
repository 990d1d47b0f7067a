//! Bytes of a stream that did not come, as was announced: the checker goes on behind them and still
//! knows each next byte.

use super::{Checker, Direction, HEADER, Kind, Place};

impl Checker {
    /// A checker of an output stream of which so many bytes went before.
    #[must_use]
    pub fn behind(seed: u64, passed: u64) -> Self {
        let mut checker = Self::new(seed, Direction::Output);
        checker.place = checker.place_in_record(0);
        checker.skip(passed);
        checker
    }

    /// Goes on behind so many bytes. The end of the stream is not among them.
    pub fn skip(&mut self, bytes: u64) {
        let seen = match &self.place {
            Place::Within { at, .. } => *at as u64,
            Place::Open { payload, .. } => (HEADER + payload.len()) as u64,
            // Already somewhere else than the bytes say, and known to be.
            Place::Before | Place::Lost { .. } | Place::Ended => return,
        };
        if bytes == 0 {
            return;
        }
        let mut at = seen + bytes;
        let mut len = self.script.len(self.number);
        while at >= len {
            at -= len;
            self.taken += len;
            self.number += 1;
            self.holed = false;
            len = self.script.len(self.number);
        }
        self.place = self.place_in_record(at);
    }

    /// The place after so many bytes of the expected record, which has more of them.
    fn place_in_record(&mut self, at: u64) -> Place {
        // A record fits into memory.
        let at = at as usize;
        let header = self.script.header(self.number);
        if header.kind == Kind::Data || at < HEADER {
            return Place::Within { record: self.script.record(self.number), at };
        }
        // What it says does not follow from the seed, and cannot be read with a hole in it.
        self.holed |= at > HEADER;
        let payload = vec![0; at - HEADER];
        Place::Open { kind: header.kind, payload, len: header.payload }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::output;
    use super::*;
    use crate::torture::checker::Faults;
    use crate::torture::record::{Report, Script};

    #[test]
    fn behind_any_number_of_bytes_every_byte_is_known_again() {
        let report = Report { taken: 5, ..Report::default() };
        let whole = output(0..200, &report);
        // What is wrong at the very end may be noticed later.
        for from in (0..whole.len() - 4000).step_by(101).chain([1, HEADER, HEADER + 1]) {
            let mut fresh = Checker::behind(1, from as u64);
            fresh.take(&whole[from..]);
            assert_eq!((fresh.faults(), fresh.first_fault()), (Faults::default(), None), "{from}");
            let mut wrong = whole[from..].to_vec();
            wrong[0] ^= 1;
            wrong.truncate(3000);
            let mut fresh = Checker::behind(1, from as u64);
            fresh.take(&wrong);
            let checked = fresh.faults() != Faults::default();
            assert!(checked || in_a_report(from), "a wrong byte at {from}");
        }
    }

    #[test]
    fn what_is_skipped_is_neither_lost_nor_repeated() {
        let whole = output(0..400, &Report::default());
        for (to, len) in [(100, 1), (1000, 20_000), (5000, 3), (9000, 0)] {
            let mut checker = Checker::new(1, Direction::Output);
            checker.take(&whole[..to]);
            checker.skip(len as u64);
            checker.take(&whole[to + len..]);
            assert_eq!((checker.faults(), checker.first_fault()), (Faults::default(), None));
            let mut less = Checker::new(1, Direction::Output);
            less.take(&whole[..to]);
            less.skip(len as u64 + 1);
            less.take(&whole[to + len..]);
            assert_ne!(less.faults(), Faults::default());
        }
    }

    /// Whether a byte of the output is part of what the program says of itself.
    fn in_a_report(at: usize) -> bool {
        let script = Script::new(1, Direction::Output, 0);
        let (mut number, mut from) = (0, 0);
        while from + script.len(number) <= at as u64 {
            from += script.len(number);
            number += 1;
        }
        script.header(number).kind == Kind::Report && at as u64 - from >= HEADER as u64
    }
}
