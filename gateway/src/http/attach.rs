//! A client's WebSocket: settles who is calling and for what, reads its `attach`, and takes it to
//! the waiting room. Knows no bytes of the session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use shellgate_protocol::client_leg::{Attach, Mode, Role};
use shellgate_protocol::frame::HEADER_LEN;
use shellgate_protocol::limits::{
    ATTACH_MAX, CONTROL_MAX, FIRST_MESSAGE_SECONDS, INPUT_FRAME_MAX, WINDOW_DEFAULT,
};
use shellgate_protocol::{
    CLIENT_SUBPROTOCOL, ClientId, CloseCode, FromClient, InputStream, Object, Offset, SessionId,
    TerminalSize,
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Connection;
use super::caller::{Found, InPath, Wish, session};
use super::document::{refusals, schemas};
use super::{following, waiting};
use crate::auth::origin::Credential;
use crate::auth::ticket::{Offer, Presented, check, offered, offers_frames};
use crate::auth::{AuthError, Identity, UserId, bearer};
use crate::core::Core;
use crate::refusal::Refusal;
use crate::relay::{Arrival, Dialect, Lines, PLAIN_MESSAGE_MAX, Progress};
use crate::session::State as SessionState;
use crate::websocket::{Largest, Opening, Socket, Upgrade, farewell};

/// Largest message of a `shellgate.v1` client, in bytes.
pub(super) const LARGEST_READ: usize = {
    let frame = HEADER_LEN + INPUT_FRAME_MAX;
    if CONTROL_MAX > frame { CONTROL_MAX } else { frame }
};

/// The route.
pub fn routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(attach))
}

/// What a plain client says in its URL.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PlainQuery {
    /// For a plain client, as all of these: columns of its terminal.
    #[param(nullable = false, minimum = 1, maximum = 1000)]
    cols: Option<u16>,
    /// Rows of its terminal.
    #[param(nullable = false, minimum = 1, maximum = 1000)]
    rows: Option<u16>,
    /// What it asks to be; `driver` where absent.
    #[param(value_type = schemas::Role, required = false)]
    role: Option<Role>,
    /// Take the session from another driver.
    #[serde(default)]
    takeover: bool,
    /// Where its output begins: by lines with all that is kept unless this says otherwise, on a
    /// terminal always with the screen as it is.
    #[param(inline, nullable = false)]
    output: Option<PlainOutput>,
}

/// Where a plain client's output begins, unless its dialect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PlainOutput {
    /// At what is printed from now on.
    Newest,
}

/// Who is calling, and what binds them.
struct Bearing {
    identity: Identity,
    /// The role that a ticket was made out for.
    role: Option<Role>,
}

/// Attach to a session by WebSocket. A client that offers `shellgate.v1` is upgraded also where it
/// is refused, and then told so by a close code; the statuses of refusals are for a plain client,
/// which offers no subprotocol.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/attach",
    params(InPath, PlainQuery),
    security(("bearer" = []), ("ticket" = [])),
    responses(
        (status = 101, description = "A WebSocket, in the dialect that was offered."),
        refusals::OfSession,
        refusals::Forbidden,
        refusals::UpgradeRequired,
        refusals::Quota,
    )
)]
async fn attach(
    State(core): State<Arc<Core>>,
    id: Result<InPath, Refusal>,
    mut request: Request<Body>,
) -> Response {
    let upgrade = match Upgrade::take(&mut request) {
        Ok(upgrade) => upgrade,
        Err(lacks) => return Refusal::NotAnUpgrade(lacks.0).into_response(),
    };
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = request.headers();
    let offer = offered(headers);
    if matches!(offer, Ok(Offer::Plain)) {
        let id = match id {
            Ok(InPath(id)) => id,
            Err(refusal) => return refusal.into_response(),
        };
        let query = request.uri().query().unwrap_or_default();
        return match plain(&core, &connection, id, headers, query).await {
            Ok((found, visit)) => {
                let written = visit.dialect.largest_message();
                let largest = Largest { read: PLAIN_MESSAGE_MAX, written };
                let (response, opening) = upgrade.accept(None, largest);
                let arriving = arrive_plain(core.clone(), connection, opening, found, visit);
                core.tracker.spawn(arriving);
                response
            }
            Err(refusal) => refusal.into_response(),
        };
    }
    if !offers_frames(headers) {
        let error = offer.err().unwrap_or(AuthError::Subprotocols("have none that is spoken here"));
        return Refusal::from(error).into_response();
    }
    // A browser can't read a refused upgrade: it is upgraded, and then told why not.
    let settled = match id {
        Ok(InPath(id)) => {
            framed(&core, &connection, id, headers, offer).await.map(|bearing| (id, bearing))
        }
        Err(refusal) => Err(refusal),
    };
    let largest = Largest { read: LARGEST_READ, written: Dialect::V1.largest_message() };
    let (response, opening) = upgrade.accept(Some(CLIENT_SUBPROTOCOL), largest);
    let tracker = core.tracker.clone();
    tracker.spawn(async move {
        let Some(socket) = opening.open().await else { return };
        match settled {
            Ok((id, bearing)) => arrive(core, connection, socket, id, bearing).await,
            Err(refusal) => refuse(socket, &refusal).await,
        }
    });
    response
}

