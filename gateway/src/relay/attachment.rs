//! One client's connection as the relay holds it: what it may send, what it is owed, and what is
//! queued each way. Checks every byte count that client and bridge claim; moves no bytes itself.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::credit::{Credit, Violation};
use shellgate_protocol::frame::{BadFrame, Frame, HEADER_LEN, Kind, LINK_HEADER_LEN};
use shellgate_protocol::limits::{INPUT_FRAME_MAX, INPUT_UNAPPLIED_MAX, KEYFRAME_MAX};
use shellgate_protocol::{ChannelNumber, ClientId, CloseCode, Offset, ToClient};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::budget::Budget;
use super::dialect::{Dialect, Owed, PLAIN_MESSAGE_MAX};
use super::outbox::{Full, Outbox, append};
use crate::auth::UserId;
use crate::websocket::Socket;

/// What may wait for a client besides its windows of output and a keyframe, in bytes: control
/// messages, and what each message costs by itself.
const QUEUED_SLACK: usize = 512 * 1024;

/// Where an attachment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `open` is on its way to the bridge; the client may send nothing but control.
    Opening,
    /// Frames flow.
    Open,
    /// Somebody took over: it waits for the bridge's word on what was applied.
    Superseded,
}

/// What a side did that ends its connection.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A frame that is none, or not this side's.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// Bytes out of order, beyond a window, or acknowledged without having been sent.
    #[error(transparent)]
    Flow(#[from] Violation),
    /// More input than may be unapplied.
    #[error("{0} bytes of input are not applied yet, and no more are allowed")]
    Unapplied(u64),
    /// `applied` beyond what was sent.
    #[error("applied up to {at}, though only {sent} was sent")]
    AppliedBeyondSent {
        /// What it claims.
        at: Offset,
        /// What was sent.
        sent: Offset,
    },
    /// A keyframe that is too large, or that came before the last one was acknowledged.
    #[error("a keyframe at {0} is too large, too early, or lies before what was sent")]
    Keyframe(Offset),
    /// More waits for a client than it may have outstanding.
    #[error(transparent)]
    Slow(#[from] Full),
    /// Sent before `attached`.
    #[error("input before `attached`")]
    Early,
}

/// One client's connection.
pub struct Attachment {
    /// Its number on the link.
    pub channel: ChannelNumber,
    /// When it arrived, among all clients.
    pub order: u64,
    /// What it may do.
    pub role: Role,
    /// Which page or process it is.
    pub client: ClientId,
    /// Whose it is.
    pub user: UserId,
    /// Where it stands.
    pub stage: Stage,
    /// Since when it has stood there.
    pub since: Instant,
    /// Its WebSocket.
    pub socket: Socket,
    /// How it speaks.
    pub dialect: Dialect,
    /// Control messages that it may still send.
    pub budget: Budget,
    /// When anything was last heard of it.
    pub heard: Instant,
    /// Since when what is queued for it has not moved.
    pub stuck_since: Option<Instant>,
    /// When its token, and the grace after it, run out.
    pub authentic_until: Instant,
    /// Input and control that were dropped because it only observes.
    pub dropped: u64,
    /// How many watch, as it was last told.
    pub observers_told: u32,
    /// Whether it was told that its token runs out.
    pub expiry_told: bool,
    /// Written and not flushed yet.
    pub unflushed: bool,
    /// The output window that it was granted, in bytes.
    pub window: u32,
    output: Credit,
    keyframe: Option<(Offset, usize)>,
    received: Offset,
    applied: Offset,
    outbox: Outbox,
    /// All output before this was passed on as acknowledged, where anything was.
    passed_on: Option<Offset>,
    /// An acknowledgement on its way to the link: a newer one takes its place.
    ack: Option<Offset>,
    /// Where the output ends, once a plain client's part is to acknowledge that.
    end: Option<Offset>,
    to_link: VecDeque<Bytes>,
    prefix: BytesMut,
    /// Given back when the client has been seen off.
    permit: Box<dyn Send>,
}

/// What a new attachment starts with.
pub struct Arrival {
    /// When it arrived, among all clients.
    pub order: u64,
    /// What it may do.
    pub role: Role,
    /// Which page or process it is.
    pub client: ClientId,
    /// Whose it is.
    pub user: UserId,
    /// Its WebSocket.
    pub socket: Socket,
    /// How it speaks.
    pub dialect: Dialect,
    /// Its window, within the limits.
    pub window: u32,
    /// When its token, and the grace after it, run out.
    pub authentic_until: Instant,
    /// Whatever is given back when it goes.
    pub permit: Box<dyn Send>,
    /// How many gateways it has passed to this one.
    pub hops: u8,
}

impl Arrival {
    /// Whether it speaks in frames, and so knows when it may send.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        matches!(self.dialect, Dialect::V1)
    }
}

