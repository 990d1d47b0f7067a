//! The development issuer: its key, its code, and whom it answers.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shellgate_gateway::auth::verifier::LEEWAY_DEFAULT;
use shellgate_gateway::auth::{AuthError, Scopes, Verifier, VerifierConfig};
use shellgate_gateway::issuer::{DevIssuer, DevIssuerConfig, IssuerError, refuse_beside, routes};
use tower::ServiceExt;

fn config() -> DevIssuerConfig {
    DevIssuerConfig {
        issuer: "shellgate-development".into(),
        audience: "shellgate".into(),
        subject: "developer".into(),
        scopes: Scopes { admin: true, ..Scopes::OWN },
        lifetime: Duration::from_secs(3600),
    }
}

fn open(state: &Path) -> Result<DevIssuer, IssuerError> {
    DevIssuer::open(state, config())
}

fn verifier(issuer: &DevIssuer) -> Verifier {
    Verifier::new(VerifierConfig {
        issuers: vec![issuer.issuer_config()],
        leeway: LEEWAY_DEFAULT,
        max_lifetime: Duration::from_secs(31 * 86_400),
    })
    .unwrap()
}

#[tokio::test]
async fn its_key_is_made_once_and_kept_for_its_owner_alone() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = open(state.path()).unwrap();
    let minted = first.mint("ada", Scopes::OWN, Duration::from_secs(60), now).unwrap();
    let again = open(state.path()).unwrap();
    assert_eq!(first.jwk(), again.jwk());
    let identity = verifier(&again).verify(&minted.token, now).await.unwrap();
    assert_eq!(identity.user.subject(), "ada");
    let files: Vec<_> = std::fs::read_dir(state.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = open(elsewhere.path()).unwrap();
    let forged = stranger.mint("ada", Scopes::OWN, Duration::from_secs(60), now).unwrap();
    let answer = verifier(&first).verify(&forged.token, now).await;
    assert_eq!(answer, Err(AuthError::UnknownKey));
}

#[test]
fn a_key_that_others_can_read_or_replace_is_refused() {
    let state = tempfile::tempdir().unwrap();
    open(state.path()).unwrap();
    let file = std::fs::read_dir(state.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(open(state.path()), Err(IssuerError::Exposed(_))));

    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let target = state.path().join("target");
    std::fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    assert!(matches!(open(state.path()), Err(IssuerError::Exposed(_))));

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "no key").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(open(state.path()), Err(IssuerError::BadKey(_))));
}

#[test]
fn a_first_start_that_was_cut_off_does_not_stop_the_second() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("dev-issuer.new"), "half a k").unwrap();
    open(state.path()).unwrap();
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
}

#[test]
fn it_does_not_run_beside_a_listener_that_others_can_reach() {
    let listeners = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let local = ["127.0.0.1:8080", "127.8.8.8:1", "[::1]:8080", "[::ffff:127.0.0.1]:80"];
    assert!(refuse_beside(&listeners(&local)).is_ok());
    for reachable in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080", "[fe80::1]:8080"] {
        let mut all = local.to_vec();
        all.push(reachable);
        let refusal = refuse_beside(&listeners(&all));
        assert!(matches!(refusal, Err(IssuerError::NotLocal(_))), "{reachable}");
    }
}

const PORT: u16 = 8080;
const LOCAL: &str = "127.0.0.1:50000";

