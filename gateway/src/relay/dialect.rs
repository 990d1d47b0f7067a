//! How a client speaks: the whole of `shellgate.v1`, or the plain dialect in which the gateway
//! plays the client's part. Turns what a client is owed into WebSocket messages.

use bytes::BytesMut;
use shellgate_protocol::frame::{Frame, HEADER_LEN, Kind};
use shellgate_protocol::limits::{OUTPUT_FRAME_MAX, WINDOW_DEFAULT};
use shellgate_protocol::{CloseCode, Offset, ToClient};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Largest message of a plain client, and the longest line that it is sent, in bytes: half of its
/// window.
pub const PLAIN_MESSAGE_MAX: usize = WINDOW_DEFAULT as usize / 2;

/// How a client speaks.
#[derive(Debug)]
pub enum Dialect {
    /// Frames and JSON control.
    V1,
    /// Bare terminal bytes, both ways.
    PlainTerminal(Progress),
    /// One message is one line, both ways.
    PlainLines(Lines),
}

/// How far a plain client has been served.
#[derive(Debug, Default)]
pub struct Progress {
    /// All output before this was handed to the socket's queue.
    pub reached: Offset,
}

/// What a line-mode client is owed, cut into lines as they leave.
#[derive(Debug, Default)]
pub struct Lines {
    /// How far it has been served.
    pub progress: Progress,
    held: BytesMut,
    /// Bytes of `held` that are whole lines.
    whole: usize,
    /// What follows is the rest of a line whose beginning is not there.
    skipping: bool,
    longest: usize,
}

impl Lines {
    /// Lines of at most `longest` bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { longest, ..Self::default() }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        if self.skipping {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return };
            bytes = &bytes[end + 1..];
            self.skipping = false;
        }
        if let Some(last) = bytes.iter().rposition(|b| *b == b'\n') {
            self.whole = self.held.len() + last + 1;
        }
        self.held.extend_from_slice(bytes);
    }

    fn has_line(&self) -> bool {
        self.whole > 0 || self.held.len() > self.longest
    }

    fn next(&mut self) -> Result<Option<Message>, CloseCode> {
        let whole = &self.held[..self.whole];
        let Some(end) = whole.iter().position(|b| *b == b'\n') else {
            let too_long = self.held.len() > self.longest;
            return if too_long { Err(CloseCode::TooBig) } else { Ok(None) };
        };
        if end > self.longest {
            return Err(CloseCode::TooBig);
        }
        let mut line = self.held.split_to(end + 1);
        self.whole -= line.len();
        line.truncate(end);
        let text = Utf8Bytes::try_from(line.freeze()).map_err(|_| CloseCode::NotUtf8)?;
        Ok(Some(Message::Text(text)))
    }
}

/// What a frame comes to for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Owed {
    /// The frame itself.
    Frame,
    /// Its bytes.
    Bytes,
    /// Nothing yet: see [`Dialect::next_line`].
    Nothing,
}

impl Dialect {
    /// The largest message that a client is sent, in bytes.
    #[must_use]
    pub fn largest_message(&self) -> usize {
        match self {
            Self::V1 => HEADER_LEN + OUTPUT_FRAME_MAX,
            Self::PlainTerminal(_) => OUTPUT_FRAME_MAX,
            Self::PlainLines(lines) => lines.longest,
        }
    }

    /// What of a frame the client is owed.
    pub fn frame(&mut self, frame: &Frame) -> Owed {
        match self {
            Self::V1 => Owed::Frame,
            Self::PlainTerminal(progress) => match frame.kind {
                Kind::Data | Kind::Replay => {
                    progress.reached = progress.reached.max(frame.end());
                    Owed::Bytes
                }
                Kind::Keyframe => {
                    progress.reached = progress.reached.max(frame.offset);
                    Owed::Bytes
                }
                Kind::Ack | Kind::Applied => Owed::Nothing,
            },
            Self::PlainLines(lines) => {
                if matches!(frame.kind, Kind::Data | Kind::Replay) {
                    lines.progress.reached = lines.progress.reached.max(frame.end());
                    lines.take(&frame.payload);
                }
                Owed::Nothing
            }
        }
    }

    /// The message that carries control; `None` where this dialect has none for it.
    pub fn control(&mut self, message: &ToClient) -> Option<Message> {
        match self {
            Self::V1 => serde_json::to_string(message).ok().map(Message::text),
            Self::PlainTerminal(_) | Self::PlainLines(_) => None,
        }
    }

