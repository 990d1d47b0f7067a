//! One attachment as the bridge serves it: a cursor in the output, its credit, and what stands in
//! its stream besides bytes. Knows no socket, no other channel and no clock.

use std::collections::VecDeque;

use bytes::Bytes;
use shellgate_protocol::client_leg::{ExitStatus, GapReason, Notice, Role};
use shellgate_protocol::credit::{Credit, Lazy, Violation};
use shellgate_protocol::frame::{LINK_HEADER_LEN, put_link_header};
use shellgate_protocol::limits::{INPUT_UNAPPLIED_MAX, OUTPUT_FRAME_MAX, WINDOW_MAX, WINDOW_MIN};
use shellgate_protocol::{ChannelNumber, FromBridge, InputStream, Kind, Offset, TerminalSize};

use crate::output::{Keyframe, Output, RESET};
use crate::sizes::Sizes;
use crate::start::{Start, Wish};

/// How long a driver may grant nothing with its window full before it counts as absent.
pub const ABSENT_AFTER_MS: u64 = 10_000;

/// How long an observer may grant nothing with its window full before it is moved on.
pub const SLOW_AFTER_MS: u64 = 1_000;

/// One message for the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// JSON.
    Control(FromBridge),
    /// A link frame.
    Frame(Bytes),
}

/// Why the channel waits for a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It has just come.
    First,
    /// It was too slow; its cursor says where the gap begins.
    Skip,
}

#[derive(Debug)]
struct Pieces {
    at: Offset,
    bytes: Bytes,
}

/// One attachment.
#[derive(Debug)]
pub struct Channel {
    number: ChannelNumber,
    /// What it asked to be, and still is unless another driver came.
    pub role: Role,
    /// Where its input counts.
    pub stream: InputStream,
    /// Whether anybody can see it.
    pub visible: bool,
    /// What it should be told of its input.
    pub applied: Lazy,
    /// Whether it came as a driver, and so holds its stream.
    types: bool,
    terminal: bool,
    credit: Credit,
    unbroken_from: Offset,
    window: u64,
    /// Stands in its stream before any more bytes.
    queue: VecDeque<FromBridge>,
    wanted: Option<Wanted>,
    pieces: Option<Pieces>,
    unacknowledged: Option<Offset>,
    next_size: u64,
    /// The size that its client takes the terminal to have.
    size: TerminalSize,
    /// Since when its window is full and nothing was granted.
    full_since: Option<u64>,
    live_said: bool,
    exit_said: bool,
}

impl Channel {
    /// A channel that goes on where its client left off.
    #[must_use]
    pub fn open(
        number: ChannelNumber,
        role: Role,
        stream: InputStream,
        wish: Wish,
        start: Start,
        output: &Output,
    ) -> Self {
        let window = u64::from(wish.window.clamp(WINDOW_MIN, WINDOW_MAX));
        let mut channel = Self {
            number,
            role,
            stream,
            visible: true,
            applied: Lazy::new(Offset::ZERO, INPUT_UNAPPLIED_MAX),
            types: role == Role::Driver,
            terminal: output.has_screen(),
            credit: Credit::new(start.has, window),
            unbroken_from: start.has,
            window,
            queue: VecDeque::new(),
            wanted: start.newest.then_some(Wanted::First),
            pieces: None,
            unacknowledged: None,
            next_size: output.sizes.after(start.has),
            size: output.sizes.now(),
            full_since: None,
            live_said: false,
            exit_said: false,
        };
        if let Some(launch) = start.other_launch {
            channel.notice(Notice::NewLaunch { launch });
        }
        channel.has_size(output.sizes.at(start.has), start.has);
        channel
    }

    /// All input of its stream before `at` is applied, and its client is told so in `attached`.
    pub fn starts_applied(&mut self, at: Offset) {
        self.applied = Lazy::new(at, INPUT_UNAPPLIED_MAX);
    }

