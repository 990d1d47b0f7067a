//! What a line-mode program writes to its stderr: lines for the log, and the tail for `exit`.

use shellgate_protocol::link_leg::LogSource;

use crate::logbook::Logbook;

/// What `exit` may quote, in bytes.
const TAIL_MAX: usize = 2048;

/// A line is cut here, in bytes.
const LINE_MAX: usize = 4096;

/// A program's stderr.
#[derive(Debug, Default)]
pub struct Stderr {
    line: Vec<u8>,
    tail: Vec<u8>,
    over: bool,
}

impl Stderr {
    /// The program wrote this.
    pub fn add(&mut self, bytes: &[u8], log: &mut Logbook) {
        self.tail.extend_from_slice(bytes);
        let beyond = self.tail.len().saturating_sub(TAIL_MAX);
        self.tail.drain(..beyond);
        for byte in bytes {
            if *byte == b'\n' || self.line.len() == LINE_MAX {
                self.tell(log);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    /// The program will write nothing any more.
    pub fn end(&mut self, log: &mut Logbook) {
        self.over = true;
        self.tell(log);
    }

    /// Whether that has been said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Its last words, if there were any; at most 2 KiB.
    #[must_use]
    pub fn tail(&self) -> Option<String> {
        // Where the cut went through a character, the rest of it is no character either.
        let is_rest = |byte: &&u8| self.tail.len() == TAIL_MAX && (0x80..0xc0).contains(*byte);
        let first = self.tail.iter().take(3).take_while(is_rest).count();
        let text = String::from_utf8_lossy(&self.tail[first..]);
        // What is no text has become longer, and the end of it counts.
        let text = text.trim_end();
        let beyond = text.ceil_char_boundary(text.len().saturating_sub(TAIL_MAX));
        Some(text[beyond..].trim_start().to_owned()).filter(|text| !text.is_empty())
    }

    fn tell(&mut self, log: &mut Logbook) {
        let line = String::from_utf8_lossy(&self.line);
        if !line.trim().is_empty() {
            log.add(LogSource::Program, line.trim_end());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::FromBridge;

    use super::*;

    #[test]
    fn lines_go_to_the_log_and_the_newest_stay_for_the_end() {
        let (mut stderr, mut log) = (Stderr::default(), Logbook::default());
        stderr.add(b"first li", &mut log);
        assert_eq!(log.next(0), None);
        stderr.add(b"ne\r\n\nlast", &mut log);
        stderr.end(&mut log);
        for expected in ["first line", "last"] {
            let Some(FromBridge::Log { source, text }) = log.next(0) else { panic!("no line") };
            assert_eq!((source, text.as_str()), (LogSource::Program, expected));
        }
        assert_eq!(stderr.tail().unwrap(), "first line\r\n\nlast");
    }

    #[test]
    fn a_tail_is_cut_between_characters_and_a_line_without_end_is_bounded() {
        let (mut stderr, mut log) = (Stderr::default(), Logbook::default());
        stderr.add("ä".repeat(5000).as_bytes(), &mut log);
        stderr.add(b"x", &mut log);
        assert!(stderr.line.len() <= LINE_MAX);
        let tail = stderr.tail().unwrap();
        assert!(tail.len() <= TAIL_MAX && tail.starts_with('ä') && tail.ends_with('x'));
        assert_eq!(Stderr::default().tail(), None);

        let mut short = Stderr::default();
        short.add(b"\x92", &mut log);
        assert_eq!(short.tail().as_deref(), Some("\u{fffd}"), "nothing was cut");

        // Each of these is printed as three bytes.
        stderr.add(&[0xff; TAIL_MAX], &mut log);
        stderr.add(b"last words\n", &mut log);
        let tail = stderr.tail().unwrap();
        assert!(tail.len() <= TAIL_MAX && tail.ends_with("\u{fffd}last words"));
    }
}
