//! A terminal session as the metrics see it: bytes in, bytes out, over whatever carries them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use shellgate_load::pty::Master;
use shellgate_protocol::limits::INPUT_FRAME_MAX;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, Sleep, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::CancellationToken;

use crate::conversation::Conversation;

/// A client's WebSocket.
pub type Ws = WebSocketStream<TcpStream>;

/// Bytes that a reader takes of a terminal at a time.
const PTY_READ: usize = 16 * 1024;

/// A session, both ways.
pub struct Session {
    /// Which one of the metric's sessions it is.
    pub number: usize,
    /// What its system calls it.
    pub id: String,
    /// What is typed.
    pub tx: Tx,
    /// What is printed.
    pub rx: Rx,
    /// What took how long until it was open, in milliseconds, where its system tells.
    pub phases: Vec<(&'static str, f64)>,
}

#[derive(Clone)]
enum Line {
    Ws(Arc<Mutex<Socket>>),
    Pty(Arc<Master>),
}

/// What is typed into a session.
pub struct Tx(Line);

/// What a session prints.
pub struct Rx {
    line: Line,
    buffer: Vec<u8>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Output bytes received so far.
    pub received: u64,
}

struct Socket {
    ws: Ws,
    /// `None` where messages are bare bytes.
    conversation: Option<Conversation>,
    started: Instant,
}

impl Session {
    /// A session over a WebSocket: framed where there is a conversation, else bare bytes.
    pub fn over_ws(number: usize, id: String, ws: Ws, talk: Option<Conversation>) -> Self {
        let socket = Socket { ws, conversation: talk, started: Instant::now() };
        Self::over(number, id, Line::Ws(Arc::new(Mutex::new(socket))))
    }

    /// A session on a terminal of the generator's own.
    pub fn over_pty(number: usize, id: String, master: Master) -> Self {
        Self::over(number, id, Line::Pty(Arc::new(master)))
    }

    fn over(number: usize, id: String, line: Line) -> Self {
        let tx = Tx(line.clone());
        let rx = Rx { line, buffer: Vec::new(), alarm: None, received: 0 };
        Self { number, id, tx, rx, phases: Vec::new() }
    }

    /// Reads until the output holds one of `needles`; returns all of it.
    pub async fn expect(&mut self, needles: &[&str], limit: Duration) -> Result<Vec<u8>> {
        let deadline = Instant::now() + limit;
        let mut out = Vec::new();
        loop {
            let from = out.len();
            let more = timeout_at(deadline, self.rx.recv(&mut out))
                .await
                .with_context(|| format!("no {needles:?} in {limit:?}; got {:?}", tail(&out)))??;
            let scan = &out[from.saturating_sub(64)..];
            if needles.iter().any(|n| memchr::memmem::find(scan, n.as_bytes()).is_some()) {
                return Ok(out);
            }
            if !more {
                bail!("the session ended before {needles:?}; got {:?}", tail(&out));
            }
        }
    }

    /// Runs a command line in the shell and waits for the marker that it prints; the marker is
    /// split, so that its own echo does not match.
    pub async fn run(&mut self, command: &str, limit: Duration) -> Result<Vec<u8>> {
        let line = format!("{command}; printf 'GO%s\\n' READY\n");
        self.tx.send(line.as_bytes()).await?;
        self.expect(&["GOREADY"], limit).await
    }

    /// Reads, and answers what its connection owes, until told to stop: an idle client is polled
    /// too, or its gateway takes it for dead.
    pub async fn idle(&mut self, stop: &CancellationToken) -> Result<()> {
        let mut out = Vec::new();
        loop {
            out.clear();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                more = self.rx.recv(&mut out) => {
                    if !more? {
                        bail!("session {} ended while it was idle", self.id);
                    }
                }
            }
        }
    }

    /// What its client knows, where it speaks `shellgate.v1`.
    pub fn conversation(&self) -> Option<Conversation> {
        match &self.rx.line {
            Line::Ws(socket) => lock(socket).conversation.clone(),
            Line::Pty(_) => None,
        }
    }
}

fn tail(out: &[u8]) -> String {
    String::from_utf8_lossy(&out[out.len().saturating_sub(200)..]).into_owned()
}

fn lock(socket: &Mutex<Socket>) -> MutexGuard<'_, Socket> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tx {
    /// Types.
    pub async fn send(&mut self, keys: &[u8]) -> Result<()> {
        match &self.0 {
            Line::Pty(master) => Ok(master.write_all(keys).await?),
            Line::Ws(socket) => {
                for piece in keys.chunks(INPUT_FRAME_MAX) {
                    let mut queued = false;
                    poll_fn(|cx| lock(socket).poll_type(cx, piece, &mut queued)).await?;
                }
                Ok(())
            }
        }
    }
}

