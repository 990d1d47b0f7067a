//! The API over sessions: ask for one, look at them, stop one, get a ticket. Knows no bytes.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::{Object, SessionId, TerminalSize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Found, InPath, Wish, session};
use super::document::{refusals, schemas};
use super::events;
use super::view::{Live, SessionView, live_elsewhere, view_of};
use crate::auth::Identity;
use crate::auth::origin::Credential;
use crate::auth::ticket::{Ticket, TicketGrant};
use crate::config::DEFAULT_TEMPLATE;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::session::keeper::{Keeper, Places};
use crate::session::{self as domain, Record};
use crate::store::{Kept, Most, Page, StoreError};
use crate::{audit, clock, stopping};

/// Sessions in a page unless the caller says how many.
const PAGE_DEFAULT: u32 = 50;

/// Sessions in a page at the most.
const PAGE_MAX: u32 = 200;

/// A session that somebody asks for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// Its name. A live session of this name is returned instead of a new one.
    #[serde(default)]
    #[schema(pattern = "^(?!ses_)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub name: Option<String>,
    /// What it runs; `default` where absent.
    #[serde(default)]
    pub template: Option<String>,
    /// Its terminal's first size: `{"cols": 80, "rows": 24}`.
    #[serde(default)]
    #[schema(value_type = Option<schemas::TerminalSize>)]
    pub size: Option<TerminalSize>,
}

/// Which sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// In this state only.
    #[param(value_type = domain::State, required = false)]
    state: Option<domain::State>,
    /// At most so many; 50 unless it is said, 200 at the most.
    #[param(nullable = false)]
    limit: Option<u32>,
    /// Older than this one: the last page's `next`.
    #[param(value_type = schemas::SessionId, required = false)]
    after: Option<SessionId>,
    /// Everybody's: for operators.
    #[serde(default)]
    all: bool,
}

/// A page of sessions, the youngest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// The sessions.
    sessions: Vec<SessionView>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::SessionId>)]
    next: Option<SessionId>,
}

/// What a ticket is for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTicket {
    /// `driver` (where absent) or `observer`.
    #[serde(default)]
    #[schema(value_type = Option<schemas::Role>)]
    role: Option<Role>,
    /// The web page that will use it (`https://host`), where a program asks on the page's behalf.
    /// A page's own request says so itself, in its `Origin` header.
    #[serde(default)]
    origin: Option<String>,
}

/// A ticket: works once, for its session, role and origin.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketView {
    /// Offered as the WebSocket subprotocol `ticket.<this>`.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, stop))
        .routes(routes!(give_ticket))
        .routes(routes!(events::stream))
}

type Body<T> = Result<Json<Object<T>>, JsonRejection>;

/// A body is optional where everything in it is.
fn body_or_default<T: Default>(headers: &HeaderMap, body: Body<T>) -> Result<T, Refusal> {
    let length = headers.get(header::CONTENT_LENGTH);
    let is_empty = length.is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING);
    match body {
        Ok(Json(Object(body))) => Ok(body),
        Err(_) if is_empty => Ok(T::default()),
        Err(error) => Err(error.into()),
    }
}

