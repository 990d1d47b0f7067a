//! What one client has seen of the session, and whether it is what it should be, by offsets and by
//! each byte. Knows no sockets.

use shellgate_client::Event;
use shellgate_client::attach::Closed;
use shellgate_protocol::client_leg::{ExitStatus, GapReason, Notice, Resume};
use shellgate_protocol::{Launch, Offset, TerminalSize};
use tokio::time::Instant;

use super::checker::{Checker, Faults};
use super::record::Direction;

/// What was seen so far.
#[derive(Debug, Clone)]
pub struct Seen {
    seed: u64,
    /// Knows the program's every byte.
    pub checker: Checker,
    /// The next byte of output.
    pub next: Offset,
    /// Where this client began.
    pub from: Offset,
    /// Of which launch all of this is.
    pub launch: Option<Launch>,
    /// Bytes of output that came, as they came.
    pub bytes: u64,
    /// What is wrong by the offsets alone.
    pub by_offset: Faults,
    /// The first promise that was not kept, in words.
    pub broken: Option<String>,
    /// How often the attachment has stood.
    pub attached: u64,
    /// When it stood last.
    pub attached_at: Option<Instant>,
    /// Up to where this client's input was applied when another one took over.
    pub taken_over: Option<Offset>,
    /// Which of this client's signals was answered last.
    pub signalled: Option<u64>,
    /// The terminal's size.
    pub size: Option<TerminalSize>,
    /// What an observer is allowed and a driver is not.
    pub watch: Option<Watch>,
    /// How the program ended.
    pub exit: Option<ExitStatus>,
    /// How the attachment ended.
    pub closed: Option<Closed>,
}

