//! Who is calling, as the handlers of the API ask for it.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::Role;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use super::Connection;
use super::document::schemas;
use crate::auth::{AuthError, Identity, bearer};
use crate::core::Core;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::session::Record;

/// A caller with a good bearer token.
pub struct Caller(pub Identity);

impl FromRequestParts<Arc<Core>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Refusal> {
        let token = bearer(&parts.headers)?.ok_or(AuthError::NoToken)?;
        let identity = core.verifier.verify(token, SystemTime::now()).await?;
        if let Some(connection) = parts.extensions.get::<Connection>() {
            connection.authenticated();
        }
        Ok(Self(identity))
    }
}

/// A session's id in the path.
pub struct InPath(pub SessionId);

impl FromRequestParts<Arc<Core>> for InPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Refusal> {
        let Path(text) = Path::<String>::from_request_parts(parts, core)
            .await
            .map_err(|error| Refusal::BadRequest(error.to_string()))?;
        text.parse().map(Self).map_err(|_| Refusal::BadRequest("not a session's id".into()))
    }
}

impl IntoParams for InPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let id = ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(utoipa::openapi::Required::True)
            .description(Some("The session's id."))
            .schema(Some(utoipa::openapi::Ref::from_schema_name(schemas::SessionId::name())));
        vec![id.build()]
    }
}

/// What a caller wants with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// See what is known of it.
    Read,
    /// Attach to it.
    Attach(Role),
    /// Stop it.
    Stop,
}

/// Whether a caller may do with a session what they wish. A session of somebody else is unknown
/// to whom may not. Whatever their scopes are, nobody types as somebody else.
///
/// # Errors
/// [`Refusal::NoSuchSession`], in both cases.
pub fn may(identity: &Identity, record: &Record, wish: Wish) -> Result<(), Refusal> {
    let scopes = &identity.scopes;
    let allowed = record.owner == identity.user
        || match wish {
            Wish::Read => scopes.is_operator(),
            Wish::Attach(Role::Observer) => scopes.observe || scopes.admin,
            Wish::Attach(Role::Driver) => false,
            Wish::Stop => scopes.admin,
        };
    if allowed { Ok(()) } else { Err(Refusal::NoSuchSession(record.id)) }
}

/// A session that its caller may do something with.
pub struct Found {
    /// As it was last stored.
    pub record: Arc<Record>,
    /// How to reach its keeper, where it has one: looked up together with the record, so that
    /// whoever follows it from here sees its end, however soon that comes.
    pub handle: Option<Handle>,
}

impl Found {
    /// What was read from the store, unless its keeper knows it better.
    pub fn of(core: &Core, record: Record) -> Self {
        let handle = core.registry.get(record.id);
        handle.map_or_else(|| Self { record: Arc::new(record), handle: None }, Self::from)
    }
}

impl From<Handle> for Found {
    fn from(handle: Handle) -> Self {
        let record = handle.view.borrow().record.clone();
        Self { record, handle: Some(handle) }
    }
}

/// The session with this id, if the caller may do with it what they wish.
///
/// # Errors
/// [`Refusal::NoSuchSession`] where it is not there, or not theirs.
pub async fn session(
    core: &Core,
    identity: &Identity,
    id: SessionId,
    wish: Wish,
) -> Result<Found, Refusal> {
    let found = match core.registry.get(id) {
        Some(handle) => Found::from(handle),
        None => {
            // A row is there a moment before its keeper.
            Found::of(core, core.store.find(id).await?.ok_or(Refusal::NoSuchSession(id))?)
        }
    };
    may(identity, &found.record, wish)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Scopes, UserId};

    fn user(name: &str) -> UserId {
        UserId::new("https://issuer.example", name).unwrap()
    }

    #[test]
    fn a_scope_opens_what_the_protocols_table_says_and_nothing_opens_driving() {
        let record = Record::of(user("ada"));
        let wishes =
            [Wish::Read, Wish::Attach(Role::Observer), Wish::Stop, Wish::Attach(Role::Driver)];
        for (name, words, expected) in [
            ("ada", "", [true, true, true, true]),
            ("eve", "", [false, false, false, false]),
            ("eve", "sessions:read", [true, false, false, false]),
            ("eve", "sessions:observe", [true, true, false, false]),
            ("eve", "sessions:admin", [true, true, true, false]),
            ("eve", "sessions:read sessions:observe sessions:admin", [true, true, true, false]),
        ] {
            let scopes = Scopes::parse(words);
            let identity = Identity { user: user(name), scopes, expires_at: SystemTime::now() };
            let allowed = wishes.map(|wish| may(&identity, &record, wish).is_ok());
            assert_eq!(allowed, expected, "{name} with {words:?}");
        }
    }
}
