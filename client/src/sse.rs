//! Server-sent events (HTML standard, section 9.2.6), as far as the gateway uses them. Knows no
//! transport: bytes in, events out.

/// The largest event that is kept together, in bytes.
const EVENT_MAX: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSent {
    /// Its name; `message` where it has none.
    pub event: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// The stream is not one of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_MAX} bytes")]
pub struct TooBig;

/// Takes a stream apart, however it was cut into pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes, and gives the events that are complete with them.
    ///
    /// # Errors
    /// [`TooBig`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<ServerSent>, TooBig> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.data.len() > EVENT_MAX {
                    return Err(TooBig);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            self.end_line(line.strip_suffix('\r').unwrap_or(&line), &mut events);
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str, events: &mut Vec<ServerSent>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                let event = if event.is_empty() { "message".to_owned() } else { event };
                events.push(ServerSent { event, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            // Comments keep the connection alive; ids and retry times are not used.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] =
        b": hello\n\nevent: state\ndata: {\"state\":\"live\"}\n\nevent: x\r\ndata: a\r\ndata:b\r\n\r\n";

    fn expected() -> Vec<ServerSent> {
        vec![
            ServerSent { event: "state".into(), data: r#"{"state":"live"}"#.into() },
            ServerSent { event: "x".into(), data: "a\nb".into() },
        ]
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_stream_is_cut(cuts in proptest::collection::vec(1usize..20, 1..60)) {
            let (mut parser, mut rest, mut events) = (Parser::default(), STREAM, vec![]);
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                events.extend(parser.take(now).unwrap());
                rest = later;
            }
            prop_assert_eq!(events, expected());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Parser::default().take(&bytes);
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        assert_eq!(Parser::default().take(&vec![b'x'; 1 << 20]), Err(TooBig));
    }
}