/// What only an observer meets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Where the stream began, where this one comes in at a screen and has not seen that yet.
    pub comes_in: Option<Offset>,
    /// Bytes that it was too slow for.
    pub skipped: u64,
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            checker: Checker::new(seed, Direction::Output),
            next: Offset::ZERO,
            from: Offset::ZERO,
            launch: None,
            bytes: 0,
            by_offset: Faults::default(),
            broken: None,
            attached: 0,
            attached_at: None,
            taken_over: None,
            signalled: None,
            size: None,
            watch: None,
            exit: None,
            closed: None,
        }
    }

    /// What another client knows that goes on from here: its faults are its own.
    #[must_use]
    pub fn handed_on(&self) -> Self {
        let (next, launch, checker) = (self.next, self.launch, self.checker.clone());
        let mut next = Self { next, from: next, launch, checker, ..Self::new(self.seed) };
        next.checker.forgive();
        next
    }

    /// What an observer knows that goes on from here.
    #[must_use]
    pub fn watched_from_here(&self) -> Self {
        Self { watch: Some(Watch { comes_in: None, skipped: 0 }), ..self.handed_on() }
    }

    /// What an observer knows that comes in wherever the screen is by then. It takes one who has
    /// seen the stream begin to tell.
    #[must_use]
    pub fn watched_anew(&self) -> Self {
        let began = self.checker.before_all().expect("the stream has begun");
        let comes_in = Offset::new(began);
        Self { watch: Some(Watch { comes_in, skipped: 0 }), ..Self::new(self.seed) }
    }

    /// Takes the next event in.
    pub fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Attached(attached) => {
                self.attached += 1;
                self.attached_at = Some(now);
                self.launch = Some(attached.launch);
                self.size = Some(attached.size);
                // Who only watches may be so far behind that a gap and a screen follow.
                if attached.resume == Resume::Keyframe && self.watch.is_none() {
                    self.breaks(format!("resumed with a keyframe at {}", attached.from));
                }
                if attached.dropped_input > 0 {
                    self.breaks(format!("{} bytes of input dropped", attached.dropped_input));
                }
            }
            Event::Output { from, bytes, .. } => {
                if from != self.next {
                    self.by_offset.lost += from.since(self.next);
                    self.by_offset.repeated += self.next.since(from);
                    self.breaks(format!("output goes on at {from}, not at {}", self.next));
                }
                self.next = from.plus(bytes.len() as u64);
                self.bytes += bytes.len() as u64;
                self.checker.take(&bytes);
            }
            Event::Gap { from, to, why: GapReason::Skipped }
                if self.watch.is_some() && from == self.next && to > from =>
            {
                self.checker.skip(to.since(from));
                self.next = to;
                if let Some(watch) = &mut self.watch {
                    watch.skipped += to.since(from);
                }
            }
            Event::Gap { from, to, why } => {
                self.by_offset.lost += to.since(from);
                self.breaks(format!("a gap from {from} to {to}: {why:?}"));
                self.next = to;
            }
            Event::Keyframe { at, first, .. } => self.sees_screen(at, first),
            Event::Notice(Notice::TakenOver { applied }) => self.taken_over = Some(applied),
            Event::Notice(Notice::Signalled { id }) => self.signalled = Some(id),
            Event::Size(size) => self.size = Some(size),
            Event::Exit { at, status } => {
                if at != self.next {
                    self.by_offset.lost += at.since(self.next);
                    self.breaks(format!("the end is at {at}, and {} was next", self.next));
                }
                self.exit = Some(status);
            }
            Event::Closed(closed) => self.closed = Some(closed),
            Event::Starting { .. }
            | Event::Live
            | Event::Notice(_)
            | Event::Reconnecting { .. } => {}
        }
    }

    /// A screen is drawn: the first one of who comes in, or what stands behind a gap.
    fn sees_screen(&mut self, at: Offset, first: bool) {
        let began = self.watch.as_mut().and_then(|watch| watch.comes_in.take());
        if let Some(began) = began.filter(|_| first) {
            self.checker = Checker::behind(self.seed, at.since(began));
            (self.from, self.next) = (at, at);
        } else if self.watch.is_none() || at != self.next {
            self.breaks(format!("a keyframe at {at}, and {} was next", self.next));
        }
    }

    fn breaks(&mut self, promise: String) {
        self.broken.get_or_insert(promise);
    }

    /// What is wrong with the output, by offsets and by bytes: whichever found more.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let (one, other) = (self.by_offset, self.checker.faults());
        Faults {
            lost: one.lost.max(other.lost),
            repeated: one.repeated.max(other.repeated),
            foreign: one.foreign.max(other.foreign),
        }
    }

    /// The first thing that is wrong, in words.
    #[must_use]
    pub fn first_fault(&self) -> Option<&str> {
        self.broken.as_deref().or(self.checker.first_fault())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::record::Script;
    use super::*;

    fn output(from: u64, bytes: &[u8]) -> Event {
        let from = Offset::new(from).expect("an offset");
        Event::Output { from, bytes: Bytes::copy_from_slice(bytes), replay: false }
    }

    #[tokio::test]
    async fn a_hole_and_a_repeat_are_found_by_their_offsets_too() {
        let now = Instant::now();
        let record = Script::new(1, Direction::Output, 0).record(0);
        let mut seen = Seen::new(1);
        seen.take(output(0, &record), now);
        assert_eq!(seen.first_fault(), None);
        let mut hole = seen.clone();
        hole.take(output(record.len() as u64 + 3, b"x"), now);
        assert_eq!(hole.faults().lost, 3);
        seen.take(output(0, &record), now);
        assert_eq!(seen.faults().repeated, record.len() as u64);
        assert!(seen.handed_on().first_fault().is_none());
    }

    #[tokio::test]
    async fn who_watches_may_be_too_slow_and_knows_each_byte_behind_that() {
        let now = Instant::now();
        let script = Script::new(1, Direction::Output, 0);
        let stream: Vec<u8> = (0..10).flat_map(|number| script.record(number)).collect();
        let mut driver = Seen::new(1);
        driver.take(output(0, b"Welcome!"), now);
        driver.take(output(8, &stream[..50]), now);
        let at = |offset| Offset::new(offset).expect("an offset");
        let screen = |offset| {
            let bytes = Bytes::from_static(b"drawn");
            Event::Keyframe { at: at(offset), bytes, first: true }
        };
        let gap = |from, to| Event::Gap { from: at(from), to: at(to), why: GapReason::Skipped };
        let mut slow = driver.watched_from_here();
        slow.take(gap(58, 208), now);
        slow.take(screen(208), now);
        slow.take(output(208, &stream[200..]), now);
        let mut anew = driver.watched_anew();
        anew.take(screen(108), now);
        anew.take(output(108, &stream[100..]), now);
        for seen in [&slow, &anew] {
            assert_eq!((seen.faults(), seen.first_fault()), (Faults::default(), None));
        }
        assert_eq!(slow.watch.map(|watch| watch.skipped), Some(150));
        driver.take(gap(58, 208), now);
        assert_eq!(driver.faults().lost, 150);
        anew.take(screen(7), now);
        assert!(anew.first_fault().is_some());
    }
}
