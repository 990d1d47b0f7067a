//! All channels of a link, and what goes out on it next: control first, then each channel in turn.
//! Knows no socket, no program and no clock.

use std::collections::VecDeque;

use bytes::Bytes;
use shellgate_protocol::client_leg::{Attach, InputStart, Mode, Notice, OutputStart, Resume, Role};
use shellgate_protocol::credit::Due;
use shellgate_protocol::link_leg::Refused;
use shellgate_protocol::{ChannelNumber, Frame, FromBridge, InputStream, Kind, Launch, Offset};

use crate::channel::{Channel, Outgoing};
use crate::input::Input;
use crate::output::{Keyframe, Output};
use crate::start::Wish;

/// Channels that a bridge serves at once.
pub const CHANNELS_MAX: usize = 64;

/// Control messages that may wait for a link that takes none: a gateway that asks on and reads
/// nothing is cut off there.
const CONTROL_QUEUE_MAX: usize = 1024;

/// The channels of one link.
#[derive(Debug)]
pub struct Board {
    launch: Launch,
    mode: Mode,
    channels: Vec<Channel>,
    /// Whose turn it is.
    turn: usize,
    driver: Option<ChannelNumber>,
    control: VecDeque<FromBridge>,
    /// Has data just gone out on, so that a small acknowledgement may follow.
    ride: Option<ChannelNumber>,
}

impl Board {
    /// No channel yet.
    #[must_use]
    pub fn new(launch: Launch, mode: Mode) -> Self {
        let (channels, control) = (Vec::new(), VecDeque::new());
        Self { launch, mode, channels, turn: 0, driver: None, control, ride: None }
    }

    /// Sends a message of no channel's stream, ahead of all that waits.
    pub fn say(&mut self, message: FromBridge) {
        self.control.push_back(message);
    }

