//! The task listener of this machine: one Unix socket a session, in a directory of its own, which
//! fixes the session whatever the path says. Hostile programs can reach it, so nothing else is
//! there. Settles who a bridge is, then hands its socket to the session's keeper.

mod peer;

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shellgate_protocol::enrolment::{Bytes32, transcript};
use shellgate_protocol::limits::{CONTROL_LARGE_MAX, FIRST_MESSAGE_SECONDS, OUTPUT_FRAME_MAX};
use shellgate_protocol::{
    CloseCode, FromBridge, INTERNAL_TOKEN_HEADER, LINK_SUBPROTOCOL, Launch, Object, SessionId,
    ToBridge,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message as WsMessage;

use self::peer::Peer;
use crate::admission::DialPermit;
use crate::auth::enrolment::{fresh_nonce, verify_proof};
use crate::core::Core;
use crate::registry::{Handle, View};
use crate::relay::Budget;
use crate::session::LinkId;
use crate::session::keeper::{Message, Turned};
use crate::transport::Transport;
use crate::websocket::{Largest, Socket, Upgrade, close_frame};

/// Connections that one session's sandbox may hold at the same time before they are links.
const PENDING_MAX: u32 = 4;

/// Largest messages of a link: a control message, or a frame with its headers.
const LARGEST: Largest = {
    let frame = OUTPUT_FRAME_MAX + shellgate_protocol::frame::LINK_HEADER_LEN;
    let read = if CONTROL_LARGE_MAX > frame { CONTROL_LARGE_MAX } else { frame };
    Largest { read, written: CONTROL_LARGE_MAX }
};

/// Connections a second that one session's sandbox may open, and ten times as many at once. Each
/// costs a signature and a write.
const DIALS_PER_SECOND: u32 = 5;

/// Calls a second of programs inside that are turned away without a pause, and ten times as many at
/// once; and the pause after each one beyond. It keeps a flood from costing the gateway a processor,
/// and is short enough for the bridge to find room among what waits.
const PROGRAMS_PER_SECOND: u32 = 500;
const PROGRAM_PAUSE: Duration = Duration::from_millis(1);

/// How long each step of a link's start may take.
const STEP: Duration = Duration::from_secs(FIRST_MESSAGE_SECONDS);

/// Opens a session's dial socket and serves it until the returned task is aborted.
///
/// # Errors
/// Where the socket can't be made.
pub fn listen(
    core: &Arc<Core>,
    id: SessionId,
    launch: Launch,
    handle: Handle,
) -> io::Result<JoinHandle<()>> {
    let listener = bind(&core.dial_directory(id))?;
    let user_key = handle.view.borrow().record.owner.key();
    let door = Arc::new(Door {
        core: core.clone(),
        id,
        launch,
        user_key,
        keeper: handle.keeper,
        view: handle.view,
        bridge: Turns::default(),
        neighbours: Turns::default(),
        began: Instant::now(),
    });
    Ok(core.tracker.spawn(async move {
        let mut programs = Budget::new(PROGRAMS_PER_SECOND, door.now_ms());
        loop {
            match listener.accept().await {
                // What runs inside may reach the socket as its bridge does, and has no business
                // here. Of one that is gone by now nobody can say whether it ran inside: it is no
                // bridge, and shall not take the bridge's turn.
                Ok((stream, _)) => match Peer::of(&stream) {
                    Peer::Bridge => Door::greet(&door, &door.bridge, stream),
                    Peer::Neighbour => Door::greet(&door, &door.neighbours, stream),
                    Peer::Program if programs.take(door.now_ms()) => {}
                    Peer::Program => tokio::time::sleep(PROGRAM_PAUSE).await,
                },
                Err(error) => {
                    tracing::warn!(session = %door.id, %error, "a dial was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }))
}

/// The socket's path may be longer than an address holds (108 bytes), so it is bound by way of an
/// open directory. An older socket, of a gateway that is gone, is replaced.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    // Inside the private state directory, so only who gets this very directory bound into their
    // sandbox can get here.
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let held = std::fs::File::open(directory)?;
    // As a service the gateway lets nobody into what it makes, but the sandbox's user has to get in.
    held.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    let path = format!("/proc/self/fd/{}/dial.sock", std::os::fd::AsRawFd::as_raw_fd(&held));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

struct Door {
    core: Arc<Core>,
    id: SessionId,
    launch: Launch,
    /// Whose session it is, as their things are named.
    user_key: String,
    keeper: mpsc::Sender<Message>,
    view: watch::Receiver<View>,
    /// Two purses: nobody spends the bridge's but the bridge.
    bridge: Turns,
    neighbours: Turns,
    began: Instant,
}

/// How often, and how many at a time, somebody may dial.
struct Turns {
    pending: Arc<AtomicU32>,
    dials: Mutex<Budget>,
}

impl Default for Turns {
    fn default() -> Self {
        let dials = Mutex::new(Budget::new(DIALS_PER_SECOND, 0));
        Self { pending: Arc::default(), dials }
    }
}

/// One of a session's few places for connections that are not links yet.
struct Place {
    door: Arc<Door>,
    pending: Arc<AtomicU32>,
    /// The first call of a session without a link has the link's own place.
    beyond: Option<DialPermit>,
}

impl Place {
    fn take(door: &Arc<Door>, turns: &Turns) -> Option<Self> {
        let others = turns.pending.fetch_add(1, Ordering::AcqRel);
        // Counted as it is dropped, from here on.
        let pending = turns.pending.clone();
        let mut place = Self { door: door.clone(), pending, beyond: None };
        if others >= PENDING_MAX {
            return None;
        }
        if others > 0 || door.view.borrow().relay.is_some() {
            place.beyond = Some(door.core.admission.take_dial().ok()?);
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Door {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn greet(door: &Arc<Self>, turns: &Turns, stream: UnixStream) {
        let now_ms = door.now_ms();
        if !turns.dials.lock().is_ok_and(|mut dials| dials.take(now_ms)) {
            return;
        }
        let Some(place) = Place::take(door, turns) else {
            tracing::debug!(session = %door.id, "there is no place for a dial");
            return;
        };
        door.core.tracker.spawn(async move {
            if !place.door.knows(&stream).await {
                return;
            }
            let place = Arc::new(place);
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let answer = place.door.answer(request.map(Body::new), place.clone());
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(STEP)
                .max_buf_size(8 * 1024)
                .serve_connection(TokioIo::new(Transport::from(stream)), service)
                .with_upgrades();
            let _ = timeout(STEP, connection).await;
        });
    }

    /// Whether it is the session's own user, or the gateway's, who calls: the kernel says so.
    async fn knows(&self, stream: &UnixStream) -> bool {
        let Ok(peer) = stream.peer_cred() else { return false };
        let own = nix::unistd::geteuid().as_raw();
        let known = peer.uid() == own
            || self.core.uid_of(&self.user_key).await.is_ok_and(|uid| uid == peer.uid());
        if !known {
            tracing::warn!(session = %self.id, uid = peer.uid(), "somebody else dialled");
        }
        known
    }

    fn answer(self: &Arc<Self>, mut request: Request<Body>, place: Arc<Place>) -> Response<Body> {
        let status = |status| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        };
        if request.uri().path() != format!("/internal/task/{}", self.id) {
            return status(StatusCode::NOT_FOUND);
        }
        let offers = request.headers().get("sec-websocket-protocol");
        if offers.is_none_or(|offered| offered != LINK_SUBPROTOCOL) {
            return status(StatusCode::BAD_REQUEST);
        }
        let Ok(token) = self.token(request.headers()) else {
            return status(StatusCode::FORBIDDEN);
        };
        let Ok(upgrade) = Upgrade::take(&mut request) else {
            return status(StatusCode::UPGRADE_REQUIRED);
        };
        let (response, opening) = upgrade.accept(Some(LINK_SUBPROTOCOL), LARGEST);
        let door = self.clone();
        self.core.tracker.spawn(async move {
            let _place = place;
            if let Some(socket) = opening.open().await {
                door.enrol(socket, token).await;
            }
        });
        response
    }

    /// Whether the launch's enrolment token was shown. A wrong one, or two, is an error.
    fn token(&self, headers: &HeaderMap) -> Result<bool, ()> {
        let mut shown = headers.get_all(INTERNAL_TOKEN_HEADER).iter();
        match (shown.next(), shown.next()) {
            (None, _) => Ok(false),
            (Some(token), None) => {
                let token = token.to_str().map_err(|_| ())?;
                let verified = self.core.enrolment.verify(self.id, self.launch, token);
                verified.map(|()| true).map_err(|_| ())
            }
            (Some(_), Some(_)) => Err(()),
        }
    }

    async fn enrol(&self, mut socket: Socket, token: bool) {
        match timeout(STEP * 2, self.settle(&mut socket, token)).await {
            Ok(Ok((link, welcome))) => {
                match timeout(STEP, socket.send(WsMessage::text(welcome))).await {
                    Ok(Ok(())) => {}
                    // The bridge will call again, and be welcomed again.
                    Ok(Err(_)) | Err(_) => return,
                }
                let linked = Message::Linked { link, socket: Box::new(socket) };
                let _ = self.keeper.clone().send(linked).await;
            }
            Ok(Err(turned)) => {
                tracing::info!(session = %self.id, why = %turned.1, "a bridge was turned away");
                let frame = close_frame(turned.0, &turned.1);
                let goodbye = async {
                    let _ = socket.close(Some(frame)).await;
                    while let Some(Ok(_)) = socket.next().await {}
                };
                let _ = timeout(STEP, goodbye).await;
            }
            Err(_) => {}
        }
    }

    async fn settle(
        &self,
        socket: &mut Socket,
        token: bool,
    ) -> Result<(LinkId, String), (CloseCode, String)> {
        let bad = |what: &str| (CloseCode::BadRequest, what.to_owned());
        let FromBridge::Hello { key, nonce, launch, dial, .. } = receive(socket).await? else {
            return Err(bad("expected hello"));
        };
        if dial.0 == 0 {
            return Err(bad("dials count from 1"));
        }
        let ours: Bytes32 = fresh_nonce().map_err(|_| (CloseCode::Internal, String::new()))?;
        let challenge = serde_json::to_string(&ToBridge::Challenge { nonce: ours })
            .map_err(|error| (CloseCode::Internal, error.to_string()))?;
        socket
            .send(WsMessage::text(challenge))
            .await
            .map_err(|error| (CloseCode::Normal, error.to_string()))?;
        let FromBridge::Proof { signature } = receive(socket).await? else {
            return Err(bad("expected proof"));
        };
        let signed = transcript(&nonce, &ours, self.id, launch, dial, None);
        if verify_proof(&key, &signed, &signature).is_err() {
            return Err((CloseCode::Forbidden, "the proof does not hold".into()));
        }
        let link = LinkId { launch, dial };
        let (answer, answered) = oneshot::channel();
        let proved = Message::Proved { link, key, token, answer };
        let over = || (CloseCode::Ended, "this session is over".to_owned());
        self.keeper.clone().send(proved).await.map_err(|_| over())?;
        let welcome = answered.await.map_err(|_| over())?.map_err(|turned| {
            let code = match turned {
                Turned::NoToken | Turned::AnotherKey => CloseCode::Forbidden,
                Turned::Stale => CloseCode::Ended,
                Turned::Later => CloseCode::Overloaded,
            };
            (code, turned.to_string())
        })?;
        Ok((link, welcome))
    }
}

async fn receive(socket: &mut Socket) -> Result<FromBridge, (CloseCode, String)> {
    let gone = || (CloseCode::Normal, "the connection broke".to_owned());
    loop {
        match timeout(STEP, socket.next()).await.map_err(|_| gone())? {
            Some(Ok(WsMessage::Text(text))) => {
                return serde_json::from_str(&text)
                    .map(|Object(message)| message)
                    .map_err(|error| (CloseCode::BadRequest, error.to_string()));
            }
            Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => {}
            Some(Ok(WsMessage::Binary(_) | WsMessage::Close(_) | WsMessage::Frame(_))) => {
                return Err((CloseCode::BadRequest, "expected control".into()));
            }
            Some(Err(_)) | None => return Err(gone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_users_sandbox_gets_to_the_socket_also_where_the_gateway_keeps_its_files_to_itself() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("dial");
        // As under the service's UMask=0077.
        std::fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let _listener = bind(&directory).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o755);
        assert_eq!(mode(&directory.join("dial.sock")), 0o666);
    }
}
