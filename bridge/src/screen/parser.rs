//! Cuts a terminal's output into text, controls and sequences, after the state diagram of Paul
//! Williams with UTF-8. Knows the grammar and no meaning; keeps no more than a bounded piece of an
//! unfinished sequence.

/// What a sequence asks for is up to whoever implements this.
pub(super) trait Perform {
    /// What follows is to wait.
    fn is_tired(&self) -> bool;
    fn print(&mut self, text: &str);
    fn control(&mut self, control: u8);
    fn escape(&mut self, intermediate: u8, end: u8);
    fn csi(&mut self, csi: &Csi);
    fn osc(&mut self, text: &[u8], end: StringEnd);
    fn dcs(&mut self, intermediate: u8, end: u8);
}

/// How an operating system command was closed, and so how its answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringEnd {
    Bell,
    Terminator,
}

/// Parameters that a sequence may have; those after are dropped.
const PARAMETERS: usize = 32;

/// Bytes of an unfinished sequence that are kept. A longer control sequence is ignored, a longer
/// string is swallowed to its end.
const SEQUENCE_MAX: usize = 4096;

/// Text that is printed at once, so that others need not wait for more.
const TEXT_MAX: usize = 4096;

/// A control sequence. A parameter that is not there is 0.
#[derive(Debug, Default)]
pub(super) struct Csi {
    /// `<`, `=`, `>` or `?`; else 0.
    pub(super) prefix: u8,
    /// The last of the bytes before the final one; else 0.
    pub(super) intermediate: u8,
    pub(super) end: u8,
    parameters: [u16; PARAMETERS],
    /// Bit n: parameter n followed a colon, and so belongs to the one before.
    sub: u32,
    count: usize,
}

impl Csi {
    /// Parameter `n`, or `default` where it is absent or 0.
    pub(super) fn get(&self, n: usize, default: u16) -> u16 {
        match self.parameters.get(n) {
            Some(0) | None => default,
            Some(value) => *value,
        }
    }

