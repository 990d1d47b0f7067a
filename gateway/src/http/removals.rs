//! The API over removals of users, for operators: ask for one, look how far it is. Knows no step.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shellgate_protocol::Object;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::document::refusals;
use crate::auth::{Identity, UserId};
use crate::clock;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::removal::{self, Removal, Step};

/// Whom to remove.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRemoval {
    /// Who vouches for the user: `iss` of their tokens.
    issuer: String,
    /// The user: `sub` of their tokens.
    user: String,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovalState {
    /// The user's sessions are being ended.
    EndingSessions,
    /// The user's files are being deleted.
    DeletingFiles,
    /// What is stored of the user is being deleted.
    DeletingRecords,
    /// All of it is gone.
    Done,
    /// It waits for somebody to ask for it again, and its user gets no session meanwhile.
    Failed,
}

/// A removal of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovalView {
    /// Its id: the user's key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// Who vouches for the user.
    issuer: String,
    /// The user.
    user: String,
    /// How far it is.
    state: RemovalState,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Who asked for it.
    asked_by: String,
    /// When (RFC 3339).
    asked_at: String,
    /// When it was done (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<String>,
}

impl From<Removal> for RemovalView {
    fn from(of: Removal) -> Self {
        let state = match of.step {
            Step::Done => RemovalState::Done,
            _ if of.given_up => RemovalState::Failed,
            Step::Sessions => RemovalState::EndingSessions,
            Step::Files | Step::Volume => RemovalState::DeletingFiles,
            Step::Records => RemovalState::DeletingRecords,
        };
        Self {
            id: of.user.key(),
            issuer: of.user.issuer().to_owned(),
            user: of.user.subject().to_owned(),
            state,
            failure: of.failure,
            asked_by: of.asked_by.to_string(),
            asked_at: clock::rfc3339(of.asked_ms),
            done_at: of.ended_ms.map(clock::rfc3339),
        }
    }
}

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(show))
}

fn may(identity: &Identity) -> Result<(), Refusal> {
    match identity.scopes.admin {
        true => Ok(()),
        false => Err(Refusal::Forbidden("removing a user needs sessions:admin")),
    }
}

/// Remove a user: end their sessions, delete their files and what is stored of them.
///
/// It takes as long as the files take. Asked for again it is the same removal; one that has failed is
/// tried again. Secrets are not the gateway's to delete, and the audit stays.
#[utoipa::path(
    post, path = "/v1/removals", request_body = NewRemoval,
    responses(
        (
            status = 202, description = "The user is being removed.", body = RemovalView,
            headers(("Location" = String, description = "The removal's path.")),
        ),
        (status = 200, description = "The user was removed before.", body = RemovalView),
        refusals::ToCaller,
        refusals::Forbidden,
        refusals::NoSuchUser,
        refusals::OfBody,
    )
)]
async fn ask(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    body: Result<Json<Object<NewRemoval>>, JsonRejection>,
) -> Result<Response, Refusal> {
    may(&identity)?;
    let Json(Object(whom)) = body?;
    let user = UserId::new(&whom.issuer, &whom.user)
        .ok_or_else(|| Refusal::BadRequest("no user can be called so".into()))?;
    if core.stopping.is_cancelled() {
        return Err(Refusal::GoingAway);
    }
    // Beside this request: a caller who hangs up leaves no row at which nobody works.
    let begun = core.tracker.spawn({
        let (core, user) = (core.clone(), user.clone());
        async move { removal::begin(&core, &user, &identity.user).await }
    });
    let begun = begun.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let shown = RemovalView::from(begun?.ok_or(Refusal::NoSuchUser(user))?);
    if shown.state == RemovalState::Done {
        return Ok(Json(shown).into_response());
    }
    let location = format!("/v1/removals/{}", shown.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(shown)).into_response())
}

/// See how far a removal is. It is known for a month after its end.
#[utoipa::path(
    get, path = "/v1/removals/{id}",
    params(("id" = String, Path, description = "The removal's id.")),
    responses(
        (status = 200, description = "It.", body = RemovalView),
        refusals::ToCaller,
        refusals::Forbidden,
        refusals::NoSuchRemoval,
    )
)]
async fn show(
    State(core): State<Arc<Core>>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Result<Json<RemovalView>, Refusal> {
    may(&identity)?;
    let found = core.store.removal(&id).await?;
    found.map(RemovalView::from).map(Json).ok_or(Refusal::NoSuchRemoval(id))
}
