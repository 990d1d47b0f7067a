//! Simulated bridges: each enrols as a real one does, opens every channel that it is asked for,
//! prints a prompt and is idle from then on. Costs a gateway what a bridge costs it, and this
//! machine next to nothing: the kernel has terminals for some 3,000 real ones only.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use shellgate_protocol::client_leg::{InputStart, OutputStart, Resume};
use shellgate_protocol::enrolment::{Bytes32, Bytes64, encode, token_message, transcript};
use shellgate_protocol::frame::{Frame, Kind};
use shellgate_protocol::{
    ChannelNumber, Dial, FromBridge, INTERNAL_TOKEN_HEADER, LINK_SUBPROTOCOL, Launch, LinkFrame,
    Offset, SessionId, TerminalSize, ToBridge,
};
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long a session's gateway may take to let its bridge in.
const LET_IN: Duration = Duration::from_secs(60);

/// Between two dials.
const AGAIN: Duration = Duration::from_millis(20);

/// The library's buffer for each link, in bytes: idle links need none.
const READ_BUFFER: usize = 1024;

/// What a shell prints when it waits.
const PROMPT: &[u8] = b"simulated$ ";

type Link = WebSocketStream<UnixStream>;

/// The bridges of one gateway.
pub struct Crowd {
    key: Arc<hmac::Key>,
    dial: PathBuf,
    tracker: TaskTracker,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl Crowd {
    /// Bridges that enrol with the key of the gateway whose state this is.
    pub fn new(state: &Path) -> Result<Self> {
        let key = std::fs::read(state.join("enrolment.key")).context("the enrolment key")?;
        let stop = CancellationToken::new();
        Ok(Self {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)),
            dial: state.join("dial"),
            tracker: TaskTracker::new(),
            _stops: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Plays the bridge of this session until the gateway or this crowd goes.
    pub fn serve(&self, id: &str) -> Result<()> {
        let session: SessionId = id.parse()?;
        let tag = hmac::sign(&self.key, &token_message(session, Launch(1)));
        let bridge = Bridge {
            session,
            token: encode(tag.as_ref()),
            key: Ed25519KeyPair::generate().context("no key")?,
            directory: self.dial.join(id),
        };
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = bridge.live() => {
                    if let Err(error) = ended {
                        eprintln!("# the bridge of {} ended: {error:#}", bridge.session);
                    }
                }
            }
        });
        Ok(())
    }
}

struct Bridge {
    session: SessionId,
    token: String,
    key: Ed25519KeyPair,
    directory: PathBuf,
}

impl Bridge {
    async fn live(&self) -> Result<()> {
        let deadline = Instant::now() + LET_IN;
        let mut dial = Dial(1);
        let mut link = loop {
            match self.enrol(dial).await {
                Ok(link) => break link,
                Err(error) if Instant::now() >= deadline => return Err(error),
                // Its socket is not there yet, or its task is not known yet.
                Err(_) => sleep(AGAIN).await,
            }
            dial.0 += 1;
        };
        while let Some(message) = link.next().await {
            let Message::Text(text) = message? else { continue };
            match serde_json::from_str(&text)? {
                ToBridge::Open { channel, .. } => self.open(&mut link, channel).await?,
                ToBridge::Stop { .. } => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn enrol(&self, dial: Dial) -> Result<Link> {
        // The socket's path may be longer than an address holds.
        let directory = File::open(&self.directory)?;
        let path = format!("/proc/self/fd/{}/dial.sock", directory.as_raw_fd());
        let stream = UnixStream::connect(path).await?;
        let mut request =
            format!("ws://gateway/internal/task/{}", self.session).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static(LINK_SUBPROTOCOL));
        headers.insert(INTERNAL_TOKEN_HEADER, HeaderValue::from_str(&self.token)?);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (mut link, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let mut nonce = Bytes32([0; 32]);
        aws_lc_rs::rand::fill(&mut nonce.0).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let hello = FromBridge::Hello {
            key: Bytes32(self.key.public_key().as_ref().try_into()?),
            nonce,
            launch: Launch(1),
            dial,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            can: Vec::new(),
        };
        say(&mut link, &hello).await?;
        let ToBridge::Challenge { nonce: theirs } = hear(&mut link).await? else {
            bail!("expected a challenge");
        };
        let text = transcript(&nonce, &theirs, self.session, Launch(1), dial, None);
        let signature = Bytes64(self.key.sign(&text).as_ref().try_into()?);
        say(&mut link, &FromBridge::Proof { signature }).await?;
        match hear(&mut link).await? {
            ToBridge::Welcome { .. } => Ok(link),
            _ => bail!("expected a welcome"),
        }
    }

    async fn open(&self, link: &mut Link, channel: ChannelNumber) -> Result<()> {
        let attached = FromBridge::Attached {
            channel,
            output: OutputStart { from: Offset::ZERO, resume: Resume::Exact },
            input: InputStart { applied: Offset::ZERO },
            size: TerminalSize::DEFAULT,
        };
        say(link, &attached).await?;
        let payload = Bytes::from_static(PROMPT);
        let frame = Frame { kind: Kind::Data, offset: Offset::ZERO, payload };
        let frame = LinkFrame { channel, inner: frame.to_bytes() };
        link.send(Message::Binary(frame.to_bytes())).await?;
        say(link, &FromBridge::Live { channel }).await
    }
}

async fn say(link: &mut Link, message: &FromBridge) -> Result<()> {
    Ok(link.send(Message::text(serde_json::to_string(message)?)).await?)
}

async fn hear(link: &mut Link) -> Result<ToBridge> {
    loop {
        match link.next().await.context("the gateway hung up")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(frame) => bail!("turned away: {frame:?}"),
            _ => {}
        }
    }
}
