//! The core against a model of an honest bridge, broken at any message boundary.

use std::collections::VecDeque;

use ::bytes::Bytes;
use proptest::prelude::*;
use shellgate_protocol::client_leg::{Attach, GapReason, Resume};
use shellgate_protocol::credit::Credit;
use shellgate_protocol::{CloseCode, Frame, FromClient, Kind, Launch, ToClient};

use super::{at, attached, bytes, exit_status, options};
use crate::attach::connection::{Connection, Outgoing, Want};
use crate::attach::event::{Break, Closed, Event, Why};

/// The pieces of each keyframe.
const KEYFRAME: [usize; 3] = [64 * 1024, 64 * 1024, 9];

#[derive(Debug)]
enum Down {
    Control(ToClient),
    Frame(Frame),
}

/// What an honest bridge and gateway do, without any of their machinery.
#[derive(Default)]
struct Bridge {
    printed: u64,
    kept_from: u64,
    /// What the program was given.
    program: Vec<u8>,
    received: u64,
    channel: Option<Credit>,
    up: VecDeque<Outgoing>,
    down: VecDeque<Down>,
    ended: bool,
    exit_sent: bool,
    exit_acknowledged: bool,
    gaps: u64,
}

impl Bridge {
    fn take_one(&mut self) {
        match self.up.pop_front() {
            None => {}
            Some(Outgoing::Text(text)) => match serde_json::from_str(&text).unwrap() {
                FromClient::Attach(attach) => self.attach(&attach),
                other => panic!("{other:?} is not asked for"),
            },
            Some(Outgoing::Binary(message)) => {
                let frame = Frame::from_client(message).unwrap();
                match frame.kind {
                    Kind::Data => {
                        assert_eq!(
                            frame.offset.get(),
                            self.received,
                            "input has a hole or repeats"
                        );
                        self.program.extend_from_slice(&frame.payload);
                        self.received = frame.end().get();
                        let (kind, offset) = (Kind::Applied, frame.end());
                        let applied = Frame { kind, offset, payload: Bytes::new() };
                        self.down.push_back(Down::Frame(applied));
                    }
                    Kind::Ack => {
                        self.channel.as_mut().unwrap().acknowledge(frame.offset).unwrap();
                        self.exit_acknowledged |=
                            self.exit_sent && frame.offset.get() == self.printed;
                    }
                    Kind::Replay | Kind::Keyframe | Kind::Applied => unreachable!(),
                }
            }
        }
        self.send();
    }

    fn attach(&mut self, attach: &Attach) {
        let asked = attach.output.unwrap().get();
        assert!(attach.launch.is_none_or(|launch| launch == Launch(1)));
        assert!(asked <= self.printed, "the client claims what was not printed");
        let (from, resume) = if asked < self.kept_from {
            (self.kept_from, Resume::Keyframe)
        } else {
            (asked, Resume::Exact)
        };
        self.down.push_back(Down::Control(attached(1, from, resume, self.received)));
        if resume == Resume::Keyframe {
            self.gaps += from - asked;
            self.down.push_back(Down::Control(ToClient::Gap {
                from: at(asked),
                to: at(from),
                why: GapReason::Lost,
            }));
            for len in KEYFRAME {
                let (kind, payload) = (Kind::Keyframe, vec![b'k'; len].into());
                self.down.push_back(Down::Frame(Frame { kind, offset: at(from), payload }));
            }
        }
        self.channel = Some(Credit::new(at(from), attach.window.into()));
        self.exit_sent = false;
    }

    fn send(&mut self) {
        let Some(credit) = &mut self.channel else { return };
        loop {
            let from = credit.sent().get();
            let len = (self.printed - from).min(credit.room()).min(16 * 1024);
            if len == 0 {
                break;
            }
            credit.send(at(from), len).unwrap();
            let payload = bytes(from, len as usize).into();
            self.down.push_back(Down::Frame(Frame { kind: Kind::Data, offset: at(from), payload }));
        }
        if self.ended && !self.exit_sent && credit.sent().get() == self.printed {
            self.exit_sent = true;
            let exit = ToClient::Exit { at: at(self.printed), status: exit_status() };
            self.down.push_back(Down::Control(exit));
        }
    }

    fn cut(&mut self) {
        self.up.clear();
        self.down.clear();
        self.channel = None;
    }
}

