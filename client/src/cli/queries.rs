//! Leaves queries out of replayed output: a terminal would answer them a second time, and the
//! answers would be typed into the session. Knows no terminal.

/// A sequence longer than this is not a query, in bytes.
const HELD_MAX: usize = 4096;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

/// Takes queries out of a stream, however it was cut into pieces.
#[derive(Debug, Default)]
pub struct Queries {
    /// An escape sequence that has not ended yet.
    held: Vec<u8>,
}

impl Queries {
    /// What is left of these bytes; a sequence that has not ended is kept back.
    pub fn leave_out(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.held.is_empty() {
                match byte {
                    ESC => self.held.push(byte),
                    // ENQ asks for the answerback message.
                    0x05 => {}
                    _ => rest.push(byte),
                }
                continue;
            }
            if byte == ESC && !self.is_string() {
                // It cancels what was begun.
                rest.append(&mut self.held);
                self.held.push(ESC);
                continue;
            }
            self.held.push(byte);
            if self.is_complete() {
                if !self.is_query() {
                    rest.extend_from_slice(&self.held);
                }
                self.held.clear();
            } else if self.held.len() > HELD_MAX {
                rest.append(&mut self.held);
            }
        }
        rest
    }

    /// What was kept back: new output follows, and only its own end can tell.
    pub fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn is_string(&self) -> bool {
        matches!(self.held.get(1), Some(b']' | b'P' | b'_' | b'^' | b'X'))
    }

    fn is_complete(&self) -> bool {
        let last = self.held.last().copied().unwrap_or_default();
        match self.held.get(1) {
            None => false,
            Some(b'[') => self.held.len() > 2 && (0x40..=0x7e).contains(&last),
            Some(b']') => last == BEL || self.held.ends_with(b"\x1b\\"),
            Some(b'P' | b'_' | b'^' | b'X') => self.held.ends_with(b"\x1b\\"),
            // Intermediate bytes, then a final one.
            Some(_) => !(0x20..=0x2f).contains(&last),
        }
    }

    fn is_query(&self) -> bool {
        let Some((kind, body)) = self.held.get(1..).and_then(<[u8]>::split_first) else {
            return false;
        };
        match kind {
            b'[' => body.split_last().is_some_and(|(last, params)| asks(*last, params)),
            b']' => contains(body, b";?"),
            b'P' => body.starts_with(b"$q") || body.starts_with(b"+q"),
            b'_' => contains(body, b"a=q"),
            b'Z' => true,
            _ => false,
        }
    }
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
            let first = params.split(|b| *b == b';').next().unwrap_or_default();
            matches!(first, b"11" | b"13" | b"14" | b"15" | b"16" | b"18" | b"19" | b"20" | b"21")
        }
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
            "äöü".as_bytes(),
        ] {
            assert_eq!(left(other), other, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn an_endless_sequence_is_let_through() {
        let mut text = b"\x1b]0;".to_vec();
        text.resize(10_000, b'x');
        assert_eq!(left(&text), text);
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
