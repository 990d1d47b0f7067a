//! A client that waits here for a session which another gateway has taken meanwhile: it goes on waiting
//! there, and its messages pass through this one. So nobody is sent away while a session starts, whichever
//! gateway its bridge calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::{Attach, Mode};
use shellgate_protocol::limits::{FIRST_MESSAGE_SECONDS, PING_SECONDS, SILENCE_SECONDS};
use shellgate_protocol::{CloseCode, SessionId};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::attach::{LARGEST_READ, dialect_of};
use super::{Connection, waiting};
use crate::admission::DialPermit;
use crate::auth::UserId;
use crate::core::Core;
use crate::peers::call::{Call, CallError};
use crate::relay::{Arrival, Dialect, PLAIN_MESSAGE_MAX};
use crate::websocket::{Largest, Socket, Upgrade, bare, close_frame, farewell, fault, open};

/// How long the gateway that has a session is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Before the second look; it doubles, and is shorter by chance.
const AGAIN: Duration = Duration::from_millis(200);

/// How often a client that waits is taken further. Each time is a gateway that it passes.
const HOPS_MAX: u8 = 2;

/// How long one direction may go on after the other has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A year: no token holds for longer, whatever a gateway says.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The largest messages of any client.
const LARGEST: Largest = {
    let read = if LARGEST_READ > PLAIN_MESSAGE_MAX { LARGEST_READ } else { PLAIN_MESSAGE_MAX };
    Largest { read, written: PLAIN_MESSAGE_MAX }
};

/// Who follows, as one gateway tells another. What they may was settled by the first.
#[derive(Debug, Serialize, Deserialize)]
struct Follower {
    session: SessionId,
    attach: Attach,
    user: UserId,
    /// Whether it speaks in frames.
    framed: bool,
    /// How long its token, and the grace after it, hold.
    authentic_ms: u64,
    /// How many gateways it has passed, the one that asks included.
    hops: u8,
}

/// Takes a client to whoever keeps its session now.
pub async fn follow(core: Arc<Core>, id: SessionId, attach: Attach, arrival: Arrival) {
    let until = Instant::now() + PATIENCE;
    let left = arrival.authentic_until.saturating_duration_since(Instant::now());
    let follower = Follower {
        session: id,
        attach: attach.clone(),
        user: arrival.user.clone(),
        framed: arrival.is_framed(),
        authentic_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        hops: arrival.hops + 1,
    };
    let mut pause = AGAIN;
    loop {
        if let Some(handle) = core.registry.get(id) {
            return Box::pin(waiting::wait(core, handle, attach, arrival)).await;
        }
        if follower.hops > HOPS_MAX {
            let reason = "this session moves too often: come again".to_owned();
            return farewell(arrival.socket, VecDeque::new(), CloseCode::LinkLost, reason).await;
        }
        // One after the other, some at a time: after a gateway's death everybody looks.
        let there = async {
            let _place = core.peers.lookers.acquire().await;
            there(&core, &follower).await
        };
        match there.await {
            Ok((peer, descriptor)) => return pass(&core, arrival, peer, descriptor).await,
            Err(error) => tracing::debug!(session = %id, %error, "it can't be followed yet"),
        }
        if Instant::now() >= until || core.stopping.is_cancelled() {
            let reason = "nobody keeps this session at the moment".to_owned();
            return farewell(arrival.socket, VecDeque::new(), CloseCode::LinkLost, reason).await;
        }
        sleep(pause / 2 + crate::clock::chance(pause / 2)).await;
        pause *= 2;
    }
}

/// A WebSocket to the gateway that keeps the session, where this client waits for it.
async fn there(core: &Core, follower: &Follower) -> Result<(Socket, DialPermit), CallError> {
    let wrong = |why: &dyn std::fmt::Display| CallError::Answer(why.to_string());
    let keeper = core.store.keeper_of(follower.session).await?;
    let keeper = keeper.filter(|keeper| keeper != core.store.gateway()).ok_or(CallError::Gone)?;
    let full = |_| CallError::Answer("no descriptor is left".into());
    let descriptor = core.admission.take_dial().map_err(full)?;
    let follower = serde_json::to_string(follower).map_err(|error| wrong(&error))?;
    let mut request = Request::get("/peer/follow")
        .header(header::HOST, crate::authority::PEER)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .body(Body::empty())
        .map_err(|error| wrong(&error))?;
    let key = HeaderValue::try_from(generate_key()).map_err(|error| wrong(&error))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
    let asking = async {
        let mut answer = Call::to(core, &keeper).await?.send(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(wrong(&answer.status()));
        }
        let upgraded = hyper::upgrade::on(&mut answer).await?;
        let (transport, read) = bare(upgraded).ok_or(CallError::Gone)?;
        let mut socket = open(transport, read, Role::Client, LARGEST).await;
        socket.send(Message::text(follower)).await.map_err(|error| wrong(&error))?;
        Ok((socket, descriptor))
    };
    timeout(PATIENCE, asking).await.map_err(|_| CallError::Late(PATIENCE))?
}

