//! The gateway's listeners: accepts connections under their caps, and routes requests. A route of
//! one listener is a 404 on the others.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shellgate_protocol::limits::CONTROL_MAX;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admission::{ConnectionPermit, SocketPermit};
use crate::config::Network;
use crate::core::Core;
use crate::refusal::{PROBLEM, Refusal, as_problem};
use crate::transport::Transport;

pub mod attach;
pub mod caller;
pub mod document;
pub mod elsewhere;
pub mod events;
pub mod following;
pub mod link;
pub mod ops;
pub mod page;
pub mod peer;
pub mod removals;
pub mod sessions;
pub mod standby;
pub mod view;
pub mod waiting;

/// How long a request may take to arrive whole and to be answered. A stream of events is answered
/// once it begins.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a client may leave unread what it was sent, before its connection is a WebSocket.
const UNREAD: Duration = Duration::from_secs(30);

/// How long a request that is under way may take when the gateway stops.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// How long a connection that is full up is given to hear so.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Connections that are told at the same time that there is no room; more are just closed.
static SENT_AWAY: Semaphore = Semaphore::const_new(64);

/// Which of the public listeners a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Users and their browsers.
    Client,
    /// Operators' machines: health and figures.
    Admin,
}

/// What is known of a request's connection.
#[derive(Clone)]
pub struct Connection {
    /// Whose it is: the peer, or whom a configured proxy names.
    pub address: IpAddr,
    /// The peer itself.
    pub peer: SocketAddr,
    /// Given back when the connection, or what became of it, closes.
    pub permit: Arc<ConnectionPermit>,
    /// Given back once the connection has authenticated.
    unauthenticated: Arc<Mutex<Option<SocketPermit>>>,
    has_authenticated: Arc<AtomicBool>,
}

impl Connection {
    fn new(
        address: IpAddr,
        peer: SocketAddr,
        permit: ConnectionPermit,
        unauthenticated: Option<SocketPermit>,
    ) -> Self {
        Self {
            address,
            peer,
            permit: Arc::new(permit),
            unauthenticated: Arc::new(Mutex::new(unauthenticated)),
            has_authenticated: Arc::default(),
        }
    }

    /// It has authenticated: it does not count against its address any more.
    pub fn authenticated(&self) {
        self.has_authenticated.store(true, Ordering::Release);
        if let Ok(mut permit) = self.unauthenticated.lock() {
            permit.take();
        }
    }
}

/// The client listener's routes, for the sessions that this gateway keeps.
pub fn client_routes(core: &Arc<Core>) -> Router {
    let (api, _) = document::api();
    api.merge(page::routes()).layer(DefaultBodyLimit::max(CONTROL_MAX)).with_state(core.clone())
}

/// The admin listener's routes.
pub fn admin_routes(core: &Arc<Core>) -> Router {
    ops::routes().with_state(core.clone())
}

/// Serves a listener until the gateway stops.
pub async fn serve(core: Arc<Core>, listener: TcpListener, which: Listener, routes: Router) {
    let routes = routes.fallback(|| async { StatusCode::NOT_FOUND }).layer(CatchPanicLayer::new());
    while let Some((stream, peer)) = accept(&core, &listener).await {
        welcome(&core, stream, peer, which, &routes);
    }
}

/// The next connection to a listener; `None` once the gateway stops.
async fn accept(core: &Core, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.stopping.cancelled() => return None,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                // Out of descriptors, most likely: some will be given back.
                let at = listener.local_addr().ok().map(tracing::field::display);
                tracing::warn!(%error, at, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn welcome(
    core: &Arc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    which: Listener,
    routes: &Router,
) {
    let proxied = core.config.listen.proxies.iter().any(|network| network.contains(peer.ip()));
    let connection = match which {
        Listener::Client => core.admission.take_connection(),
        Listener::Admin => core.admission.take_operator_connection(),
    };
    let permits = connection.and_then(|connection| {
        // A proxy's connections are counted by whom they are for, once that is known.
        let socket = match which {
            Listener::Client if !proxied => Some(core.admission.take_socket(peer.ip())?),
            Listener::Client | Listener::Admin => None,
        };
        Ok((connection, socket))
    });
    let (permit, socket) = match permits {
        Ok(permits) => permits,
        Err(denied) => {
            if let Ok(place) = SENT_AWAY.try_acquire() {
                core.tracker.spawn(async move {
                    send_away(stream, denied.into()).await;
                    drop(place);
                });
            }
            return;
        }
    };
    let _ = stream.set_nodelay(true);
    let transport = Transport::from(stream);
    transport.give_up_after(UNREAD);
    let connection = Connection::new(peer.ip(), peer, permit, socket);
    let (served, routes) = (core.clone(), routes.clone());
    core.tracker.spawn(async move {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            answer(&served, &connection, proxied, request.map(Body::new), routes.clone())
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(served.config.listen.header_timeout.get())
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(transport), service)
            .with_upgrades();
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = served.stopping.cancelled() => {
                serving.as_mut().graceful_shutdown();
                tokio::time::timeout(LAST_ANSWER, serving).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection broke");
        }
    });
}

async fn answer(
    core: &Arc<Core>,
    connection: &Connection,
    proxied: bool,
    request: Request<Body>,
    routes: Router,
) -> Result<Response<Body>, Infallible> {
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        // Where a proxy went by a length that was said beside it, the rest of this body would be
        // read as somebody else's request. hyper hides whether there was one.
        let refusal =
            Refusal::BadRequest("a body comes with its Content-Length, not in chunks".into());
        return Ok(([(header::CONNECTION, "close")], refusal).into_response());
    }
    let mut connection = connection.clone();
    if proxied {
        let address =
            forwarded_for(&core.config.listen.proxies, connection.address, request.headers());
        connection.address = address;
        match core.admission.take_socket(address) {
            // Held while this request is answered, or until it has authenticated.
            Ok(permit) => connection.unauthenticated = Arc::new(Mutex::new(Some(permit))),
            Err(denied) => return Ok(Refusal::from(denied).into_response()),
        }
    }
    Ok(respond(connection, request, routes).await)
}

