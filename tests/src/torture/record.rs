//! The streams of the torture: numbered records of which each byte follows from a seed. Knows
//! nobody who sends or checks them.
//!
//! ```text
//! 0xff · kind · stream (3 digits) · number (5) · payload's length (3) · check (1) · payload
//! ```
//! A digit is six bits as a printable character. 0xff stands nowhere else, so that a reader who
//! lost its place finds the next record.

use super::dice::Dice;

/// The first byte of a record, and of nothing else.
pub const MARK: u8 = 0xff;

/// Bytes of a record before its payload.
pub const HEADER: usize = 14;

/// The longest payload that follows from the seed, in bytes.
const PAYLOAD_MAX: u64 = 2000;

/// Each so-many-th record of the output is a report.
const REPORT_EVERY: u64 = 16;

/// Which way a stream flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the program to its client: nothing in it that a terminal answers.
    Output,
    /// From a client to the program: any byte but the mark.
    Input,
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its payload follows from the seed.
    Data,
    /// Its payload says what the program has taken so far.
    Report,
    /// The last one: what the program has taken in all, or a client's wish that it end.
    End,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Self::Data => b'D',
            Self::Report => b'R',
            Self::End => b'E',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Data, Self::Report, Self::End].into_iter().find(|kind| kind.letter() == letter)
    }
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Which stream it is of.
    pub stream: u32,
    /// The how-many-th of its stream, from 0.
    pub number: u64,
    /// Bytes of its payload.
    pub payload: usize,
}

impl Header {
    /// As it stands in a stream.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![MARK, self.kind.letter()];
        put_digits(&mut bytes, u64::from(self.stream), 3);
        put_digits(&mut bytes, self.number, 5);
        put_digits(&mut bytes, self.payload as u64, 3);
        let check = check(&bytes[1..]);
        put_digits(&mut bytes, check, 1);
        bytes
    }

    /// What the first [`HEADER`] bytes of a record say; `None` where they are no header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != HEADER
            || bytes[0] != MARK
            || digits(&bytes[13..])? != check(&bytes[1..13])
        {
            return None;
        }
        Some(Self {
            kind: Kind::of(bytes[1])?,
            stream: u32::try_from(digits(&bytes[2..5])?).ok()?,
            number: digits(&bytes[5..10])?,
            payload: usize::try_from(digits(&bytes[10..13])?).ok()?,
        })
    }
}

/// Appends the lowest `count` digits of a number, the highest first.
pub fn put_digits(bytes: &mut Vec<u8>, number: u64, count: u32) {
    // Six bits fit into a byte.
    bytes.extend((0..count).rev().map(|at| b' ' + (number >> (6 * at) & 63) as u8));
}

/// What digits say; `None` where they are none.
#[must_use]
pub fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |number, byte| {
        let digit = byte.checked_sub(b' ').filter(|digit| *digit < 64)?;
        Some(number << 6 | u64::from(digit))
    })
}

/// Six bits over some bytes.
#[must_use]
pub fn check(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, byte| (sum * 31 + u64::from(*byte)) % 61)
}

/// One stream of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    seed: u64,
    direction: Direction,
    stream: u32,
}

impl Script {
    /// The stream with this number.
    #[must_use]
    pub fn new(seed: u64, direction: Direction, stream: u32) -> Self {
        Self { seed, direction, stream }
    }

    /// Its number.
    #[must_use]
    pub fn stream(&self) -> u32 {
        self.stream
    }

    fn dice(&self, number: u64) -> Dice {
        let direction = match self.direction {
            Direction::Output => 1,
            Direction::Input => 2,
        };
        Dice::of(self.seed, &[direction, u64::from(self.stream), number])
    }

    /// The header of a record.
    #[must_use]
    pub fn header(&self, number: u64) -> Header {
        let reports = self.direction == Direction::Output && number % REPORT_EVERY == 15;
        let (kind, payload) = if reports {
            (Kind::Report, Report::LEN)
        } else {
            // At most 2000.
            (Kind::Data, self.dice(number).size(0..=PAYLOAD_MAX) as usize)
        };
        Header { kind, stream: self.stream, number, payload }
    }

    /// A record as it stands in the stream. A report's payload is not in it: nobody knows that
    /// beforehand.
    #[must_use]
    pub fn record(&self, number: u64) -> Vec<u8> {
        let header = self.header(number);
        let mut bytes = header.bytes();
        if header.kind == Kind::Data {
            let mut dice = Dice::new(self.dice(number).bits());
            let end = HEADER + header.payload;
            while bytes.len() < end {
                bytes.extend(dice.bits().to_be_bytes());
            }
            bytes.truncate(end);
            for byte in &mut bytes[HEADER..] {
                *byte = self.direction.spelled(*byte);
            }
        }
        bytes
    }

    /// Bytes of a record.
    #[must_use]
    pub fn len(&self, number: u64) -> u64 {
        (HEADER + self.header(number).payload) as u64
    }