impl Attachment {
    /// An attachment whose `open` is on its way.
    pub fn new(channel: ChannelNumber, arrival: Arrival, budget: Budget, now: Instant) -> Self {
        Self {
            channel,
            order: arrival.order,
            role: arrival.role,
            client: arrival.client,
            user: arrival.user,
            stage: Stage::Opening,
            since: now,
            socket: arrival.socket,
            dialect: arrival.dialect,
            budget,
            heard: now,
            stuck_since: None,
            authentic_until: arrival.authentic_until,
            dropped: 0,
            observers_told: 0,
            expiry_told: false,
            unflushed: false,
            window: arrival.window,
            output: Credit::new(Offset::ZERO, u64::from(arrival.window)),
            keyframe: None,
            received: Offset::ZERO,
            applied: Offset::ZERO,
            // A slow client is skipped to a keyframe once: then two windows wait.
            outbox: Outbox::new(2 * arrival.window as usize + KEYFRAME_MAX + QUEUED_SLACK),
            passed_on: None,
            ack: None,
            end: None,
            to_link: VecDeque::new(),
            prefix: BytesMut::new(),
            permit: arrival.permit,
        }
    }

    /// The bridge has opened the channel: output goes on at `from`, input at `applied`.
    pub fn opened(&mut self, from: Offset, applied: Offset, now: Instant) {
        self.stage = Stage::Open;
        self.since = now;
        self.output = Credit::new(from, u64::from(self.window));
        self.received = applied;
        self.applied = applied;
    }

    /// A newer token makes it authentic until then.
    pub fn is_authentic(&mut self, until: Instant) {
        self.authentic_until = until;
        self.expiry_told = false;
    }

    /// Somebody took over: what it still sends is of no interest to anybody.
    pub fn supersede(&mut self, now: Instant) {
        self.stage = Stage::Superseded;
        self.since = now;
        self.to_link.clear();
        self.ack = None;
    }

    /// Whether what its client sends is read now. A client that sends bare bytes can't know when
    /// and how much it may, so it is not read while it may not.
    pub fn is_read(&self) -> bool {
        matches!(self.dialect, Dialect::V1) || (self.stage != Stage::Opening && !self.is_held())
    }

    /// Whether one more message of a plain client, and the end of its line, might be more than may
    /// be unapplied.
    fn is_held(&self) -> bool {
        let unapplied = self.received.since(self.applied);
        unapplied + PLAIN_MESSAGE_MAX as u64 + 1 > INPUT_UNAPPLIED_MAX
    }

    /// Takes a binary message of the client and queues it for the link.
    ///
    /// # Errors
    /// Where no honest client sends this.
    pub fn take_from_client(&mut self, message: Bytes) -> Result<Option<Kind>, Fault> {
        let frame = Frame::from_client(message.clone())?;
        match self.stage {
            Stage::Opening => return Err(Fault::Early),
            Stage::Open => {}
            // It does not know yet that somebody took over.
            Stage::Superseded => {
                self.dropped += 1;
                return Ok(None);
            }
        }
        match frame.kind {
            Kind::Ack => {
                self.output.acknowledge(frame.offset)?;
                self.pass_on(frame.offset);
            }
            _ if self.role == Role::Observer => {
                self.dropped += 1;
                return Ok(None);
            }
            _ => {
                if frame.offset != self.received {
                    let (start, expected) = (frame.offset, self.received);
                    return Err(Violation::OutOfOrder { start, expected }.into());
                }
                let unapplied = frame.end().since(self.applied);
                if unapplied > INPUT_UNAPPLIED_MAX {
                    return Err(Fault::Unapplied(unapplied));
                }
                self.received = frame.end();
                self.queue_for_link(&message, frame.payload.len());
            }
        }
        Ok(Some(frame.kind))
    }

