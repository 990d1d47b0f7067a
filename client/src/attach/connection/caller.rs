//! The caller's side of a connection: what it types and asks for, and the events that wait for it.
//! Knows nothing of sockets.

use shellgate_protocol::client_leg::Signal;
use shellgate_protocol::{FromClient, Launch, Offset, TerminalSize};

use super::{Afterwards, Connection, Stage};
use crate::attach::event::{Event, Why};

/// After `exit` was acknowledged the gateway closes; after so many milliseconds the client does.
const EXIT_GRACE_MILLIS: u64 = 5_000;

/// Signals and extensions that wait for their answer at most.
const REQUESTS_MAX: usize = 16;

/// Events that wait for the caller at most. Beyond this nothing more is read.
const EVENTS_MAX: usize = 4096;

/// How far the caller is when it is done with an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) launch: Launch,
    pub(super) at: Offset,
    pub(super) is_exit: bool,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) event: Event,
    pub(super) mark: Option<Mark>,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) message: FromClient,
    pub(super) sent: bool,
}

impl Connection {
    /// More can be taken in. Where the caller does not keep up, nothing is read: the gateway's
    /// messages wait in the kernel.
    pub(crate) fn may_read(&self) -> bool {
        self.events.len() < EVENTS_MAX
            && self.queued_bytes < 2 * usize::try_from(self.options.window).unwrap_or(usize::MAX)
    }

    /// Takes as much input as there is room for, and says how much; `None` when it will never be
    /// sent any more, or this is an observer.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) -> Option<usize> {
        (self.drives() && !self.is_over()).then(|| self.input.type_in(bytes))
    }

    /// Bytes of input that may be typed now.
    pub(crate) fn room(&self) -> usize {
        self.input.room()
    }

    /// All input before the first offset is applied; all that was typed ends at the second.
    pub(crate) fn input_position(&self) -> (Offset, Offset) {
        (self.input.applied(), self.input.end())
    }

    /// How often input was dropped that had not been applied: its program is gone.
    pub(crate) fn input_drops(&self) -> u64 {
        self.input.drops()
    }

    pub(crate) fn resize(&mut self, size: TerminalSize) {
        self.size = size;
    }

    pub(crate) fn visible(&mut self, yes: bool) {
        self.visible = yes;
    }

    /// Asks for a signal; `None` where too many requests wait for their answers.
    pub(crate) fn signal(&mut self, name: Signal) -> Option<u64> {
        self.request(|id| FromClient::Signal { id, name })
    }

    /// Asks for a longer life; `None` where too many requests wait for their answers.
    pub(crate) fn extend(&mut self) -> Option<u64> {
        self.request(|id| FromClient::Extend { id })
    }

    /// The caller would rather dial now than wait.
    pub(crate) fn retry_now(&mut self, now: u64) {
        let Stage::Resting { until, earliest, renew } = self.stage else { return };
        let sooner = earliest.max(now);
        if sooner < until {
            self.stage = Stage::Resting { until: sooner, earliest, renew };
            if let Some(why) = self.last_break.clone() {
                let (attempt, wait_ms) = (self.attempts, sooner - now);
                self.tell(Event::Reconnecting { attempt, wait_ms, why }, None);
            }
        }
    }

    fn request(&mut self, message: impl FnOnce(u64) -> FromClient) -> Option<u64> {
        if self.requests.len() >= REQUESTS_MAX || !self.drives() || self.is_over() {
            return None;
        }
        self.last_request += 1;
        let id = self.last_request;
        self.requests.push_back(Request { id, message: message(id), sent: false });
        Some(id)
    }

    /// The caller leaves.
    pub(crate) fn leave(&mut self, now: u64) {
        if self.in_hand.is_some_and(|mark| mark.is_exit) {
            self.consume(now);
        }
        self.leave_with(if self.exited { Why::Exited } else { Why::Left }, None);
    }

    /// Nothing will be sent or received any more; events may still wait.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::HangingUp { then: Afterwards::End, .. })
    }

    /// The next event. Asking for it says that the one before has been consumed.
    pub(crate) fn next_event(&mut self, now: u64) -> Option<Event> {
        self.consume(now);
        let queued = self.events.pop_front()?;
        self.queued_bytes -= queued.bytes;
        self.in_hand = queued.mark;
        Some(queued.event)
    }

    fn consume(&mut self, now: u64) {
        let Some(mark) = self.in_hand.take() else { return };
        self.reader.consume(mark.launch, mark.at, now);
        if mark.is_exit {
            self.exit_ack = Some(mark.at);
            self.exit_by = Some(now + EXIT_GRACE_MILLIS);
        }
    }

    pub(super) fn tell(&mut self, event: Event, mark: Option<Mark>) {
        // Of news that replace each other the newest is enough.
        let last = self.events.back().map(|queued| &queued.event);
        let replaces = matches!(
            (last, &event),
            (Some(Event::Reconnecting { .. }), Event::Reconnecting { .. })
                | (Some(Event::Starting { .. }), Event::Starting { .. })
        );
        if replaces {
            self.events.pop_back();
        }
        self.events.push_back(Queued { event, mark, bytes: 0 });
    }

    /// Whether anything waits for the caller.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
}
