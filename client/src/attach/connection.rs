//! One attachment across all of its connections: a pure state machine. Knows no socket, no clock
//! and no token: whoever drives it dials, writes and reads for it, and tells it the time in
//! milliseconds of any steady clock.
//!
//! ```text
//!            ┌────────────── pause over ──────────────┐
//!   Resting ─┴▶ Dialling ──opened──▶ Opening ──attached──▶ Attached
//!      ▲            │ failed            │ broke              │ broke, goaway, silence, violation
//!      └────────────┴───────────────────┴────(HangingUp)─────┘
//!   any ──left, stop, out of patience──▶ (HangingUp) ──▶ Over
//! ```

mod caller;
mod incoming;
mod outgoing;

use std::collections::VecDeque;

use shellgate_protocol::client_leg::{Role, Token};
use shellgate_protocol::close::{Then, after};
use shellgate_protocol::limits::{
    INPUT_FRAME_MAX, INPUT_UNAPPLIED_MAX, SILENCE_SECONDS, WINDOW_MAX, WINDOW_MIN,
};
use shellgate_protocol::{CloseCode, InputStream, Offset, TerminalSize};

use super::AttachOptions;
use super::backoff::BackOff;
use super::event::{Break, Closed, Event, Violation, Why};
use super::reader::Reader;
use super::unapplied::Unapplied;
use crate::problem::plain;
use caller::{Mark, Queued, Request};
pub(crate) use outgoing::Outgoing;

/// A connection that stood this long makes up for the failures before it, in milliseconds.
const PROVEN_MILLIS: u64 = 5_000;

/// However impatient somebody is, this long lies between two dials, in milliseconds.
const BETWEEN_DIALS_MILLIS: u64 = 1_000;

/// The longest that a refusal can make a client wait, in milliseconds.
const RETRY_AFTER_LONGEST_MILLIS: u64 = 600_000;

/// What the driver of a connection is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Get a socket, with a newer token where `renew` says so; then `opened` or `failed`.
    Dial { renew: bool },
    /// Nothing until the deadline.
    Rest,
    /// Write what `next_message` gives, read what comes; `broke` when it breaks.
    Talk,
    /// Close the socket with this code; then `hung_up`.
    HangUp(CloseCode),
    /// Nothing any more.
    Nothing,
}

/// Why there is no socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialFailure {
    /// There is no token, or no newer one; where this `passes`, for now.
    NoToken { why: String, passes: bool },
    /// The gateway answered something else than an upgrade.
    Refused { status: u16, detail: String, retry_after_ms: Option<u64> },
    /// It did not answer.
    Unreachable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Resting { until: u64, earliest: u64, renew: bool },
    Dialling { renew: bool },
    Opening { attach_sent: bool },
    Attached { since: u64 },
    HangingUp { code: CloseCode, then: Afterwards },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Dial { at: u64 },
    End,
}

#[derive(Debug)]
pub(crate) struct Connection {
    options: AttachOptions,
    stage: Stage,
    back_off: BackOff,
    reader: Reader,
    input: Unapplied,
    /// Bytes of input that were given up, and that the caller was not told of yet.
    given_up: u64,
    /// Another input stream was begun since the attachment last stood.
    restreamed: bool,
    /// What the gateway lets one input frame and all unapplied input have, in bytes.
    input_frame: usize,
    input_unapplied: u64,
    ever_asked: bool,
    /// A newer token was got since the attachment last stood.
    renewed: bool,
    /// The gateway said that the token runs out: a newer one is wanted while the socket stands.
    reauth_wanted: bool,
    reauth: Option<Token>,
    size: TerminalSize,
    told_size: TerminalSize,
    resized_at: u64,
    visible: bool,
    told_visible: bool,
    requests: VecDeque<Request>,
    last_request: u64,
    heard_at: u64,
    listening: bool,
    goaway_at: Option<u64>,
    /// When it was last dialled.
    dialled_at: u64,
    /// Dials since the attachment last stood.
    attempts: u32,
    /// Since when nothing at all has come from a gateway.
    unreachable_since: Option<u64>,
    exited: bool,
    exit_ack: Option<Offset>,
    exit_by: Option<u64>,
    last_break: Option<Break>,
    events: VecDeque<Queued>,
    queued_bytes: usize,
    /// What the event that the caller holds is worth once it comes back for the next.
    in_hand: Option<Mark>,
}