    /// Queues input that the gateway frames itself, for a client that sends bare bytes. `false`
    /// where it was dropped.
    ///
    /// # Errors
    /// Where it is not open yet, or has sent more than may be unapplied.
    pub fn take_from_plain_client(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        if self.stage == Stage::Opening {
            return Err(Fault::Early);
        }
        if self.stage == Stage::Superseded || self.role == Role::Observer {
            self.dropped += 1;
            return Ok(false);
        }
        let unapplied = self.received.plus(bytes.len() as u64).since(self.applied);
        if unapplied > INPUT_UNAPPLIED_MAX {
            return Err(Fault::Unapplied(unapplied));
        }
        for piece in bytes.chunks(INPUT_FRAME_MAX) {
            let payload = Bytes::copy_from_slice(piece);
            let frame = Frame { kind: Kind::Data, offset: self.received, payload };
            self.received = frame.end();
            self.queue_for_link(&frame.to_bytes(), piece.len());
        }
        Ok(true)
    }

    /// Acknowledges for a plain client what has left for it: a quarter of its window at a time,
    /// and the end.
    ///
    /// # Errors
    /// Where the accounts do not hold.
    pub fn acknowledge_what_left(&mut self) -> Result<(), CloseCode> {
        let Some(reached) = self.dialect.reached() else { return Ok(()) };
        let owed = reached.since(self.passed_on.unwrap_or(Offset::ZERO));
        let due = owed >= u64::from(self.window) / 4 || self.end.is_some_and(|end| reached >= end);
        if due && !self.has_for_client() && !self.unflushed {
            self.output.acknowledge(reached).map_err(|fault| Fault::from(fault).close_code())?;
            self.pass_on(reached);
        }
        Ok(())
    }

    /// The output is complete: a plain client's part is to acknowledge that once it has left.
    pub fn ends_at(&mut self, at: Offset) {
        self.dialect.finish();
        self.end = Some(at);
    }

    /// Passes an acknowledgement on, unless the bridge has heard as much.
    fn pass_on(&mut self, at: Offset) {
        if self.keyframe.is_some_and(|(keyframe, _)| at >= keyframe) {
            self.keyframe = None;
        }
        if self.passed_on.is_none_or(|before| before < at) {
            self.passed_on = Some(at);
            self.ack = Some(at);
        }
    }

    /// Queues a client's frame with `len` bytes of payload for the link: joined to the one before
    /// where that has not left yet.
    fn queue_for_link(&mut self, frame: &[u8], len: usize) {
        if let Some(last) = self.to_link.back_mut()
            && last.len() - LINK_HEADER_LEN + len <= INPUT_FRAME_MAX
        {
            append(last, &frame[HEADER_LEN..]);
            return;
        }
        let whole = self.with_channel(frame);
        self.to_link.push_back(whole);
    }

    fn with_channel(&mut self, frame: &[u8]) -> Bytes {
        self.prefix.reserve(4 + frame.len());
        self.prefix.put_u32(self.channel.0);
        self.prefix.put_slice(frame);
        self.prefix.split().freeze()
    }

