//! A bridge played by hand, for what no honest bridge does: dials a session's socket, or the tasks'
//! port, and says what the test wants said. Knows the link leg and no program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use shellgate_protocol::client_leg::{InputStart, OutputStart, Resume};
use shellgate_protocol::enrolment::{
    BINDING_LABEL, Bytes32, Bytes64, encode, token_message, transcript,
};
use shellgate_protocol::frame::{Frame, Kind, LinkFrame};
use shellgate_protocol::{
    ChannelNumber, Dial, FromBridge, INTERNAL_TOKEN_HEADER, LINK_SUBPROTOCOL, Launch, Offset,
    SessionId, TerminalSize, ToBridge,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::afar::Task;
use crate::link::connect;
use crate::{World, within};

/// A script in the bridge's place: it waits, and leaves the talking to the test.
const SILENT: &str = "#!/bin/sh\nexec sleep 1000\n";

/// Who a bridge says it is.
pub struct Played {
    session: SessionId,
    dials: Dials,
    key: Ed25519KeyPair,
    /// The launch that it says it is of.
    pub launch: Launch,
    /// The how-many-th dial that it says this is.
    pub dial: Dial,
    /// The enrolment token that it shows.
    pub token: Option<String>,
    /// Whether its proof is for the channel that it has.
    pub binds: bool,
}

/// Where such a bridge dials.
enum Dials {
    Socket(PathBuf),
    /// The tasks' port of a gateway with a certificate for this name, by these authorities (PEM).
    Port(SocketAddr, ServerName<'static>, String),
}

/// Any connection.
trait End: AsyncRead + AsyncWrite + Unpin + Send {}

impl<E: AsyncRead + AsyncWrite + Unpin + Send> End for E {}

/// A link of such a bridge.
pub struct PlayedLink {
    socket: WebSocketStream<Box<dyn End>>,
    binding: Option<Bytes32>,
}

/// Why a bridge was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnedAway {
    /// The upgrade was refused with this HTTP status.
    Refused(u16),
    /// The link was closed with this code and these words.
    Closed(u16, String),
    /// The connection broke.
    Broken,
}

/// A bridge for [`crate::WorldBuilder::set`]'s `sandbox.bridge` that never dials.
#[must_use]
pub fn silent(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("silent-bridge");
    std::fs::write(&path, SILENT).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

impl Played {
    /// A bridge with a new key and the enrolment token of a session's first launch.
    #[must_use]
    pub fn new(world: &World, session: SessionId) -> Self {
        let mut played = Self {
            session,
            dials: Dials::Socket(world.dial_directory(session).join("dial.sock")),
            key: Ed25519KeyPair::generate().expect("a key"),
            launch: Launch(1),
            dial: Dial(1),
            token: None,
            binds: true,
        };
        played.token = Some(played.token_of(&world.state(), session));
        played
    }

    /// A bridge of a task that dials this address, and trusts these authorities.
    #[must_use]
    pub fn of(task: &Task, address: SocketAddr, authorities: &str) -> Self {
        Self {
            session: task.session,
            dials: Dials::Port(address, address.ip().into(), authorities.to_owned()),
            key: Ed25519KeyPair::generate().expect("a key"),
            launch: Launch(1),
            dial: Dial(1),
            token: Some(task.token().to_owned()),
            binds: true,
        }
    }

    /// A bridge that dials this port of a gateway on AWS, with the enrolment token of a session's first
    /// launch.
    #[must_use]
    pub fn on_aws(world: &World, session: SessionId, address: SocketAddr) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &world.aws().enrolment_key());
        let token = encode(hmac::sign(&key, &token_message(session, Launch(1))).as_ref());
        Self {
            session,
            dials: Dials::Port(address, name, world.authority()),
            key: Ed25519KeyPair::generate().expect("a key"),
            launch: Launch(1),
            dial: Dial(1),
            token: Some(token),
            binds: true,
        }
    }

    /// The enrolment token of a session's first launch, as only the gateway can make it.
    #[must_use]
    pub fn token_of(&self, state: &Path, session: SessionId) -> String {
        let key = std::fs::read(state.join("enrolment.key")).expect("the gateway has a key");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        encode(hmac::sign(&key, &token_message(session, Launch(1))).as_ref())
    }

    /// Dials, proves who it is, and waits for `welcome`.
    ///
    /// # Errors
    /// Where it was turned away.
    pub async fn enrols(&self) -> Result<(PlayedLink, ToBridge), TurnedAway> {
        let mut link = self.dials(&format!("/internal/task/{}", self.session)).await?;
        let nonce = Bytes32([7; 32]);
        let key = Bytes32(self.key.public_key().as_ref().try_into().expect("32 bytes"));
        let (launch, dial) = (self.launch, self.dial);
        let version = "played".to_owned();
        link.says(&FromBridge::Hello { key, nonce, launch, dial, version, can: vec![] }).await;
        let ToBridge::Challenge { nonce: theirs } = link.hears().await? else {
            panic!("`challenge` comes first")
        };
        let binding = link.binding.as_ref().filter(|_| self.binds);
        let said = transcript(&nonce, &theirs, self.session, launch, dial, binding);
        let signature = Bytes64(self.key.sign(&said).as_ref().try_into().expect("64 bytes"));
        link.says(&FromBridge::Proof { signature }).await;
        let welcome = link.hears().await?;
        Ok((link, welcome))
    }

    /// Dials a path.
    ///
    /// # Errors
    /// Where the upgrade is refused.
    pub async fn dials(&self, path: &str) -> Result<PlayedLink, TurnedAway> {
        let url = format!("ws://gateway{path}");
        let mut request = url.into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static(LINK_SUBPROTOCOL));
        if let Some(token) = &self.token {
            let token = HeaderValue::from_str(token).expect("a header's value");
            headers.insert(INTERNAL_TOKEN_HEADER, token);
        }
        let (stream, binding) = within("a dial", self.connects()).await;
        match within("an upgrade", client_async(request, stream)).await {
            Ok((socket, _)) => Ok(PlayedLink { socket, binding }),
            Err(Error::Http(answer)) => Err(TurnedAway::Refused(answer.status().as_u16())),
            Err(_) => Err(TurnedAway::Broken),
        }
    }
}

