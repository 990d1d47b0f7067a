//! Getting a socket: TCP, TLS where the URL asks for it, and the upgrade. Knows nothing of what is
//! said on it.

use std::time::Duration;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Response};
use shellgate_protocol::client_leg::Token;
use shellgate_protocol::limits::OUTPUT_FRAME_MAX;
use shellgate_protocol::{CLIENT_SUBPROTOCOL, SessionId};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::connection::DialFailure;
use crate::endpoint::Endpoint;
use crate::problem::{Problem, in_words, retry_after};
use crate::trust::{self, NoAuthorities};

/// Names, TCP, TLS and the upgrade together may take this long.
const DEADLINE: Duration = Duration::from_secs(15);

/// What is read from the kernel at once, in bytes: it is held for as long as the socket lives.
const READ_BUFFER: usize = 32 * 1024;

/// What is written to the kernel at once, in bytes: a few input frames.
const WRITE_BUFFER: usize = 64 * 1024;

/// A message larger than an output frame and its header, or a control message, is nobody's.
const MESSAGE_MAX: usize = OUTPUT_FRAME_MAX + 1024;

/// A socket to a session.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Gets sockets to one session.
pub(crate) struct Dialler {
    url: String,
    is_encrypted: bool,
}

impl Dialler {
    pub(crate) fn new(endpoint: &Endpoint, session: SessionId) -> Self {
        Self { url: endpoint.attach(session), is_encrypted: endpoint.is_encrypted() }
    }

    fn connector(&self) -> Result<Connector, NoAuthorities> {
        if !self.is_encrypted {
            return Ok(Connector::Plain);
        }
        Ok(Connector::Rustls(trust::of_this_machine()?))
    }

    pub(crate) async fn dial(&self, token: &Token) -> Result<Socket, DialFailure> {
        let mut request = self.url.as_str().into_client_request().map_err(|e| failure(&e))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.0)).map_err(|_| {
            let why = "the token does not fit into a header".to_owned();
            DialFailure::NoToken { why, passes: false }
        })?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let subprotocol = HeaderValue::from_static(CLIENT_SUBPROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(4 * WRITE_BUFFER)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let connector =
            self.connector().map_err(|why| DialFailure::Unreachable(why.to_string()))?;
        let dialled = connect_async_tls_with_config(request, Some(config), true, Some(connector));
        match tokio::time::timeout(DEADLINE, dialled).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(Error::Http(answer))) => Err(refused(&answer)),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => {
                Err(DialFailure::Unreachable(format!("no answer in {} s", DEADLINE.as_secs())))
            }
        }
    }
}

fn failure(error: &Error) -> DialFailure {
    // The system's words ("Connection refused") say it best.
    DialFailure::Unreachable(match error {
        Error::Io(error) => in_words(&error.to_string()),
        other => other.to_string(),
    })
}

fn refused(answer: &Response<Option<Vec<u8>>>) -> DialFailure {
    let problem = answer.body().as_deref().and_then(Problem::parse).unwrap_or_default();
    let status = answer.status().as_u16();
    let retry_after_ms = problem
        .retry_after
        .or_else(|| retry_after(answer.headers()))
        .map(|seconds| seconds.saturating_mul(1000));
    let detail = problem.detail.or(problem.title).unwrap_or_default();
    DialFailure::Refused { status, detail, retry_after_ms }
}
