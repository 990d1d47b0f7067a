//! The gateway's REST interface: one method for each call. Knows no terminal and no WebSocket.

mod feed;
mod removals;

use std::time::Duration;

use http::StatusCode;
use http::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::{Role, Token};
use shellgate_protocol::{SessionId, TerminalSize};

use crate::attach::{AttachOptions, Events, Input, attach};
use crate::endpoint::Endpoint;
use crate::problem::{Problem, in_words, plain, retry_after};
use crate::session::{Session, Sessions, State, Ticket};
use crate::sse::Parser;
use crate::token::{TokenError, TokenSource, checked};
use crate::trust;

pub use self::feed::Feed;

/// A connection to the gateway stands within this.
const CONNECTING: Duration = Duration::from_secs(10);

/// A whole call is answered within this. A start is answered before its task runs.
const CALL: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// The code of a path that there is not.
const NO_SUCH_PATH: &str = "not_found";

/// Sessions of one page: as many as a gateway gives.
const PAGE: &str = "200";

/// Pages of sessions that are asked for at most.
const PAGES_MAX: usize = 1000;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The gateway said no.
    #[error("{0}")]
    Refused(ApiError),
    /// The gateway was not reached, or did not answer in time.
    #[error("the gateway at {endpoint} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What went wrong.
        why: String,
    },
    /// Something answers there that does not know the path: it is another program, another of the
    /// gateway's listeners, or another path before it.
    #[error("there is no {what} at {endpoint}")]
    NotThere {
        /// Where it should be.
        endpoint: String,
        /// What was looked for.
        what: &'static str,
    },
    /// It answered something that no gateway answers.
    #[error("that is no answer of a Shellgate gateway: {0}")]
    NotAGateway(String),
}

/// The gateway's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// For machines; empty where the answer had none.
    pub code: String,
    /// For a person, fit for a terminal.
    pub detail: String,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u64>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        match self.retry_after {
            Some(seconds) => write!(f, " (try again in {seconds} s)"),
            None => Ok(()),
        }
    }
}

/// What a new session is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewSession {
    /// Its name. A live session of that name is returned instead of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to make it from; the gateway's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The terminal's first size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
}

/// What the development issuer gives.
#[derive(Debug, Clone, Deserialize)]
pub struct SignedIn {
    /// The token.
    pub token: Token,
    /// Seconds for which it holds.
    pub expires_in: u64,
    /// Who was signed in.
    pub user: String,
}

/// Which sessions to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which {
    /// Those in this state only.
    pub state: Option<State>,
    /// Everybody's: for operators.
    pub all: bool,
}

/// A gateway's REST interface, as one user. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Api {
    endpoint: Endpoint,
    tokens: TokenSource,
    http: reqwest::Client,
}

impl Api {
    /// Speaks to `endpoint` with `tokens`.
    ///
    /// # Errors
    /// Where TLS cannot be set up on this machine.
    pub fn new(endpoint: Endpoint, tokens: TokenSource) -> Result<Self, CallError> {
        let tls = if endpoint.is_encrypted() {
            let trusted = trust::of_this_machine().map_err(|why| CallError::Unreachable {
                endpoint: endpoint.to_string(),
                why: why.to_string(),
            })?;
            ClientConfig::clone(&trusted)
        } else {
            trust::of_nobody()
        };
        // A redirect would carry the token to somewhere else, and so would a proxy, which an
        // attachment does not know either.
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .connect_timeout(CONNECTING)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("shellgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unreachable(&endpoint, &error))?;
        Ok(Self { endpoint, tokens, http })
    }

    /// Where the gateway is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Makes a session. Says whether it is new: a live one of the same name is returned as it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create(&self, new: &NewSession) -> Result<(Session, bool), CallError> {
        let request = self.request(Method::POST, "v1/sessions").json(new);
        let (status, session) = self.call(request).await?;
        Ok((session, status == StatusCode::CREATED))
    }