/// Carries messages both ways until either side has ended.
async fn pass(core: &Core, arrival: Arrival, peer: Socket, descriptor: DialPermit) {
    // Held until the client is gone.
    let _held = (arrival.permit, descriptor, core.peers.pass());
    let (to_client, from_client) = arrival.socket.split();
    let (to_peer, from_peer) = peer.split();
    let (heard, last_heard) = watch::channel(Instant::now());
    let mut up = Box::pin(upwards(from_client, to_peer, heard));
    let mut down = Box::pin(downwards(from_peer, to_client, last_heard));
    tokio::select! {
        () = &mut up => {
            let _ = timeout(LAST_WORDS, down).await;
        }
        () = &mut down => {
            let _ = timeout(LAST_WORDS, up).await;
        }
        // Both break, and the client comes back by another gateway.
        () = async {
            core.stopping.cancelled().await;
            sleep(crate::clock::chance(LAST_WORDS / 4)).await;
        } => {}
    }
}

/// From the client. Where it breaks off, so does what it had there.
async fn upwards(
    mut client: SplitStream<Socket>,
    mut peer: SplitSink<Socket, Message>,
    heard: watch::Sender<Instant>,
) {
    while let Some(message) = client.next().await {
        heard.send_replace(Instant::now());
        let sent = match message {
            // Each leg answers its own.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(()),
            // Reading on answers a close.
            Ok(message) => peer.send(message).await,
            Err(error) => match fault(&error) {
                Some(code) => peer.send(Message::Close(Some(close_frame(code, "")))).await,
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// To the client, which is asked whether it is there, and given up where it does not say so.
async fn downwards(
    mut peer: SplitStream<Socket>,
    mut client: SplitSink<Socket, Message>,
    heard: watch::Receiver<Instant>,
) {
    let (pause, silence) =
        (Duration::from_secs(PING_SECONDS), Duration::from_secs(SILENCE_SECONDS));
    let mut asks = interval_at(Instant::now() + pause, pause);
    loop {
        let message = tokio::select! {
            message = peer.next() => message,
            _ = asks.tick() => {
                let is_gone = heard.borrow().elapsed() > silence;
                if is_gone || client.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let (message, is_last) = match message {
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(frame))) => (Message::Close(frame), true),
            Some(Ok(message)) => (message, false),
            // Its gateway is gone: the client comes back at once.
            Some(Err(_)) | None => {
                let frame = close_frame(CloseCode::LinkLost, "the session's gateway is gone");
                (Message::Close(Some(frame)), true)
            }
        };
        if client.send(message).await.is_err() {
            return;
        }
        if is_last {
            // Reading on answers the close.
            while let Some(Ok(_)) = peer.next().await {}
            return;
        }
    }
}

/// Where another gateway's clients come that follow a session to this one.
pub(super) async fn arrives(
    Shared(core): Shared<Arc<Core>>,
    mut request: Request<Body>,
) -> Response {
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Ok(upgrade) = Upgrade::take(&mut request) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let (response, opening) = upgrade.accept(None, LARGEST);
    let tracker = core.tracker.clone();
    tracker.spawn(async move {
        let Some(mut socket) = opening.open().await else { return };
        let first = timeout(Duration::from_secs(FIRST_MESSAGE_SECONDS), socket.next()).await;
        let Ok(Some(Ok(Message::Text(text)))) = first else { return };
        match serde_json::from_str::<Follower>(&text) {
            Ok(follower) => enter(core, connection, socket, follower).await,
            Err(error) => tracing::warn!(%error, "a gateway of another version passed a client on"),
        }
    });
    response
}

async fn enter(core: Arc<Core>, connection: Connection, socket: Socket, follower: Follower) {
    let Follower { session, attach, user, framed, authentic_ms, hops } = follower;
    let (handle, permit) = match core.registry.get(session) {
        Some(handle) => (handle, core.admission.take_attachment(session)),
        None => {
            let reason = "this session is elsewhere by now".to_owned();
            return farewell(socket, VecDeque::new(), CloseCode::LinkLost, reason).await;
        }
    };
    let Ok(permit) = permit else {
        let reason = "too many clients are attached".to_owned();
        return farewell(socket, VecDeque::new(), CloseCode::Quota, reason).await;
    };
    let mode: Mode = handle.view.borrow().record.detail.mode;
    let window = attach.window.min(core.window_max());
    let arrival = Arrival {
        order: core.arrivals.fetch_add(1, Ordering::Relaxed),
        role: attach.role,
        client: attach.client,
        user,
        socket,
        dialect: if framed { Dialect::V1 } else { dialect_of(mode, window) },
        window,
        authentic_until: Instant::now() + Duration::from_millis(authentic_ms).min(LONGEST),
        permit: Box::new((permit, connection.permit)),
        hops,
    };
    waiting::wait(core, handle, attach, arrival).await;
}