    /// Whether more waits than any honest gateway lets wait.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.control.len() > CONTROL_QUEUE_MAX
    }

    /// Whether everything outside of the channels' streams has been taken by the link.
    #[must_use]
    pub fn control_is_out(&self) -> bool {
        self.control.is_empty()
    }

    /// The link is gone, and its channels with it. Their input stays queued.
    pub fn clear(&mut self, input: &mut Input, output: &mut Output) {
        self.control.clear();
        while let Some(channel) = self.channels.last().map(Channel::number) {
            self.remove(channel, input, output);
        }
    }

    /// A client has come. Tells whether the terminal has another size because of it.
    pub fn open(
        &mut self,
        number: ChannelNumber,
        attach: &Attach,
        input: &mut Input,
        output: &mut Output,
    ) -> bool {
        match self.try_open(number, attach, input, output) {
            Ok(resized) => resized,
            Err(why) => {
                self.say(FromBridge::Refused { channel: number, why });
                false
            }
        }
    }

    fn try_open(
        &mut self,
        number: ChannelNumber,
        attach: &Attach,
        input: &mut Input,
        output: &mut Output,
    ) -> Result<bool, Refused> {
        if self.channels.len() >= CHANNELS_MAX || self.find(number).is_some() {
            return Err(Refused::TooMany);
        }
        let Attach { role, launch, output: has, window, input_stream: stream, .. } = *attach;
        let wish = Wish { launch, output: has, window };
        let start = wish.start(self.mode, self.launch, output).map_err(|_| Refused::BadInput)?;
        let mut resized = false;
        let applied = match role {
            Role::Driver => {
                let applied = input.attach(stream)?;
                self.demote_driver(output);
                self.driver = Some(number);
                output.driver_came(start.from, start.resume == Resume::Keyframe);
                resized = output.resize(attach.size);
                applied
            }
            Role::Observer => input.applied(stream),
        };
        let mut channel = Channel::open(number, role, stream, wish, start, output);
        channel.starts_applied(applied);
        self.channels.push(channel);
        self.say(FromBridge::Attached {
            channel: number,
            output: OutputStart { from: start.from, resume: start.resume },
            input: InputStart { applied },
            size: output.sizes.now(),
        });
        Ok(resized)
    }

    /// A client has gone. Answers with what was applied of its input.
    pub fn close(
        &mut self,
        number: ChannelNumber,
        drop_input: bool,
        input: &mut Input,
        output: &mut Output,
    ) {
        // A channel that this side has refused in the meantime was answered by that.
        let Some(stream) = self.find(number).map(|channel| channel.stream) else { return };
        if drop_input {
            input.drop_queued(stream);
        }
        let applied = input.applied(stream);
        self.remove(number, input, output);
        self.say(FromBridge::Closed { channel: number, applied });
    }

    /// A frame from a client. Tells what was wrong with it, if the channel had to be closed.
    pub fn frame(
        &mut self,
        number: ChannelNumber,
        inner: Bytes,
        input: &mut Input,
        output: &mut Output,
    ) -> Option<String> {
        let drives = self.driver == Some(number);
        let channel = self.find_mut(number)?;
        let stream = channel.stream;
        let (why, words) = match Frame::from_client(inner) {
            Err(bad) => (Refused::BadInput, bad.to_string()),
            Ok(frame) if frame.kind == Kind::Ack => match channel.acknowledge(frame.offset) {
                Ok(()) => {
                    if drives {
                        let (from, at) = (channel.unbroken_from(), channel.acknowledged());
                        output.history.acknowledge(from, at);
                    }
                    return None;
                }
                Err(violation) => (Refused::BadInput, violation.to_string()),
            },
            // An observer's input is dropped.
            Ok(_) if !drives => return None,
            Ok(frame) => match input.receive(stream, frame.offset, frame.payload) {
                Ok(()) => return None,
                Err(why) => (why, format!("input at {} does not follow on", frame.offset)),
            },
        };
        self.remove(number, input, output);
        self.say(FromBridge::Refused { channel: number, why });
        Some(format!("channel {number} is closed: {words}"))
    }

    /// Its client can be seen, or not.
    pub fn visible(&mut self, number: ChannelNumber, yes: bool) {
        if let Some(channel) = self.find_mut(number) {
            channel.visible = yes;
        }
    }

    /// The channel that drives, if it is this one.
    #[must_use]
    pub fn drives(&self, number: ChannelNumber) -> Option<InputStream> {
        self.driver().filter(|driver| driver.number() == number).map(|driver| driver.stream)
    }

    /// Tells a channel's client something, in its stream.
    pub fn notice(&mut self, number: ChannelNumber, notice: Notice) {
        if let Some(channel) = self.find_mut(number) {
            channel.notice(notice);
        }
    }

    /// The program took input of this stream up to `at`.
    pub fn applied(&mut self, stream: InputStream, at: Offset, now: u64) {
        if let Some(channel) = self.channels.iter_mut().find(|c| c.types_on(stream)) {
            channel.applied.reach(at, now);
        }
    }

    /// Output that may be made now: what a driver who is present has room for, else any amount.
    #[must_use]
    pub fn allows(&self, output: &Output, now: u64) -> u64 {
        match self.driver() {
            Some(driver) if driver.is_present(now) => driver.allows(output.end()),
            _ => u64::MAX,
        }
    }

    /// Whether some driver is attached, present or not.
    #[must_use]
    pub fn has_driver(&self) -> bool {
        self.driver.is_some()
    }

    /// Whether a driver is attached who has not been told of the end yet.
    #[must_use]
    pub fn driver_awaits_exit(&self) -> bool {
        self.driver().is_some_and(|driver| !driver.exit_said())
    }

    /// Looks at the clock, for every channel.
    pub fn tick(&mut self, output: &Output, now: u64) {
        for channel in &mut self.channels {
            channel.tick(output, now);
        }
    }

    /// When something of a channel's is due.
    #[must_use]
    pub fn due(&self, now: u64) -> Option<u64> {
        let ticks = self.channels.iter().filter_map(|channel| channel.next_tick(now));
        let applied = self.channels.iter().filter_map(|channel| match channel.applied.due(now) {
            Due::Never => None,
            Due::Now => Some(now),
            Due::Ride { alone_in } | Due::Later { alone_in } => Some(now + alone_in),
        });
        ticks.chain(applied).min()
    }

    /// Whether some channel waits for a keyframe at the newest output.
    #[must_use]
    pub fn wants_keyframe(&self) -> bool {
        self.channels.iter().any(Channel::wants_keyframe)
    }

    /// Whether the driver is among them.
    #[must_use]
    pub fn driver_wants_keyframe(&self) -> bool {
        self.driver().is_some_and(Channel::wants_keyframe)
    }

    /// Gives the screen to every channel that waits for it.
    pub fn give_keyframe(&mut self, keyframe: &Keyframe, output: &Output) {
        for channel in self.channels.iter_mut().filter(|channel| channel.wants_keyframe()) {
            channel.give_keyframe(keyframe, &output.sizes);
        }
    }

    /// What goes out next; `None` where nothing does.
    pub fn next(&mut self, output: &mut Output, now: u64) -> Option<Outgoing> {
        if let Some(message) = self.control.pop_front() {
            return Some(Outgoing::Control(message));
        }
        if let Some(number) = self.ride.take()
            && let Some(channel) = self.find_mut(number)
            && matches!(channel.applied.due(now), Due::Now | Due::Ride { .. })
        {
            return Some(channel.tell_applied());
        }
        for _ in 0..self.channels.len() {
            self.turn = (self.turn + 1) % self.channels.len();
            let channel = &mut self.channels[self.turn];
            if let Some(message) = channel.next(output) {
                self.ride = Some(channel.number());
                return Some(message);
            }
            if channel.applied.due(now) == Due::Now {
                return Some(channel.tell_applied());
            }
        }
        None
    }

    fn driver(&self) -> Option<&Channel> {
        self.find(self.driver?)
    }

    fn demote_driver(&mut self, output: &mut Output) {
        let Some(number) = self.driver.take() else { return };
        if let Some(old) = self.find_mut(number) {
            old.role = Role::Observer;
            output.driver_went(old.cursor());
        }
    }

    fn remove(&mut self, number: ChannelNumber, input: &mut Input, output: &mut Output) {
        let Some(index) = self.channels.iter().position(|c| c.number() == number) else { return };
        let channel = self.channels.swap_remove(index);
        if channel.types_on(channel.stream) {
            input.detach(channel.stream);
        }
        if self.driver == Some(number) {
            self.driver = None;
            output.driver_went(channel.cursor());
        }
    }

    fn find(&self, number: ChannelNumber) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.number() == number)
    }

    fn find_mut(&mut self, number: ChannelNumber) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::limits::LAZY_ALONE_MILLIS;
    use shellgate_protocol::{ClientId, TerminalSize};

    use super::*;

    struct Desk {
        board: Board,
        input: Input,
        output: Output,
    }

    impl Desk {
        fn new() -> Self {
            let output = Output::new(Mode::Terminal, TerminalSize::DEFAULT, None);
            Self { board: Board::new(Launch(1), Mode::Terminal), input: Input::default(), output }
        }

        fn open(&mut self, number: u32, role: Role, stream: u128) {
            let attach = Attach {
                role,
                client: ClientId::from_bits(1),
                takeover: false,
                launch: Some(Launch(1)),
                output: Some(Offset::ZERO),
                input_stream: InputStream::from_bits(stream),
                size: TerminalSize::DEFAULT,
                window: 1 << 20,
                can: vec![],
            };
            self.board.open(ChannelNumber(number), &attach, &mut self.input, &mut self.output);
        }

        fn types(&mut self, number: u32, at: u64, text: &'static str) -> Option<String> {
            let offset = Offset::new(at).unwrap();
            let frame = Frame { kind: Kind::Data, offset, payload: Bytes::from(text) }.to_bytes();
            self.board.frame(ChannelNumber(number), frame, &mut self.input, &mut self.output)
        }

        /// What goes out at `now`: control by its type, frames by channel and kind.
        fn said(&mut self, now: u64) -> Vec<String> {
            let mut said = Vec::new();
            while let Some(message) = self.board.next(&mut self.output, now) {
                said.push(match message {
                    Outgoing::Control(control) => {
                        serde_json::to_value(control).unwrap()["type"].as_str().unwrap().to_owned()
                    }
                    Outgoing::Frame(frame) => format!("{} {}", frame[3], frame[4]),
                });
            }
            said
        }
    }

    #[test]
    fn control_goes_first_and_channels_take_turns() {
        let mut desk = Desk::new();
        desk.output.history.append(&[b'x'; 150_000]);
        desk.open(1, Role::Driver, 1);
        desk.open(2, Role::Observer, 2);
        let said = desk.said(0);
        assert_eq!(said[..2], ["attached", "attached"]);
        let mut frames = said[2..8].to_vec();
        assert!(frames.chunks(2).all(|pair| pair[0] != pair[1]), "{frames:?}");
        frames.sort();
        assert_eq!(frames, ["1 0", "1 0", "1 0", "2 0", "2 0", "2 0"]);
    }

    #[test]
    fn applied_rides_along_with_output_or_goes_alone_later() {
        let mut desk = Desk::new();
        desk.open(1, Role::Driver, 1);
        desk.said(0);
        assert_eq!(desk.types(1, 0, "ls"), None);
        let (stream, at) = desk.input.take(2).unwrap();
        desk.board.applied(stream, at, 0);
        desk.output.history.append(b"ls");
        assert_eq!(desk.said(1), ["1 0"], "too early to tell");
        assert_eq!(desk.board.due(1), Some(LAZY_ALONE_MILLIS));
        desk.output.history.append(b"!");
        assert_eq!(desk.said(LAZY_ALONE_MILLIS - 1), ["1 0", "1 4"]);
        assert_eq!(desk.types(1, 2, "a"), None);
        desk.input.take(1);
        desk.board.applied(stream, Offset::new(3).unwrap(), 2000);
        assert_eq!(desk.said(2000 + LAZY_ALONE_MILLIS), ["1 4"]);
        assert_eq!(desk.board.due(4000), None);
    }

    #[test]
    fn only_the_newest_driver_types() {
        let mut desk = Desk::new();
        desk.open(1, Role::Driver, 1);
        desk.open(2, Role::Observer, 2);
        desk.types(2, 0, "no");
        assert_eq!(desk.input.front(), None);
        desk.open(3, Role::Driver, 3);
        desk.types(1, 0, "not any more");
        assert_eq!(desk.input.front(), None);
        desk.types(3, 0, "yes");
        assert_eq!(desk.input.front(), Some(&b"yes"[..]));
        assert!(desk.board.drives(ChannelNumber(1)).is_none());
        assert!(desk.board.drives(ChannelNumber(3)).is_some());
    }

    #[test]
    fn a_channel_with_a_hole_in_its_input_is_closed_with_words_for_the_log() {
        let mut desk = Desk::new();
        desk.open(1, Role::Driver, 1);
        desk.types(1, 0, "a");
        let words = desk.types(1, 5, "b").unwrap();
        assert!(words.contains("does not follow on"), "{words}");
        assert_eq!(desk.said(0), ["attached", "refused"]);
        assert!(!desk.board.has_driver());
    }

    #[test]
    fn a_link_that_breaks_leaves_the_input_queued_and_takes_the_channels_with_it() {
        let mut desk = Desk::new();
        desk.open(1, Role::Driver, 1);
        desk.types(1, 0, "typed before");
        desk.board.clear(&mut desk.input, &mut desk.output);
        assert_eq!(desk.said(0), [""; 0]);
        assert_eq!(desk.input.front(), Some(&b"typed before"[..]));
        assert_eq!(desk.board.allows(&desk.output, 0), u64::MAX);
    }

    #[test]
    fn a_gateway_that_asks_on_and_reads_nothing_is_noticed() {
        let mut desk = Desk::new();
        for number in 0..1000 {
            desk.open(number, Role::Observer, 1);
            let number = ChannelNumber(number);
            desk.board.close(number, false, &mut desk.input, &mut desk.output);
        }
        assert!(desk.board.is_overrun());
    }
}
