//! The yardstick: the least that a gateway to which bridges dial back can cost. Pairs a client's
//! WebSocket with one that a bridge dials over a Unix socket, one bridge process a session, and
//! relays. Knows no users, no limits, no sandbox and no replay: not a product.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use shellgate_load::pty;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};
use tokio_util::task::TaskTracker;

/// How long a bridge may take to dial.
const DIAL: Duration = Duration::from_secs(30);

/// What a bridge takes of its terminal at a time, in bytes: four times what the kernel gives.
const READ: usize = 16 * 1024;

const USAGE: &str =
    "usage: shellgate-load-floor gateway PORT SOCKET SHELL… | bridge SOCKET SESSION SHELL…";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["gateway", port, socket, ref shell @ ..] if !shell.is_empty() => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(gateway(port.parse()?, socket.into(), shell))
        }
        // A bridge has one terminal and one connection: one thread is right for it.
        ["bridge", socket, session, ref shell @ ..] if !shell.is_empty() => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(bridge(Path::new(socket), session, shell))
        }
        _ => bail!(USAGE),
    }
}

/// Sessions whose bridge is still to dial.
struct Gateway {
    socket: PathBuf,
    shell: Vec<String>,
    waiting: Mutex<HashMap<String, oneshot::Sender<WebSocketStream<UnixStream>>>>,
    tracker: TaskTracker,
}

async fn gateway(port: u16, socket: PathBuf, shell: &[&str]) -> Result<()> {
    let clients = TcpListener::bind(("127.0.0.1", port)).await?;
    let bridges = UnixListener::bind(&socket)?;
    let gateway = Arc::new(Gateway {
        socket,
        shell: shell.iter().map(|&word| word.to_owned()).collect(),
        waiting: Mutex::default(),
        tracker: TaskTracker::new(),
    });
    loop {
        tokio::select! {
            client = clients.accept() => {
                let (stream, gateway) = (client?.0, gateway.clone());
                gateway.clone().tracker.spawn(async move { gateway.client(stream).await });
            }
            bridge = bridges.accept() => {
                let (stream, gateway) = (bridge?.0, gateway.clone());
                gateway.clone().tracker.spawn(async move { gateway.dialled(stream).await });
            }
        }
    }
}

impl Gateway {
    async fn client(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (client, session) = accept(stream).await?;
        let (linked, link) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), linked);
        let mut bridge = Command::new(std::env::current_exe()?);
        bridge.arg("bridge").arg(&self.socket).arg(&session).args(&self.shell);
        let mut bridge = bridge.stdin(Stdio::null()).spawn()?;
        let link = tokio::time::timeout(DIAL, link).await.context("no bridge dialled")??;
        relay(client, link).await;
        // The bridge ends when its link does.
        tokio::task::spawn_blocking(move || bridge.wait()).await??;
        Ok(())
    }

    async fn dialled(&self, stream: UnixStream) -> Result<()> {
        let (link, session) = accept(stream).await?;
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        if let Some(waiting) = waiting {
            // Whoever waited may have left; then the link is dropped with its answer.
            let _ = waiting.send(link);
        }
        Ok(())
    }
}

/// The server's side of the handshake; the session is the whole path.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> Result<(WebSocketStream<S>, String)> {
    let mut session = String::new();
    // The library's callback has this type.
    #[allow(clippy::result_large_err)]
    let note = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut session);
        Ok(response)
    };
    let socket = accept_hdr_async(stream, note).await?;
    Ok((socket, session))
}

/// Each way waits for its slower side: nothing piles up here.
async fn relay(client: WebSocketStream<TcpStream>, link: WebSocketStream<UnixStream>) {
    let (mut to_client, mut from_client) = client.split();
    let (mut to_bridge, mut from_bridge) = link.split();
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            if to_bridge.send(message).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = from_bridge.next().await {
            if to_client.send(message).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}

async fn bridge(socket: &Path, session: &str, shell: &[&str]) -> Result<()> {
    let stream = UnixStream::connect(socket).await?;
    let (link, _) = client_async(format!("ws://gateway{session}"), stream).await?;
    let mut command = Command::new(shell.first().context(USAGE)?);
    command.args(&shell[1..]);
    let (master, mut child) = pty::spawn(command)?;
    let (mut sink, mut stream) = link.split();
    let output = async {
        let mut buffer = vec![0; READ];
        while let Ok(read @ 1..) = master.read(&mut buffer).await {
            if sink.send(Message::binary(buffer[..read].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let input = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(bytes) = message
                && master.write_all(&bytes).await.is_err()
            {
                break;
            }
        }
    };
    tokio::select! { () = output => {}, () = input => {} }
    drop(master);
    // A shell whose terminal is gone has been told to hang up; one that does not mind is killed.
    child.kill()?;
    child.wait()?;
    Ok(())
}