/// Ask for a session.
#[utoipa::path(
    post, path = "/v1/sessions", request_body = NewSession,
    responses(
        (
            status = 201, description = "It is being started.", body = SessionView,
            headers(("Location" = String, description = "The session's path.")),
        ),
        (status = 200, description = "The live session of that name.", body = SessionView),
        refusals::ToCaller,
        refusals::OfBody,
        refusals::SessionStopping,
        refusals::Quota,
    )
)]
async fn create(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    headers: HeaderMap,
    body: Body<NewSession>,
) -> Result<Response, Refusal> {
    let wanted = body_or_default(&headers, body)?;
    let removal = core.store.removal(&identity.user.key()).await?;
    if removal.is_some_and(|removal| removal.hinders()) {
        return Err(Refusal::BeingRemoved(identity.user));
    }
    if let Some(name) = &wanted.name {
        check_name(name)?;
        if let Some(kept) = core.store.find_by_name(&identity.user, name).await? {
            return existing(&core, &identity, kept).await;
        }
    }
    let template_name = wanted.template.unwrap_or_else(|| DEFAULT_TEMPLATE.into());
    let template = core
        .config
        .templates
        .get(&template_name)
        .ok_or_else(|| Refusal::NoSuchTemplate(template_name.clone()))?;
    if core.stopping.is_cancelled() {
        return Err(Refusal::GoingAway);
    }
    let user = identity.user.key();
    let started = core.admission.take_start(&user, core.since_start())?;
    let session = core.admission.take_session(&user)?;
    let turn = core.starts.enter(&user)?;
    let places = Places { session, start: Some((started, turn)) };
    let size = wanted.size.unwrap_or_default();
    let (owner, now) = (identity.user.clone(), clock::unix_millis());
    let mut record = Record::new(owner, &template_name, template.mode, size, now);
    record.name = wanted.name;
    let shown = view_of(&core, &record, None, identity.scopes.is_operator());
    // Beside this request: a caller who hangs up leaves no row without a keeper.
    let made = core.tracker.spawn({
        let core = core.clone();
        async move {
            let limits = &core.config.limits;
            let most = Most { of_user: limits.sessions_per_user, in_all: limits.sessions };
            core.store.insert(&record, most).await?;
            let (id, actor) = (Some(record.id), record.owner.clone());
            Keeper::take_charge(&core, record, places);
            audit::record(&core.store, id, Some(&actor), "session.created", template_name).await;
            Ok::<_, StoreError>(())
        }
    });
    match made.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(()) => {}
        // Somebody else of the same user was quicker; the permits go back by themselves.
        Err(StoreError::NameTaken(id)) => {
            // One that is gone by now was being stopped.
            let kept = core.store.kept(id).await?.ok_or(Refusal::Stopping(id))?;
            return existing(&core, &identity, kept).await;
        }
        Err(error) => return Err(error.into()),
    }
    let location = format!("/v1/sessions/{}", shown.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown)).into_response())
}

async fn existing(core: &Core, identity: &Identity, kept: Kept) -> Result<Response, Refusal> {
    let mut live = live_elsewhere(core, std::slice::from_ref(&kept)).await;
    let Found { record, handle } = Found::of(core, kept.record);
    match record.life.state {
        domain::State::Stopping | domain::State::Ended => Err(Refusal::Stopping(record.id)),
        domain::State::Starting | domain::State::Live | domain::State::Severed => {
            let live = handle.as_ref().map(Live::of).or_else(|| live.remove(&record.id));
            let shown = view_of(core, &record, live.as_ref(), identity.scopes.is_operator());
            Ok(Json(shown).into_response())
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fine = (1..=64).contains(&name.len())
        && name.bytes().all(legal)
        && name.as_bytes()[0].is_ascii_alphanumeric()
        // Else a name could not be told from an id.
        && !name.starts_with("ses_");
    if fine {
        return Ok(());
    }
    Err(Refusal::BadRequest(
        "a name is 1 to 64 letters, digits, '.', '_' and '-', begins with a letter or a digit, \
         and not with 'ses_'"
            .into(),
    ))
}

/// List sessions: one's own, or, for operators, everybody's.
#[utoipa::path(
    get, path = "/v1/sessions", params(Which),
    responses(
        (status = 200, description = "A page of them, the youngest first.", body = Sessions),
        refusals::ToCaller,
        refusals::Forbidden,
    )
)]
async fn list(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Sessions>, Refusal> {
    let Query(which) = which.map_err(|error| Refusal::BadRequest(error.body_text()))?;
    let operator = identity.scopes.is_operator();
    if which.all && !identity.scopes.lists_everybodys() {
        return Err(Refusal::Forbidden("listing everybody's sessions needs sessions:read"));
    }
    let limit = which.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = Page {
        owner: (!which.all).then(|| identity.user.clone()),
        state: which.state,
        before: which.after,
        limit: limit + 1,
    };
    let mut records = core.store.list(&page).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = if more { records.last().map(|kept| kept.record.id) } else { None };
    let live = live_elsewhere(&core, &records).await;
    let shown = |kept: Kept| {
        let Found { record, handle } = Found::of(&core, kept.record);
        let here = handle.as_ref().map(Live::of);
        view_of(&core, &record, here.as_ref().or_else(|| live.get(&record.id)), operator)
    };
    Ok(Json(Sessions { sessions: records.into_iter().map(shown).collect(), next }))
}

/// Look at a session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}",
    params(InPath),
    responses((status = 200, description = "It.", body = SessionView), refusals::OfSession)
)]
async fn show(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    InPath(id): InPath,
) -> Result<Json<SessionView>, Refusal> {
    let Found { record, handle } = session(&core, &identity, id, Wish::Read).await?;
    let operator = identity.scopes.is_operator();
    Ok(Json(view_of(&core, &record, handle.as_ref().map(Live::of).as_ref(), operator)))
}