/// Answers a request in time, with what every answer has.
async fn respond(
    connection: Connection,
    mut request: Request<Body>,
    routes: Router,
) -> Response<Body> {
    request.extensions_mut().insert(ConnectInfo(connection.peer));
    request.extensions_mut().insert(connection);
    let mut response = match tokio::time::timeout(ANSWER, routes.oneshot(request)).await {
        Ok(Ok(response)) => as_problem(response),
        Ok(Err(never)) => match never {},
        Err(_) => {
            let close = [(header::CONNECTION, "close")];
            as_problem((StatusCode::REQUEST_TIMEOUT, close).into_response())
        }
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whom the configured proxies speak for: the last address in `X-Forwarded-For` that is not a proxy
/// of ours. What stands before it, anybody could have written. Where they name nobody, it is the
/// one of them that does not: nobody goes uncounted.
#[must_use]
pub fn forwarded_for(proxies: &[Network], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let values = headers.get_all("x-forwarded-for").iter().rev();
    let named = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for text in named {
        let Some(address) = address_in(text) else { break };
        nearest = address;
        if !proxies.iter().any(|network| network.contains(address)) {
            break;
        }
    }
    nearest
}

/// An address, which some proxies write with a port or in brackets.
fn address_in(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

/// Tells a connection that there is no room, without spending more on it.
async fn send_away(mut stream: TcpStream, refusal: Refusal) {
    let problem = refusal.problem();
    // Serialising our own types into memory does not fail.
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let response = format!(
        "HTTP/1.1 {} {}\r\nretry-after: {}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: {PROBLEM}\r\n\r\n{body}",
        problem.status,
        problem.title,
        problem.retry_after.unwrap_or(1),
        body.len(),
    );
    let word = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        // A request that comes after it is closed would take the answer back.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LAST_WORD, word).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_whose_request_it_is() {
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let of = |lines: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(line).unwrap());
            }
            forwarded_for(&proxies, IpAddr::from([10, 0, 0, 1]), &headers).to_string()
        };
        assert_eq!(of(&[b"203.0.113.7"]), "203.0.113.7");
        assert_eq!(of(&[b"1.1.1.1, 203.0.113.7"]), "203.0.113.7", "a forged head");
        assert_eq!(of(&[b"1.1.1.1", b"203.0.113.7"]), "203.0.113.7", "a line of its own");
        assert_eq!(of(&[b"1.1.1.1, 203.0.113.7,10.9.9.9", b"fd00::7"]), "203.0.113.7");
        assert_eq!(of(&[b"\xff\xfe, 203.0.113.7"]), "203.0.113.7", "a head that is no text");
        for text in ["203.0.113.7:4711", "[2001:db8::7]:4711", "[2001:db8::7]", "2001:db8::7"] {
            let address = address_in(text.as_bytes()).unwrap().to_string();
            assert!(["203.0.113.7", "2001:db8::7"].contains(&address.as_str()), "{text}");
        }
    }

    #[test]
    fn whom_the_proxies_do_not_name_is_counted_with_them() {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let of = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
            forwarded_for(&proxies, IpAddr::from([10, 0, 0, 1]), &headers).to_string()
        };
        assert_eq!(of("10.2.2.2, 10.3.3.3"), "10.2.2.2", "a client among the proxies");
        assert_eq!(of("203.0.113.7, unknown"), "10.0.0.1");
        assert_eq!(of("203.0.113.7, unknown, 10.3.3.3"), "10.3.3.3");
        assert_eq!(of(""), "10.0.0.1");
    }
}
