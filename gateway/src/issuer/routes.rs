//! The development issuer over HTTP: `POST /dev/sign-in` and `POST /dev/renew`, for pages of this
//! machine. Knows no tokens' contents.
//!
//! A web page of anywhere can make a browser send requests to loopback addresses. So a request
//! must come from this machine, name it in `Host` (else a name that was pointed here afterwards
//! would do), come from the same origin or none, and be JSON, which a foreign page may not send
//! without asking first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;
use shellgate_protocol::Object;

use super::{DevIssuer, IssuerError, Minted, is_loopback};
use crate::auth::{AuthError, bearer};
use crate::refusal::{FAILED, what_to_do};

/// Largest body of a request, in bytes.
const BODY_MAX: usize = 1024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(5);

/// What a browser says of the page that makes it ask (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The routes, for a listener on this port. Needs each connection's peer as an extension
/// `ConnectInfo<SocketAddr>`: a request without one is refused.
pub fn router(issuer: Arc<DevIssuer>, port: u16) -> Router {
    Router::new()
        .route("/dev/sign-in", post(sign_in))
        .route("/dev/renew", post(renew))
        .with_state(Local { issuer, port })
}

#[derive(Clone)]
struct Local {
    issuer: Arc<DevIssuer>,
    port: u16,
}

/// Why a request gets no token.
#[derive(Debug)]
enum Refusal {
    NotLocal(&'static str),
    NotJson,
    BadBody,
    WrongCode,
    Token(AuthError),
    Failed(IssuerError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, detail) = match &self {
            Self::NotLocal(what) => {
                tracing::debug!("a request to the development issuer is refused: its {what}");
                let detail = format!("Only this machine's own page may ask: the request's {what}.");
                (StatusCode::FORBIDDEN, "not_local", detail)
            }
            Self::NotJson => {
                let detail = "Send the body with Content-Type: application/json.".to_owned();
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
            }
            Self::BadBody => {
                let detail = r#"Send {"code": "…"}, and nothing else."#.to_owned();
                (StatusCode::BAD_REQUEST, "bad_request", detail)
            }
            Self::WrongCode => {
                let detail = "The code is wrong or used up: get a new sign-in link.".to_owned();
                (StatusCode::UNAUTHORIZED, "sign_in_code", detail)
            }
            Self::Token(error) => {
                (StatusCode::UNAUTHORIZED, error.code(), what_to_do(error).to_owned())
            }
            Self::Failed(error) => {
                tracing::error!("{error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", FAILED.to_owned())
            }
        };
        let title = status.canonical_reason().unwrap_or_default();
        let problem = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
            "code": code,
        });
        let kind = HeaderValue::from_static("application/problem+json");
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        (status, headers, problem.to_string()).into_response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    code: String,
}

async fn sign_in(State(local): State<Local>, request: Request) -> Result<Response, Refusal> {
    check_request(&request, local.port)?;
    check_json(request.headers())?;
    let body = read_body(request.into_body(), BODY_TIME).await?;
    let Object(SignInRequest { code }) =
        serde_json::from_slice(&body).map_err(|_| Refusal::BadBody)?;
    let minted = local.issuer.sign_in(&code, SystemTime::now()).map_err(Refusal::Failed)?;
    minted.map(answer).ok_or(Refusal::WrongCode)
}

async fn renew(State(local): State<Local>, request: Request) -> Result<Response, Refusal> {
    check_request(&request, local.port)?;
    let token = bearer(request.headers()).and_then(|token| token.ok_or(AuthError::NoToken));
    let token = token.map_err(Refusal::Token)?;
    let now = SystemTime::now();
    let holder = local.issuer.verify(token, now).await.map_err(Refusal::Token)?;
    local.issuer.renew(&holder, now).map(answer).map_err(Refusal::Failed)
}

fn answer(minted: Minted) -> Response {
    ([(CACHE_CONTROL, "no-store")], axum::Json(minted)).into_response()
}

async fn read_body(body: Body, time: Duration) -> Result<axum::body::Bytes, Refusal> {
    match tokio::time::timeout(time, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) | Err(_) => Err(Refusal::BadBody),
    }
}

fn check_request(request: &Request, port: u16) -> Result<(), Refusal> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|ConnectInfo(peer)| is_loopback(*peer)) {
        return Err(Refusal::NotLocal("peer is not on this machine"));
    }
    check_headers(request.headers(), port)
}

fn check_headers(headers: &HeaderMap, port: u16) -> Result<(), Refusal> {
    let host = only(headers, &HOST).ok_or(Refusal::NotLocal("Host is missing or repeated"))?;
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
    if !own.iter().any(|name| name.as_bytes() == host.as_bytes()) {
        return Err(Refusal::NotLocal("Host is not this listener's"));
    }
    if headers.contains_key(ORIGIN) {
        let origin = only(headers, &ORIGIN).map(HeaderValue::as_bytes);
        let own = [b"http://", host.as_bytes()].concat();
        if origin != Some(own.as_slice()) {
            return Err(Refusal::NotLocal("Origin is another one"));
        }
    }
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Refusal::NotLocal("page is another site's")),
    }
}

fn check_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = only(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|text| text.split(';').next()).map(str::trim);
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(_) | None => Err(Refusal::NotJson),
    }
}

/// A header that stands exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        check_headers(&headers, 8080).is_ok()
    }

    #[test]
    fn this_machine_s_names_and_pages_are_taken() {
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"] {
            let origin = format!("http://{host}");
            assert!(verdict(&[("host", host)]));
            assert!(verdict(&[("host", host), ("origin", &origin)]));
            let site = ("sec-fetch-site", "same-origin");
            assert!(verdict(&[("host", host), ("origin", &origin), site]));
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let stalled = futures_util::stream::pending::<Result<String, std::io::Error>>();
        let answer = read_body(Body::from_stream(stalled), Duration::from_millis(10)).await;
        assert!(matches!(answer, Err(Refusal::BadBody)));
    }

    #[test]
    fn other_hosts_and_pages_are_not() {
        let host = ("host", "127.0.0.1:8080");
        let table: [&[(&'static str, &str)]; 13] = [
            &[],
            &[("host", "evil.example:8080")],
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1:80")],
            &[("host", "localhost.evil.example:8080")],
            &[("host", "127.0.0.1:8080.evil.example")],
            &[host, host],
            &[host, ("origin", "https://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://localhost:8080")],
            &[host, ("origin", "http://127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
        ];
        for lines in table {
            assert!(!verdict(lines), "{lines:?}");
        }
    }
}