/// Stop a session.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}",
    params(InPath),
    responses(
        (status = 202, description = "It is being stopped.", body = SessionView),
        (status = 200, description = "It had ended already.", body = SessionView),
        refusals::OfSession,
        refusals::SessionBusy,
    )
)]
async fn stop(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    InPath(id): InPath,
) -> Result<Response, Refusal> {
    let Found { record, handle } = session(&core, &identity, id, Wish::Stop).await?;
    let operator = identity.scopes.is_operator();
    if record.life.state == domain::State::Ended {
        return Ok(Json(view_of(&core, &record, None, operator)).into_response());
    }
    // Whoever keeps it is about to leave, and would not hear.
    if core.stopping.is_cancelled() {
        return Err(Refusal::GoingAway);
    }
    let heard = stopping::stop(&core, id, &identity.user).await;
    let found = match core.registry.get(id) {
        Some(handle) => Found::from(handle),
        None => match core.store.find(id).await {
            Ok(Some(stored)) => Found::of(&core, stored),
            // Gone with its user, or not to be read now: what was heard stays heard.
            Ok(None) | Err(_) => Found { record, handle },
        },
    };
    let live = found.handle.as_ref().map(Live::of);
    let shown = Json(view_of(&core, &found.record, live.as_ref(), operator));
    match (heard, found.record.life.state) {
        (true, _) => Ok((StatusCode::ACCEPTED, shown).into_response()),
        (false, domain::State::Ended) => Ok(shown.into_response()),
        // It leaves with its gateway, and the session stays.
        (false, _) if core.stopping.is_cancelled() => Err(Refusal::GoingAway),
        (false, _) => Err(Refusal::Timeout),
    }
}

/// Get a ticket for a browser's WebSocket.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/tickets", request_body = NewTicket,
    params(InPath),
    responses(
        (status = 201, description = "A ticket, which works once.", body = TicketView),
        refusals::OfSession,
        refusals::OfBody,
        refusals::Forbidden,
    )
)]
async fn give_ticket(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    InPath(id): InPath,
    headers: HeaderMap,
    body: Body<NewTicket>,
) -> Result<Response, Refusal> {
    let wanted = body_or_default(&headers, body)?;
    let role = wanted.role.unwrap_or(Role::Driver);
    session(&core, &identity, id, Wish::Attach(role)).await?;
    let origin = match (core.origins.decide(&headers, Credential::Bearer)?, wanted.origin) {
        (Some(origin), _) => origin,
        (None, Some(named)) => core.origins.named(&named)?,
        (None, None) => {
            let lacks = "a ticket is for one page: name it in `origin`, as https://host";
            return Err(Refusal::BadRequest(lacks.into()));
        }
    };
    let now = SystemTime::now();
    let ticket = Ticket::mint()?;
    let grant = TicketGrant::new(&identity, id, role, Some(origin), now);
    core.store.keep_ticket(&ticket.hash(), &grant).await?;
    let shown = TicketView {
        ticket: ticket.text(),
        expires_in: grant.expires_at.duration_since(now).unwrap_or_default().as_secs(),
    };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word_and_no_id() {
        for good in ["a", "my-shell", "Build_2.1", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".", "a b", "ä", "ses_1", "a/b", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
