//! A session's life as server-sent events (WHATWG HTML, section 9.2): what it is, each time that
//! changes. Knows no bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;

use super::caller::{Caller, Found, InPath, Wish, session};
use super::document::refusals;
use super::view::{Live, view_of};
use crate::core::Core;
use crate::refusal::Refusal;

/// How often a quiet stream says that it lives, so that proxies keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follow a session: an event `state` with the session each time that it changes, until it has
/// ended or the token runs out.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/events",
    params(InPath),
    responses(
        (
            status = 200,
            description = "Server-sent events (WHATWG HTML, section 9.2) named `state`. The data \
                of each is the session as JSON, a `SessionView`; a comment keeps a quiet stream.",
            content_type = "text/event-stream", body = String,
            example = "event: state\ndata: {\"id\":\"ses_0198c70000007000800000000000000a\", …}\n\n",
        ),
        refusals::OfSession,
        refusals::Quota,
    )
)]
pub async fn stream(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    InPath(id): InPath,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Found { record, handle } = session(&core, &identity, id, Wish::Read).await?;
    let permit = core.admission.take_stream(&identity.user.key())?;
    let operator = identity.scopes.is_operator();
    let stopping = core.stopping.clone();
    let over = core.grace_after(identity.expires_at);
    let changes = match handle {
        Some(handle) => WatchStream::new(handle.view.clone())
            .map(move |view| view_of(&core, &view.record, Some(&Live::of(&handle)), operator))
            .left_stream(),
        None => {
            let shown = view_of(&core, &record, None, operator);
            futures_util::stream::once(async { shown }).right_stream()
        }
    };
    let events = changes
        .take_until(stopping.cancelled_owned())
        .take_until(tokio::time::sleep_until(over))
        .map(move |shown| {
            // Given back with the stream.
            let _permit = &permit;
            Ok(Event::default().event("state").json_data(&shown).unwrap_or_default())
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
