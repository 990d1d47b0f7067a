//! Requests about sessions that another gateway keeps: passed on to it as they came, and its answer
//! back, a WebSocket included. Who may do what is settled there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use shellgate_protocol::SessionId;
use tokio::time::{sleep, timeout};

use super::{Connection, events};
use crate::admission::DialPermit;
use crate::auth::bearer;
use crate::auth::ticket::{Offer, offered};
use crate::clock;
use crate::core::Core;
use crate::peers::call::Call;
use crate::peers::tunnel::carry;
use crate::websocket::{UNREAD, bare};

/// Whom a request is for, as one gateway tells another.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In an answer from one gateway to another: the caller has shown who they are.
pub(super) const AUTHENTICATED: HeaderName = HeaderName::from_static("x-shellgate-authenticated");

/// How long both ends of a WebSocket may take to switch protocols.
const SWITCH: Duration = Duration::from_secs(5);

/// The longest that clients stay connected through a gateway that leaves. They come back at once, by
/// another one.
const LEAVING: Duration = Duration::from_millis(1500);

/// These routes, for the sessions of all gateways.
pub fn anywhere(core: &Arc<Core>, routes: Router) -> Router {
    routes.layer(from_fn_with_state(core.clone(), pass_on))
}

async fn pass_on(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    if !core.store.is_shared() {
        return next.run(request).await;
    }
    let path = request.uri().path();
    let followed = path.strip_suffix("/events").and_then(about).map(|id| (id, Head::of(&request)));
    // The gateway that keeps a session is asked for only where there are others to keep it.
    let call = match about(request.uri().path()) {
        Some(id) if core.peers.has_others() && core.registry.get(id).is_none() => {
            let connection = request.extensions().get::<Connection>().cloned();
            Box::pin(keeper(&core, id, request.headers(), connection)).await
        }
        Some(_) | None => None,
    };
    let answer = match call {
        Some((call, descriptor)) => Box::pin(relay(&core, call, descriptor, request)).await,
        None => next.clone().run(request).await,
    };
    match followed {
        Some((id, head)) if answer.status() == StatusCode::OK => {
            let feed = events::Feed { core, id, head, here: next };
            answer.map(|body| feed.follow(body))
        }
        Some(_) | None => answer,
    }
}

/// A request without its body, to be made again.
pub(super) struct Head {
    uri: Uri,
    pub headers: HeaderMap,
    /// What its route made of its path, and its connection.
    extensions: Extensions,
}

impl Head {
    fn of(request: &Request) -> Self {
        Self {
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
        }
    }

    pub fn connection(&self) -> Option<Connection> {
        self.extensions.get().cloned()
    }

    pub fn again(&self) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        request
    }
}

/// The session that a request is about whose keeper must answer it.
fn about(path: &str) -> Option<SessionId> {
    let rest = path.strip_prefix("/v1/sessions/")?;
    let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
    // A ticket needs only the store.
    matches!(what, "" | "attach" | "events").then(|| id.parse().ok()).flatten()
}

/// A connection to the gateway that keeps a session, where it is another one that can be reached.
pub(super) async fn keeper(
    core: &Core,
    id: SessionId,
    headers: &HeaderMap,
    connection: Option<Connection>,
) -> Option<(Call, DialPermit)> {
    if !is_credible(core, headers, connection).await {
        return None;
    }
    let gateway = match core.store.keeper_of(id).await {
        Ok(gateway) => gateway.filter(|gateway| gateway != core.store.gateway())?,
        Err(error) => {
            tracing::warn!(session = %id, %error, "nobody knows who keeps it");
            return None;
        }
    };
    let descriptor = core.admission.take_dial().ok()?;
    match Call::to(core, &gateway).await {
        Ok(call) => Some((call, descriptor)),
        Err(error) => {
            // Its bridge comes to another one, and so will the client.
            tracing::info!(session = %id, gateway, %error, "its gateway is not reached");
            None
        }
    }
}

/// Whether it is worth asking anybody: who has no good token is told so here.
async fn is_credible(core: &Core, headers: &HeaderMap, connection: Option<Connection>) -> bool {
    match bearer(headers) {
        Ok(Some(token)) => {
            let verified = core.verifier.verify(token, SystemTime::now()).await.is_ok();
            if verified && let Some(connection) = connection {
                connection.authenticated();
            }
            verified
        }
        Ok(None) => matches!(offered(headers), Ok(Offer::Framed { ticket: Some(_) })),
        Err(_) => false,
    }
}

/// Passes a request on, and the answer back.
pub(super) async fn relay(
    core: &Arc<Core>,
    call: Call,
    descriptor: DialPermit,
    mut request: Request,
) -> Response {
    let failed = || {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    };
    let client = request.extensions_mut().remove::<OnUpgrade>();
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return failed();
    };
    let address = HeaderValue::try_from(connection.address.to_string());
    let Ok(address) = address else { return failed() };
    request.headers_mut().insert(FORWARDED_FOR, address);
    let mut answer = match call.send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::info!(%error, "another gateway did not answer");
            return failed();
        }
    };
    if answer.headers_mut().remove(AUTHENTICATED).is_some() {
        connection.authenticated();
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let peer = hyper::upgrade::on(&mut answer);
        let tunnel = tunnel(core.clone(), client, peer);
        let held = (connection, descriptor, core.peers.pass());
        core.tracker.spawn(async move {
            tunnel.await;
            drop(held);
        });
        return answer.map(Body::new);
    }
    // Held as long as its answer lasts, which may be a stream of events.
    let held = (descriptor, core.peers.pass());
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &held;
            frame
        }))
    })
}

/// Carries a WebSocket's bytes until it ends, or this gateway leaves.
async fn tunnel(core: Arc<Core>, client: OnUpgrade, peer: OnUpgrade) {
    let both = timeout(SWITCH, async { tokio::join!(client, peer) });
    let Ok((Ok(client), Ok(peer))) = both.await else { return };
    let (Some(client), Some(peer)) = (bare(client), bare(peer)) else { return };
    client.0.give_up_after(UNREAD);
    tokio::select! {
        carried = carry(client, peer) => {
            if let Err(error) = carried {
                tracing::debug!(%error, "a client's connection by another gateway broke");
            }
        }
        () = async {
            core.stopping.cancelled().await;
            sleep(clock::chance(LEAVING)).await;
        } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_sessions_keeper_knows_is_asked_of_it() {
        let id = "ses_0198c70000007000800000000000000a";
        for (what, expected) in [
            ("", true),
            ("/attach", true),
            ("/events", true),
            ("/tickets", false),
            ("/attach/", false),
            ("x", false),
        ] {
            assert_eq!(about(&format!("/v1/sessions/{id}{what}")).is_some(), expected, "{what}");
        }
        assert!(about("/v1/sessions").is_none() && about("/").is_none());
    }
}
