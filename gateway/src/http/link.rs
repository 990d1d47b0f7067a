//! The task listeners: where a session's bridge calls. On this machine each session has a socket of
//! its own; over a network there is one port for all, within TLS. Hostile programs can reach both,
//! so nothing else is there. Settles who a bridge is, then hands its socket to the session's keeper.

mod elsewhere;
mod home;
pub mod network;
mod peer;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use futures_util::{SinkExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shellgate_infra::compute::Compute;
use shellgate_protocol::enrolment::{Bytes32, transcript};
use shellgate_protocol::limits::{CONTROL_LARGE_MAX, FIRST_MESSAGE_SECONDS, OUTPUT_FRAME_MAX};
use shellgate_protocol::{
    CloseCode, FromBridge, INTERNAL_TOKEN_HEADER, LINK_SUBPROTOCOL, Object, SessionId, ToBridge,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_util::task::AbortOnDropHandle;

use self::home::{Home, NotHome};
use self::network::Entry;
use crate::admission::DialPermit;
use crate::audit;
use crate::auth::enrolment::{fresh_nonce, verify_proof};
use crate::core::{Core, Way};
use crate::registry::{Handle, View};
use crate::relay::Budget;
use crate::session::keeper::{Mailbox, Message, Turned};
use crate::session::{LinkId, State};
use crate::transport::Transport;
use crate::websocket::{Largest, Socket, Upgrade, close_frame};

pub use self::network::Doors;

/// Connections that one session's task may hold at the same time before they are links.
const PENDING_MAX: u32 = 4;

/// Largest messages of a link: a control message, or a frame with its headers.
const LARGEST: Largest = {
    let frame = OUTPUT_FRAME_MAX + shellgate_protocol::frame::LINK_HEADER_LEN;
    let read = if CONTROL_LARGE_MAX > frame { CONTROL_LARGE_MAX } else { frame };
    Largest { read, written: CONTROL_LARGE_MAX }
};

/// Connections a second that one session's task may open, and ten times as many at once. Each costs
/// a signature and a write.
const DIALS_PER_SECOND: u32 = 5;

/// How long it may take to find out where a task is whose bridge has the pinned key: a bridge waits for
/// its welcome no longer than [`STEP`].
const KNOWN: Duration = Duration::from_secs(3);

/// How long each step of a link's start may take.
const STEP: Duration = Duration::from_secs(FIRST_MESSAGE_SECONDS);

/// Lets a session's bridge call, until it is dropped.
pub enum Listening {
    /// By a socket of its own.
    Socket(AbortOnDropHandle<()>),
    /// By the port of all.
    Network(Entry),
}

/// Lets a session's bridge call, by the way that this gateway's tasks have: what has a socket is
/// unknown to the network, and the other way round.
///
/// # Errors
/// Where a socket can't be made.
pub fn open(core: &Arc<Core>, id: SessionId, handle: Handle) -> io::Result<Listening> {
    let door = Arc::new(Door::new(core.clone(), id, Some(handle.keeper), handle.view));
    match &core.way {
        Way::Sockets => socket::listen(door).map(AbortOnDropHandle::new).map(Listening::Socket),
        Way::Network { .. } => Ok(Listening::Network(Entry::add(door))),
    }
}

/// Where the bridge of one session is let in.
struct Door {
    core: Arc<Core>,
    id: SessionId,
    /// Whose session it is, as their things are named.
    user_key: String,
    /// Its keeper, where this gateway keeps it.
    keeper: Option<Mailbox>,
    view: watch::Receiver<View>,
    /// Where its task calls from, over a network.
    home: Home,
    /// Two purses: nobody spends the bridge's but the bridge, as far as can be told from outside.
    bridge: Turns,
    others: Turns,
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

impl Turns {
    /// Whether there may be another dial now.
    fn spend(&self, now_ms: u64) -> bool {
        self.dials.lock().is_ok_and(|mut dials| dials.take(now_ms))
    }

    /// One of the few places, if there is one, and how many others are taken.
    fn place(&self) -> Option<(Place, u32)> {
        let others = self.pending.fetch_add(1, Ordering::AcqRel);
        // Counted as it is dropped, from here on.
        let place = Place(self.pending.clone());
        (others < PENDING_MAX).then_some((place, others))
    }
}

/// One of the few places for connections that are not links yet.
struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who calls, as far as the way that they came by tells.
struct Caller {
    /// What binds a proof to this one channel, where it is within TLS.
    binding: Option<Bytes32>,
    /// Where they call from, over a network.
    address: Option<IpAddr>,
    _place: Place,
    _permit: Option<Arc<DialPermit>>,
    _stranger: Option<OwnedSemaphorePermit>,
}

/// The session that a path is about.
fn session_of(path: &str) -> Option<SessionId> {
    path.strip_prefix("/internal/task/")?.parse().ok()
}

/// Serves one call until it is answered or has become a WebSocket.
async fn serve_call<F>(stream: Transport, answer: impl Fn(Request<Body>) -> F)
where
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(STEP)
        .max_buf_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let _ = timeout(STEP, connection).await;
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

impl Door {
    fn new(
        core: Arc<Core>,
        id: SessionId,
        keeper: Option<Mailbox>,
        view: watch::Receiver<View>,
    ) -> Self {
        let user_key = view.borrow().record.owner.key();
        Self {
            core,
            id,
            user_key,
            keeper,
            view,
            home: Home::default(),
            bridge: Turns::default(),
            others: Turns::default(),
            began: Instant::now(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn answer(
        self: &Arc<Self>,
        mut request: Request<Body>,
        caller: &Arc<Caller>,
    ) -> Response<Body> {
        // Over a network, where a session's id may be a guess, what is no bridge's call is answered as
        // for a session that does not exist.
        let refused = |by_socket: StatusCode| match caller.address {
            Some(_) => status(StatusCode::NOT_FOUND),
            None => status(by_socket),
        };
        let offers = request.headers().get("sec-websocket-protocol");
        if offers.is_none_or(|offered| offered != LINK_SUBPROTOCOL) {
            return refused(StatusCode::BAD_REQUEST);
        }
        let Ok(token) = self.token(request.headers()).await else {
            return refused(StatusCode::FORBIDDEN);
        };
        let Ok(upgrade) = Upgrade::take(&mut request) else {
            return status(StatusCode::UPGRADE_REQUIRED);
        };
        let (response, opening) = upgrade.accept(Some(LINK_SUBPROTOCOL), LARGEST);
        let (door, caller) = (self.clone(), caller.clone());
        self.core.tracker.spawn(async move {
            if let Some(socket) = opening.open().await {
                door.enrol(socket, &caller, token).await;
            }
        });
        response
    }

    /// Whether the launch's enrolment token was shown. A wrong one, or two, is an error.
    async fn token(&self, headers: &HeaderMap) -> Result<bool, ()> {
        let mut shown = headers.get_all(INTERNAL_TOKEN_HEADER).iter();
        match (shown.next(), shown.next()) {
            (None, _) => Ok(false),
            (Some(token), None) => {
                let token = token.to_str().map_err(|_| ())?;
                let launch = self.view.borrow().record.life.link.launch;
                let verified = self.core.enrolment.verify_newest(self.id, launch, token).await;
                verified.map(|()| true).map_err(|_| ())
            }
            (Some(_), Some(_)) => Err(()),
        }
    }

    async fn enrol(&self, mut socket: Socket, caller: &Caller, token: bool) {
        match timeout(STEP * 2, self.settle(&mut socket, caller, token)).await {
            Ok(Ok((link, welcome, keeper))) => {
                match timeout(STEP, socket.send(WsMessage::text(welcome))).await {
                    Ok(Ok(())) => {}
                    // The bridge will call again, and be welcomed again.
                    Ok(Err(_)) | Err(_) => return,
                }
                let linked = Message::Linked { link, socket: Box::new(socket) };
                let _ = keeper.clone().send(linked).await;
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
        caller: &Caller,
        token: bool,
    ) -> Result<(LinkId, String, Mailbox), (CloseCode, String)> {
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
        let signed = transcript(&nonce, &ours, self.id, launch, dial, caller.binding.as_ref());
        if verify_proof(&key, &signed, &signature).is_err() {
            return Err((CloseCode::Forbidden, "the proof does not hold".into()));
        }
        let link = LinkId { launch, dial };
        self.is_at_home(caller, link, &key, token).await?;
        let keeper = match &self.keeper {
            Some(keeper) => keeper.clone(),
            None => self.take_over(link, &key, token).await.map_err(refused)?,
        };
        let (answer, answered) = oneshot::channel();
        let proved = Message::Proved { link, key, token, answer };
        keeper.clone().send(proved).await.map_err(|_| self.no_keeper())?;
        let welcome = answered.await.map_err(|_| self.no_keeper())?.map_err(refused)?;
        Ok((link, welcome, keeper))
    }

    /// Its keeper is gone: with the session, or to another gateway, or with this one.
    fn no_keeper(&self) -> (CloseCode, String) {
        match self.view.borrow().record.life.state {
            State::Ended => (CloseCode::Ended, "this session is over".to_owned()),
            State::Starting | State::Live | State::Severed | State::Stopping => {
                refused(Turned::Later)
            }
        }
    }

    /// Whether who calls over a network has the task's own address: only there its proof is worth
    /// anything.
    async fn is_at_home(
        &self,
        caller: &Caller,
        link: LinkId,
        key: &Bytes32,
        token: bool,
    ) -> Result<(), (CloseCode, String)> {
        let checked = caller.address.filter(|_| self.core.config.tasks.check_address);
        let Some(address) = checked else { return Ok(()) };
        let (task, pinned) = {
            let record = &self.view.borrow().record;
            (record.detail.task.clone(), record.pinned_key)
        };
        // Who is not let in anyway is worth no question.
        if !token && pinned.as_ref() != Some(key) {
            return Ok(());
        }
        let asked = async {
            match &task {
                Some(task) => self.core.compute.address(task).await,
                // Its bridge is quicker than the news of its start.
                None => Ok(None),
            }
        };
        let later = || (CloseCode::Overloaded, Turned::Later.to_string());
        // Who is believed anyway must hear so before they give up.
        let patience = if pinned.as_ref() == Some(key) { KNOWN } else { STEP };
        match self.home.holds(address, timeout(patience, asked)).await {
            Ok(()) => Ok(()),
            // Who holds the key was at home when it was pinned: a provider that does not answer must
            // not end what runs.
            Err(NotHome::Unknown(why)) if pinned.as_ref() == Some(key) => {
                tracing::warn!(session = %self.id, why, "its key is believed: nobody knows where its task is");
                Ok(())
            }
            Err(NotHome::Unknown(why)) => {
                tracing::debug!(session = %self.id, why, "nobody knows where its task is");
                Err(later())
            }
            Err(NotHome::Elsewhere(home)) => {
                let detail = format!("{link:?} from {address}; its task is at {home}");
                let action = "enrolment.elsewhere";
                audit::record(&self.core.store, Some(self.id), None, action, detail).await;
                Err((CloseCode::Forbidden, "this is not the task's address".into()))
            }
        }
    }
}

fn refused(turned: Turned) -> (CloseCode, String) {
    let code = match turned {
        Turned::NoToken | Turned::AnotherKey => CloseCode::Forbidden,
        Turned::Stale => CloseCode::Ended,
        Turned::Later => CloseCode::Overloaded,
    };
    (code, turned.to_string())
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
