//! What is written to a connection's socket, and in which order: acknowledgements before control
//! messages before input. Knows nothing of what is read.

use bytes::{Bytes, BytesMut};
use shellgate_protocol::client_leg::{Attach, Token};
use shellgate_protocol::credit::Due;
use shellgate_protocol::frame::{HEADER_LEN, put_header};
use shellgate_protocol::{FromClient, Kind, Offset};

use super::{Connection, Stage};

/// Sizes are told at most this often, in milliseconds: dragging a window's edge makes hundreds.
const RESIZE_MILLIS: u64 = 40;

/// A message to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Text(String),
    Binary(Bytes),
}

impl Connection {
    /// When to ask for the `next_message` at the latest.
    pub(super) fn write_due(&self, now: u64) -> Option<u64> {
        if !matches!(self.stage, Stage::Attached { .. }) {
            return None;
        }
        let ack = match self.reader.ack_due(now) {
            Due::Now => Some(now),
            Due::Ride { alone_in } | Due::Later { alone_in } => Some(now + alone_in),
            Due::Never => None,
        };
        let ack = if self.exit_ack.is_some() { Some(now) } else { ack };
        let resize = (self.told_size != self.size && self.drives())
            .then_some(self.resized_at + RESIZE_MILLIS);
        [ack, resize].into_iter().flatten().min()
    }

    /// The next message to write, if there is one.
    pub(crate) fn next_message(&mut self, now: u64) -> Option<Outgoing> {
        match self.stage {
            Stage::Opening { attach_sent: false } => {
                self.stage = Stage::Opening { attach_sent: true };
                let attach = self.attach();
                Some(say(&FromClient::Attach(attach)))
            }
            Stage::Attached { .. } => self.next_of_attached(now),
            // The bridge need not wait for somebody who has seen the end.
            Stage::HangingUp { .. } => self.exit_ack.take().map(ack),
            Stage::Opening { attach_sent: true }
            | Stage::Resting { .. }
            | Stage::Dialling { .. }
            | Stage::Over => None,
        }
    }

    fn next_of_attached(&mut self, now: u64) -> Option<Outgoing> {
        if let Some(at) = self.exit_ack.take() {
            return Some(ack(at));
        }
        let due = self.reader.ack_due(now);
        if due == Due::Now {
            return Some(ack(self.reader.acknowledge()));
        }
        let control = self.next_control(now);
        if let Some(control) = control {
            return Some(say(&control));
        }
        if !self.drives() || !self.input.has_unsent() {
            return None;
        }
        if matches!(due, Due::Ride { .. }) {
            return Some(ack(self.reader.acknowledge()));
        }
        self.input.next_frame(self.input_frame, self.input_unapplied).map(Outgoing::Binary)
    }

    fn next_control(&mut self, now: u64) -> Option<FromClient> {
        if let Some(token) = self.reauth.take() {
            return Some(FromClient::Reauth { token });
        }
        if !self.drives() {
            return None;
        }
        if self.size != self.told_size && now >= self.resized_at + RESIZE_MILLIS {
            self.told_size = self.size;
            self.resized_at = now;
            return Some(FromClient::Resize(self.size));
        }
        if self.visible != self.told_visible {
            self.told_visible = self.visible;
            return Some(FromClient::Visible { yes: self.visible });
        }
        let request = self.requests.iter_mut().find(|request| !request.sent)?;
        request.sent = true;
        Some(request.message.clone())
    }

    fn attach(&mut self) -> Attach {
        self.told_size = self.size;
        self.told_visible = true;
        // A takeover is a person's decision: it is asked for once, whatever becomes of it.
        let takeover = self.options.takeover && !self.ever_asked;
        self.ever_asked = true;
        Attach {
            role: self.options.role,
            client: self.options.client,
            takeover,
            launch: self.reader.launch(),
            output: self.reader.known(),
            input_stream: self.options.input_stream,
            size: self.size,
            window: self.options.window,
            can: Vec::new(),
        }
    }

    /// A newer token was got for a socket that stands.
    pub(crate) fn reauthenticate(&mut self, token: String) {
        self.reauth = Some(Token(token));
    }
}

fn say(message: &FromClient) -> Outgoing {
    let text = serde_json::to_string(message).expect("control messages have only string keys");
    Outgoing::Text(text)
}

pub(super) fn ack(at: Offset) -> Outgoing {
    let mut message = BytesMut::with_capacity(HEADER_LEN);
    put_header(&mut message, Kind::Ack, at);
    Outgoing::Binary(message.freeze())
}