async fn framed(
    core: &Core,
    connection: &Connection,
    id: SessionId,
    headers: &HeaderMap,
    offer: Result<Offer, AuthError>,
) -> Result<Bearing, Refusal> {
    let Offer::Framed { ticket } = offer? else {
        return Err(AuthError::Subprotocols("have none that is spoken here").into());
    };
    let now = SystemTime::now();
    let bearing = match (bearer(headers)?, ticket) {
        (Some(token), None) => {
            core.origins.decide(headers, Credential::Bearer)?;
            Bearing { identity: core.verifier.verify(token, now).await?, role: None }
        }
        (None, Some(ticket)) => {
            let origin = core.origins.decide(headers, Credential::Other)?;
            let grant = core.store.use_ticket(&ticket.hash()).await?;
            let grant = grant.ok_or(AuthError::Ticket("is unknown or used up"))?;
            check(&grant, &Presented { session: id, origin }, now)?;
            Bearing { identity: grant.holder(), role: Some(grant.role) }
        }
        (Some(_), Some(_)) => return Err(AuthError::Header("comes with a ticket").into()),
        (None, None) => return Err(AuthError::NoToken.into()),
    };
    connection.authenticated();
    Ok(bearing)
}

async fn refuse(socket: Socket, refusal: &Refusal) {
    let (_, code, reason) = refusal.wire();
    tracing::debug!(%code, error = %refusal, "a client was refused");
    farewell(socket, VecDeque::new(), code, reason.to_owned()).await;
}

async fn arrive(
    core: Arc<Core>,
    connection: Connection,
    mut socket: Socket,
    id: SessionId,
    bearing: Bearing,
) {
    let first = tokio::select! {
        first = first_message(&mut socket) => first,
        () = core.stopping.cancelled() => {
            Err((CloseCode::Restart, "the gateway is going away".to_owned()))
        }
    };
    let attach = match first {
        Ok(attach) => attach,
        Err((code, reason)) => return farewell(socket, VecDeque::new(), code, reason).await,
    };
    let role = attach.role;
    let admitted = async {
        if bearing.role.is_some_and(|granted| granted != role) {
            return Err(AuthError::Ticket("is for another role").into());
        }
        let found = session(&core, &bearing.identity, id, Wish::Attach(role)).await?;
        let permit = core.admission.take_attachment(id)?;
        Ok::<_, Refusal>((found, permit))
    };
    match admitted.await {
        Err(refusal) => refuse(socket, &refusal).await,
        Ok((found, permit)) => {
            let arrival = Arrival {
                order: core.arrivals.fetch_add(1, Ordering::Relaxed),
                role,
                client: attach.client,
                user: bearing.identity.user,
                socket,
                dialect: Dialect::V1,
                window: attach.window.min(core.window_max()),
                authentic_until: core.grace_after(bearing.identity.expires_at),
                permit: Box::new((permit, connection.permit)),
                hops: 0,
            };
            enter(core, found, attach, arrival).await;
        }
    }
}

async fn enter(core: Arc<Core>, found: Found, attach: Attach, arrival: Arrival) {
    match found {
        Found { handle: Some(handle), .. } => waiting::wait(core, handle, attach, arrival).await,
        Found { record, handle: None } if record.life.state == SessionState::Ended => {
            waiting::see_off(&core, &record, &attach, arrival).await;
        }
        // It is being made, its gateway leaves, or another one has it.
        Found { record, .. } => {
            // Boxed, so that it takes no room in those who need it not.
            Box::pin(following::follow(core, record.id, attach, arrival)).await;
        }
    }
}