impl Played {
    async fn connects(&self) -> (Box<dyn End>, Option<Bytes32>) {
        match &self.dials {
            Dials::Socket(path) => loop {
                match connect(path).await {
                    Ok(stream) => return (Box::new(stream), None),
                    // The gateway binds it a moment after the session is there.
                    Err(_) => tokio::task::yield_now().await,
                }
            },
            Dials::Port(address, name, authorities) => {
                let stream = shakes_hands_with(name.clone(), *address, authorities).await;
                let stream = stream.expect("it trusts");
                let (_, channel) = stream.get_ref();
                let binding = channel.export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
                (Box::new(stream), Some(Bytes32(binding.expect("hands are shaken"))))
            }
        }
    }
}

/// A connection to the tasks' port, for who trusts these authorities.
///
/// # Errors
/// Where the other end is not trusted, or not there.
pub async fn shakes_hands(
    address: SocketAddr,
    authorities: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    shakes_hands_with(address.ip().into(), address, authorities).await
}

async fn shakes_hands_with(
    name: ServerName<'static>,
    address: SocketAddr,
    authorities: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = shellgate_bridge::trust::trusting(authorities).expect("authorities");
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(name, stream).await
}

impl PlayedLink {
    /// Says something.
    pub async fn says(&mut self, message: &FromBridge) {
        let text = serde_json::to_string(message).expect("JSON");
        self.sends(Message::text(text)).await;
    }

    /// Sends a message. That the gateway has closed meanwhile is heard, not felt.
    pub async fn sends(&mut self, message: Message) {
        let _ = within("a message is sent", self.socket.send(message)).await;
    }

    /// Sends a frame on a channel.
    pub async fn sends_frame(&mut self, channel: ChannelNumber, offset: u64, bytes: &[u8]) {
        let offset = Offset::new(offset).expect("an offset");
        let payload = Bytes::copy_from_slice(bytes);
        let inner = Frame { kind: Kind::Data, offset, payload }.to_bytes();
        self.sends(Message::Binary(LinkFrame { channel, inner }.to_bytes())).await;
    }

    /// The next control message from the gateway.
    ///
    /// # Errors
    /// Where the link ends instead.
    pub async fn hears(&mut self) -> Result<ToBridge, TurnedAway> {
        loop {
            return match within("a message for the bridge", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    Ok(serde_json::from_str(&text).expect("a control message"))
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Err(TurnedAway::Closed(frame.code.into(), frame.reason.to_string()))
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => Err(TurnedAway::Broken),
                Some(Ok(_)) => continue,
            };
        }
    }

    /// Waits for the link's end, whatever is said before.
    pub async fn ends(&mut self) -> TurnedAway {
        loop {
            if let Err(end) = self.hears().await {
                return end;
            }
        }
    }

    /// Answers the next `open`: output and input begin at 0. Gives the channel.
    pub async fn opens(&mut self) -> ChannelNumber {
        loop {
            if let ToBridge::Open { channel, .. } = self.hears().await.expect("`open`") {
                let output = OutputStart { from: Offset::ZERO, resume: Resume::Exact };
                let input = InputStart { applied: Offset::ZERO };
                let size = TerminalSize::DEFAULT;
                self.says(&FromBridge::Attached { channel, output, input, size }).await;
                return channel;
            }
        }
    }
}