impl Rx {
    /// Waits for one message and appends its output. `false`: the session's connection is closed.
    pub async fn recv(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let from = out.len();
        let Self { line, buffer, alarm, received } = self;
        let more = match line {
            Line::Pty(master) => {
                buffer.resize(PTY_READ, 0);
                let read = master.read(buffer).await?;
                out.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Line::Ws(socket) => poll_fn(|cx| lock(socket).poll_hear(cx, alarm, out)).await?,
        };
        *received += (out.len() - from) as u64;
        Ok(more)
    }
}

impl Socket {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn poll_type(
        &mut self,
        cx: &mut TaskContext<'_>,
        keys: &[u8],
        queued: &mut bool,
    ) -> Poll<Result<(), WsError>> {
        if !*queued {
            ready!(Pin::new(&mut self.ws).poll_ready(cx))?;
            let now = self.now_ms();
            let keys = match &mut self.conversation {
                None => Bytes::copy_from_slice(keys),
                Some(talk) => {
                    if let Some(acknowledgement) = talk.acknowledgement(now, true) {
                        Pin::new(&mut self.ws).start_send(Message::Binary(acknowledgement))?;
                    }
                    talk.input(keys)
                }
            };
            Pin::new(&mut self.ws).start_send(Message::Binary(keys))?;
            *queued = true;
        }
        Pin::new(&mut self.ws).poll_flush(cx)
    }

    fn poll_hear(
        &mut self,
        cx: &mut TaskContext<'_>,
        alarm: &mut Option<Pin<Box<Sleep>>>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<bool>> {
        match Pin::new(&mut self.ws).poll_next(cx) {
            Poll::Ready(None | Some(Ok(Message::Close(None)))) => Poll::Ready(Ok(false)),
            Poll::Ready(Some(Ok(Message::Close(Some(frame))))) => {
                Poll::Ready(Err(anyhow!("closed with {} {}", frame.code, frame.reason)))
            }
            Poll::Ready(Some(message)) => Poll::Ready(self.hear(cx, message?, out).map(|()| true)),
            Poll::Pending => {
                self.poll_alarm(cx, alarm)?;
                Poll::Pending
            }
        }
    }

    fn hear(&mut self, cx: &mut TaskContext<'_>, heard: Message, out: &mut Vec<u8>) -> Result<()> {
        let now = self.now_ms();
        match (heard, &mut self.conversation) {
            (Message::Binary(bytes), None) => out.extend_from_slice(&bytes),
            (Message::Binary(bytes), Some(talk)) => talk.frame(bytes, now, out)?,
            (Message::Text(text), Some(talk)) => {
                talk.control(&text)?;
            }
            // The library has queued the pong.
            (Message::Ping(_), _) => {
                let _ = Pin::new(&mut self.ws).poll_flush(cx)?;
            }
            (Message::Text(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_), _) => {}
        }
        Ok(self.acknowledge(cx, now)?)
    }

    fn acknowledge(&mut self, cx: &mut TaskContext<'_>, now: u64) -> Result<(), WsError> {
        if let Some(talk) = &mut self.conversation
            && let Some(acknowledgement) = talk.acknowledgement(now, false)
        {
            let mut ws = Pin::new(&mut self.ws);
            // Where the connection is full the library keeps it, and the next write takes it along.
            let _ = ws.as_mut().poll_ready(cx)?;
            ws.as_mut().start_send(Message::Binary(acknowledgement))?;
            let _ = ws.poll_flush(cx)?;
        }
        Ok(())
    }

    /// One timer serves many acknowledgements: it is set when the first one is owed, and looks
    /// again when it rings.
    fn poll_alarm(
        &mut self,
        cx: &mut TaskContext<'_>,
        alarm: &mut Option<Pin<Box<Sleep>>>,
    ) -> Result<(), WsError> {
        loop {
            let now = self.now_ms();
            if alarm.is_none() {
                let due = self.conversation.as_ref().and_then(|talk| talk.due_in(now));
                let Some(due) = due else { return Ok(()) };
                let due = Duration::from_millis(due.max(1));
                *alarm = Some(Box::pin(tokio::time::sleep(due)));
            }
            let Some(set) = alarm else { return Ok(()) };
            if std::future::Future::poll(set.as_mut(), cx).is_pending() {
                return Ok(());
            }
            *alarm = None;
            self.acknowledge(cx, now)?;
        }
    }
}

/// Opens a WebSocket on this machine, without compression and without Nagle's delay. `read_buffer`
/// bytes are the library's for as long as the connection lives.
pub async fn connect(
    address: std::net::SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    read_buffer: usize,
) -> Result<Ws> {
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let (ws, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
        .await
        .with_context(|| format!("the WebSocket handshake at {path}"))?;
    Ok(ws)
}
