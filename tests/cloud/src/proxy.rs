//! The HTTP/1.1 front: names each call, lets the script decide what becomes of it, and hands the rest
//! to moto. Knows neither what the calls mean nor what they do.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::moto::Moto;
use crate::operation;
use crate::{Fault, Faults};

/// Largest request, in bytes: AWS takes task definitions of 64 KiB.
pub(crate) const LARGEST: usize = 1 << 20;

/// Connections at once. More wait in the kernel's queue.
const CONNECTIONS: usize = 512;

/// Longest that a connection may stay without a request.
const HEADERS: Duration = Duration::from_secs(60);

/// What the operation names and paths are written to.
pub(crate) const TARGET: &str = "x-amz-target";

/// The proxy.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) faults: Arc<Faults>,
    pub(crate) moto: Moto,
    pub(crate) changes: Arc<Changes>,
}

/// That tasks may have been started or told to stop, for who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) starts: watch::Sender<()>,
    pub(crate) stops: watch::Sender<()>,
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed as the test says")
    }
}

impl std::error::Error for Closed {}

impl Proxy {
    /// Answers until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) -> io::Result<Infallible> {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let tracker = TaskTracker::new();
        loop {
            let permit =
                Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let proxy = self.clone();
            tracker.spawn(async move {
                let _permit = permit;
                let service = service_fn(|request| proxy.answer(request));
                // A connection that breaks is the script's doing or the caller's.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|_| Closed)?.to_bytes();
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let target = header(TARGET);
        let Some(action) = operation::name(head.method.as_str(), path, target) else {
            let what = format!("{} {path} {}", head.method, target.unwrap_or_default());
            return Ok(refusal(404, "UnknownOperationException", &what));
        };
        if header(AUTHORIZATION.as_str()).is_none_or(|how| !how.starts_with("AWS4-HMAC-SHA256 ")) {
            let message = "The request is not signed.";
            return Ok(refusal(403, "MissingAuthenticationTokenException", message));
        }
        let asked = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let fault = self.faults.of(&action, path, asked);
        match &fault {
            None | Some(Fault::LoseAnswer | Fault::StallAnswer) => {}
            Some(Fault::Drop) => return Err(Closed),
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Answer(answer)) => return Ok(response(200, None, answer.to_string())),
            Some(Fault::Error { status, code, message }) => {
                return Ok(refusal(*status, code, message));
            }
            Some(Fault::Throttle) => {
                let status = if action.starts_with("elasticfilesystem:") { 429 } else { 400 };
                return Ok(refusal(status, "ThrottlingException", "Rate exceeded"));
            }
        }
        let headers: serde_json::Map<String, Value> = [TARGET, "authorization", "content-type"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), json!(header(name)?))))
            .collect();
        let asked = json!({
            "method": head.method.as_str(), "path": path, "headers": headers,
            "body": String::from_utf8_lossy(&body),
        });
        let answer = self.moto.ask("aws", asked).await;
        match action.as_str() {
            "ecs:RunTask" => self.changes.starts.send_replace(()),
            "ecs:StopTask" => self.changes.stops.send_replace(()),
            _ => {}
        }
        match fault {
            Some(Fault::StallAnswer) => std::future::pending().await,
            Some(_) => Err(Closed),
            None => Ok(match answer {
                Ok(answer) => {
                    let status = answer["status"].as_u64().and_then(|s| u16::try_from(s).ok());
                    let body = answer["body"].as_str().unwrap_or_default().to_owned();
                    response(status.unwrap_or(500), answer["code"].as_str(), body)
                }
                Err(failed) => refusal(500, "InternalFailure", &failed),
            }),
        }
    }
}

pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Response<Full<Bytes>> {
    // Each service has names of its own for the same.
    let body = json!({
        "__type": code, "message": message, "ErrorCode": code, "Message": message,
    });
    response(status, Some(code), body.to_string())
}

pub(crate) fn response(status: u16, code: Option<&str>, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .header("x-amzn-requestid", uuid::Uuid::new_v4().to_string());
    if let Some(code) = code {
        response = response.header("x-amzn-errortype", code);
    }
    response.body(Full::from(body)).expect("its headers are plain")
}
