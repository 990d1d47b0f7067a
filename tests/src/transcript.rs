//! All that an attachment has told its caller, in order, and whether it kept its promise. Knows no
//! sockets.

use shellgate_client::attach::{Attached, Break, Closed, Event};
use shellgate_protocol::client_leg::{ExitStatus, GapReason, Notice, Phase};
use shellgate_protocol::{Offset, TerminalSize};

/// Output that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first missing byte.
    pub from: Offset,
    /// The first byte after it.
    pub to: Offset,
    /// Why.
    pub why: GapReason,
    /// How many bytes of output had come before it.
    pub after: usize,
}

/// A screen that was drawn from nothing.
#[derive(Debug, Clone, Default)]
pub struct Keyframe {
    /// It shows all output before this offset.
    pub at: Offset,
    /// The screen, as terminal output.
    pub bytes: Vec<u8>,
}

/// What an attachment has told so far.
#[derive(Debug, Default)]
pub struct Transcript {
    /// All output that came, without what lies in gaps.
    pub output: Vec<u8>,
    /// All output before this has come, or was announced as a gap.
    pub known: Option<Offset>,
    /// How much of the output a driver had seen before.
    pub replayed: usize,
    /// What did not come.
    pub gaps: Vec<Gap>,
    /// Screens.
    pub keyframes: Vec<Keyframe>,
    /// How often, and how, the attachment has stood.
    pub attached: Vec<Attached>,
    /// Phases of the start.
    pub phases: Vec<Phase>,
    /// Why it broke, each time that it did.
    pub breaks: Vec<Break>,
    /// How often it has come to where output is new.
    pub live: usize,
    /// Sizes.
    pub sizes: Vec<TerminalSize>,
    /// What a person is told.
    pub notices: Vec<Notice>,
    /// Where and how the program ended.
    pub exit: Option<(Offset, ExitStatus)>,
    /// How the attachment ended.
    pub closed: Option<Closed>,
    /// The first promise that was not kept.
    pub broken_promise: Option<String>,
}

impl Transcript {
    /// What somebody begins with who was shown this output, and knows all before this offset.
    #[must_use]
    pub fn knowing(output: Vec<u8>, known: Option<Offset>) -> Self {
        Self { output, known, ..Self::default() }
    }

    /// Takes the next event.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Starting { phase, .. } => {
                if self.phases.last() != Some(&phase) {
                    self.phases.push(phase);
                }
            }
            Event::Attached(attached) => {
                if self.known.is_none() || attached.new_launch {
                    self.known = Some(attached.from);
                }
                self.attached.push(attached);
            }
            Event::Output { from, bytes, replay } => {
                if let Some(known) = self.known.filter(|known| *known != from) {
                    self.breaks_its_promise(format!("output at {from} where {known} is next"));
                }
                self.known = Some(from.plus(bytes.len() as u64));
                self.replayed += if replay { bytes.len() } else { 0 };
                self.output.extend_from_slice(&bytes);
            }
            Event::Keyframe { at, bytes, first } => {
                if first {
                    self.keyframes.push(Keyframe { at, bytes: Vec::new() });
                }
                let screen = self.keyframes.last_mut().filter(|screen| screen.at == at);
                match screen {
                    Some(screen) => screen.bytes.extend_from_slice(&bytes),
                    None => self.breaks_its_promise(format!("a piece of no keyframe at {at}")),
                }
            }
            Event::Gap { from, to, why } => {
                if self.known.is_some_and(|known| known != from) || to <= from {
                    self.breaks_its_promise(format!("a gap from {from} to {to}"));
                }
                self.known = Some(to);
                self.gaps.push(Gap { from, to, why, after: self.output.len() });
            }
            Event::Size(size) => self.sizes.push(size),
            Event::Live => self.live += 1,
            Event::Notice(notice) => self.notices.push(notice),
            Event::Exit { at, status } => {
                if self.known.is_some_and(|known| known != at) {
                    self.breaks_its_promise(format!("the end at {at} comes before its output"));
                }
                self.exit = Some((at, status));
            }
            Event::Reconnecting { why, .. } => self.breaks.push(why),
            Event::Closed(closed) => self.closed = Some(closed),
        }
    }

    fn breaks_its_promise(&mut self, how: String) {
        self.broken_promise.get_or_insert(how);
    }

    /// The output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The end of the output, for a person to see what came instead.
    #[must_use]
    pub fn tail(&self) -> String {
        const SHOWN: usize = 2000;
        let from = self.output.len().saturating_sub(SHOWN);
        format!(
            "{:?}\nattached {} times, broken by {:?}, gaps {:?}, {} keyframes, notices {:?}, exit \
             {:?}, closed {:?}",
            String::from_utf8_lossy(&self.output[from..]),
            self.attached.len(),
            self.breaks,
            self.gaps,
            self.keyframes.len(),
            self.notices,
            self.exit,
            self.closed,
        )
    }
}

/// Where `needle` begins in `haystack`, at or after `from`.
#[must_use]
pub fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = from;
    loop {
        from += haystack.get(from..)?.iter().position(|byte| byte == first)?;
        if haystack[from + 1..].starts_with(rest) {
            return Some(from);
        }
        from += 1;
    }
}
