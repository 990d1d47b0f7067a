//! The task listener of a network: one port for every session whose task dials over a network,
//! within TLS. It serves `/internal/task/{session}` and nothing else, and says as little as it can
//! to whom it does not know.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use dashmap::DashMap;
use rustls::ServerConfig;
use shellgate_protocol::SessionId;
use shellgate_protocol::enrolment::{BINDING_LABEL, Bytes32};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::elsewhere::{self, Known};
use super::{Caller, DIALS_PER_SECOND, Door, STEP, serve_call, session_of, status};
use crate::admission::DialPermit;
use crate::core::Core;
use crate::http::accept;
use crate::relay::Budget;
use crate::transport::Transport;

/// Addresses whose calls are counted at the same time. Beyond, somebody new has to wait until
/// somebody else has been quiet.
const ADDRESSES_MAX: usize = 8192;

/// Calls at one time whose sessions have no keeper here. Each costs the store some questions.
const STRANGERS_MAX: usize = 128;

/// The sessions that this listener knows.
pub struct Doors {
    known: DashMap<SessionId, Arc<Door>>,
    /// Those that have no keeper here, while somebody calls for them: they share their turns.
    unkept: DashMap<SessionId, Weak<Door>>,
    strangers: Arc<Semaphore>,
}

impl Default for Doors {
    fn default() -> Self {
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        Self { known: DashMap::default(), unkept: DashMap::default(), strangers }
    }
}

impl Doors {
    /// The door of a session that has no keeper here; this one, where there is none yet.
    fn unkept(&self, door: Arc<Door>) -> Arc<Door> {
        self.unkept.retain(|_, door| door.strong_count() > 0);
        let mut place = self.unkept.entry(door.id).or_default();
        place.upgrade().unwrap_or_else(|| {
            *place = Arc::downgrade(&door);
            door
        })
    }
}

/// A session that this listener knows, until this is dropped.
pub struct Entry(Arc<Door>);

impl Entry {
    pub(super) fn add(door: Arc<Door>) -> Self {
        door.core.doors.known.insert(door.id, door.clone());
        Self(door)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A newer one of the same session stays.
        let is_this = |_: &SessionId, door: &Arc<Door>| Arc::ptr_eq(door, &self.0);
        self.0.core.doors.known.remove_if(&self.0.id, is_this);
    }
}

/// How often each address may call.
struct Purses {
    of: HashMap<IpAddr, Budget>,
    began: Instant,
}

impl Purses {
    fn spend(&mut self, address: IpAddr) -> bool {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.of.len() >= ADDRESSES_MAX && !self.of.contains_key(&address) {
            self.of.retain(|_, purse| !purse.is_full(now_ms));
            if self.of.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let new = || Budget::new(DIALS_PER_SECOND, now_ms);
        self.of.entry(address).or_insert_with(new).take(now_ms)
    }
}

/// Serves the listener until the gateway stops.
pub async fn serve(core: Arc<Core>, listener: TcpListener, tls: Arc<ServerConfig>) {
    let tls = TlsAcceptor::from(tls);
    let mut purses = Purses { of: HashMap::new(), began: Instant::now() };
    while let Some((stream, peer)) = accept(&core, &listener).await {
        let address = peer.ip().to_canonical();
        // Where addresses tell nothing, many tasks may share one.
        let own = core.config.tasks.check_address.then_some(address);
        if own.is_some_and(|own| !purses.spend(own)) {
            continue;
        }
        let Ok(permit) = core.admission.take_call(own) else { continue };
        core.tracker.spawn(welcome(core.clone(), stream, address, tls.clone(), permit));
    }
}

async fn welcome(
    core: Arc<Core>,
    stream: TcpStream,
    address: IpAddr,
    tls: TlsAcceptor,
    permit: DialPermit,
) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(STEP, tls.accept(Transport::of_link(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, %address, "a call that is no TLS, or that does not trust us");
            return;
        }
        Err(_) => return,
    };
    let (_, channel) = stream.get_ref();
    // Never fails once hands are shaken.
    let Ok(binding) = channel.export_keying_material([0; 32], BINDING_LABEL, Some(&[])) else {
        return;
    };
    let (binding, permit) = (Bytes32(binding), Arc::new(permit));
    let serving = serve_call(Transport::from(stream), |request| {
        let (core, permit) = (core.clone(), permit.clone());
        async move {
            let mut answer = answer(&core, request, address, binding, &permit).await;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                // There is nothing else to ask for here.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
    });
    serving.await;
}

async fn answer(
    core: &Arc<Core>,
    request: Request<Body>,
    address: IpAddr,
    binding: Bytes32,
    permit: &Arc<DialPermit>,
) -> Response<Body> {
    // Sessions that leave this gateway are not over: nobody shall be told that they are unknown.
    if core.stopping.is_cancelled() {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some(id) = session_of(request.uri().path()) else {
        return status(StatusCode::NOT_FOUND);
    };
    let known = core.doors.known.get(&id).map(|door| door.clone());
    let mut stranger = None;
    let door = match known {
        Some(door) => door,
        None if !core.store.is_shared() => return status(StatusCode::NOT_FOUND),
        None => {
            stranger = core.doors.strangers.clone().try_acquire_owned().ok();
            if stranger.is_none() {
                return status(StatusCode::SERVICE_UNAVAILABLE);
            }
            match elsewhere::look(core, id).await {
                Ok(Known::Door(door)) => core.doors.unkept(door),
                Ok(Known::No) => return status(StatusCode::NOT_FOUND),
                Ok(Known::Later) => return status(StatusCode::SERVICE_UNAVAILABLE),
                Err(error) => {
                    tracing::warn!(session = %id, %error, "nobody knows whose it is");
                    return status(StatusCode::SERVICE_UNAVAILABLE);
                }
            }
        }
    };
    let turns = if door.home.is(address) { &door.bridge } else { &door.others };
    let place = turns.spend(door.now_ms()).then(|| turns.place()).flatten();
    let Some((place, _)) = place else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let (binding, permit) = (Some(binding), Some(permit.clone()));
    let caller = Caller {
        binding,
        address: Some(address),
        _place: place,
        _permit: permit,
        _stranger: stranger,
    };
    door.answer(request, &Arc::new(caller)).await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_calls_without_end_is_not_heard_and_takes_nothing_from_others() {
        let mut purses = Purses { of: HashMap::new(), began: Instant::now() };
        let heard = (0..1000).filter(|_| purses.spend(address(1))).count();
        assert_eq!(heard, 10 * DIALS_PER_SECOND as usize);
        assert!(purses.spend(address(2)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let heard = (0..1000).filter(|_| purses.spend(address(1))).count();
        assert_eq!(heard, DIALS_PER_SECOND as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_addresses_are_kept_than_have_called_of_late() {
        let mut purses = Purses { of: HashMap::new(), began: Instant::now() };
        assert!((0..ADDRESSES_MAX).all(|number| purses.spend(address(number))));
        assert!(!purses.spend(address(ADDRESSES_MAX)));
        assert!(purses.spend(address(0)), "who is counted already");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(purses.spend(address(ADDRESSES_MAX)));
        assert_eq!(purses.of.len(), 1);
    }
}