    /// All parameters, at least one, each with those that belong to it.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[u16]> {
        let mut at = 0;
        let count = self.count.clamp(1, PARAMETERS);
        std::iter::from_fn(move || {
            let start = at;
            if start == count {
                return None;
            }
            at += 1;
            while at < count && self.sub >> at & 1 == 1 {
                at += 1;
            }
            Some(&self.parameters[start..at])
        })
    }

    fn digit(&mut self, digit: u8) {
        self.count = self.count.max(1);
        if let Some(value) = self.parameters.get_mut(self.count - 1) {
            *value = value.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
        }
    }

    fn next(&mut self, sub: bool) {
        self.count = (self.count.max(1) + 1).min(PARAMETERS + 1);
        if sub && self.count <= PARAMETERS {
            self.sub |= 1 << (self.count - 1);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    CsiIgnored,
    Osc,
    Dcs,
    DcsString,
    /// A string that means nothing here.
    Swallowed,
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    state: State,
    csi: Csi,
    /// The unfinished sequence, or the first bytes of an unfinished character.
    raw: Vec<u8>,
    /// `raw` has not taken all of it.
    overlong: bool,
    /// An escape has come inside a string: a `\` ends it.
    escaped: bool,
}

impl Parser {
    /// Gives back what was left because `to` is tired.
    pub(super) fn feed<'a>(&mut self, mut bytes: &'a [u8], to: &mut impl Perform) -> &'a [u8] {
        while !bytes.is_empty() && !to.is_tired() {
            if self.state == State::Ground {
                bytes = self.text(bytes, to);
            } else {
                self.sequence(bytes[0], to);
                bytes = &bytes[1..];
            }
        }
        bytes
    }

    /// Bytes that bring a terminal's parser to where this one is, so that the rest of an unfinished
    /// sequence or character means the same there.
    pub(super) fn unfinished(&self) -> &[u8] {
        if !self.overlong {
            return &self.raw;
        }
        // The rest must be swallowed up to the same end, and the head has no business anywhere.
        match self.state {
            State::Ground => b"",
            State::Escape => b"\x1b",
            State::Csi | State::CsiIgnored => b"\x1b[0<",
            State::Osc if self.escaped => b"\x1b]7777;\x1b",
            State::Osc => b"\x1b]7777;",
            State::Dcs | State::DcsString | State::Swallowed if self.escaped => b"\x1bX\x1b",
            State::Dcs | State::DcsString | State::Swallowed => b"\x1bX",
        }
    }

    /// Prints up to the next control; gives back what is left.
    fn text<'a>(&mut self, bytes: &'a [u8], to: &mut impl Perform) -> &'a [u8] {
        if !self.raw.is_empty() {
            return self.rest_of_character(bytes, to);
        }
        let most = bytes.len().min(TEXT_MAX);
        let end = bytes[..most].iter().position(|byte| *byte < 0x20 || *byte == 0x7f);
        let end = end.unwrap_or(most);
        if end == 0 {
            match bytes[0] {
                0x1b => self.begin(),
                0x7f => {}
                control => to.control(control),
            }
            return &bytes[1..];
        }
        match std::str::from_utf8(&bytes[..end]) {
            Ok(text) => {
                let taken = self.decoded(text, to);
                &bytes[taken..]
            }
            Err(error) => {
                let (valid, bad) = bytes[..end].split_at(error.valid_up_to());
                let text = std::str::from_utf8(valid).unwrap_or_default();
                let taken = self.decoded(text, to);
                if taken < valid.len() {
                    return &bytes[taken..];
                }
                // A C1 control among the text may have opened a sequence: the rest belongs to it.
                match error.error_len() {
                    _ if self.state != State::Ground => &bytes[valid.len()..],
                    None if end == bytes.len() => {
                        self.raw.extend_from_slice(bad);
                        &[]
                    }
                    // The character may only be cut by how much is printed at once.
                    None if end == TEXT_MAX => &bytes[valid.len()..],
                    None => {
                        to.print("\u{fffd}");
                        &bytes[end..]
                    }
                    Some(len) => {
                        to.print("\u{fffd}");
                        &bytes[valid.len() + len..]
                    }
                }
            }
        }
    }

    fn rest_of_character<'a>(&mut self, bytes: &'a [u8], to: &mut impl Perform) -> &'a [u8] {
        let mut taken = 0;
        while taken < bytes.len() {
            self.raw.push(bytes[taken]);
            taken += 1;
            match std::str::from_utf8(&self.raw) {
                Ok(_) => {
                    let raw = std::mem::take(&mut self.raw);
                    if let Ok(text) = std::str::from_utf8(&raw) {
                        self.decoded(text, to);
                    }
                    break;
                }
                Err(error) if error.error_len().is_some() => {
                    // The byte that does not fit starts something of its own.
                    self.raw.clear();
                    to.print("\u{fffd}");
                    taken -= 1;
                    break;
                }
                Err(_) => {}
            }
        }
        &bytes[taken..]
    }

    /// Prints text, and takes its C1 controls for the escape sequences that they abbreviate. Tells
    /// how much of it: what comes after one of these may have to wait.
    fn decoded(&mut self, text: &str, to: &mut impl Perform) -> usize {
        let is_c1 = |c: char| ('\u{80}'..'\u{a0}').contains(&c);
        // C1 controls are encoded as C2 80 … C2 9F, and few texts have a C2 at all.
        if !text.as_bytes().contains(&0xc2) || !text.contains(is_c1) {
            to.print(text);
            return text.len();
        }
        let mut rest = text;
        while let Some(at) = rest.find(is_c1) {
            if at > 0 {
                to.print(&rest[..at]);
            }
            let c1 = rest[at..].chars().next().map_or(0, |c| u32::from(c) as u8);
            self.begin();
            self.sequence(c1 - 0x40, to);
            rest = &rest[at + 2..];
            while self.state != State::Ground && !rest.is_empty() {
                self.sequence(rest.as_bytes()[0], to);
                // Within a sequence each byte counts, within a character only the whole of it.
                let mut end = 1;
                while !rest.is_char_boundary(end) {
                    self.sequence(rest.as_bytes()[end], to);
                    end += 1;
                }
                rest = &rest[end..];
            }
            if to.is_tired() {
                return text.len() - rest.len();
            }
        }
        if !rest.is_empty() {
            to.print(rest);
        }
        text.len()
    }

    fn begin(&mut self) {
        self.state = State::Escape;
        self.csi = Csi::default();
        self.overlong = false;
        self.escaped = false;
        self.raw.clear();
        self.raw.push(0x1b);
    }

    fn finish(&mut self) {
        self.state = State::Ground;
        self.overlong = false;
        self.escaped = false;
        if self.raw.capacity() > 256 {
            self.raw = Vec::new();
        } else {
            self.raw.clear();
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.raw.len() < SEQUENCE_MAX {
            self.raw.push(byte);
        } else {
            self.overlong = true;
        }
    }

    fn sequence(&mut self, byte: u8, to: &mut impl Perform) {
        match (self.state, byte) {
            (State::Ground, _) => {}
            (_, 0x18 | 0x1a) => self.finish(),
            (State::Osc, 0x07) if !self.escaped => self.finish_osc(StringEnd::Bell, to),
            (State::Osc | State::DcsString | State::Swallowed, _) => self.string(byte, to),
            (_, 0x1b) => self.begin(),
            (State::Escape | State::Csi | State::CsiIgnored, 0..0x20) => to.control(byte),
            (_, 0x7f) | (State::Dcs, 0..0x20) => {}
            // No sequence has such bytes.
            (_, 0x80..) => {}
            (State::Escape, _) => self.escape(byte, to),
            (State::Csi | State::CsiIgnored | State::Dcs, _) => self.parameters(byte, to),
        }
    }

    fn escape(&mut self, byte: u8, to: &mut impl Perform) {
        self.keep(byte);
        match byte {
            0x20..0x30 => self.csi.intermediate = byte,
            _ if self.csi.intermediate != 0 => {
                let intermediate = self.csi.intermediate;
                self.finish();
                to.escape(intermediate, byte);
            }
            b'[' => self.state = State::Csi,
            b']' => self.state = State::Osc,
            b'P' => self.state = State::Dcs,
            b'X' | b'^' | b'_' => self.state = State::Swallowed,
            _ => {
                self.finish();
                to.escape(0, byte);
            }
        }
    }

    /// A byte of a control sequence, or of the head of a device control string.
    fn parameters(&mut self, byte: u8, to: &mut impl Perform) {
        self.keep(byte);
        let is_first = self.csi.count == 0 && self.csi.prefix == 0;
        match byte {
            0x40.. if self.state == State::Dcs => {
                self.state = State::DcsString;
                self.csi.end = byte;
            }
            0x40.. => {
                let ignored = self.state == State::CsiIgnored || self.overlong;
                self.csi.end = byte;
                self.finish();
                if !ignored {
                    to.csi(&self.csi);
                }
            }
            _ if self.state == State::CsiIgnored => {}
            0x20..0x30 => self.csi.intermediate = byte,
            _ if self.csi.intermediate != 0 => self.ignore(),
            b'0'..=b'9' => self.csi.digit(byte),
            b';' => self.csi.next(false),
            b':' => self.csi.next(true),
            _ if is_first => self.csi.prefix = byte,
            _ => self.ignore(),
        }
    }

    fn ignore(&mut self) {
        self.state = if self.state == State::Csi { State::CsiIgnored } else { State::Swallowed };
    }

    fn string(&mut self, byte: u8, to: &mut impl Perform) {
        if self.escaped {
            let state = self.state;
            if byte != b'\\' {
                // Any other escape sequence cuts the string off.
                self.begin();
                self.sequence(byte, to);
            } else if state == State::Osc {
                self.raw.pop_if(|last| *last == 0x1b);
                self.finish_osc(StringEnd::Terminator, to);
            } else {
                let (intermediate, end, overlong) =
                    (self.csi.intermediate, self.csi.end, self.overlong);
                self.finish();
                if state == State::DcsString && !overlong {
                    to.dcs(intermediate, end);
                }
            }
            return;
        }
        self.escaped = byte == 0x1b;
        self.keep(byte);
    }

    fn finish_osc(&mut self, end: StringEnd, to: &mut impl Perform) {
        let raw = std::mem::take(&mut self.raw);
        let overlong = self.overlong;
        self.finish();
        if !overlong {
            // The first two bytes are the introducer.
            to.osc(raw.get(2..).unwrap_or_default(), end);
        }
    }
}
