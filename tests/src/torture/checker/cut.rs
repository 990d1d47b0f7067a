//! Streams that were cut within their first header: their client was gone before it had typed more.
//! Which ones they are shows once a later stream has begun.

use super::{Checker, Direction, Script};

impl Checker {
    /// What looked like a header is none: thrown away, or kept as what may be such a stream.
    pub(super) fn throw_away(&mut self) {
        let header = std::mem::take(&mut self.header);
        match self.direction {
            _ if header.is_empty() => {}
            Direction::Input => self.cut.push(header),
            Direction::Output => self.fault(header.len(), "no header"),
        }
    }

    /// A stream has begun: those before it that were cut are known now, and the rest was no stream.
    pub(super) fn name_cut(&mut self, begun: u32) {
        let mut next = self.before.last().map_or(0, |(stream, _)| stream + 1);
        for cut in std::mem::take(&mut self.cut) {
            let begins_so = |stream: &u32| {
                Script::new(self.seed, self.direction, *stream).record(0).starts_with(&cut)
            };
            match (next..begun).find(begins_so) {
                Some(stream) => {
                    self.before.push((stream, cut.len() as u64));
                    next = stream + 1;
                }
                None => self.fault(cut.len(), "no header"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HEADER;
    use super::*;
    use crate::torture::checker::Faults;

    #[test]
    fn a_stream_may_be_cut_within_its_first_header() {
        let script = |stream| Script::new(1, Direction::Input, stream);
        let (first, last) = (script(0).record(0), script(3).record(0));
        // Before that, nothing in it tells which stream it is of.
        const NAMED: usize = 5;
        for cut in NAMED..HEADER {
            for at in [first.len() / 2, first.len()] {
                let mut checker = Checker::new(1, Direction::Input);
                checker.take(&first[..at]);
                checker.take(&script(1).record(0)[..cut]);
                checker.take(&last);
                assert_eq!(checker.faults(), Faults::default(), "cut at {cut}");
                let taken = vec![(0, at as u64), (1, cut as u64), (3, last.len() as u64)];
                assert_eq!(checker.taken(), taken);
            }
        }
    }

    #[test]
    fn what_begins_no_stream_is_foreign() {
        let script = |stream| Script::new(1, Direction::Input, stream);
        let mut checker = Checker::new(1, Direction::Input);
        checker.take(&script(0).record(0));
        checker.take(&script(7).record(0)[..8]);
        checker.take(&script(2).record(0));
        assert_eq!(checker.faults(), Faults { foreign: 8, ..Faults::default() });
        assert!(checker.first_fault().is_some());
    }
}