    /// The output goes on at `to`: a line that was cut in two by that is left out.
    pub fn skip_to(&mut self, to: Offset) {
        match self {
            Self::V1 => {}
            Self::PlainTerminal(progress) => progress.reached = progress.reached.max(to),
            Self::PlainLines(lines) => {
                lines.progress.reached = lines.progress.reached.max(to);
                lines.held.truncate(lines.whole);
                lines.skipping = true;
            }
        }
    }

    /// The output is complete: what is left of it is a line, too.
    pub fn finish(&mut self) {
        if let Self::PlainLines(lines) = self
            && lines.held.len() > lines.whole
        {
            lines.held.extend_from_slice(b"\n");
            lines.whole = lines.held.len();
        }
    }

    /// Whether [`Dialect::next_line`] has something to say.
    pub fn has_line(&self) -> bool {
        matches!(self, Self::PlainLines(lines) if lines.has_line())
    }

    /// Bytes that are held until they leave as lines.
    pub fn held(&self) -> usize {
        match self {
            Self::V1 | Self::PlainTerminal(_) => 0,
            Self::PlainLines(lines) => lines.held.len(),
        }
    }

    /// The next whole line.
    ///
    /// # Errors
    /// The close code, where a line is too long or not UTF-8.
    pub fn next_line(&mut self) -> Result<Option<Message>, CloseCode> {
        match self {
            Self::V1 | Self::PlainTerminal(_) => Ok(None),
            Self::PlainLines(lines) => lines.next(),
        }
    }

    /// Up to where the gateway acknowledges for this client, once all that is queued has left.
    pub fn reached(&self) -> Option<Offset> {
        match self {
            Self::V1 => None,
            Self::PlainTerminal(progress) => Some(progress.reached),
            Self::PlainLines(lines) => Some(lines.progress.reached),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn give(dialect: &mut Dialect, bytes: &'static [u8]) {
        let offset = dialect.reached().expect("a plain dialect");
        let payload = Bytes::from_static(bytes);
        dialect.frame(&Frame { kind: Kind::Data, offset, payload });
    }

    fn lines(longest: usize) -> Dialect {
        Dialect::PlainLines(Lines::new(longest))
    }

    #[test]
    fn a_line_comes_whole_however_it_was_cut() {
        let mut dialect = lines(16);
        for piece in [&b"{\"a\""[..], b":1}\n{", b"}\n\n"] {
            give(&mut dialect, piece);
        }
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("{\"a\":1}"))));
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("{}"))));
        assert_eq!(dialect.next_line(), Ok(Some(Message::text(""))));
        assert_eq!(dialect.next_line(), Ok(None));
        assert!(!dialect.has_line());
        assert_eq!(dialect.held(), 0);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_ends_the_dialect() {
        for long in [&b"12345"[..], b"12345\n"] {
            let mut dialect = lines(4);
            give(&mut dialect, long);
            assert!(dialect.has_line());
            assert_eq!(dialect.next_line(), Err(CloseCode::TooBig));
        }
        let mut dialect = lines(4);
        give(&mut dialect, b"fine\n\xff\n");
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("fine"))));
        assert_eq!(dialect.next_line(), Err(CloseCode::NotUtf8));
    }

    #[test]
    fn a_line_that_a_gap_has_cut_is_left_out_and_the_next_one_is_whole() {
        let mut dialect = lines(16);
        give(&mut dialect, b"one\ntw");
        dialect.skip_to(Offset::new(100).expect("small"));
        give(&mut dialect, b"ree\nfour\n");
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("one"))));
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("four"))));
        assert_eq!(dialect.next_line(), Ok(None));
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut dialect = lines(16);
        give(&mut dialect, b"last");
        assert_eq!(dialect.next_line(), Ok(None));
        dialect.finish();
        assert_eq!(dialect.next_line(), Ok(Some(Message::text("last"))));
        dialect.finish();
        assert_eq!(dialect.next_line(), Ok(None));
    }

    #[test]
    fn a_plain_terminal_is_owed_bytes_and_nothing_else() {
        let mut dialect = Dialect::PlainTerminal(Progress::default());
        let mut of = |kind, offset, payload: &'static [u8]| {
            let offset = Offset::new(offset).expect("small");
            dialect.frame(&Frame { kind, offset, payload: Bytes::from_static(payload) })
        };
        assert_eq!(of(Kind::Keyframe, 7, b"screen"), Owed::Bytes);
        assert_eq!(of(Kind::Data, 7, b"abc"), Owed::Bytes);
        assert_eq!(of(Kind::Applied, 900, b""), Owed::Nothing);
        assert_eq!(dialect.reached(), Offset::new(10));
        assert_eq!(dialect.control(&ToClient::Live), None);
    }
}
