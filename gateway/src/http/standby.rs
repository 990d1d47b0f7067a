//! The admin listener of a gateway that waits for its store: it lives, and is not ready. Knows not what
//! it waits for, only the words.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Connections at one time. More wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long one of them may last.
const CONNECTION: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub async fn serve(listener: &TcpListener, waiting: &watch::Receiver<String>) -> Infallible {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(timeout(CONNECTION, answer(stream, waiting.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(stream: TcpStream, waiting: watch::Receiver<String>) {
    let not_ready = move || {
        let words = format!("not ready: {}\n", waiting.borrow().as_str());
        async { (StatusCode::SERVICE_UNAVAILABLE, words) }
    };
    let routes: Router =
        Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(not_ready));
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        routes.clone().oneshot(request.map(Body::new))
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection broke");
    }
}