/// A request as the page of this machine sends it.
fn request(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .extension(ConnectInfo(LOCAL.parse::<SocketAddr>().unwrap()))
        .header("host", format!("127.0.0.1:{PORT}"))
        .header("origin", format!("http://127.0.0.1:{PORT}"))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

fn sign_in(code: &str) -> Request<Body> {
    request("/dev/sign-in", json!({"code": code}).to_string())
}

async fn answer(issuer: &Arc<DevIssuer>, request: Request<Body>) -> (StatusCode, Value) {
    let response = routes::router(Arc::clone(issuer), PORT).oneshot(request).await.unwrap();
    let status = response.status();
    if status != StatusCode::METHOD_NOT_ALLOWED {
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn started() -> (tempfile::TempDir, Arc<DevIssuer>) {
    let state = tempfile::tempdir().unwrap();
    let issuer = Arc::new(open(state.path()).unwrap());
    (state, issuer)
}

#[tokio::test]
async fn its_code_signs_in_once() {
    let (_state, issuer) = started();
    let code = issuer.new_sign_in_code(SystemTime::now()).unwrap();
    let (status, minted) = answer(&issuer, sign_in(&code)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&minted["expires_in"], &minted["user"]), (&json!(3600), &json!("developer")));
    let token = minted["token"].as_str().unwrap();
    let identity = verifier(&issuer).verify(token, SystemTime::now()).await.unwrap();
    assert_eq!(identity.user.issuer(), "shellgate-development");
    assert_eq!(identity.scopes.to_string(), "sessions:admin");

    let (status, problem) = answer(&issuer, sign_in(&code)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("sign_in_code")));
}

#[tokio::test]
async fn a_request_from_elsewhere_is_refused_and_does_not_use_the_code_up() {
    let (_state, issuer) = started();
    let code = issuer.new_sign_in_code(SystemTime::now()).unwrap();
    let altered = |alter: &dyn Fn(&mut Request<Body>)| {
        let mut request = sign_in(&code);
        alter(&mut request);
        request
    };
    let peer = |text: &str| ConnectInfo(text.parse::<SocketAddr>().unwrap());
    let elsewhere = [
        altered(&|request| {
            request.extensions_mut().insert(peer("10.0.0.2:50000"));
        }),
        altered(&|request| {
            request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
        }),
        altered(&|request| {
            request.headers_mut().insert("host", "evil.example:8080".parse().unwrap());
        }),
        altered(&|request| {
            request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
        }),
    ];
    for request in elsewhere {
        let (status, problem) = answer(&issuer, request).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not_local")));
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let request = altered(&|request| {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        });
        assert_eq!(answer(&issuer, request).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let get = altered(&|request| *request.method_mut() = http::Method::GET);
    assert_eq!(answer(&issuer, get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer(&issuer, sign_in(&code)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn malformed_and_oversized_bodies_are_refused() {
    let (_state, issuer) = started();
    let bodies = [
        String::new(),
        "{}".into(),
        r#"{"code":7}"#.into(),
        r#"{"code":"a","code":"b"}"#.into(),
        r#"{"code":"a","more":1}"#.into(),
        r#"["a"]"#.into(),
        format!(r#"{{"code":"{}"}}"#, "x".repeat(1024)),
    ];
    for body in bodies {
        let (status, problem) = answer(&issuer, request("/dev/sign-in", body.clone())).await;
        let expected = (StatusCode::BAD_REQUEST, &json!("bad_request"));
        assert_eq!((status, &problem["code"]), expected, "{body}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
}

#[tokio::test]
async fn a_token_that_holds_is_renewed_and_another_is_not() {
    let (_state, issuer) = started();
    let now = SystemTime::now();
    let renew = |token: &str| {
        let mut request = request("/dev/renew", Body::empty());
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let short = issuer.mint("ada", Scopes::parse("sessions:read"), Duration::from_secs(60), now);
    let (status, minted) = answer(&issuer, renew(&short.unwrap().token)).await;
    assert_eq!(status, StatusCode::OK);
    let newer = verifier(&issuer).verify(minted["token"].as_str().unwrap(), now).await.unwrap();
    assert_eq!((newer.user.subject(), newer.scopes.to_string().as_str()), ("ada", "sessions:read"));
    assert!(newer.expires_at > now + Duration::from_secs(3000));

    let earlier = now - Duration::from_secs(120);
    let gone = issuer.mint("ada", Scopes::OWN, Duration::from_secs(60), earlier).unwrap();
    let (status, problem) = answer(&issuer, renew(&gone.token)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("token_expired")));
    let (status, problem) = answer(&issuer, request("/dev/renew", Body::empty())).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("token_missing")));
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("Bearer")));
}
