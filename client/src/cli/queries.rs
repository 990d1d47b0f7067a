//! Leaves queries out of replayed output: a terminal would answer them a second time, and the
//! answers would be typed into the session. Knows no terminal.

/// A longer sequence is not a query, in bytes: a string goes through as it comes, anything else that
/// is so long means nothing to a terminal.
const HELD_MAX: usize = 4096;

const ENQ: u8 = 0x05;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// First byte of the control characters of C1 in UTF-8. Each stands for an escape and one more byte.
const C1: u8 = 0xc2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// The first byte of a C1 control, or of a letter.
    Lead,
    Escape,
    /// A control sequence.
    Csi,
    /// A sequence that is too long.
    Ignored,
    /// A string, begun by this byte, in which an end by BEL is known for `]` alone.
    String(u8),
    /// The same, too long to be held.
    Long(u8),
}

/// Takes queries out of a stream, however it was cut into pieces. What is left has no sequence in it
/// that is cut off by another: terminals do not agree on what such a one means.
#[derive(Debug, Default)]
pub struct Queries {
    state: State,
    /// An escape sequence that has not ended yet; of a long string only what may be its end.
    held: Vec<u8>,
    /// Bytes that the last letter of the text lacks.
    lacking: u8,
}

impl Queries {
    /// What is left of these bytes; a sequence that has not ended is kept back.
    pub fn leave_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.take(byte, &mut rest);
        }
        rest
    }

    /// What was kept back: new output follows, and only its own end can tell.
    pub fn release(&mut self) -> Vec<u8> {
        self.state = State::Text;
        self.lacking = 0;
        std::mem::take(&mut self.held)
    }

    fn take(&mut self, byte: u8, rest: &mut Vec<u8>) {
        match self.state {
            State::Text => match byte {
                ESC => {
                    self.end_letter(rest);
                    self.begin(State::Escape, byte);
                }
                C1 => self.begin(State::Lead, byte),
                // It asks for the answerback message.
                ENQ => self.end_letter(rest),
                _ => self.print(byte, rest),
            },
            State::Lead => {
                if is_c1(byte) {
                    self.end_letter(rest);
                    self.held.push(byte);
                    self.introduce(byte - 0x40, rest);
                } else {
                    self.forget();
                    self.print(C1, rest);
                    self.take(byte, rest);
                }
            }
            State::Escape | State::Csi | State::Ignored => match byte {
                CAN | SUB => self.forget(),
                ESC => self.begin(State::Escape, byte),
                ENQ => {}
                // A control acts at once, in the midst of a sequence, too.
                0..0x20 => rest.push(byte),
                // No sequence has such bytes.
                0x7f.. => {}
                _ => self.sequence(byte, rest),
            },
            State::String(kind) | State::Long(kind) => self.string(kind, byte, rest),
        }
    }

    fn print(&mut self, byte: u8, rest: &mut Vec<u8>) {
        self.lacking = match byte {
            0x80..0xc0 => self.lacking.saturating_sub(1),
            0xc0..0xe0 => 1,
            0xe0..0xf0 => 2,
            0xf0.. => 3,
            _ => 0,
        };
        rest.push(byte);
    }

    /// What follows may be left out, and what comes after it is no part of a letter before it.
    fn end_letter(&mut self, rest: &mut Vec<u8>) {
        if std::mem::take(&mut self.lacking) > 0 {
            rest.push(CAN);
        }
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.state = state;
        self.held.clear();
        self.held.push(byte);
    }

    fn forget(&mut self) {
        self.state = State::Text;
        self.held.clear();
    }

    /// What is held is complete.
    fn end(&mut self, is_query: bool, rest: &mut Vec<u8>) {
        if !is_query {
            rest.extend_from_slice(&self.held);
        }
        self.forget();
    }

    /// The byte after an escape.
    fn introduce(&mut self, byte: u8, rest: &mut Vec<u8>) {
        match byte {
            b'[' => self.state = State::Csi,
            b']' | b'P' | b'_' | b'^' | b'X' => self.state = State::String(byte),
            _ => self.end(byte == b'Z', rest),
        }
    }

    fn sequence(&mut self, byte: u8, rest: &mut Vec<u8>) {
        let is_first = self.held.len() == 1;
        if self.held.len() < HELD_MAX {
            self.held.push(byte);
        } else {
            self.state = State::Ignored;
        }
        match self.state {
            // Intermediate bytes, then a final one.
            State::Escape if (0x20..0x30).contains(&byte) => {}
            State::Escape if is_first => self.introduce(byte, rest),
            State::Escape => self.end(false, rest),
            State::Csi if byte >= 0x40 => {
                let params = self.held.get(2..self.held.len() - 1).unwrap_or_default();
                self.end(asks(byte, params), rest);
            }
            State::Ignored if byte >= 0x40 => self.forget(),
            _ => {}
        }
    }

    fn string(&mut self, kind: u8, byte: u8, rest: &mut Vec<u8>) {
        let is_long = matches!(self.state, State::Long(_));
        match (self.held.last(), byte) {
            (Some(&ESC), b'\\') => {
                self.held.push(byte);
                self.end_string(kind, rest);
            }
            (Some(&ESC), _) => {
                // Another sequence cuts it off. What of it is out already must not swallow text.
                if is_long {
                    rest.push(CAN);
                }
                self.begin(State::Escape, ESC);
                self.take(byte, rest);
            }
            (_, CAN | SUB) => {
                if is_long {
                    rest.push(byte);
                }
                self.forget();
            }
            (_, BEL) if kind == b']' => {
                self.held.push(byte);
                self.end_string(kind, rest);
            }
            (Some(&C1), byte) if is_c1(byte) => {
                self.held.pop();
                if byte == 0x9c {
                    // As every terminal knows it.
                    self.held.extend_from_slice(b"\x1b\\");
                    self.end_string(kind, rest);
                } else {
                    // Some end the string there, and some do not. A byte that means nothing to all of
                    // them keeps apart what stands around it.
                    self.held.push(DEL);
                }
            }
            _ => {
                if is_long {
                    rest.append(&mut self.held);
                }
                self.held.push(byte);
                if self.held.len() > HELD_MAX {
                    self.state = State::Long(kind);
                    self.held.pop();
                    rest.append(&mut self.held);
                    self.held.push(byte);
                }
            }
        }
    }

    fn end_string(&mut self, kind: u8, rest: &mut Vec<u8>) {
        let is_query = matches!(self.state, State::String(_))
            && string_asks(kind, self.held.get(2..).unwrap_or_default());
        self.end(is_query, rest);
    }
}

