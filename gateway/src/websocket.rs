//! Both legs' WebSockets: the server's side of the opening handshake (RFC 6455, section 4.2), the
//! buffers' sizes, and a farewell that always sends its close frame. Knows no sessions.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use shellgate_protocol::CloseCode;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::transport::Transport;

/// One leg's WebSocket.
pub type Socket = WebSocketStream<Transport>;

/// The library's read buffer, in bytes: it is allocated for every connection as long as that
/// lives. Large reads are the transport's business.
const READ_BUFFER: usize = 256;

/// Bytes that the library gathers before it writes without being told to.
const WRITE_BUFFER: usize = 64 * 1024;

/// Bytes beyond that, and beyond one message, at which the library refuses to take more: room for
/// the answers to pings, which a peer that never reads can ask for without end.
const WRITE_BUFFER_SLACK: usize = 64 * 1024;

/// How long a farewell may take to hand over what is queued and to hear the peer's own close.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a peer may leave unread what it was sent, as the kernel counts it: longer than the
/// relay is patient, which tells it.
pub const UNREAD: Duration = Duration::from_secs(660);

/// The largest message that one kind of peer may send, and the largest that it is sent, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest {
    /// By it.
    pub read: usize,
    /// To it.
    pub written: usize,
}

/// A WebSocket upgrade that a client asked for.
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    accept: String,
}

/// Why a request is not a WebSocket upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnUpgrade(pub &'static str);

impl Upgrade {
    /// Takes the upgrade out of a request.
    ///
    /// # Errors
    /// [`NotAnUpgrade`] where the request is none, with what it lacks.
    pub fn take(request: &mut Request<Body>) -> Result<Self, NotAnUpgrade> {
        if request.method() != Method::GET {
            return Err(NotAnUpgrade("a WebSocket opens with GET"));
        }
        let headers = request.headers();
        if !has_token(headers, header::CONNECTION, "upgrade")
            || !has_token(headers, header::UPGRADE, "websocket")
        {
            return Err(NotAnUpgrade("this address speaks WebSocket"));
        }
        if only(headers, "sec-websocket-version").is_none_or(|version| version != "13") {
            return Err(NotAnUpgrade("Sec-WebSocket-Version is 13"));
        }
        let key = only(headers, "sec-websocket-key")
            .filter(|key| key.len() == 24)
            .ok_or(NotAnUpgrade("Sec-WebSocket-Key is 24 characters"))?;
        let accept = derive_accept_key(key.as_bytes());
        let on_upgrade = request
            .extensions_mut()
            .remove::<OnUpgrade>()
            .ok_or(NotAnUpgrade("this connection can't be upgraded"))?;
        Ok(Self { on_upgrade, accept })
    }

    /// The response that switches protocols, and what becomes the socket once it has been sent.
    #[must_use]
    pub fn accept(
        self,
        subprotocol: Option<&'static str>,
        largest: Largest,
    ) -> (Response<Body>, Opening) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(subprotocol) = subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        (response, Opening { on_upgrade: self.on_upgrade, largest })
    }
}

/// A socket whose response is on its way.
pub struct Opening {
    on_upgrade: OnUpgrade,
    largest: Largest,
}

impl Opening {
    /// The socket; `None` where the connection broke first.
    pub async fn open(self) -> Option<Socket> {
        let upgraded = timeout(FAREWELL, self.on_upgrade).await.ok()?.ok()?;
        // A client may send its first message with its handshake.
        let (transport, read) = bare(upgraded)?;
        transport.give_up_after(UNREAD);
        Some(serve(transport, read, self.largest).await)
    }
}

/// A connection below HTTP, and what was read from it already.
#[must_use]
pub fn bare(upgraded: Upgraded) -> Option<(Transport, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Transport>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}

/// The server's end of a WebSocket whose handshake is done; `read` came in after that.
pub async fn serve(transport: Transport, read: Vec<u8>, largest: Largest) -> Socket {
    open(transport, read, Role::Server, largest).await
}

/// Either end of a WebSocket whose handshake is done; `read` came in after that.
pub async fn open(transport: Transport, read: Vec<u8>, role: Role, largest: Largest) -> Socket {
    let config = Some(config(largest));
    WebSocketStream::from_partially_read(transport, read, role, config).await
}

fn config(largest: Largest) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + largest.written + WRITE_BUFFER_SLACK)
        .max_message_size(Some(largest.read))
        .max_frame_size(Some(largest.read))
}

/// The value of a header that stands exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// A close frame.
#[must_use]
pub fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    // A control frame carries 125 bytes, two of them the code.
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code: code.number().into(), reason: reason[..end].into() }
}

/// The close code that tells a peer how it broke the WebSocket rules; `None` where the connection
/// itself is gone.
#[must_use]
pub fn fault(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseCode::TooBig),
        Error::Utf8(_) => Some(CloseCode::NotUtf8),
        // What a killed process leaves, not a rule that was broken.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// The close code for a peer that could not be sent a message, where the largest that there is has
/// so many bytes.
#[must_use]
pub fn unsent(error: &Error, largest: usize) -> CloseCode {
    match error {
        // It was owed the message, and will not get it.
        Error::WriteBufferFull(message) if message.len() > largest => CloseCode::Internal,
        // It has asked for more pongs than it reads, and they lie where the message should.
        Error::WriteBufferFull(_) => CloseCode::Overloaded,
        // The connection is gone, and nobody hears the code.
        _ => CloseCode::Normal,
    }
}

/// Hands over what is still queued, closes, and reads until the peer has closed too: a connection
/// that is dropped at once may lose what was sent last.
pub async fn farewell(
    mut socket: Socket,
    queued: VecDeque<Message>,
    code: CloseCode,
    reason: String,
) {
    let mut last = close_frame(code, &reason);
    let goodbye = async {
        for message in queued {
            if let Err(error) = socket.feed(message).await {
                // What follows would come after a hole.
                last = close_frame(unsent(&error, 0), "");
                break;
            }
        }
        // Refused where the peer has closed already: then reading on is what answers it.
        let _ = socket.close(Some(last)).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(FAREWELL, goodbye).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close_frame(CloseCode::Internal, &"ä".repeat(100));
        assert_eq!(frame.reason.as_str().len(), 122);
    }

    #[test]
    fn a_message_that_no_socket_takes_is_our_fault_and_one_among_unread_pongs_the_peers() {
        let full = |len| Error::WriteBufferFull(Box::new(Message::binary(vec![0; len])));
        assert_eq!(unsent(&full(11), 10), CloseCode::Internal);
        assert_eq!(unsent(&full(10), 10), CloseCode::Overloaded);
        assert_eq!(unsent(&Error::ConnectionClosed, 10), CloseCode::Normal);
    }

    #[test]
    fn a_request_without_the_headers_is_no_upgrade() {
        let mut request = Request::get("/").body(Body::empty()).expect("a request");
        assert!(Upgrade::take(&mut request).is_err());
    }
}