    /// Takes a binary message of the bridge, without its channel number, and queues it for the
    /// client. `true` where the client, which was not read, is read from now on.
    ///
    /// # Errors
    /// Where no honest bridge sends this.
    pub fn take_from_bridge(&mut self, message: Bytes) -> Result<bool, Fault> {
        let frame = Frame::to_client(message.clone())?;
        let len = frame.payload.len();
        match frame.kind {
            Kind::Applied => {
                if frame.offset > self.received {
                    let (at, sent) = (frame.offset, self.received);
                    return Err(Fault::AppliedBeyondSent { at, sent });
                }
                let was_read = self.is_read();
                self.applied = self.applied.max(frame.offset);
                if !was_read && self.is_read() {
                    // Who was not read could not be heard.
                    self.heard = Instant::now();
                    return Ok(true);
                }
            }
            Kind::Keyframe => {
                let before = match self.keyframe {
                    Some((at, len)) if at == frame.offset => len,
                    None if frame.offset >= self.output.sent() => 0,
                    _ => return Err(Fault::Keyframe(frame.offset)),
                };
                if before + len > KEYFRAME_MAX {
                    return Err(Fault::Keyframe(frame.offset));
                }
                self.keyframe = Some((frame.offset, before + len));
                self.output.skip_to(frame.offset);
            }
            _ => self.output.send(frame.offset, len as u64)?,
        }
        match self.dialect.frame(&frame) {
            Owed::Frame => self.outbox.push_frame(&frame, message)?,
            Owed::Bytes => self.outbox.push_bytes(frame.payload)?,
            Owed::Nothing if self.dialect.held() > self.outbox.room() => return Err(Full.into()),
            Owed::Nothing => {}
        }
        Ok(false)
    }

    /// The bridge leaves out output up to `to`.
    pub fn skip_to(&mut self, to: Offset) {
        self.output.skip_to(to);
        self.dialect.skip_to(to);
    }

    /// Queues a control message for the client.
    ///
    /// # Errors
    /// Where too much waits already.
    pub fn tell(&mut self, message: &ToClient) -> Result<(), Fault> {
        if let Some(message) = self.dialect.control(message) {
            self.outbox.push(message)?;
        }
        Ok(())
    }

    /// Queues the gateway's own WebSocket ping, unless something is queued: a peer that has not
    /// read that would not get to the ping either.
    pub fn ping(&mut self) {
        if self.outbox.is_empty() && !self.unflushed {
            // An empty queue has room.
            let _ = self.outbox.push(Message::Ping(Bytes::new()));
        }
    }

    /// The next message for the client.
    ///
    /// # Errors
    /// The close code, where the program printed what this client can't be told.
    pub fn next_for_client(&mut self) -> Result<Option<Message>, CloseCode> {
        match self.outbox.pop() {
            Some(message) => Ok(Some(message)),
            None => self.dialect.next_line(),
        }
    }

    /// Whether anything waits for the client.
    pub fn has_for_client(&self) -> bool {
        !self.outbox.is_empty() || self.dialect.has_line()
    }

    /// The next message for the link.
    pub fn next_for_link(&mut self) -> Option<Message> {
        let whole = match self.ack.take() {
            Some(offset) => {
                let frame = Frame { kind: Kind::Ack, offset, payload: Bytes::new() };
                self.with_channel(&frame.to_bytes())
            }
            None => self.to_link.pop_front()?,
        };
        Some(Message::Binary(whole))
    }

    /// Whether anything waits for the link.
    pub fn has_for_link(&self) -> bool {
        self.ack.is_some() || !self.to_link.is_empty()
    }

    /// Takes it apart for the farewell: the socket, what is still queued for it, and what is given
    /// back after that.
    pub fn into_farewell(mut self) -> (Socket, VecDeque<Message>, Box<dyn Send>) {
        let mut queued = self.outbox.into_messages();
        queued.extend(std::iter::from_fn(|| self.dialect.next_line().ok().flatten()));
        (self.socket, queued, self.permit)
    }
}

impl Fault {
    /// The close code for a client whose fault it is.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Frame(_)
            | Self::Flow(_)
            | Self::Unapplied(_)
            | Self::AppliedBeyondSent { .. }
            | Self::Keyframe(_)
            | Self::Early => CloseCode::BadRequest,
            Self::Slow(_) => CloseCode::Overloaded,
        }
    }
}
