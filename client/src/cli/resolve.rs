//! From what a person calls a session to the session. Knows REST only.

use shellgate_client::Api;
use shellgate_client::session::{Session, State};
use shellgate_protocol::SessionId;

use super::Failure;

/// The session with this id, or the one of this user with this name that has not ended.
async fn find(api: &Api, called: &str) -> Result<Option<Session>, Failure> {
    if let Ok(id) = called.parse::<SessionId>() {
        return Ok(Some(api.get(id).await?));
    }
    let sessions = api.list_unended(false).await?;
    Ok(sessions.into_iter().find(|session| session.name.as_deref() == Some(called)))
}

/// The same; where only ended ones have the name, the last of them.
pub async fn must_find_even_ended(api: &Api, called: &str) -> Result<Session, Failure> {
    if let Some(session) = find(api, called).await? {
        return Ok(session);
    }
    // Among the newest ones only: who wants an older one has its id.
    let ended = api.newest(State::Ended).await?;
    let last = ended.into_iter().find(|session| session.name.as_deref() == Some(called));
    last.ok_or_else(|| none(called))
}

/// The session with this id or name, and an error that says what to do where there is none.
pub async fn must_find(api: &Api, called: &str) -> Result<Session, Failure> {
    find(api, called).await?.ok_or_else(|| none(called))
}

/// There is no session of that name.
fn none(called: &str) -> Failure {
    Failure::new(format!(
        "you have no session named `{called}`\n  `shellgate ls` lists those that run; \
         `shellgate new {called}` starts one."
    ))
}

/// What to call a session to a person.
pub fn label(session: &Session) -> String {
    session.name.clone().unwrap_or_else(|| session.id.to_string())
}