/// A client, its caller and its bridge.
struct World {
    client: Connection,
    bridge: Bridge,
    now: u64,
    typed: u64,
    seen: u64,
    gaps: u64,
    /// Pieces of the last keyframe, and whether one is owed since the last gap.
    drawn: Vec<usize>,
    exited: bool,
    closed: Option<Closed>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            client: Connection::new(options(), seed, 0),
            bridge: Bridge::default(),
            now: 0,
            typed: 0,
            seen: 0,
            gaps: 0,
            drawn: KEYFRAME.into(),
            exited: false,
            closed: None,
        }
    }

    fn types(&mut self, len: usize) {
        if let Some(taken) = self.client.type_in(&bytes(self.typed, len)) {
            self.typed += taken as u64;
        }
    }

    /// The driver's part, up to where it would wait.
    fn drives(&mut self) {
        loop {
            self.client.tick(self.now);
            match self.client.want() {
                Want::Dial { .. } => self.client.opened(self.now),
                Want::HangUp(_) => {
                    while let Some(message) = self.client.next_message(self.now) {
                        self.bridge.up.push_back(message);
                    }
                    while !self.bridge.up.is_empty() {
                        self.bridge.take_one();
                    }
                    self.bridge.cut();
                    self.client.hung_up(self.now);
                }
                Want::Talk => {
                    while let Some(message) = self.client.next_message(self.now) {
                        self.bridge.up.push_back(message);
                    }
                    return;
                }
                Want::Rest | Want::Nothing => return,
            }
        }
    }

    fn hears_one(&mut self) {
        match self.bridge.down.pop_front() {
            None => {}
            Some(Down::Control(message)) => {
                self.client.text(&serde_json::to_string(&message).unwrap(), self.now);
            }
            Some(Down::Frame(frame)) => self.client.binary(frame.to_bytes(), self.now),
        }
        assert!(!matches!(self.client.want(), Want::HangUp(CloseCode::BadRequest)));
    }

    fn sees_one(&mut self) -> bool {
        let Some(event) = self.client.next_event(self.now) else { return false };
        match event {
            Event::Output { from, bytes: printed, .. } => {
                assert_eq!(self.drawn, KEYFRAME, "a gap has its whole keyframe");
                assert_eq!(from.get(), self.seen, "output has a hole or repeats");
                assert_eq!(&printed[..], bytes(self.seen, printed.len()), "at {}", self.seen);
                self.seen += printed.len() as u64;
            }
            Event::Gap { from, to, .. } => {
                assert_eq!(from.get(), self.seen);
                self.drawn.clear();
                self.gaps += to.since(from);
                self.seen = to.get();
            }
            Event::Keyframe { at, bytes, first } => {
                assert_eq!((at.get(), first), (self.seen, self.drawn.is_empty()));
                self.drawn.push(bytes.len());
            }
            Event::Exit { at, .. } => {
                assert_eq!(at.get(), self.seen);
                self.exited = true;
            }
            Event::Closed(closed) => {
                assert_eq!(self.closed.replace(closed), None, "closed twice");
            }
            Event::Attached(attached) => assert_eq!(attached.dropped_input, 0),
            Event::Starting { .. }
            | Event::Size(_)
            | Event::Live
            | Event::Notice(_)
            | Event::Reconnecting { .. } => {}
        }
        true
    }

    fn breaks(&mut self) {
        if self.client.want() == Want::Talk {
            self.bridge.cut();
            self.client.broke(Break::Lost(String::new()), self.now);
        }
    }

    fn steps(&mut self, step: u8, n: usize) {
        match step {
            0 | 1 => self.bridge.printed += n as u64,
            2 => self.types(n),
            3 | 4 => {
                for _ in 0..n % 7 {
                    self.bridge.take_one();
                }
            }
            5 | 6 => {
                for _ in 0..n % 7 {
                    self.hears_one();
                }
            }
            7 => {
                for _ in 0..n % 5 {
                    self.sees_one();
                }
            }
            8 => self.now += n as u64,
            9 => self.breaks(),
            10 => self.bridge.kept_from = self.bridge.printed.saturating_sub(n as u64),
            _ => self.now += 100,
        }
        self.bridge.send();
        self.drives();
    }

    /// Lets everything that is under way arrive, then ends the program.
    fn settles(&mut self) {
        for round in 0..100_000u32 {
            let before = (self.bridge.up.len(), self.bridge.down.len());
            self.bridge.take_one();
            self.hears_one();
            self.sees_one();
            self.now += 10;
            self.drives();
            self.bridge.ended |= before == (0, 0)
                && self.bridge.program.len() as u64 == self.typed
                && self.seen == self.bridge.printed;
            self.bridge.send();
            if self.bridge.exit_acknowledged {
                let reason = String::new();
                self.client.broke(Break::Closed { code: 4410, reason }, self.now);
                while self.sees_one() {}
                return;
            }
            assert!(round < 99_999, "stuck: {:?}", self.client);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The promise: whatever breaks whenever, nothing is lost, nothing is repeated, and what is
    /// gone is announced.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0u8..12, 0usize..20_000), 1..300),
    ) {
        let mut world = World::new(seed);
        world.drives();
        for (step, n) in steps {
            world.steps(step, n);
        }
        world.settles();
        prop_assert_eq!(&world.bridge.program, &bytes(0, world.typed as usize));
        prop_assert_eq!(world.seen, world.bridge.printed);
        // A gap may be announced again on the next connection, if the first news of it got lost.
        prop_assert!(world.gaps <= world.bridge.gaps);
        prop_assert!(world.exited);
        prop_assert_eq!(world.closed.unwrap().why, Why::Exited);
    }
}