    /// The last record, in the place of `number`.
    #[must_use]
    pub fn end(&self, number: u64, payload: &[u8]) -> Vec<u8> {
        let (kind, stream) = (Kind::End, self.stream);
        let mut bytes = Header { kind, stream, number, payload: payload.len() }.bytes();
        bytes.extend(payload);
        bytes
    }
}

impl Direction {
    /// The byte that stands for a random one.
    fn spelled(self, byte: u8) -> u8 {
        match (self, byte) {
            (_, MARK) => b'.',
            // A terminal answers to some of these, and its answers would be input.
            (Self::Output, 0x05 | 0x1b | 0x80..=0x9f) => b'_',
            _ => byte,
        }
    }
}

/// What the program has taken so far, as it says in its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// All bytes of all streams.
    pub taken: u64,
    /// Bytes that should have come.
    pub lost: u64,
    /// Bytes that came again.
    pub repeated: u64,
    /// Bytes that nobody sent.
    pub foreign: u64,
    /// Signals that arrived.
    pub signals: u64,
}

impl Report {
    /// Its length, in bytes.
    pub const LEN: usize = 5 * 8 + 1;

    /// As a record's payload.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        for number in [self.taken, self.lost, self.repeated, self.foreign, self.signals] {
            put_digits(&mut bytes, number, 8);
        }
        let check = check(&bytes);
        put_digits(&mut bytes, check, 1);
        bytes
    }

    /// What a payload says; `None` where it is no report.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (numbers, sum) = payload.split_at_checked(Self::LEN - 1)?;
        if digits(sum)? != check(numbers) || sum.len() != 1 {
            return None;
        }
        let mut numbers = numbers.chunks(8).map(digits);
        let mut next = || numbers.next().flatten();
        Some(Self {
            taken: next()?,
            lost: next()?,
            repeated: next()?,
            foreign: next()?,
            signals: next()?,
        })
    }
}

/// What the program says at its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// All of its input.
    pub report: Report,
    /// How far each input stream was taken, in their order.
    pub taken: Vec<(u32, u64)>,
    /// The first thing that was wrong, if anything was; in ASCII.
    pub fault: String,
}

impl Account {
    /// Digits of a stream in an account.
    const ENTRY: usize = 3 + 8;

    /// As a record's payload.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.report.bytes();
        put_digits(&mut bytes, self.taken.len() as u64, 3);
        for (stream, taken) in &self.taken {
            put_digits(&mut bytes, u64::from(*stream), 3);
            put_digits(&mut bytes, *taken, 8);
        }
        bytes.extend(self.fault.bytes());
        let check = check(&bytes);
        put_digits(&mut bytes, check, 1);
        bytes
    }

    /// What a payload says; `None` where it is something else.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (sum, rest) = payload.split_last()?;
        if digits(&[*sum])? != check(rest) {
            return None;
        }
        let (report, rest) = rest.split_at_checked(Report::LEN)?;
        let (count, rest) = rest.split_at_checked(3)?;
        let len = usize::try_from(digits(count)?).ok()?.checked_mul(Self::ENTRY)?;
        let (entries, fault) = rest.split_at_checked(len)?;
        let each = entries
            .chunks(Self::ENTRY)
            .map(|entry| Some((u32::try_from(digits(&entry[..3])?).ok()?, digits(&entry[3..])?)));
        Some(Self {
            report: Report::parse(report)?,
            taken: each.collect::<Option<_>>()?,
            fault: String::from_utf8_lossy(fault).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_a_wrong_byte_shows() {
        let header = Header { kind: Kind::Report, stream: 70_000, number: 1 << 28, payload: 33 };
        let bytes = header.bytes();
        assert_eq!((bytes.len(), Header::parse(&bytes)), (HEADER, Some(header)));
        for at in 0..HEADER {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert_eq!(Header::parse(&wrong), None, "byte {at}");
        }
    }

    #[test]
    fn the_mark_stands_at_the_head_of_a_record_alone() {
        for direction in [Direction::Output, Direction::Input] {
            let script = Script::new(5, direction, 3);
            for number in 0..300 {
                let record = script.record(number);
                assert_eq!(record.iter().filter(|byte| **byte == MARK).count(), 1);
                assert_eq!(record[0], MARK);
                if script.header(number).kind == Kind::Data {
                    assert_eq!(record.len() as u64, script.len(number));
                }
            }
        }
    }

    #[test]
    fn what_the_program_says_is_read_as_it_was_written() {
        let report = Report { taken: 1 << 40, lost: 2, repeated: 3, foreign: 4, signals: 5 };
        assert_eq!(report.bytes().len(), Report::LEN);
        assert_eq!(Report::parse(&report.bytes()), Some(report));
        let taken = vec![(0, 5), (9, 1 << 33)];
        let account = Account { report, taken, fault: "3 bytes: no record".into() };
        assert_eq!(Account::parse(&account.bytes()), Some(account.clone()));
        let mut wrong = account.bytes();
        wrong[40] ^= 1;
        assert_eq!(Account::parse(&wrong), None);
    }
}
