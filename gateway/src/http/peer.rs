//! The peer listener: where other gateways pass on what is about sessions that this one keeps, and ask
//! for what only it knows. They are known by certificates, and believed: where a client calls from, and
//! what a client that follows its session was let in for.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shellgate_protocol::SessionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_http::catch_panic::CatchPanicLayer;

use super::elsewhere::{AUTHENTICATED, FORWARDED_FOR};
use super::view::Live;
use super::{Connection, accept, client_routes, following, respond};
use crate::authority::Authorities;
use crate::core::Core;
use crate::session::keeper::Message;
use crate::stopping::{self, StopHere};
use crate::transport::{Transport, keep_alive};

/// How long another gateway may take for its handshake, and for a request's headers.
const STEP: Duration = Duration::from_secs(5);

/// Serves the listener until the gateway stops.
pub async fn serve(core: Arc<Core>, listener: TcpListener, authorities: Arc<Authorities>) {
    let routes = Router::new()
        .route("/peer/dead", post(dead))
        .route("/peer/taken", post(taken))
        .route("/peer/stop", post(stop))
        .route("/peer/live", post(live))
        .route("/peer/follow", get(following::arrives))
        .with_state(core.clone())
        .merge(client_routes(&core))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(CatchPanicLayer::new());
    while let Some((stream, peer)) = accept(&core, &listener).await {
        match authorities.peer_server() {
            Ok(tls) => {
                let tls = TlsAcceptor::from(tls);
                core.tracker.spawn(welcome(core.clone(), stream, peer, tls, routes.clone()));
            }
            Err(error) => tracing::error!(%error, "other gateways can't be heard"),
        }
    }
}

async fn welcome(
    core: Arc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    routes: Router,
) {
    let Ok(permit) = core.admission.take_peer_connection() else { return };
    let _ = stream.set_nodelay(true);
    keep_alive(&stream);
    let stream = match timeout(STEP, tls.accept(Transport::of_link(stream))).await {
        Ok(Ok(stream)) => Transport::from(stream),
        Ok(Err(error)) => {
            tracing::warn!(%error, %peer, "who called is no gateway of this deployment");
            return;
        }
        Err(_) => return,
    };
    let connection = Connection::new(peer.ip(), peer, permit, None);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (connection, routes) = (connection.clone(), routes.clone());
        async { Ok::<_, Infallible>(answer(connection, request.map(Body::new), routes).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(STEP)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        _ = serving => {}
        // What it asked for, it asks somebody else.
        () = core.stopping.cancelled() => {}
    }
}

async fn answer(
    mut connection: Connection,
    request: Request<Body>,
    routes: Router,
) -> Response<Body> {
    if let Some(address) = forwarded_for(request.headers()) {
        connection.address = address;
    }
    let authenticated = connection.has_authenticated.clone();
    let mut response = respond(connection, request, routes).await;
    if authenticated.load(Ordering::Acquire) {
        response.headers_mut().insert(AUTHENTICATED, HeaderValue::from_static("yes"));
    }
    response
}

/// Whom another gateway passes a request on for.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(FORWARDED_FOR)?.to_str().ok()?.parse().ok()
}

/// Another gateway has declared one dead, which was here: maybe this one.
async fn dead(State(core): State<Arc<Core>>, Json(gateway): Json<String>) -> Json<()> {
    if gateway == core.store.gateway() {
        core.peers.lose();
    }
    Json(())
}

/// Another gateway keeps a session that this one has kept.
async fn taken(State(core): State<Arc<Core>>, Json(id): Json<SessionId>) -> Json<()> {
    if let Some(handle) = core.registry.get(id) {
        // One that is too busy finds out with the next that it stores.
        let _ = handle.keeper.clone().try_send(Message::Taken);
    }
    Json(())
}

/// Whether it was heard.
async fn stop(State(core): State<Arc<Core>>, Json(wish): Json<StopHere>) -> Json<bool> {
    Json(stopping::here(&core, &wish).await)
}

/// What only their keepers know, of those of these sessions that have one here.
async fn live(
    State(core): State<Arc<Core>>,
    Json(ids): Json<Vec<SessionId>>,
) -> Json<Vec<(SessionId, Live)>> {
    let known = |id| Some((id, Live::of(&core.registry.get(id)?)));
    Json(ids.into_iter().filter_map(known).collect())
}
