//! A call to another gateway: a request, passed on or of this gateway's own, within TLS in which both
//! show a certificate. Knows no route.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::authority::{Authorities, AuthorityError, PEER};
use crate::core::{Core, Way};
use crate::store::{Registered, StoreError};
use crate::transport::{Transport, keep_alive};

/// How long another gateway may take to take a call.
const CONNECT: Duration = Duration::from_secs(3);

/// How long it may take to answer a question of this gateway's own.
const ANSWER: Duration = Duration::from_secs(3);

/// How often a gateway that was declared dead is told so, as long as it does not hear it.
const TELLINGS: u32 = 5;

/// Largest answer to such a question, in bytes.
const ANSWER_MAX: usize = 256 * 1024;

/// Why another gateway was not reached, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// This gateway has no peers: it lives alone.
    #[error("this gateway calls no others")]
    Alone,
    /// It is not registered any more.
    #[error("that gateway is gone")]
    Gone,
    /// Nobody knows where it is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What TLS needs can't be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The network, or what is at its other end.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It speaks no HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It answered something else than was asked for.
    #[error("it answered {0}")]
    Answer(String),
    /// It is too slow.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// A connection to another gateway, for one request.
pub struct Call(http1::SendRequest<Body>);

impl Call {
    /// Calls a gateway.
    ///
    /// # Errors
    /// [`CallError`]: nothing was asked then.
    pub async fn to(core: &Core, gateway: &str) -> Result<Self, CallError> {
        let address = match core.peers.address_of(gateway) {
            Some(address) => address,
            None => newcomer(core, gateway).await?,
        };
        let Way::Network { authorities, .. } = &core.way else { return Err(CallError::Alone) };
        Self::at(authorities, &core.tracker, &address).await
    }

    async fn at(
        authorities: &Authorities,
        tracker: &TaskTracker,
        address: &str,
    ) -> Result<Self, CallError> {
        let tls = TlsConnector::from(authorities.peer_client()?);
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            keep_alive(&stream);
            let name = ServerName::try_from(PEER).map_err(std::io::Error::other)?;
            let stream = tls.connect(name, Transport::of_link(stream)).await?;
            let stream = TokioIo::new(Transport::from(stream));
            Ok::<_, CallError>(http1::handshake(stream).await?)
        };
        let connected = timeout(CONNECT, connecting).await.map_err(|_| CallError::Late(CONNECT))?;
        let (sender, connection) = connected?;
        tracker.spawn(async move {
            // Its end is the answer's.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self(sender))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`CallError`]: it may have been heard.
    pub async fn send(mut self, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        Ok(self.0.send_request(request).await?)
    }
}

/// Where a gateway is that has just come: it was not there when this one looked.
async fn newcomer(core: &Core, gateway: &str) -> Result<String, CallError> {
    let all = core.store.gateways().await?;
    let of = all.into_iter().find(|of| of.id == gateway);
    of.and_then(|of| of.says.address).ok_or(CallError::Gone)
}

/// Asks a gateway something, as JSON both ways.
///
/// # Errors
/// [`CallError`].
pub async fn ask<Q: Serialize, A: DeserializeOwned>(
    core: &Core,
    gateway: &str,
    path: &'static str,
    question: &Q,
) -> Result<A, CallError> {
    let asking = async {
        let _place = core.peers.askers.acquire().await;
        let full = |_| CallError::Answer("no descriptor is left".into());
        let _descriptor = core.admission.take_dial().map_err(full)?;
        put(Call::to(core, gateway).await?, path, question).await
    };
    timeout(ANSWER, asking).await.map_err(|_| CallError::Late(ANSWER))?
}

async fn put<Q: Serialize, A: DeserializeOwned>(
    call: Call,
    path: &'static str,
    question: &Q,
) -> Result<A, CallError> {
    let wrong = |why: &dyn std::fmt::Display| CallError::Answer(why.to_string());
    let body = serde_json::to_vec(question).map_err(|error| wrong(&error))?;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|error| wrong(&error))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static(PEER));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = call.send(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body: Bytes = body.map_err(|error| wrong(&error))?.to_bytes();
    if status != StatusCode::OK {
        return Err(wrong(&status));
    }
    serde_json::from_slice(&body).map_err(|error| wrong(&error))
}

/// Tells gateways that they were declared dead. One that lives, and is only cut off from the store, would
/// keep what is others' by now.
pub struct Teller {
    authorities: Arc<Authorities>,
    tracker: TaskTracker,
}

impl Teller {
    /// One who is known by this authority.
    #[must_use]
    pub fn new(authorities: Arc<Authorities>) -> Self {
        Self { authorities, tracker: TaskTracker::new() }
    }

    /// Tells this one, beside its caller.
    pub fn tell(&self, gone: &Registered) {
        let (id, Some(address)) = (gone.id.clone(), gone.says.address.clone()) else { return };
        let (authorities, tracker) = (self.authorities.clone(), self.tracker.clone());
        self.tracker.spawn(async move {
            for _ in 0..TELLINGS {
                let telling = async {
                    let call = Call::at(&authorities, &tracker, &address).await?;
                    put::<_, ()>(call, "/peer/dead", &id).await
                };
                match timeout(ANSWER, telling).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => tracing::debug!(gateway = id, %error, "it was not told"),
                    Err(_) => {}
                }
                sleep(ANSWER).await;
            }
        });
    }
}
