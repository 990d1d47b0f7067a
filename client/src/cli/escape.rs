//! Escapes in what is typed: `~.` and its kin at the start of a line. Knows no terminal.

/// What an escape asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `~.`
    Detach,
    /// `~?`
    Help,
    /// `~^Z`
    Suspend,
    /// `~e`
    Extend,
    /// `~r`
    Retry,
}

/// A piece of what was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the session.
    Bytes(Vec<u8>),
    /// For the client.
    Escape(Escape),
}

/// Finds escapes.
#[derive(Debug)]
pub struct Escapes {
    key: Option<u8>,
    at_line_start: bool,
    /// The escape's key was typed, and the next one decides.
    pending: bool,
    /// The terminal gives whole lines: the end of one that was an escape is none of the session's.
    by_lines: bool,
    /// Such a line has still to end.
    ends_escape: bool,
}

impl Escapes {
    /// With this key, or none at all, at a terminal that gives single keys.
    pub fn new(key: Option<u8>) -> Self {
        Self { key, at_line_start: true, pending: false, by_lines: false, ends_escape: false }
    }

    /// The same at a terminal that gives whole lines.
    pub fn by_lines(key: Option<u8>) -> Self {
        Self { by_lines: true, ..Self::new(key) }
    }

    /// Takes typed bytes apart.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let Some(key) = self.key else { return vec![Typed::Bytes(bytes.to_vec())] };
        let mut pieces = Vec::new();
        let mut plain = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if std::mem::take(&mut self.ends_escape) && byte == b'\n' {
                continue;
            }
            if self.pending {
                self.pending = false;
                let escape = match byte {
                    b'.' => Some(Escape::Detach),
                    b'?' => Some(Escape::Help),
                    b'e' => Some(Escape::Extend),
                    b'r' => Some(Escape::Retry),
                    0x1a => Some(Escape::Suspend),
                    _ => None,
                };
                if let Some(escape) = escape {
                    if !plain.is_empty() {
                        pieces.push(Typed::Bytes(std::mem::take(&mut plain)));
                    }
                    pieces.push(Typed::Escape(escape));
                    self.at_line_start = true;
                    self.ends_escape = self.by_lines;
                    continue;
                }
                plain.push(key);
                self.at_line_start = false;
                if byte == key {
                    continue;
                }
            } else if self.at_line_start && byte == key {
                self.pending = true;
                continue;
            }
            plain.push(byte);
            self.at_line_start = matches!(byte, b'\r' | b'\n');
        }
        if !plain.is_empty() {
            pieces.push(Typed::Bytes(plain));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(text: &[u8]) -> Vec<Typed> {
        Escapes::new(Some(b'~')).take(text)
    }

    fn bytes(text: &[u8]) -> Typed {
        Typed::Bytes(text.to_vec())
    }

    #[test]
    fn an_escape_counts_at_the_start_of_a_line_only() {
        assert_eq!(typed(b"~."), [Typed::Escape(Escape::Detach)]);
        assert_eq!(typed(b"a~."), [bytes(b"a~.")]);
        assert_eq!(typed(b"a\r~?b"), [bytes(b"a\r"), Typed::Escape(Escape::Help), bytes(b"b")]);
        assert_eq!(typed(b"~\x1a"), [Typed::Escape(Escape::Suspend)]);
    }

    #[test]
    fn the_key_twice_is_the_key_and_before_anything_else_it_is_itself() {
        assert_eq!(typed(b"~~."), [bytes(b"~.")]);
        assert_eq!(typed(b"~/bin\r"), [bytes(b"~/bin\r")]);
        assert_eq!(typed(b"~\r~."), [bytes(b"~\r"), Typed::Escape(Escape::Detach)]);
    }

    #[test]
    fn the_end_of_a_line_that_was_an_escape_is_not_typed() {
        let mut escapes = Escapes::by_lines(Some(b'~'));
        assert_eq!(escapes.take(b"~?"), [Typed::Escape(Escape::Help)]);
        assert_eq!(escapes.take(b"\n"), []);
        assert_eq!(
            escapes.take(b"\n~r\nyes\n"),
            [bytes(b"\n"), Typed::Escape(Escape::Retry), bytes(b"yes\n")]
        );
        assert_eq!(typed(b"~?\n"), [Typed::Escape(Escape::Help), bytes(b"\n")]);
    }

    #[test]
    fn without_a_key_everything_is_typed() {
        assert_eq!(Escapes::new(None).take(b"~."), [bytes(b"~.")]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_typing_is_cut(
            text in proptest::collection::vec(prop_oneof![Just(b'~'), Just(b'.'), Just(b'\r'), any::<u8>()], 0..40),
        ) {
            let whole = typed(&text);
            let mut escapes = Escapes::new(Some(b'~'));
            let mut cut: Vec<Typed> = vec![];
            for byte in &text {
                for piece in escapes.take(&[*byte]) {
                    match (cut.last_mut(), piece) {
                        (Some(Typed::Bytes(before)), Typed::Bytes(more)) => before.extend(more),
                        (_, piece) => cut.push(piece),
                    }
                }
            }
            prop_assert_eq!(cut, whole);
        }
    }
}
