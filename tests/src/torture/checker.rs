//! Knows each next byte of a stream, and says what was lost, repeated or never sent. Knows no
//! sockets.

use super::record::{Account, Direction, HEADER, Header, Kind, MARK, Report, Script};

mod cut;
mod skip;

/// Records between a place that was lost and the one that was found, at most: beyond it is not
/// worth counting.
const LEAP_MAX: u64 = 1_000_000;

/// What is wrong with a stream, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// They should have come.
    pub lost: u64,
    /// They came again.
    pub repeated: u64,
    /// Nobody sent them.
    pub foreign: u64,
}

#[derive(Debug, Clone)]
enum Place {
    /// No record has begun yet.
    Before,
    /// So many bytes of the expected record were there.
    Within { record: Vec<u8>, at: usize },
    /// In a payload that does not follow from the seed.
    Open { kind: Kind, payload: Vec<u8>, len: usize },
    /// Something else came than was expected. `seen` bytes of the expected record were there.
    Lost { seen: u64 },
    /// After the last record.
    Ended,
}

/// Checks the bytes of one direction.
#[derive(Debug, Clone)]
pub struct Checker {
    seed: u64,
    direction: Direction,
    script: Script,
    number: u64,
    place: Place,
    /// What may be a header, from its mark on, where the place is not known.
    header: Vec<u8>,
    /// Beginnings of headers that may be all that came of a stream.
    cut: Vec<Vec<u8>>,
    /// Bytes of this stream up to the record that is expected.
    taken: u64,
    /// The streams before this one, and how far each came.
    before: Vec<(u32, u64)>,
    /// Bytes that were looked at.
    passed: u64,
    /// So many of them came before the first record.
    before_all: u64,
    /// Part of the payload that is open was skipped.
    holed: bool,
    faults: Faults,
    first: Option<String>,
    report: Report,
    account: Option<Account>,
}

impl Checker {
    /// A checker that waits for the first record of stream 0, or for input, of any stream.
    #[must_use]
    pub fn new(seed: u64, direction: Direction) -> Self {
        Self {
            seed,
            direction,
            script: Script::new(seed, direction, 0),
            number: 0,
            place: Place::Before,
            header: Vec::new(),
            cut: Vec::new(),
            taken: 0,
            before: Vec::new(),
            passed: 0,
            before_all: 0,
            holed: false,
            faults: Faults::default(),
            first: None,
            report: Report::default(),
            account: None,
        }
    }