fn is_c1(byte: u8) -> bool {
    (0x80..0xa0).contains(&byte)
}

/// Whether a control sequence asks the terminal for something.
fn asks(last: u8, params: &[u8]) -> bool {
    match last {
        // Device attributes, status reports, terminal parameters.
        b'c' | b'n' | b'x' => true,
        b'p' => params.ends_with(b"$"),
        b'q' => params.starts_with(b">"),
        b'u' => params.starts_with(b"?"),
        b'y' => params.ends_with(b"*"),
        // Window reports.
        b't' => {
            let first = params.split(|b| matches!(b, b';' | b':')).next().unwrap_or_default();
            let first = std::str::from_utf8(first).unwrap_or_default().trim_start_matches('0');
            matches!(first, "11" | "13" | "14" | "15" | "16" | "18" | "19" | "20" | "21")
        }
        _ => false,
    }
}

fn string_asks(kind: u8, body: &[u8]) -> bool {
    match kind {
        // Titles and links are text, whatever stands in it.
        b']' => {
            let number = body.split(|b| *b == b';').next().unwrap_or_default();
            !matches!(number, b"0" | b"1" | b"2" | b"8") && contains(body, b";?")
        }
        // A setting or a capability. A terminal passes over other bytes in the head of such a string.
        b'P' => {
            let head = body.iter().copied().filter(|b| (0x20..0x7f).contains(b));
            let head: Vec<_> = head.take_while(|b| *b < 0x40 || *b == b'q').collect();
            let end = head.iter().position(|b| *b == b'q');
            end.is_some_and(|end| head[..end].iter().any(|b| matches!(b, b'$' | b'+')))
        }
        b'_' => contains(body, b"a=q"),
        _ => false,
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn left(text: &[u8]) -> Vec<u8> {
        let mut queries = Queries::default();
        let mut left = queries.leave_out(text);
        left.extend(queries.release());
        left
    }

    #[test]
    fn queries_go_and_everything_else_stays() {
        for query in [
            &b"\x1b[c"[..],
            b"\x1b[>0c",
            b"\x1b[6n",
            b"\x1b[?6n",
            b"\x1b[?2026$p",
            b"\x1b[>q",
            b"\x1b[14t",
            b"\x1b[?u",
            b"\x1b]11;?\x07",
            b"\x1b]4;1;?\x1b\\",
            b"\x1bP+q544e\x1b\\",
            b"\x1bP$qm\x1b\\",
            b"\x1bZ",
            b"\x05",
            b"\x1b[018t",
            b"\x1bP1$qm\x1b\\",
            b"\xc2\x9b6n",
            b"\xc2\x9d11;?\xc2\x9c",
            b"\xc2\x9a",
        ] {
            let text = [b"before", query, b"after"].concat();
            assert_eq!(left(&text), b"beforeafter", "{}", String::from_utf8_lossy(query));
        }
        for other in [
            &b"\x1b[1;31mred\x1b[0m"[..],
            b"\x1b[?1049h",
            b"\x1b]0;title?\x07",
            b"\x1b(B",
            b"\x1b[8;24;80t",
            b"\x1b[!p",
            b"\x1b[2 q",
            b"\x1b[u",
            b"\x1b7\x1b8",
            b"\x1bPsixel\x1b\\",
            b"\x1b]8;;?page\x1b\\",
            b"\xc2\x9b1m\xc2\x85",
            "äöü \u{a7}\u{bf}".as_bytes(),
        ] {
            assert_eq!(left(other), other, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_sequence_that_is_cut_off_makes_no_query_of_what_follows() {
        for (text, expected) in [
            (&b"\x1b[\x1b[c6n"[..], &b"6n"[..]),
            (b"\x1b]0;title\x1b[6n\x07", b"\x07"),
            (b"\x1bP\x18\x1b[6n", b""),
            (b"\x1b[6\r\nn", b"\r\n"),
            (b"\x1b[\x1b[1m", b"\x1b[1m"),
            (b"\x1b[6\x1an", b"n"),
            (b"\x1b]0;a\xc2\x9b6n\x07", b"\x1b]0;a\x7f6n\x07"),
            (b"\xc2\x1b[c\x9b6n", b"\xc2\x18\x9b6n"),
            (b"\xe2\x82\x05\xac", b"\xe2\x82\x18\xac"),
        ] {
            assert_eq!(left(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_string_without_end_is_let_through_and_swallows_nothing_that_comes_after_it() {
        let mut text = b"\x1b]0;".to_vec();
        text.resize(10_000, b'x');
        assert_eq!(left(&text), text);
        let ended = [&text[..], b"\x07after"].concat();
        assert_eq!(left(&ended), ended);
        let cut_off = [&text[..], b"\x1b[6nafter"].concat();
        assert_eq!(left(&cut_off), [&text[..], b"\x18after"].concat());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_output_is_cut(
            text in proptest::collection::vec(prop_oneof![
                Just(ESC), Just(b'['), Just(b']'), Just(b'P'), Just(b'c'), Just(b'\\'), Just(b'6'), any::<u8>()
            ], 0..80),
        ) {
            let mut queries = Queries::default();
            let mut cut: Vec<u8> = text.iter().flat_map(|byte| queries.leave_out(&[*byte])).collect();
            cut.extend(queries.release());
            prop_assert_eq!(cut, left(&text));
        }
    }
}
