//! A user of a world: their tokens, their calls, their shells.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shellgate_client::api::{ApiError, CallError, NewSession, Which};
use shellgate_client::removal::{Removal, RemovalState};
use shellgate_client::session::{Session, State};
use shellgate_client::{Api, AttachOptions, TokenSource};
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::{Role, Token};

use crate::issuer::ISSUER;
use crate::world::Shared;
use crate::{Cable, Shell, documented, until, within};

/// A user. Cloning is cheap.
#[derive(Clone)]
pub struct User {
    pub(crate) world: Arc<Shared>,
    name: String,
    scopes: String,
    address: Option<SocketAddr>,
    token: Option<Token>,
}

impl User {
    pub(crate) fn new(world: Arc<Shared>, name: &str, scopes: &str) -> Self {
        Self { world, name: name.into(), scopes: scopes.into(), address: None, token: None }
    }

    /// The same user, who reaches the gateway through a cable.
    #[must_use]
    pub fn through(&self, cable: &Cable) -> Self {
        Self { address: Some(cable.address()), ..self.clone() }
    }

    /// The same user, who comes to the gateway at this address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self.clone() }
    }

    /// The same user with these scopes, words with spaces between.
    #[must_use]
    pub fn with_scopes(&self, scopes: &str) -> Self {
        Self { scopes: scopes.into(), ..self.clone() }
    }

    /// The same user with this one token, for which there is no newer one.
    #[must_use]
    pub fn with_token(&self, token: Token) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// The user's name: the `sub` of their tokens.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A token of this user's.
    #[must_use]
    pub fn token(&self) -> Token {
        match &self.token {
            Some(token) => token.clone(),
            None => self.world.issuer.token(&self.name, &self.scopes),
        }
    }

    /// A token of this user's that holds for so long.
    #[must_use]
    pub fn token_for(&self, lifetime: Duration) -> Token {
        self.world.issuer.token_for(&self.name, &self.scopes, lifetime)
    }

    /// Where the user reaches the gateway.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| self.world.address())
    }

    /// The gateway's REST interface as this user.
    #[must_use]
    pub fn api(&self) -> Api {
        let tokens = match &self.token {
            Some(token) => TokenSource::fixed(token.clone()),
            None => {
                let user = self.clone();
                TokenSource::refresh(move |_| {
                    let token = user.token();
                    async move { Ok(token) }
                })
            }
        };
        self.world.api(self.address(), tokens)
    }

    /// Asks for a session.
    pub async fn asks_for(&self, new: NewSession) -> Session {
        within("a session is made", self.api().create(&new)).await.expect("a session").0
    }

    /// Asks for a session from a template.
    pub async fn asks_for_a(&self, template: &str) -> Session {
        self.asks_for(NewSession { template: Some(template.into()), ..NewSession::default() }).await
    }

    /// Asks for a session and is refused.
    pub async fn is_refused(&self, new: &NewSession) -> ApiError {
        match within("a refusal", self.api().create(new)).await {
            Err(CallError::Refused(refused)) => {
                documented::declares("POST", "/v1/sessions", refused.status);
                refused
            }
            other => panic!("expected a refusal, not {other:?}"),
        }
    }

    /// Makes a session, and attaches to it as its driver.
    pub async fn opens_a_shell(&self) -> Shell {
        let session = self.asks_for(NewSession::default()).await;
        self.attaches_to(session.id).await
    }

    /// Makes a session from a template, and attaches to it as its driver.
    pub async fn opens_a(&self, template: &str) -> Shell {
        let session = self.asks_for_a(template).await;
        self.attaches_to(session.id).await
    }

    /// Drives a session, from the first byte that is kept.
    pub async fn attaches_to(&self, session: SessionId) -> Shell {
        let mut shell = self.comes_to(session);
        shell.stands().await;
        shell
    }

    /// Watches a session, from the first byte that is kept.
    pub async fn watches(&self, session: SessionId) -> Shell {
        let mut shell = Shell::attach(self, session, from_the_start(Role::Observer));
        shell.stands().await;
        shell
    }

    /// Begins to attach as a driver, whatever becomes of it.
    #[must_use]
    pub fn comes_to(&self, session: SessionId) -> Shell {
        Shell::attach(self, session, from_the_start(Role::Driver))
    }

    /// Begins to attach with options of its own.
    #[must_use]
    pub fn comes_with(&self, session: SessionId, options: AttachOptions) -> Shell {
        Shell::attach(self, session, options)
    }

    /// Stops a session.
    pub async fn stops(&self, session: SessionId) {
        within("a session is stopped", self.api().stop(session)).await.expect("stopped");
    }

    /// Has another user removed, and waits until that has come to its end.
    pub async fn removes(&self, user: &Self) -> Removal {
        let asked = self.asks_for_the_removal_of(user).await;
        self.sees_the_removal_end(&asked.id).await
    }

    /// Asks for another user to be removed.
    pub async fn asks_for_the_removal_of(&self, user: &Self) -> Removal {
        let asked = within("it is asked for", self.api().remove_user(ISSUER, &user.name)).await;
        asked.expect("a removal")
    }

    /// Waits until a removal has come to its end.
    pub async fn sees_the_removal_end(&self, id: &str) -> Removal {
        let mut removal = None;
        until("a removal ends", async || {
            let looked = self.api().removal(id).await.expect("a removal");
            let over = matches!(looked.state, RemovalState::Done | RemovalState::Failed);
            removal = Some(looked);
            over
        })
        .await;
        removal.expect("it was looked at")
    }

    /// Looks at a session.
    pub async fn looks_at(&self, session: SessionId) -> Session {
        within("a session is shown", self.api().get(session)).await.expect("a session")
    }

    /// Waits for a session's end.
    pub async fn sees_the_end_of(&self, session: SessionId) -> Session {
        self.sees(session, State::Ended).await
    }

    /// Waits until a session is in a state.
    pub async fn sees(&self, session: SessionId, state: State) -> Session {
        self.sees_that(session, state.name(), |session| session.state == state).await
    }

    /// Waits until a session is as it should be, by the gateway's events.
    pub async fn sees_that(
        &self,
        id: SessionId,
        what: &str,
        is_so: impl Fn(&Session) -> bool,
    ) -> Session {
        let api = self.api();
        let seen = async {
            let mut feed = api.events(id).await.expect("events");
            while let Some(event) = feed.next().await.expect("an event") {
                let session: Session = serde_json::from_str(&event.data).expect("a session");
                if is_so(&session) {
                    return session;
                }
            }
            panic!("{id}: {what}: its events end before");
        };
        within(&format!("{id}: {what}"), seen).await
    }

    pub(crate) async fn sees_all_sessions(&self) -> Vec<Session> {
        let all = Which { all: true, state: None };
        within("all sessions are listed", self.api().list(all)).await.expect("a list")
    }
}

/// A driver or an observer from the first byte that is kept.
#[must_use]
pub fn from_the_start(role: Role) -> AttachOptions {
    AttachOptions {
        role,
        output: Some(shellgate_protocol::Offset::ZERO),
        ..AttachOptions::default()
    }
}
