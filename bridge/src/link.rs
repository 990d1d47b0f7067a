//! A link that stands: messages in, messages out, and when it last was heard of. Knows no channel.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use shellgate_protocol::frame::LINK_HEADER_LEN;
use shellgate_protocol::limits::{CONTROL_MAX, INPUT_FRAME_MAX};
use shellgate_protocol::{LinkFrame, Object, ToBridge};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::channel::Outgoing;
use crate::dial::Socket;

/// One message from the gateway.
#[derive(Debug)]
pub enum Incoming {
    /// JSON.
    Control(ToBridge),
    /// A link frame.
    Frame(LinkFrame),
    /// Nothing but a sign of life.
    Alive,
}

/// Why a link is no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The gateway closed it.
    #[error("the gateway closed the link")]
    Closed,
    /// It broke.
    #[error("the link broke: {0}")]
    Broken(#[source] Box<WsError>),
    /// The gateway sent what no gateway sends.
    #[error("the gateway broke the protocol: {0}")]
    Wrong(String),
}

impl From<WsError> for LinkEnd {
    fn from(error: WsError) -> Self {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => Self::Closed,
            other => Self::Broken(Box::new(other)),
        }
    }
}

/// A link that stands.
pub struct Link {
    socket: Socket,
    unflushed: bool,
    /// All that has arrived was taken.
    drained: bool,
    /// When it last was heard of, in milliseconds of the bridge's clock.
    pub heard: u64,
}

impl Link {
    /// A link whose gateway has just said welcome.
    #[must_use]
    pub fn new(socket: Socket, now: u64) -> Self {
        Self { socket, unflushed: false, drained: false, heard: now }
    }

    /// The next message.
    ///
    /// # Errors
    /// Where there will be none any more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<Result<Incoming, LinkEnd>> {
        // The socket clears its buffer each time before it finds that nothing has arrived.
        if self.drained {
            std::task::ready!(self.socket.get_ref().poll_arrival(cx));
        }
        let next = Pin::new(&mut self.socket).poll_next(cx);
        self.drained = next.is_pending();
        let Some(message) = std::task::ready!(next) else {
            return Poll::Ready(Err(LinkEnd::Closed));
        };
        self.heard = now;
        Poll::Ready(match message? {
            Message::Binary(frame) if frame.len() > LINK_HEADER_LEN + INPUT_FRAME_MAX => {
                Err(LinkEnd::Wrong(format!("a frame of {} bytes", frame.len())))
            }
            Message::Binary(frame) => LinkFrame::parse(frame)
                .map(Incoming::Frame)
                .map_err(|bad| LinkEnd::Wrong(bad.to_string())),
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Object(control)) if text.len() <= CONTROL_MAX || is_large(&control) => {
                    Ok(Incoming::Control(control))
                }
                Ok(_) => Err(LinkEnd::Wrong(format!("control of {} bytes", text.len()))),
                // A gateway sends only types that this bridge said it knows.
                Err(error) => Err(LinkEnd::Wrong(error.to_string())),
            },
            // The pong is queued by the socket, and goes out with the next flush.
            Message::Ping(_) => {
                self.unflushed = true;
                Ok(Incoming::Alive)
            }
            Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(Incoming::Alive),
        })
    }

    /// Whether a message can be sent now.
    ///
    /// # Errors
    /// Where none ever will be.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(LinkEnd::from)
    }

    /// Sends a message, after [`Link::poll_ready`]; tells how many bytes.
    ///
    /// # Errors
    /// Where it can't.
    pub fn send(&mut self, message: Outgoing) -> Result<usize, LinkEnd> {
        let message = match message {
            Outgoing::Frame(frame) => Message::Binary(frame),
            Outgoing::Control(control) => Message::text(
                serde_json::to_string(&control)
                    .map_err(|error| LinkEnd::Wrong(error.to_string()))?,
            ),
        };
        let len = message.len();
        Pin::new(&mut self.socket).start_send(message)?;
        self.unflushed = true;
        Ok(len)
    }

    /// Hands everything to the kernel.
    ///
    /// # Errors
    /// Where it can't.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether this may be larger than other control.
fn is_large(control: &ToBridge) -> bool {
    matches!(control, ToBridge::Welcome { .. } | ToBridge::Secrets { .. })
}