    /// Whether it holds this stream.
    #[must_use]
    pub fn types_on(&self, stream: InputStream) -> bool {
        self.types && self.stream == stream
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> ChannelNumber {
        self.number
    }

    /// The next byte that it will be sent.
    #[must_use]
    pub fn cursor(&self) -> Offset {
        self.credit.sent()
    }

    /// Everything before this has arrived at its client.
    #[must_use]
    pub fn acknowledged(&self) -> Offset {
        self.credit.acknowledged()
    }

    /// What it was sent from here on is without a gap.
    #[must_use]
    pub fn unbroken_from(&self) -> Offset {
        self.unbroken_from
    }

    /// Whether its end has been said.
    #[must_use]
    pub fn exit_said(&self) -> bool {
        self.exit_said
    }

    /// Whether it waits for a keyframe at the newest output.
    #[must_use]
    pub fn wants_keyframe(&self) -> bool {
        self.wanted.is_some()
    }

    /// Tells its client something, in its stream.
    pub fn notice(&mut self, notice: Notice) {
        self.queue.push_back(FromBridge::Notice { channel: self.number, notice });
    }

    /// Its client has taken everything before `at`.
    ///
    /// # Errors
    /// Where that was not sent.
    pub fn acknowledge(&mut self, at: Offset) -> Result<(), Violation> {
        let before = self.credit.acknowledged();
        self.credit.acknowledge(at)?;
        if self.credit.acknowledged() > before {
            self.full_since = None;
        }
        if self.unacknowledged.is_some_and(|keyframe| at >= keyframe) && self.pieces.is_none() {
            self.unacknowledged = None;
        }
        Ok(())
    }

    /// Output that may be made before it must wait for this channel, at `end` so far.
    #[must_use]
    pub fn allows(&self, end: Offset) -> u64 {
        self.credit.acknowledged().plus(self.window).since(end)
    }

    /// Looks at the clock: a window that stays full makes a driver absent and an observer slow.
    pub fn tick(&mut self, output: &Output, now: u64) {
        let full = match self.role {
            Role::Driver => self.allows(output.end()) == 0,
            Role::Observer => {
                self.credit.room() == 0 && output.end().since(self.credit.sent()) > self.window
            }
        };
        if !full {
            self.full_since = None;
        } else if self.full_since.is_none() {
            self.full_since = Some(now);
        }
        if self.terminal
            && self.role == Role::Observer
            && self.wanted.is_none()
            && self.unacknowledged.is_none()
            && self.full_for(now) >= SLOW_AFTER_MS
        {
            self.wanted = Some(Wanted::Skip);
        }
    }

    /// When [`Channel::tick`] has something to find out next.
    #[must_use]
    pub fn next_tick(&self, now: u64) -> Option<u64> {
        let patience = match self.role {
            Role::Driver => ABSENT_AFTER_MS,
            Role::Observer => SLOW_AFTER_MS,
        };
        let due = self.full_since? + patience;
        (due > now).then_some(due)
    }

    /// Whether somebody is there to see the output as it comes.
    #[must_use]
    pub fn is_present(&self, now: u64) -> bool {
        self.visible && self.full_for(now) < ABSENT_AFTER_MS
    }

    fn full_for(&self, now: u64) -> u64 {
        self.full_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// Gives it the keyframe that it waits for: the screen as it stands at `at`.
    pub fn give_keyframe(&mut self, keyframe: &Keyframe, sizes: &Sizes) {
        let Some(wanted) = self.wanted.take() else { return };
        let at = keyframe.at;
        let from = self.credit.sent();
        if at > from && wanted == Wanted::Skip {
            self.gap(from, at, GapReason::Skipped);
        }
        if keyframe.partial {
            self.notice(Notice::PartialKeyframe);
        }
        self.go_on_at(at, Bytes::copy_from_slice(&keyframe.bytes), sizes);
    }

    /// The next message of its stream; `None` where it has nothing to say or must wait.
    pub fn next(&mut self, output: &mut Output) -> Option<Outgoing> {
        if let Some(message) = self.queue.pop_front() {
            return Some(Outgoing::Control(message));
        }
        if let Some(pieces) = &mut self.pieces {
            let piece = pieces.bytes.split_to(pieces.bytes.len().min(OUTPUT_FRAME_MAX));
            let at = pieces.at;
            if pieces.bytes.is_empty() {
                self.pieces = None;
            }
            let len = piece.len() as u64;
            return Some(self.frame(Kind::Keyframe, at, len, |f| f.extend_from_slice(&piece)));
        }
        if self.wanted.is_some() {
            return None;
        }
        let cursor = self.credit.sent();
        let kept_from = output.history.kept_from();
        if cursor < kept_from {
            return self.pass_over(cursor, kept_from, output);
        }
        let mut change = output.sizes.from_number(self.next_size);
        if let Some((_, size, next)) = change.filter(|(at, ..)| *at <= cursor) {
            self.next_size = next;
            self.has_size(size, cursor);
            if let Some(message) = self.queue.pop_front() {
                return Some(Outgoing::Control(message));
            }
            change = output.sizes.from_number(next);
        }
        let end = output.end();
        if cursor == end {
            return self.at_the_end(end, output.ended());
        }
        let mut len = self.credit.room().min(OUTPUT_FRAME_MAX as u64).min(end.since(cursor));
        if let Some((at, ..)) = change {
            len = len.min(at.since(cursor));
        }
        let replay = cursor < output.answered();
        if replay {
            len = len.min(output.answered().since(cursor));
        }
        if len == 0 {
            return None;
        }
        let kind = if replay { Kind::Replay } else { Kind::Data };
        let history = &mut output.history;
        let mut read = Ok(());
        let frame = self.frame(kind, cursor, len, |frame| {
            read = history.read(cursor, len as usize, frame);
        });
        match read {
            Ok(()) => {
                // The length was cut to what the credit allows, and the cursor is its own.
                let counted = self.credit.send(cursor, len);
                debug_assert!(counted.is_ok());
                Some(frame)
            }
            // The spill file failed while it was read: what is kept begins later now.
            Err(gone) => self.pass_over(cursor, gone.kept_from, output),
        }
    }

    /// Goes on where kept output begins.
    fn pass_over(&mut self, from: Offset, kept: Offset, output: &Output) -> Option<Outgoing> {
        if self.unacknowledged.is_some() {
            return None;
        }
        if self.terminal && self.role == Role::Observer {
            self.wanted = Some(Wanted::Skip);
            return None;
        }
        self.gap(from, kept, GapReason::Lost);
        let screen = Bytes::from_static(if self.terminal { RESET } else { b"" });
        self.go_on_at(kept, screen, &output.sizes);
        self.queue.pop_front().map(Outgoing::Control)
    }

    fn go_on_at(&mut self, at: Offset, screen: Bytes, sizes: &Sizes) {
        self.credit.skip_to(at);
        self.unbroken_from = at;
        self.full_since = None;
        self.next_size = sizes.after(at);
        self.has_size(sizes.at(at), at);
        if !screen.is_empty() {
            self.pieces = Some(Pieces { at, bytes: screen });
            self.unacknowledged = Some(at);
        }
    }

    fn has_size(&mut self, size: TerminalSize, at: Offset) {
        if self.terminal && size != self.size {
            self.size = size;
            let (channel, cols, rows) = (self.number, size.cols(), size.rows());
            self.queue.push_back(FromBridge::Size { channel, cols, rows, at });
        }
    }

    fn at_the_end(&mut self, end: Offset, ended: Option<&ExitStatus>) -> Option<Outgoing> {
        if !self.live_said {
            self.live_said = true;
            return Some(Outgoing::Control(FromBridge::Live { channel: self.number }));
        }
        let status = ended.filter(|_| !self.exit_said)?.clone();
        self.exit_said = true;
        let channel = Some(self.number);
        Some(Outgoing::Control(FromBridge::Exit { channel, at: end, status }))
    }

    fn gap(&mut self, from: Offset, to: Offset, why: GapReason) {
        self.queue.push_back(FromBridge::Gap { channel: self.number, from, to, why });
    }

    fn frame(&self, kind: Kind, at: Offset, len: u64, put: impl FnOnce(&mut Vec<u8>)) -> Outgoing {
        let mut frame = Vec::with_capacity(LINK_HEADER_LEN + len as usize);
        put_link_header(&mut frame, self.number, kind, at);
        put(&mut frame);
        Outgoing::Frame(frame.into())
    }

    /// Tells its client how far its input is applied.
    pub fn tell_applied(&mut self) -> Outgoing {
        let at = self.applied.tell();
        self.frame(Kind::Applied, at, 0, |_| ())
    }
}

#[cfg(test)]
mod tests;
