//! A client without a client library: one WebSocket, message by message. For what no honest client
//! says, and for browsers and plain clients, which have no library of ours.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shellgate_protocol::client_leg::{Role, Token};
use shellgate_protocol::frame::{Frame, Kind};
use shellgate_protocol::{
    CLIENT_SUBPROTOCOL, ClientId, FromClient, InputStream, Offset, SessionId,
    TICKET_SUBPROTOCOL_PREFIX, ToClient,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{User, within};

/// What a request for a WebSocket has in it.
#[derive(Debug, Clone, Default)]
pub struct Knock {
    query: String,
    headers: Vec<(&'static str, String)>,
}

impl Knock {
    /// A program: `shellgate.v1`, and a token in a header.
    #[must_use]
    pub fn bearer(token: &Token) -> Self {
        Self::default().header("sec-websocket-protocol", CLIENT_SUBPROTOCOL).token(token)
    }

    /// A browser: `shellgate.v1`, and a ticket beside it.
    #[must_use]
    pub fn ticket(ticket: &str, origin: Option<&str>) -> Self {
        let offers = format!("{CLIENT_SUBPROTOCOL}, {TICKET_SUBPROTOCOL_PREFIX}{ticket}");
        let knock = Self::default().header("sec-websocket-protocol", &offers);
        match origin {
            Some(origin) => knock.header("origin", origin),
            None => knock,
        }
    }

    /// A plain client: a token in a header, and no subprotocol.
    #[must_use]
    pub fn plain(token: &Token) -> Self {
        Self::default().token(token)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a query.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.query = format!("?{query}");
        self
    }

    fn token(self, token: &Token) -> Self {
        self.header("authorization", &format!("Bearer {}", token.0))
    }
}

/// What a gateway says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A control message.
    Control(ToClient),
    /// A frame.
    Frame(Frame),
    /// The end, with its code and its words.
    Closed(u16, String),
    /// The connection broke.
    Broken,
}

/// A client without a client library.
pub struct Raw {
    socket: WebSocketStream<TcpStream>,
}

impl Raw {
    /// Dials, and is let in or refused as HTTP is: with the status and the body.
    pub async fn dials(
        address: SocketAddr,
        session: SessionId,
        knock: &Knock,
    ) -> Result<Self, Response<Option<Vec<u8>>>> {
        let url = format!("ws://{address}/v1/sessions/{session}/attach{}", knock.query);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in &knock.headers {
            let value = HeaderValue::from_str(value).expect("a header's value");
            request.headers_mut().append(*name, value);
        }
        let stream = TcpStream::connect(address).await.expect("a gateway listens");
        match within("an answer to a knock", client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => Err(*response),
            Err(error) => panic!("a gateway answers: {error}"),
        }
    }

    /// Dials as a program of this user's, and says nothing yet.
    pub async fn knocks(user: &User, session: SessionId) -> Self {
        let knock = Knock::bearer(&user.token());
        Self::dials(user.address(), session, &knock).await.expect("a socket is upgraded")
    }

    /// Dials as a program of this user's, and drives.
    pub async fn drives(user: &User, session: SessionId) -> Self {
        let mut raw = Self::knocks(user, session).await;
        raw.says(&attach(Role::Driver)).await;
        raw.stands().await;
        raw
    }

    /// Sends a control message, or what is meant to look like one.
    pub async fn says(&mut self, message: &Value) {
        self.sends(Message::text(message.to_string())).await;
    }

    /// Sends a frame.
    pub async fn sends_frame(&mut self, kind: Kind, offset: Offset, bytes: &[u8]) {
        let frame = Frame { kind, offset, payload: Bytes::copy_from_slice(bytes) };
        self.sends(Message::Binary(frame.to_bytes())).await;
    }

    /// Sends a message. That the gateway has closed meanwhile is heard, not felt.
    pub async fn sends(&mut self, message: Message) {
        let _ = within("a message is sent", self.socket.send(message)).await;
    }

    /// The next message as it is; `None` at the end.
    pub async fn receives(&mut self) -> Option<Message> {
        within("a message", self.socket.next()).await.and_then(Result::ok)
    }

    /// The next thing that is said.
    pub async fn hears(&mut self) -> Heard {
        loop {
            return match self.receives().await {
                Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Some(Message::Text(text)) => {
                    Heard::Control(serde_json::from_str(&text).expect("a control message"))
                }
                Some(Message::Binary(bytes)) => {
                    Heard::Frame(Frame::to_client(bytes).expect("a frame for a client"))
                }
                Some(Message::Close(Some(frame))) => {
                    Heard::Closed(frame.code.into(), frame.reason.to_string())
                }
                Some(Message::Close(None)) | None => Heard::Broken,
            };
        }
    }

    /// Waits for `attached`.
    pub async fn stands(&mut self) -> ToClient {
        loop {
            match self.hears().await {
                Heard::Control(attached @ ToClient::Attached { .. }) => return attached,
                Heard::Control(ToClient::Starting { .. }) => {}
                other => panic!("expected `attached`, not {other:?}"),
            }
        }
    }

    /// Waits for the close, whatever is said before, and gives its code and its words.
    pub async fn is_closed(&mut self) -> (u16, String) {
        loop {
            match self.hears().await {
                Heard::Closed(code, reason) => return (code, reason),
                Heard::Broken => panic!("the connection broke without a close"),
                Heard::Control(_) | Heard::Frame(_) => {}
            }
        }
    }

    /// The output, until it ends with these words.
    pub async fn shows(&mut self, words: &str) -> Vec<u8> {
        let mut output = Vec::new();
        while crate::transcript::find(&output, words.as_bytes(), 0).is_none() {
            match self.hears().await {
                Heard::Frame(Frame { kind: Kind::Data | Kind::Replay, payload, .. }) => {
                    output.extend_from_slice(&payload);
                }
                Heard::Frame(_) | Heard::Control(_) => {}
                end => {
                    panic!("{end:?} came before {words:?}: {}", String::from_utf8_lossy(&output))
                }
            }
        }
        output
    }
}

/// An `attach` from the first byte that is kept, to be changed.
#[must_use]
pub fn attach(role: Role) -> Value {
    let attach = FromClient::Attach(shellgate_protocol::client_leg::Attach {
        role,
        client: ClientId::random(),
        takeover: false,
        launch: None,
        output: Some(Offset::ZERO),
        input_stream: InputStream::random(),
        size: shellgate_protocol::TerminalSize::DEFAULT,
        window: shellgate_protocol::limits::WINDOW_DEFAULT,
        can: Vec::new(),
    });
    json!(attach)
}