impl Connection {
    /// An attachment that has not been dialled yet. `seed` is for the dice alone.
    pub(crate) fn new(mut options: AttachOptions, seed: u64, now: u64) -> Self {
        options.window = options.window.clamp(WINDOW_MIN, WINDOW_MAX);
        let reader = Reader::new(options.output, options.window).of(options.launch);
        let size = options.size;
        Self {
            stage: Stage::Dialling { renew: false },
            back_off: BackOff::new(seed),
            reader,
            input: Unapplied::default(),
            given_up: 0,
            restreamed: false,
            input_frame: INPUT_FRAME_MAX,
            input_unapplied: INPUT_UNAPPLIED_MAX,
            ever_asked: false,
            renewed: false,
            reauth_wanted: false,
            reauth: None,
            size,
            told_size: size,
            resized_at: 0,
            visible: true,
            told_visible: true,
            requests: VecDeque::new(),
            last_request: 0,
            heard_at: now,
            listening: true,
            goaway_at: None,
            dialled_at: now,
            attempts: 0,
            unreachable_since: Some(now),
            exited: false,
            exit_ack: None,
            exit_by: None,
            last_break: None,
            events: VecDeque::new(),
            queued_bytes: 0,
            in_hand: None,
            options,
        }
    }

    // What the driver asks.

    pub(crate) fn want(&self) -> Want {
        match self.stage {
            Stage::Resting { .. } => Want::Rest,
            Stage::Dialling { renew } => Want::Dial { renew },
            Stage::Opening { .. } | Stage::Attached { .. } => Want::Talk,
            Stage::HangingUp { code, .. } => Want::HangUp(code),
            Stage::Over => Want::Nothing,
        }
    }