    /// Looks at the next bytes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let len = match &mut self.place {
                Place::Within { record, at } => {
                    let len = agreeing(&record[*at..], bytes);
                    *at += len;
                    len
                }
                Place::Open { payload, len, .. } => {
                    let missing = (*len - payload.len()).min(bytes.len());
                    payload.extend(&bytes[..missing]);
                    missing
                }
                Place::Before | Place::Lost { .. } => {
                    self.seek(bytes[0]);
                    1
                }
                Place::Ended => {
                    self.fault(bytes.len(), "after the end");
                    bytes.len()
                }
            };
            self.passed += len as u64;
            bytes = &bytes[len..];
            self.settle(bytes.first().copied());
        }
    }

    /// Goes on where a record is complete, or where the next byte is not the expected one.
    fn settle(&mut self, next: Option<u8>) {
        match &mut self.place {
            Place::Within { record, at } if *at == record.len() => {
                let header = self.script.header(self.number);
                match header.kind {
                    Kind::Data => self.go_on(header),
                    kind @ (Kind::Report | Kind::End) => self.open(kind, header.payload),
                }
            }
            Place::Within { record, at } => {
                let Some(next) = next else { return };
                if record[*at] == next {
                    return;
                }
                let seen = *at as u64;
                self.header.clear();
                // A header that begins as the expected one does may be another record's.
                let begun = next != MARK && *at < HEADER;
                if begun {
                    self.header.extend(&record[..*at]);
                }
                self.place = Place::Lost { seen: if begun { 0 } else { seen } };
            }
            Place::Open { payload, len, .. } if payload.len() == *len => self.close(),
            Place::Open { .. } | Place::Before | Place::Lost { .. } | Place::Ended => {}
        }
    }

    /// Looks for the head of a record.
    fn seek(&mut self, byte: u8) {
        if byte == MARK {
            self.throw_away();
        } else if self.header.is_empty() {
            self.fault(1, "no record");
            return;
        }
        self.header.push(byte);
        if self.header.len() < HEADER {
            return;
        }
        match Header::parse(&self.header) {
            Some(header) => {
                self.header.clear();
                self.found(header);
            }
            None => self.throw_away(),
        }
    }

    /// A record has begun, and it may not be the expected one.
    fn found(&mut self, header: Header) {
        let seen = match self.place {
            Place::Lost { seen } => seen,
            _ => 0,
        };
        let begins = matches!(self.place, Place::Before);
        if begins {
            // The header's last byte is not counted yet.
            self.before_all = self.passed + 1 - HEADER as u64;
        }
        if header.stream > self.script.stream() || begins {
            // A client has gone in the midst of its stream, and another one begins its own.
            if !begins {
                self.before.push((self.script.stream(), self.taken + seen));
                if self.direction == Direction::Output {
                    self.fault(HEADER, "another stream");
                }
            }
            self.name_cut(header.stream);
            self.script = Script::new(self.seed, self.direction, header.stream);
            (self.number, self.taken) = (0, 0);
            self.leap(0, header.number);
        } else if header.stream < self.script.stream() {
            return self.fault(HEADER, "a stream that was over");
        } else if header.kind != Kind::End || header.number != self.number || seen > 0 {
            self.leap(seen, header.number);
        }
        let expected = self.script.header(header.number);
        if header == expected {
            let record = self.script.record(header.number);
            self.place = Place::Within { record, at: HEADER };
            self.settle(None);
        } else if header.kind == Kind::End {
            self.open(Kind::End, header.payload);
        } else {
            self.fault(HEADER, "a record that is not in the script");
        }
    }

    /// From the expected record, of which `seen` bytes were there, to another one.
    fn leap(&mut self, seen: u64, to: u64) {
        let from = self.number;
        self.number = to;
        if from.abs_diff(to) > LEAP_MAX {
            return self.fault(HEADER, "a record from far away");
        }
        let between = |from: u64, to: u64| (from..to).map(|n| self.script.len(n)).sum::<u64>();
        if to > from || (to == from && seen == 0) {
            let lost = between(from, to) - seen.min(between(from, to));
            self.faults.lost += lost;
            self.taken += between(from, to);
            if lost > 0 {
                self.remember(&format!("{lost} bytes lost before record {to}, at record {from}"));
            }
        } else {
            let repeated = between(to, from) + seen;
            self.faults.repeated += repeated;
            self.taken -= between(to, from);
            self.remember(&format!("{repeated} bytes repeated from record {to}, at record {from}"));
        }
    }

    fn open(&mut self, kind: Kind, len: usize) {
        self.place = Place::Open { kind, payload: Vec::with_capacity(len), len };
        if len == 0 {
            self.close();
        }
    }

    fn close(&mut self) {
        let Place::Open { kind, payload, .. } = std::mem::replace(&mut self.place, Place::Ended)
        else {
            return;
        };
        let len = payload.len();
        let is_whole = !std::mem::take(&mut self.holed);
        match kind {
            Kind::Report if is_whole => match Report::parse(&payload) {
                Some(report) => self.report = report,
                None => self.fault(len, "no report"),
            },
            Kind::End if self.direction == Direction::Output => match Account::parse(&payload) {
                Some(account) => self.account = Some(account),
                None => self.fault(len, "no account of what was taken"),
            },
            Kind::Report | Kind::End | Kind::Data => {}
        }
        if kind == Kind::End {
            self.taken += (HEADER + len) as u64;
        } else {
            let header = self.script.header(self.number);
            self.go_on(header);
        }
    }

    fn go_on(&mut self, over: Header) {
        self.taken += (HEADER + over.payload) as u64;
        self.number = over.number + 1;
        self.place = Place::Within { record: self.script.record(self.number), at: 0 };
    }

    fn fault(&mut self, len: usize, what: &str) {
        if matches!(self.place, Place::Before) {
            // What was printed before the program ran.
            return;
        }
        self.faults.foreign += len as u64;
        self.remember(&format!("{len} bytes: {what}"));
    }

    fn remember(&mut self, what: &str) {
        let (stream, number, passed) = (self.script.stream(), self.number, self.passed);
        self.first.get_or_insert_with(|| {
            format!("{what} (stream {stream}, record {number}, after {passed} bytes)")
        });
    }

    /// Whether a record has come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Before)
    }

    /// How many bytes came before the first record, once that has come.
    #[must_use]
    pub fn before_all(&self) -> Option<u64> {
        self.has_begun().then_some(self.before_all)
    }

    /// Whether the last record has come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    /// Forgets what was wrong so far: somebody else has it.
    pub fn forgive(&mut self) {
        (self.faults, self.first) = (Faults::default(), None);
    }

    /// What is wrong so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let cut: usize = self.cut.iter().map(Vec::len).sum();
        Faults { foreign: self.faults.foreign + cut as u64, ..self.faults }
    }

    /// The first thing that was wrong.
    #[must_use]
    pub fn first_fault(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// What the program said last of its input.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report
    }

    /// What the program said at its end.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// How far each stream came here.
    #[must_use]
    pub fn taken(&self) -> Vec<(u32, u64)> {
        let seen = match &self.place {
            Place::Within { at, .. } => *at as u64,
            Place::Open { payload, .. } => (HEADER + payload.len()) as u64,
            Place::Lost { seen } => *seen,
            Place::Before | Place::Ended => 0,
        };
        let mut taken = self.before.clone();
        if self.has_begun() {
            taken.push((self.script.stream(), self.taken + seen));
        }
        taken
    }
}

