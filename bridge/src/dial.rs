//! One dial: connect, introduce, prove, be welcomed. Knows neither what came before nor what a link
//! is used for.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use shellgate_protocol::limits::{CONTROL_LARGE_MAX, FIRST_MESSAGE_SECONDS};
use shellgate_protocol::link_leg::{Program, Secret};
use shellgate_protocol::{
    Dial, FromBridge, INTERNAL_TOKEN_HEADER, LINK_SUBPROTOCOL, Object, ToBridge,
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::cable::Cable;
use crate::config::{DialTo, Token};
use crate::identity::{Identity, nonce};

/// A link's socket.
pub type Socket = WebSocketStream<Cable>;

/// How long each step of a dial may take.
const STEP: Duration = Duration::from_secs(FIRST_MESSAGE_SECONDS);

/// What a link reads at once: input comes in small pieces, this much memory is held for good, and
/// all of it is cleared at each read.
const READ_BUFFER: usize = 4 * 1024;

/// What a link collects before it writes.
const WRITE_BUFFER: usize = 64 * 1024;

/// What a link holds at most while its gateway takes nothing: more than one buffer, one frame and
/// one large control message.
const WRITE_BUFFER_MAX: usize = 1024 * 1024;

/// A link that stands.
pub struct Linked {
    /// Its socket.
    pub socket: Socket,
    /// What to run.
    pub program: Program,
    /// What it gets.
    pub secrets: Option<Vec<Secret>>,
    /// How long the values that these replace are kept, in milliseconds.
    pub overlap_ms: u64,
    /// How long there may be no gateway.
    pub orphan: Duration,
}

/// Why a dial made no link.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is nobody.
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// Somebody is there, and is not the gateway.
    #[error("who answers is not the gateway: {0}")]
    Distrusted(#[source] io::Error),
    /// Somebody is there and says no, with this HTTP status.
    #[error("the gateway answers {0}")]
    Refused(u16),
    /// The gateway closes, with this code and these words of its.
    #[error("the gateway closes with {0}: {1}")]
    Closed(u16, String),
    /// A step took too long.
    #[error("the gateway let {0} run out of time")]
    TooLate(&'static str),
    /// The WebSocket broke.
    #[error("the link broke: {0}")]
    Broken(#[source] Box<WsError>),
    /// What came was not what the protocol has here.
    #[error("the gateway sent something else than {0}")]
    Unexpected(&'static str),
    /// No random numbers.
    #[error(transparent)]
    NoKey(#[from] crate::identity::NoKey),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        // Else the network's own.
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            Self::Distrusted(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

impl From<WsError> for DialError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Http(response) => Self::Refused(response.status().as_u16()),
            other => Self::Broken(Box::new(other)),
        }
    }
}

/// Dials. `token` only until the first link stood.
///
/// # Errors
/// [`DialError`]; all but some refusals may be tried again.
pub async fn dial(
    to: &DialTo,
    identity: &Identity,
    number: Dial,
    token: Option<&Token>,
) -> Result<Linked, DialError> {
    let cable = within("connecting", Cable::connect(to)).await??;
    let binding = cable.binding()?;
    let mut socket = within("the handshake", upgrade(to, cable, identity, token)).await??;
    let nonce = nonce()?;
    let hello = FromBridge::Hello {
        key: identity.public()?,
        nonce,
        launch: identity.launch(),
        dial: number,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        can: Vec::new(),
    };
    within("hello", say(&mut socket, &hello)).await??;
    let ToBridge::Challenge { nonce: theirs } = within("challenge", hear(&mut socket)).await??
    else {
        return Err(DialError::Unexpected("a challenge"));
    };
    let proof =
        FromBridge::Proof { signature: identity.prove(&nonce, &theirs, number, binding.as_ref())? };
    within("proof", say(&mut socket, &proof)).await??;
    match within("welcome", hear(&mut socket)).await?? {
        ToBridge::Welcome { program, secrets, overlap_ms, orphan_seconds, can: _ } => {
            let orphan = Duration::from_secs(orphan_seconds);
            Ok(Linked { socket, program, secrets, overlap_ms, orphan })
        }
        _ => Err(DialError::Unexpected("a welcome")),
    }
}

async fn within<T>(step: &'static str, what: impl Future<Output = T>) -> Result<T, DialError> {
    timeout(STEP, what).await.map_err(|_| DialError::TooLate(step))
}

async fn upgrade(
    to: &DialTo,
    cable: Cable,
    identity: &Identity,
    token: Option<&Token>,
) -> Result<Socket, DialError> {
    let host = match to {
        DialTo::Unix(_) => "gateway",
        DialTo::Network(remote) => &remote.address,
    };
    let address = format!("ws://{host}/internal/task/{}", identity.session());
    let mut request = address.into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(LINK_SUBPROTOCOL));
    if let Some(Token(token)) = token {
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| DialError::Unexpected("a token that fits into a header"))?;
        value.set_sensitive(true);
        headers.insert(INTERNAL_TOKEN_HEADER, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(Some(CONTROL_LARGE_MAX))
        .max_frame_size(Some(CONTROL_LARGE_MAX));
    let (socket, _) = client_async_with_config(request, cable, Some(config)).await?;
    Ok(socket)
}

async fn say(socket: &mut Socket, message: &FromBridge) -> Result<(), DialError> {
    let text = serde_json::to_string(message).map_err(|_| DialError::Unexpected("words"))?;
    Ok(socket.send(Message::text(text)).await?)
}

async fn hear(socket: &mut Socket) -> Result<ToBridge, DialError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text)
                    .map(|Object(message)| message)
                    .map_err(|_| DialError::Unexpected("a message of this protocol"));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(Some(said)))) => {
                return Err(DialError::Closed(said.code.into(), said.reason.to_string()));
            }
            Some(Ok(_)) => return Err(DialError::Unexpected("control")),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(DialError::Broken(Box::new(WsError::ConnectionClosed))),
        }
    }
}
