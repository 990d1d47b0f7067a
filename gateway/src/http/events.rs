//! A session's life as server-sent events (WHATWG HTML, section 9.2): what it is, each time that
//! changes. Knows no bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use shellgate_protocol::SessionId;
use tokio::time::sleep;
use tokio_stream::wrappers::WatchStream;

use super::caller::{Caller, Found, InPath, Wish, session};
use super::document::refusals;
use super::elsewhere::{Head, keeper, relay};
use super::view::{Live, view_of};
use crate::core::Core;
use crate::refusal::Refusal;

/// How often a quiet stream says that it lives, so that proxies keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often the gateway is looked for to which a session has gone, and the pause between.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// A stream of events that goes on wherever its session goes.
pub(super) struct Feed {
    pub core: Arc<Core>,
    pub id: SessionId,
    /// The request that it answers.
    pub head: Head,
    /// Who answers it where the session is here.
    pub here: Next,
}

impl Feed {
    /// The whole of it, which begins with this.
    pub fn follow(self, first: Body) -> Body {
        let followed = stream::unfold((self, first, false), async |(feed, mut body, mut ended)| {
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        ended |= frame.data_ref().is_some_and(|data| tells_the_end(data));
                        return Some((Ok::<_, axum::Error>(frame), (feed, body, ended)));
                    }
                    // It is over, or breaks off: where the session goes on, it does as well.
                    Some(Err(_)) | None if ended => return None,
                    Some(Err(_)) | None => body = Box::pin(feed.next_part()).await?,
                }
            }
        });
        Body::new(StreamBody::new(followed))
    }

    /// The events as the gateway has them that keeps the session by now.
    async fn next_part(&self) -> Option<Body> {
        let Self { core, id, head, here } = self;
        for _ in 0..LOOKS {
            // Also before the first look: a part that is over at once is no loop that runs hot.
            sleep(LOOK_AGAIN).await;
            if core.stopping.is_cancelled() {
                return None;
            }
            // Nobody keeps what has ended.
            let gateway = core.store.keeper_of(*id).await.ok()?;
            let answer = if gateway.is_none() || core.registry.get(*id).is_some() {
                Some(here.clone().run(head.again()).await)
            } else if gateway.as_deref() != Some(core.store.gateway()) {
                let call = keeper(core, *id, &head.headers, head.connection()).await;
                match call {
                    Some((call, descriptor)) => {
                        Some(relay(core, call, descriptor, head.again()).await)
                    }
                    None => None,
                }
            } else {
                None
            };
            if let Some(answer) = answer.filter(|answer| answer.status() == StatusCode::OK) {
                return Some(answer.into_body());
            }
        }
        None
    }
}

/// Whether these events, as the stream has them, have its end.
fn tells_the_end(events: &[u8]) -> bool {
    let end = b"\"state\":\"ended\"";
    events.windows(end.len()).any(|part| part == end)
}

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