    /// All sessions of this user, or of everybody, in the gateway's order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list(&self, which: Which) -> Result<Vec<Session>, CallError> {
        let mut sessions = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(which, after).await?;
            sessions.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                return Ok(sessions);
            }
        }
        Err(CallError::NotAGateway("its list of sessions has no end".into()))
    }

    /// All sessions of this user, or of everybody, that have not ended, the youngest first. Those
    /// that have may be very many: they are not asked for.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_unended(&self, all: bool) -> Result<Vec<Session>, CallError> {
        let Sessions { mut sessions, next } = self.page(Which { state: None, all }, None).await?;
        if next.is_some() {
            sessions.clear();
            // In the order of a life, and twice where it goes to and fro: one that moves on in the
            // meantime is found where it has moved to.
            for state in
                [State::Starting, State::Live, State::Severed, State::Live, State::Stopping]
            {
                sessions.extend(self.list(Which { state: Some(state), all }).await?);
            }
            // Ids sort by age.
            sessions.sort_by_key(|session| std::cmp::Reverse(session.id));
            sessions.dedup_by_key(|session| session.id);
        }
        sessions.retain(|session| session.state != State::Ended);
        Ok(sessions)
    }

    /// The youngest sessions of this user in this state: as many as a gateway gives at a time.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn newest(&self, state: State) -> Result<Vec<Session>, CallError> {
        Ok(self.page(Which { state: Some(state), all: false }, None).await?.sessions)
    }

    /// Asks whether the token lets its user in at all: a token that allows little is one, too.
    ///
    /// # Errors
    /// [`CallError`] where it does not, or nobody knows.
    pub async fn lets_in(&self) -> Result<(), CallError> {
        let mut url = self.endpoint.at("v1/sessions");
        url.query_pairs_mut().append_pair("limit", "1");
        let request = self.http.request(Method::GET, url).timeout(CALL);
        match self.call::<Sessions>(request).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused(no)) if no.status == StatusCode::FORBIDDEN.as_u16() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn page(&self, which: Which, after: Option<String>) -> Result<Sessions, CallError> {
        let mut query = vec![("limit", PAGE.to_owned())];
        query.extend(which.state.map(|state| ("state", state.name().to_owned())));
        query.extend(which.all.then(|| ("all", "true".to_owned())));
        query.extend(after.map(|after| ("after", after)));
        let mut url = self.endpoint.at("v1/sessions");
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.request(Method::GET, url).timeout(CALL);
        Ok(self.call(request).await?.1)
    }

    /// One session.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, id: SessionId) -> Result<Session, CallError> {
        let request = self.request(Method::GET, &format!("v1/sessions/{id}"));
        Ok(self.call(request).await?.1)
    }

    /// Stops a session. Says whether it had ended already.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop(&self, id: SessionId) -> Result<bool, CallError> {
        let request = self.request(Method::DELETE, &format!("v1/sessions/{id}"));
        let answer = self.send(request).await?;
        Ok(answer.status() == StatusCode::OK)
    }

    /// A ticket with which a page of this origin attaches once.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ticket(
        &self,
        id: SessionId,
        role: Role,
        origin: &str,
    ) -> Result<Ticket, CallError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            role: Role,
            origin: &'a str,
        }
        let path = format!("v1/sessions/{id}/tickets");
        let request = self.request(Method::POST, &path).json(&Asked { role, origin });
        Ok(self.call(request).await?.1)
    }

    /// What becomes of a session, as it happens: an event `state`, with the session, each time that
    /// it changes.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn events(&self, id: SessionId) -> Result<Feed, CallError> {
        let url = self.endpoint.at(&format!("v1/sessions/{id}/events"));
        let request = self.http.request(Method::GET, url).header(ACCEPT, "text/event-stream");
        let answered = tokio::time::timeout(CALL, self.send(request)).await;
        let answer = answered.unwrap_or_else(|_| Err(self.silent()))?;
        let ready = Vec::new().into_iter();
        Ok(Feed { endpoint: self.endpoint.clone(), answer, parser: Parser::default(), ready })
    }

    /// Attaches to a session of this gateway as this user.
    #[must_use]
    pub fn attach(&self, id: SessionId, options: AttachOptions) -> (Input, Events) {
        attach(&self.endpoint, self.tokens.clone(), id, options)
    }

    /// Signs in at the development issuer with the one-time code that the gateway printed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sign_in(&self, code: &str) -> Result<SignedIn, CallError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            code: &'a str,
        }
        let url = self.endpoint.at("dev/sign-in");
        let request = self.http.request(Method::POST, url).timeout(CALL).json(&Asked { code });
        self.signed_in(request).await
    }

    /// Has the development issuer renew a token that still holds.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn renew(&self, token: &Token) -> Result<SignedIn, CallError> {
        let url = self.endpoint.at("dev/renew");
        let request = self.http.request(Method::POST, url).timeout(CALL).bearer_auth(&token.0);
        self.signed_in(request).await
    }

    async fn signed_in(&self, request: RequestBuilder) -> Result<SignedIn, CallError> {
        let answer = self.answered(request.send().await).await;
        let answer = self.known(answer, "Shellgate gateway that signs people in")?;
        let signed_in: SignedIn = self.read(answer).await?;
        checked(&signed_in.token.0)?;
        Ok(signed_in)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.endpoint.at(path)).timeout(CALL)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), CallError> {
        let answer = self.send(request).await?;
        Ok((answer.status(), self.read(answer).await?))
    }

    /// Sends with the token, and with a newer one if that is refused.
    async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        self.known(self.send_with_token(request).await, "Shellgate API")
    }

    /// An answer, unless it is that of a server to which the path means nothing.
    fn known(
        &self,
        answer: Result<Response, CallError>,
        what: &'static str,
    ) -> Result<Response, CallError> {
        match answer {
            Err(CallError::Refused(refused))
                if refused.status == StatusCode::NOT_FOUND.as_u16()
                    && matches!(refused.code.as_str(), "" | NO_SUCH_PATH) =>
            {
                Err(CallError::NotThere { endpoint: self.endpoint.to_string(), what })
            }
            answer => answer,
        }
    }

    async fn send_with_token(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let token = self.tokens.current().await?;
        let again = request.try_clone();
        let answer = self.answered(request.bearer_auth(&token.0).send().await).await;
        let (Err(CallError::Refused(refused)), Some(again)) = (&answer, again) else {
            return answer;
        };
        if refused.status != StatusCode::UNAUTHORIZED.as_u16() {
            return answer;
        }
        match self.tokens.renew(&token).await {
            Ok(newer) => self.answered(again.bearer_auth(&newer.0).send().await).await,
            // The gateway's words say more than that there is no newer token.
            Err(_) => answer,
        }
    }

    async fn answered(
        &self,
        answer: Result<Response, reqwest::Error>,
    ) -> Result<Response, CallError> {
        let answer = answer.map_err(|error| unreachable(&self.endpoint, &error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let header = retry_after(answer.headers());
        let body = self.body(answer).await.unwrap_or_default();
        let problem = Problem::parse(&body);
        if problem.is_none() && !status.is_client_error() && !status.is_server_error() {
            return Err(CallError::NotAGateway(format!("HTTP status {status}")));
        }
        let problem = problem.unwrap_or_default();
        let detail = problem.detail.or(problem.title);
        Err(CallError::Refused(ApiError {
            status: status.as_u16(),
            code: problem.code.unwrap_or_default(),
            detail: detail.map_or_else(|| format!("HTTP status {status}"), |text| plain(&text)),
            retry_after: problem.retry_after.or(header),
        }))
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response) -> Result<T, CallError> {
        let body = self.body(answer).await?;
        serde_json::from_slice(&body).map_err(|error| CallError::NotAGateway(error.to_string()))
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| unreachable(&self.endpoint, &error))?
        {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(CallError::NotAGateway(format!("more than {BODY_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn silent(&self) -> CallError {
        let why = format!("no answer in {} s", CALL.as_secs());
        CallError::Unreachable { endpoint: self.endpoint.to_string(), why }
    }
}

fn unreachable(endpoint: &Endpoint, error: &reqwest::Error) -> CallError {
    // The innermost cause says what happened ("Connection refused"); the outer ones, where.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    CallError::Unreachable { endpoint: endpoint.to_string(), why: in_words(&cause.to_string()) }
}
