//! Lines for the operator, held until a link takes them. A program that writes without end costs a
//! bounded number of lines and a count of those left out.

use std::collections::VecDeque;

use shellgate_protocol::FromBridge;
use shellgate_protocol::link_leg::LogSource;

/// Lines that wait for a link.
const WAITING_MAX: usize = 128;

/// Lines that may go out in one burst, and so many a second after it: well below the rate at which
/// a gateway cuts off a link.
const BURST: u64 = 64;
const PER_SECOND: u64 = 10;

/// Longest line, in bytes.
const LINE_MAX: usize = 4096;

/// The lines.
#[derive(Debug)]
pub struct Logbook {
    waiting: VecDeque<(LogSource, String)>,
    left_out: u64,
    /// Thousandths of lines that may go out, at `counted_at`.
    allowed: u64,
    counted_at: u64,
}

impl Default for Logbook {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), left_out: 0, allowed: BURST * 1000, counted_at: 0 }
    }
}

impl Logbook {
    /// Adds a line, cut to 4 KiB. Characters that a message would have to spell out, and so be longer
    /// than it may be, are replaced.
    pub fn add(&mut self, source: LogSource, text: impl Into<String>) {
        if self.waiting.len() == WAITING_MAX {
            self.left_out += 1;
            return;
        }
        let mut text = text.into();
        let spelt_out = |c: char| c.is_ascii_control() && c != '\t' && c != '\n' && c != '\r';
        if text.contains(spelt_out) {
            text = text.replace(spelt_out, "\u{fffd}");
        }
        text.truncate(text.floor_char_boundary(LINE_MAX));
        self.waiting.push_back((source, text));
    }

    /// The next line that may go out at `now` (milliseconds).
    pub fn next(&mut self, now: u64) -> Option<FromBridge> {
        if self.waiting.is_empty() && self.left_out == 0 {
            return None;
        }
        let earned = now.saturating_sub(self.counted_at).saturating_mul(PER_SECOND);
        self.allowed = self.allowed.saturating_add(earned).min(BURST * 1000);
        self.counted_at = now;
        self.allowed = self.allowed.checked_sub(1000)?;
        let (source, text) = self.waiting.pop_front().unwrap_or_else(|| {
            let text = format!("{} lines were left out", self.left_out);
            self.left_out = 0;
            (LogSource::Bridge, text)
        });
        Some(FromBridge::Log { source, text })
    }

    /// When a line that waits may go out.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        if self.waiting.is_empty() && self.left_out == 0 {
            return None;
        }
        Some(self.counted_at + 1000u64.saturating_sub(self.allowed).div_ceil(PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::limits::CONTROL_MAX;

    use super::*;

    #[test]
    fn a_flood_of_lines_goes_out_slowly_and_says_what_is_missing() {
        let mut log = Logbook::default();
        for n in 0..1000 {
            log.add(LogSource::Program, format!("line {n}"));
        }
        let mut out = Vec::new();
        for now in 0..30_000 {
            if log.due().is_some_and(|due| due <= now) {
                out.extend(log.next(now));
            }
        }
        assert_eq!(out.len(), WAITING_MAX + 1);
        let FromBridge::Log { text, .. } = out.last().unwrap() else { panic!("not a log line") };
        assert_eq!(text, "872 lines were left out");
        assert_eq!(log.due(), None);
    }

    #[test]
    fn no_line_is_too_long_for_a_message() {
        for worst in ["\0", "\u{1f}", "\"", "\\", "\n", "\t", "\u{7f}", "\u{80}", "\u{2028}"] {
            let mut log = Logbook::default();
            log.add(LogSource::Program, worst.repeat(LINE_MAX));
            let message = serde_json::to_string(&log.next(0).unwrap()).unwrap();
            assert!(message.len() < CONTROL_MAX, "{worst:?}: {}", message.len());
        }
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let mut log = Logbook::default();
        log.add(LogSource::Bridge, "ä".repeat(4000));
        let Some(FromBridge::Log { text, .. }) = log.next(0) else { panic!("no line") };
        assert_eq!(text.len(), LINE_MAX);
    }
}