/// How many bytes agree from the start on.
fn agreeing(expected: &[u8], bytes: &[u8]) -> usize {
    let len = expected.len().min(bytes.len());
    if expected[..len] == bytes[..len] {
        return len;
    }
    expected.iter().zip(bytes).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    pub(super) fn output(records: std::ops::Range<u64>, report: &Report) -> Vec<u8> {
        let script = Script::new(1, Direction::Output, 0);
        let mut bytes = Vec::new();
        for number in records {
            bytes.extend(script.record(number));
            if script.header(number).kind == Kind::Report {
                bytes.extend(report.bytes());
            }
        }
        bytes
    }

    fn checked(direction: Direction, bytes: &[u8]) -> Checker {
        let mut checker = Checker::new(1, direction);
        let mut dice = Dice::new(9);
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = dice.size(1..=rest.len() as u64) as usize;
            checker.take(&rest[..len]);
            rest = &rest[len..];
        }
        checker
    }

    #[test]
    fn a_whole_stream_is_without_fault_to_its_end() {
        let report = Report { taken: 77, ..Report::default() };
        let account = Account { report, taken: vec![(0, 70), (1, 7)], fault: String::new() };
        let script = Script::new(1, Direction::Output, 0);
        let bytes = [b"Welcome!\r\n$ ".to_vec(), output(0..100, &report)].concat();
        let whole = [bytes, script.end(100, &account.bytes())].concat();
        let checker = checked(Direction::Output, &whole);
        assert_eq!((checker.faults(), checker.first_fault()), (Faults::default(), None));
        assert_eq!((checker.report(), checker.account()), (report, Some(&account)));
        assert!(checker.has_ended());
    }

    #[test]
    fn one_byte_less_or_one_byte_twice_or_one_byte_else_is_found_wherever_it_is() {
        let whole = output(0..12, &Report::default());
        // What is missing at the very end may still come.
        for at in HEADER..output(0..11, &Report::default()).len() {
            let mut less = whole.clone();
            less.remove(at);
            assert_ne!(checked(Direction::Output, &less).faults(), Faults::default(), "less {at}");
            let mut twice = whole.clone();
            twice.insert(at, whole[at] ^ 1);
            assert_ne!(checked(Direction::Output, &twice).faults(), Faults::default(), "more {at}");
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_ne!(checked(Direction::Output, &other).faults(), Faults::default(), "else {at}");
        }
    }

    #[test]
    fn whole_records_that_are_missing_or_come_again_are_counted_to_the_byte() {
        let report = Report::default();
        let (a, b, c) = (output(0..5, &report), output(5..20, &report), output(20..40, &report));
        let lost = checked(Direction::Output, &[&a[..], &c[..]].concat());
        let expected = Faults { lost: b.len() as u64, ..Faults::default() };
        assert_eq!(lost.faults(), expected);
        let again = checked(Direction::Output, &[&a[..], &b[..], &b[..], &c[..]].concat());
        let expected = Faults { repeated: b.len() as u64, ..Faults::default() };
        assert_eq!(again.faults(), expected);
    }

    #[test]
    fn a_stream_may_stop_anywhere_for_the_next_one() {
        let script = |stream| Script::new(1, Direction::Input, stream);
        let first: Vec<u8> = (0..6).flat_map(|n| script(0).record(n)).collect();
        let second: Vec<u8> = (0..6).flat_map(|n| script(2).record(n)).collect();
        for cut in 1..first.len() {
            let checker = checked(Direction::Input, &[&first[..cut], &second[..]].concat());
            assert_eq!(checker.faults(), Faults::default(), "cut at {cut}");
            let taken = vec![(0, cut as u64), (2, second.len() as u64)];
            assert_eq!(checker.taken(), taken, "cut at {cut}");
        }
    }

    #[test]
    fn what_was_over_does_not_come_back() {
        let script = |stream| Script::new(1, Direction::Input, stream);
        let bytes = [script(0).record(0), script(1).record(0), script(0).record(1)].concat();
        assert!(checked(Direction::Input, &bytes).faults().foreign > 0);
    }

    #[test]
    fn a_stream_that_begins_in_its_midst_has_lost_its_beginning() {
        let script = Script::new(1, Direction::Input, 4);
        let bytes = [script.record(2), script.record(3)].concat();
        let lost = script.len(0) + script.len(1);
        assert_eq!(checked(Direction::Input, &bytes).faults().lost, lost);
    }
}