async fn first_message(socket: &mut Socket) -> Result<Attach, (CloseCode, String)> {
    let bad = |what: &str| Err((CloseCode::BadRequest, what.to_owned()));
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other,
            }
        }
    };
    match timeout(Duration::from_secs(FIRST_MESSAGE_SECONDS), first).await {
        Err(_) => bad("no `attach` within 10 s"),
        Ok(Some(Ok(Message::Text(text)))) if text.len() > ATTACH_MAX => {
            Err((CloseCode::TooBig, "`attach` is too large".to_owned()))
        }
        Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str(&text) {
            Ok(Object(FromClient::Attach(attach)))
                if attach.launch.is_none() && attach.output.is_some_and(|at| at > Offset::ZERO) =>
            {
                bad("`output` speaks of a launch, and `launch` is missing")
            }
            Ok(Object(FromClient::Attach(attach))) => Ok(attach),
            Ok(_) => bad("`attach` comes first"),
            Err(error) => Err((CloseCode::BadRequest, error.to_string())),
        },
        Ok(Some(Ok(_))) => bad("`attach` comes first"),
        Ok(Some(Err(error))) => {
            let code = crate::websocket::fault(&error).unwrap_or(CloseCode::Normal);
            Err((code, error.to_string()))
        }
        Ok(None) => Err((CloseCode::Normal, String::new())),
    }
}

/// What a plain client comes for.
struct Visit {
    attach: Attach,
    dialect: Dialect,
    user: UserId,
    authentic_until: tokio::time::Instant,
    permit: Box<dyn Send>,
}

async fn plain(
    core: &Core,
    connection: &Connection,
    id: SessionId,
    headers: &HeaderMap,
    query: &str,
) -> Result<(Found, Visit), Refusal> {
    let uri = format!("/?{query}")
        .parse()
        .map_err(|_| Refusal::BadRequest("the query can't be read".into()))?;
    let axum::extract::Query(query) = axum::extract::Query::<PlainQuery>::try_from_uri(&uri)
        .map_err(|error| Refusal::BadRequest(error.body_text()))?;
    let token = bearer(headers)?.ok_or(AuthError::NoToken)?;
    core.origins.decide(headers, Credential::Bearer)?;
    let identity = core.verifier.verify(token, SystemTime::now()).await?;
    connection.authenticated();
    let role = query.role.unwrap_or(Role::Driver);
    let found = session(core, &identity, id, Wish::Attach(role)).await?;
    let default = TerminalSize::DEFAULT;
    let (cols, rows) = (query.cols.unwrap_or(default.cols()), query.rows.unwrap_or(default.rows()));
    let size = TerminalSize::new(cols, rows)
        .ok_or_else(|| Refusal::BadRequest("a terminal edge is 1 to 1000 cells".into()))?;
    let permit = core.admission.take_attachment(id)?;
    let window = WINDOW_DEFAULT.min(core.window_max());
    let mode = found.record.detail.mode;
    let dialect = dialect_of(mode, window);
    // Whoever speaks by messages misses none, unless they say so.
    let output = (mode == Mode::Lines && query.output.is_none()).then_some(Offset::ZERO);
    let attach = Attach {
        role,
        client: ClientId::random(),
        takeover: query.takeover,
        launch: None,
        output,
        input_stream: InputStream::random(),
        size,
        window,
        can: Vec::new(),
    };
    let visit = Visit {
        attach,
        dialect,
        user: identity.user,
        authentic_until: core.grace_after(identity.expires_at),
        permit: Box::new((permit, connection.permit.clone())),
    };
    Ok((found, visit))
}

/// How a plain client speaks to a program of this mode.
pub(super) fn dialect_of(mode: Mode, window: u32) -> Dialect {
    match mode {
        Mode::Terminal => Dialect::PlainTerminal(Progress::default()),
        // A line is acknowledged when all of it has left: it must fit into the window.
        Mode::Lines => Dialect::PlainLines(Lines::new(PLAIN_MESSAGE_MAX.min(window as usize / 2))),
    }
}

async fn arrive_plain(
    core: Arc<Core>,
    _connection: Connection,
    opening: Opening,
    found: Found,
    visit: Visit,
) {
    let Some(socket) = opening.open().await else { return };
    let attach = visit.attach;
    let arrival = Arrival {
        order: core.arrivals.fetch_add(1, Ordering::Relaxed),
        role: attach.role,
        client: attach.client,
        user: visit.user,
        socket,
        dialect: visit.dialect,
        window: attach.window,
        authentic_until: visit.authentic_until,
        permit: visit.permit,
        hops: 0,
    };
    enter(core, found, attach, arrival).await;
}