    /// When to `tick`, and to ask for the `next_message`, at the latest. While the socket takes
    /// nothing, what is due to be written has no deadline.
    pub(crate) fn deadline(&self, now: u64, can_write: bool) -> Option<u64> {
        let patience = self.options.patience.map(|patience| {
            // A duration beyond 2^64 ms does not come to pass.
            u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)
        });
        let gives_up = self.unreachable_since.zip(patience).map(|(at, ms)| at.saturating_add(ms));
        let stage = match self.stage {
            Stage::Resting { until, .. } => Some(until),
            Stage::Dialling { .. } | Stage::HangingUp { .. } | Stage::Over => None,
            Stage::Opening { .. } | Stage::Attached { .. } => {
                let silent = self.listening.then(|| self.heard_at + SILENCE_SECONDS * 1000);
                [silent, self.goaway_at, self.exit_by].into_iter().flatten().min()
            }
        };
        let written = can_write.then(|| self.write_due(now)).flatten();
        let over = self.stage == Stage::Over;
        [gives_up.filter(|_| !over), stage, written].into_iter().flatten().min()
    }

    /// Whether the driver reads at all: silence counts only for one who listens.
    pub(crate) fn listening(&mut self, yes: bool, now: u64) {
        if yes && !self.listening {
            self.heard_at = now;
        }
        self.listening = yes;
    }

    /// A newer token is wanted, while the socket stands. Says so once.
    pub(crate) fn take_reauth_wish(&mut self) -> bool {
        std::mem::take(&mut self.reauth_wanted)
    }

    fn drives(&self) -> bool {
        self.options.role == Role::Driver && !self.exited
    }

    // What the driver tells.

    /// There is a socket.
    pub(crate) fn opened(&mut self, now: u64) {
        if matches!(self.stage, Stage::Dialling { .. }) {
            self.stage = Stage::Opening { attach_sent: false };
            self.heard_at = now;
            self.listening = true;
        }
    }

    /// There is none.
    pub(crate) fn failed(&mut self, failure: DialFailure, now: u64) {
        let Stage::Dialling { renew } = self.stage else { return };
        match failure {
            DialFailure::NoToken { why, passes: true } => {
                let pause = self.back_off.pause();
                self.announce_return(Break::NoToken(plain(&why)), pause, now);
                self.rest(now + pause, now, renew);
            }
            DialFailure::NoToken { why, passes: false } => {
                // Where a token was refused, the gateway's words about that matter more.
                let refusal = self.last_break.take().filter(|_| renew);
                self.over(Why::Unauthenticated, refusal.or(Some(Break::NoToken(plain(&why)))));
            }
            DialFailure::Unreachable(why) => {
                self.back(Then::Retry, Break::Unreachable(plain(&why)), None, now);
            }
            DialFailure::Refused { status, detail, retry_after_ms } => {
                let then = match status {
                    401 => Then::Renew,
                    503 => Then::BackOff,
                    400..=499 => Then::Stop,
                    _ => Then::Retry,
                };
                let refused = Break::Refused { status, detail: plain(&detail) };
                self.back(then, refused, retry_after_ms, now);
            }
        }
    }

    /// The socket is gone: closed with a code and its words, or just broken.
    pub(crate) fn broke(&mut self, why: Break, now: u64) {
        self.forget_failures_if_proven(now);
        match self.stage {
            Stage::Opening { .. } | Stage::Attached { .. } => {}
            Stage::HangingUp { .. } => return self.hung_up(now),
            Stage::Resting { .. } | Stage::Dialling { .. } | Stage::Over => return,
        }
        if self.exited {
            return self.over(Why::Exited, Some(why));
        }
        let mut then = after(why.code());
        if why.is_forgotten_stream() && !std::mem::replace(&mut self.restreamed, true) {
            self.options.input_stream = InputStream::random();
            self.given_up += self.input.restart();
            // The session itself has answered: there is nothing to wait for.
            self.back_off.forget();
            then = Then::Retry;
        }
        self.back(then, why, None, now);
    }

    /// The driver has closed the socket as it was asked to.
    pub(crate) fn hung_up(&mut self, now: u64) {
        if let Stage::HangingUp { then, .. } = self.stage {
            match then {
                Afterwards::Dial { at } => self.rest(at.max(now), now, false),
                Afterwards::End => self.stage = Stage::Over,
            }
        }
    }

    /// A deadline may have passed.
    pub(crate) fn tick(&mut self, now: u64) {
        if let (Some(since), Some(patience)) = (self.unreachable_since, self.options.patience)
            && self.stage != Stage::Over
            && u128::from(now.saturating_sub(since)) >= patience.as_millis()
        {
            let last = self.last_break.take();
            return self.leave_with(Why::OutOfPatience, last);
        }
        match self.stage {
            Stage::Resting { until, renew, .. } if now >= until => {
                self.stage = Stage::Dialling { renew };
                self.dialled_at = now;
            }
            Stage::Opening { .. } | Stage::Attached { .. } => {
                if self.exit_by.is_some_and(|by| now >= by) {
                    self.leave_with(Why::Exited, None);
                } else if self.goaway_at.is_some_and(|at| now >= at) {
                    // Not a failure, unless it sends everybody away as soon as they come.
                    self.forget_failures_if_proven(now);
                    let at = now + self.back_off.at_once_then_pause();
                    self.hang_up_and_return(CloseCode::Normal, Break::Goaway, at, now);
                } else if self.listening && now >= self.heard_at + SILENCE_SECONDS * 1000 {
                    self.forget_failures_if_proven(now);
                    let at = now + self.back_off.at_once_then_pause();
                    self.hang_up_and_return(CloseCode::GoingAway, Break::Silent, at, now);
                }
            }
            Stage::Resting { .. }
            | Stage::Dialling { .. }
            | Stage::HangingUp { .. }
            | Stage::Over => {}
        }
    }

    fn violated(&mut self, violation: Violation, now: u64) {
        if self.want() != Want::Talk {
            return;
        }
        // What is left of a session that has ended is the same each time.
        let is_final = violation.is_final() || self.reader.is_ended();
        let why = Break::Violation(violation);
        if is_final || self.exited {
            self.leave_with(if self.exited { Why::Exited } else { Why::Broken }, Some(why));
        } else {
            self.forget_failures_if_proven(now);
            let at = now + self.back_off.pause();
            self.hang_up_and_return(CloseCode::BadRequest, why, at, now);
        }
    }

    fn forget_failures_if_proven(&mut self, now: u64) {
        if let Stage::Attached { since } = self.stage
            && now.saturating_sub(since) >= PROVEN_MILLIS
        {
            self.back_off.forget();
        }
    }

    fn hang_up_and_return(&mut self, code: CloseCode, why: Break, at: u64, now: u64) {
        self.announce_return(why, at.saturating_sub(now), now);
        self.stage = Stage::HangingUp { code, then: Afterwards::Dial { at } };
    }

    fn back(&mut self, then: Then, why: Break, at_least: Option<u64>, now: u64) {
        let mut renew = false;
        let mut asked = at_least.unwrap_or(0).min(RETRY_AFTER_LONGEST_MILLIS);
        let pause = match then {
            Then::Stop => return self.over(Why::Stopped, Some(why)),
            Then::Renew if self.renewed => return self.over(Why::Unauthenticated, Some(why)),
            Then::Renew => {
                renew = true;
                self.renewed = true;
                self.back_off.at_once_then_pause()
            }
            // A gateway that said goaway has also said when to come back.
            Then::Return => match self.goaway_at {
                Some(at) => {
                    asked = asked.max(at.saturating_sub(now));
                    asked.max(self.back_off.at_once_then_pause())
                }
                None => self.back_off.at_once_with_jitter(),
            },
            Then::Retry => self.back_off.at_once_then_pause(),
            Then::BackOff => self.back_off.pause(),
        };
        let pause = pause.max(asked);
        self.announce_return(why, pause, now);
        self.rest(now + pause, now + asked, renew);
    }

    fn announce_return(&mut self, why: Break, wait_ms: u64, now: u64) {
        self.attempts += 1;
        self.unreachable_since.get_or_insert(now);
        self.goaway_at = None;
        self.last_break = Some(why.clone());
        self.tell(Event::Reconnecting { attempt: self.attempts, wait_ms, why }, None);
    }

    /// Waits until then, and where somebody is impatient no longer than the gateway asked for, or
    /// than keeps a key that repeats from dialling without pause.
    fn rest(&mut self, until: u64, earliest: u64, renew: bool) {
        let earliest = earliest.max(self.dialled_at + BETWEEN_DIALS_MILLIS);
        self.stage = Stage::Resting { until, earliest, renew };
    }

    fn over(&mut self, why: Why, last: Option<Break>) {
        self.stage = Stage::Over;
        let undelivered = std::mem::take(&mut self.given_up) + self.input.clear();
        self.tell(Event::Closed(Closed { why, last, undelivered }), None);
    }

    /// Ends the attachment, closing the socket first where there is one.
    fn leave_with(&mut self, why: Why, last: Option<Break>) {
        let talks = self.want() == Want::Talk;
        match self.stage {
            Stage::Over | Stage::HangingUp { then: Afterwards::End, .. } => return,
            Stage::HangingUp { code, .. } => {
                self.over(why, last);
                self.stage = Stage::HangingUp { code, then: Afterwards::End };
            }
            Stage::Resting { .. }
            | Stage::Dialling { .. }
            | Stage::Opening { .. }
            | Stage::Attached { .. } => self.over(why, last),
        }
        if talks {
            let code = if why == Why::Broken { CloseCode::BadRequest } else { CloseCode::Normal };
            self.stage = Stage::HangingUp { code, then: Afterwards::End };
        }
    }
}

#[cfg(test)]
mod tests;
