//! The admin listener: health, and figures in Prometheus' text format. Knows no users.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::core::Core;
use crate::refusal::Refusal;
use crate::session::State as SessionState;

/// The routes.
pub fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether new sessions can be taken: the store answers, and the gateway is not leaving.
async fn ready(State(core): State<Arc<Core>>) -> Result<&'static str, Refusal> {
    if core.stopping.is_cancelled() {
        return Err(Refusal::GoingAway);
    }
    core.store.check().await?;
    Ok("ok\n")
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    let states = [
        SessionState::Starting,
        SessionState::Live,
        SessionState::Severed,
        SessionState::Stopping,
        SessionState::Ended,
    ];
    let mut counts = [0u64; 5];
    let (mut drivers, mut observers) = (0u64, 0u64);
    for (_, handle) in core.registry.all() {
        let state = handle.view.borrow().record.life.state;
        for (count, counted) in counts.iter_mut().zip(states) {
            *count += u64::from(state == counted);
        }
        drivers += u64::from(handle.activity.driver.load(Ordering::Relaxed));
        observers += u64::from(handle.activity.observers.load(Ordering::Relaxed));
    }
    let taken = core.admission.taken();
    let mut text = String::from(
        "# HELP shellgate_sessions Sessions on this gateway that have not ended.\n\
         # TYPE shellgate_sessions gauge\n",
    );
    for (count, state) in counts.iter().zip(states).filter(|(_, s)| *s != SessionState::Ended) {
        let _ = writeln!(text, "shellgate_sessions{{state=\"{}\"}} {count}", state.as_str());
    }
    let _ = write!(
        text,
        "# HELP shellgate_attachments Clients attached.\n\
         # TYPE shellgate_attachments gauge\n\
         shellgate_attachments{{role=\"driver\"}} {drivers}\n\
         shellgate_attachments{{role=\"observer\"}} {observers}\n\
         # HELP shellgate_connections Connections to the client and admin listeners.\n\
         # TYPE shellgate_connections gauge\n\
         shellgate_connections {}\n",
        taken.connections
    );
    if core.store.is_shared() {
        let (others, passing) = (core.peers.others(), core.peers.passing());
        let _ = write!(
            text,
            "# HELP shellgate_other_gateways Gateways that share the store, besides this one.\n\
             # TYPE shellgate_other_gateways gauge\n\
             shellgate_other_gateways {others}\n\
             # HELP shellgate_passed_on Clients of sessions that other gateways keep.\n\
             # TYPE shellgate_passed_on gauge\n\
             shellgate_passed_on {passing}\n",
        );
    }
    let usage = core.room.usage();
    if !usage.is_empty() {
        text.push_str(
            "# HELP shellgate_access_points Access points of a file system, which takes about 10,000.\n\
             # TYPE shellgate_access_points gauge\n",
        );
    }
    for of in &usage {
        let (id, count) = (&of.file_system, of.access_points);
        let _ = writeln!(text, "shellgate_access_points{{file_system=\"{id}\"}} {count}");
    }
    if !usage.is_empty() {
        text.push_str(
            "# HELP shellgate_file_system_bytes What a file system holds, as it was metered last.\n\
             # TYPE shellgate_file_system_bytes gauge\n",
        );
    }
    for of in &usage {
        let (id, bytes) = (&of.file_system, of.bytes);
        let _ = writeln!(text, "shellgate_file_system_bytes{{file_system=\"{id}\"}} {bytes}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
