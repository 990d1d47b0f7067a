//! A client's side of `shellgate.v1`: what it says, what it makes of what it hears, and what it owes.
//! Checks every offset. Knows no socket and no clock.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use shellgate_protocol::client_leg::{Attach, Role};
use shellgate_protocol::credit::{Due, Lazy};
use shellgate_protocol::frame::{Frame, Kind};
use shellgate_protocol::limits::WINDOW_DEFAULT;
use shellgate_protocol::offset::{Overlap, overlap};
use shellgate_protocol::{
    ClientId, FromClient, InputStream, Launch, Offset, TerminalSize, ToClient,
};

/// What a client knows of its session when it leaves, and needs to come back.
#[derive(Debug, Clone)]
pub struct Conversation {
    client: ClientId,
    stream: InputStream,
    launch: Option<Launch>,
    output: Offset,
    input: Offset,
    acknowledge: Lazy,
    at_once: bool,
    /// Bytes that the gateway said, or showed, that it will not send.
    pub lost: u64,
    /// Bytes that came twice.
    pub repeated: u64,
    /// Whether the program has ended.
    pub ended: bool,
}

impl Conversation {
    /// A client that has never been here, and wants all output that is kept.
    pub fn new() -> Self {
        Self {
            client: ClientId::random(),
            stream: InputStream::random(),
            launch: None,
            output: Offset::ZERO,
            input: Offset::ZERO,
            acknowledge: Lazy::new(Offset::ZERO, u64::from(WINDOW_DEFAULT)),
            at_once: false,
            lost: 0,
            repeated: 0,
            ended: false,
        }
    }

    /// The first message of a connection.
    pub fn attach(&self) -> Result<String> {
        Ok(serde_json::to_string(&FromClient::Attach(Attach {
            role: Role::Driver,
            client: self.client,
            takeover: false,
            launch: self.launch,
            output: Some(self.output),
            input_stream: self.stream,
            size: TerminalSize::DEFAULT,
            window: WINDOW_DEFAULT,
            can: Vec::new(),
        }))?)
    }

    /// Takes a control message.
    pub fn control(&mut self, text: &str) -> Result<ToClient> {
        let message: ToClient =
            serde_json::from_str(text).with_context(|| format!("not a message: {text}"))?;
        match &message {
            ToClient::Attached { launch, output, .. } => {
                if self.launch.is_some_and(|known| known != *launch) {
                    self.output = Offset::ZERO;
                }
                self.launch = Some(*launch);
                self.go_on_at(output.from);
                self.acknowledge = Lazy::new(self.output, u64::from(WINDOW_DEFAULT));
            }
            ToClient::Gap { to, .. } => self.go_on_at(*to),
            ToClient::Exit { .. } => self.ended = true,
            ToClient::Starting { .. }
            | ToClient::Size { .. }
            | ToClient::Live
            | ToClient::Notice { .. }
            | ToClient::Goaway { .. }
            | ToClient::Pong { .. } => {}
        }
        Ok(message)
    }

    /// What lies between what is known and `from` will not come.
    fn go_on_at(&mut self, from: Offset) {
        self.lost += from.since(self.output);
        self.output = self.output.max(from);
    }

    /// Takes a frame, and appends the output that is new in it.
    pub fn frame(&mut self, message: Bytes, now_ms: u64, out: &mut Vec<u8>) -> Result<()> {
        let frame = Frame::to_client(message)?;
        match frame.kind {
            Kind::Data | Kind::Replay => {
                match overlap(self.output, frame.offset, frame.payload.len()) {
                    Overlap::New { skip } => {
                        self.repeated += skip as u64;
                        out.extend_from_slice(&frame.payload[skip..]);
                    }
                    Overlap::Known => self.repeated += frame.payload.len() as u64,
                    Overlap::Missing => {
                        self.go_on_at(frame.offset);
                        out.extend_from_slice(&frame.payload);
                    }
                }
                self.output = self.output.max(frame.end());
                self.acknowledge.reach(self.output, now_ms);
            }
            Kind::Keyframe => {
                self.go_on_at(frame.offset);
                out.extend_from_slice(&frame.payload);
                self.acknowledge.reach(self.output, now_ms);
                self.at_once = true;
            }
            Kind::Applied if frame.offset > self.input => {
                bail!("applied up to {}, though only {} was typed", frame.offset, self.input)
            }
            Kind::Applied | Kind::Ack => {}
        }
        Ok(())
    }

    /// The frame with these keys: at most 16 KiB.
    pub fn input(&mut self, keys: &[u8]) -> Bytes {
        let frame =
            Frame { kind: Kind::Data, offset: self.input, payload: Bytes::copy_from_slice(keys) };
        self.input = frame.end();
        frame.to_bytes()
    }

    /// The acknowledgement that is due, alone or, where `riding`, along with something else.
    pub fn acknowledgement(&mut self, now_ms: u64, riding: bool) -> Option<Bytes> {
        match self.acknowledge.due(now_ms) {
            Due::Now => {}
            Due::Ride { .. } if riding => {}
            Due::Never if self.at_once => {}
            Due::Ride { .. } | Due::Later { .. } if self.at_once => {}
            Due::Never | Due::Ride { .. } | Due::Later { .. } => return None,
        }
        self.at_once = false;
        let offset = self.acknowledge.tell();
        Some(Frame { kind: Kind::Ack, offset, payload: Bytes::new() }.to_bytes())
    }

    /// In how many milliseconds an acknowledgement is due alone, if any is owed.
    pub fn due_in(&self, now_ms: u64) -> Option<u64> {
        match self.acknowledge.due(now_ms) {
            Due::Never => None,
            Due::Now => Some(0),
            Due::Ride { alone_in } | Due::Later { alone_in } => Some(alone_in),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(offset: u64, bytes: &'static [u8]) -> Bytes {
        let offset = Offset::new(offset).unwrap();
        Frame { kind: Kind::Data, offset, payload: Bytes::from_static(bytes) }.to_bytes()
    }

    #[test]
    fn what_comes_twice_and_what_never_comes_is_counted_to_the_byte() {
        let mut conversation = Conversation::new();
        let mut out = Vec::new();
        conversation.frame(data(0, b"abcd"), 0, &mut out).unwrap();
        conversation.frame(data(2, b"cdef"), 0, &mut out).unwrap();
        conversation.frame(data(9, b"j"), 0, &mut out).unwrap();
        conversation.frame(data(0, b"ab"), 0, &mut out).unwrap();
        assert_eq!(out, b"abcdefj");
        assert_eq!((conversation.repeated, conversation.lost), (4, 3));
    }

    #[test]
    fn an_acknowledgement_rides_along_and_is_due_alone_later() {
        let mut conversation = Conversation::new();
        conversation.frame(data(0, b"a"), 0, &mut Vec::new()).unwrap();
        assert_eq!(conversation.acknowledgement(10, true), None);
        assert!(conversation.acknowledgement(500, false).is_none());
        assert!(conversation.acknowledgement(500, true).is_some());
        assert_eq!(conversation.due_in(600), None);
    }

    #[test]
    fn a_keyframe_is_acknowledged_at_once() {
        let mut conversation = Conversation::new();
        let frame =
            Frame { kind: Kind::Keyframe, offset: Offset::ZERO, payload: Bytes::from_static(b"x") };
        conversation.frame(frame.to_bytes(), 0, &mut Vec::new()).unwrap();
        assert!(conversation.acknowledgement(0, false).is_some());
        assert!(conversation.acknowledgement(0, false).is_none());
    }
}
