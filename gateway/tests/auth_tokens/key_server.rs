//! Keys from a URL: a key server on loopback that rotates, fails, stalls and lies. The age of keys
//! counts by a time that the tests pass in; nothing here waits for a clock but the two stalls.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};
use shellgate_gateway::auth::jwks::Policy;
use shellgate_gateway::auth::{Algorithm, AuthError, Fault, Identity, KeySource, Verifier};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::signer::{Signer, claims, now, verifier};

/// What the key server answers from now on.
#[derive(Clone)]
enum Answer {
    Body(String),
    /// A body without a stated length.
    Chunked(String),
    Status(StatusCode),
    /// To a place where these keys are.
    Redirect(String),
    /// Never a head.
    Stall,
    /// A head and half a body, and then nothing.
    StallInBody,
}

#[derive(Clone)]
struct Script {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    asked_elsewhere: Arc<AtomicUsize>,
    /// One permit for each answer that may go out; many, unless a test takes them away.
    gate: Arc<Semaphore>,
}

/// A key server; dropped, it stops.
struct KeyServer {
    url: String,
    script: Script,
    _running: JoinSet<()>,
}

impl KeyServer {
    async fn start(answer: Answer) -> Self {
        let script = Script {
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            asked_elsewhere: Arc::default(),
            gate: Arc::new(Semaphore::new(1000)),
        };
        let app = Router::new()
            .route("/keys", get(keys))
            .route("/elsewhere", get(elsewhere))
            .with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, script, _running: running }
    }

    fn answers(&self, answer: Answer) {
        *self.script.answer.lock().unwrap() = answer;
    }

    fn was_asked(&self) -> usize {
        self.script.asked.load(Ordering::SeqCst)
    }

    fn verifier(&self, algorithm: Algorithm) -> Verifier {
        self.verifier_with(algorithm, Policy::default())
    }

    fn verifier_with(&self, algorithm: Algorithm, policy: Policy) -> Verifier {
        verifier(vec![algorithm], KeySource::Jwks { url: self.url.clone(), policy })
    }
}

async fn keys(State(script): State<Script>) -> Response {
    script.asked.fetch_add(1, Ordering::SeqCst);
    script.gate.acquire().await.unwrap().forget();
    let answer = script.answer.lock().unwrap().clone();
    match answer {
        Answer::Body(body) => body.into_response(),
        Answer::Chunked(body) => {
            let pieces: Vec<_> =
                body.into_bytes().chunks(1000).map(Bytes::copy_from_slice).collect();
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
            Body::from_stream(pieces).into_response()
        }
        Answer::Status(status) => (status, "{}").into_response(),
        Answer::Redirect(_) => (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response(),
        Answer::Stall => pending().await,
        Answer::StallInBody => {
            let half = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"keys\":["))]);
            Body::from_stream(half.chain(stream::pending())).into_response()
        }
    }
}

async fn elsewhere(State(script): State<Script>) -> Response {
    script.asked_elsewhere.fetch_add(1, Ordering::SeqCst);
    let answer = script.answer.lock().unwrap().clone();
    match answer {
        Answer::Redirect(body) => body.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn set(keys: &[Value]) -> Answer {
    Answer::Body(json!({"keys": keys}).to_string())
}

/// A token of this key under this name.
fn token(signer: &Signer, id: &str) -> String {
    let header = json!({"alg": signer.algorithm.name(), "kid": id});
    signer.sign(&header.to_string(), &claims().to_string())
}

async fn shown(verifier: &Verifier, token: &str, at: Instant) -> Result<Identity, AuthError> {
    verifier.verify_at(token, now(), at).await
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn keys_of_every_public_algorithm_are_fetched_once_and_kept() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()) {
        let signer = Signer::new(algorithm);
        let server = KeyServer::start(set(&[signer.jwk("a")])).await;
        let verifier = server.verifier(algorithm);
        let start = Instant::now();
        for second in 0..10 {
            let answer = shown(&verifier, &token(&signer, "a"), start + seconds(second)).await;
            assert!(answer.is_ok(), "{algorithm}: {answer:?}");
        }
        assert_eq!(server.was_asked(), 1);
    }
}

#[tokio::test]
async fn a_new_key_is_found_when_it_is_first_used_and_an_old_one_forgotten() {
    let (old, new) = (Signer::new(Algorithm::EdDsa), Signer::new(Algorithm::EdDsa));
    let server = KeyServer::start(set(&[old.jwk("old")])).await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let start = Instant::now();
    assert!(shown(&verifier, &token(&old, "old"), start).await.is_ok());
    server.answers(set(&[new.jwk("new")]));
    let later = start + seconds(31);
    assert!(shown(&verifier, &token(&new, "new"), later).await.is_ok());
    assert_eq!(shown(&verifier, &token(&old, "old"), later).await, Err(AuthError::UnknownKey));
    assert_eq!(server.was_asked(), 2);
}

#[tokio::test]
async fn unknown_names_ask_the_key_server_every_thirty_seconds_at_most() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server = KeyServer::start(set(&[signer.jwk("a")])).await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let start = Instant::now();
    for millis in (0..90_000).step_by(500) {
        let forged = token(&signer, &format!("unknown-{millis}"));
        let answer = shown(&verifier, &forged, start + Duration::from_millis(millis)).await;
        assert_eq!(answer, Err(AuthError::UnknownKey));
        // Meanwhile who has a good token does not notice.
        let good =
            shown(&verifier, &token(&signer, "a"), start + Duration::from_millis(millis)).await;
        assert!(good.is_ok());
    }
    assert_eq!(server.was_asked(), 3, "at 0, 30 and 60 seconds");
}

#[tokio::test]
async fn an_outage_does_not_lose_the_keys_until_they_are_too_old() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server = KeyServer::start(set(&[signer.jwk("a")])).await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let (start, good) = (Instant::now(), token(&signer, "a"));
    assert!(shown(&verifier, &good, start).await.is_ok());

    server.answers(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    for minutes in [11, 21, 60, 600, 24 * 60] {
        let answer = shown(&verifier, &good, start + seconds(minutes * 60)).await;
        assert!(answer.is_ok(), "after {minutes} minutes: {answer:?}");
    }
    let stranger = shown(&verifier, &token(&signer, "b"), start + seconds(24 * 3600)).await;
    assert_eq!(stranger, Err(AuthError::KeysUnavailable), "nobody knows whether it exists");
    let too_old = shown(&verifier, &good, start + seconds(24 * 3600 + 120)).await.unwrap_err();
    assert_eq!((too_old.code(), too_old.fault()), ("keys_unavailable", Fault::Issuer));
    assert!(too_old.is_retryable());

    server.answers(set(&[signer.jwk("a")]));
    assert!(shown(&verifier, &good, start + seconds(25 * 3600)).await.is_ok());
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_while() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server = KeyServer::start(Answer::Status(StatusCode::INTERNAL_SERVER_ERROR)).await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let (start, good) = (Instant::now(), token(&signer, "a"));
    for _ in 0..50 {
        assert_eq!(shown(&verifier, &good, start).await, Err(AuthError::KeysUnavailable));
    }
    assert_eq!(server.was_asked(), 1);
    server.answers(set(&[signer.jwk("a")]));
    // A second's pause, and what the failed fetch itself took.
    assert!(shown(&verifier, &good, start + seconds(20)).await.is_ok());
}

#[tokio::test]
async fn many_tokens_at_once_make_one_fetch() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server = KeyServer::start(set(&[signer.jwk("a")])).await;
    server.script.gate.forget_permits(1000);
    let verifier = server.verifier(Algorithm::EdDsa);
    let (start, good) = (Instant::now(), token(&signer, "a"));
    let all = join_all((0..100).map(|_| shown(&verifier, &good, start)));
    let (answers, ()) = tokio::join!(all, async {
        // All of them have been polled by now, and wait; the gate opens for one answer only.
        server.script.gate.add_permits(1);
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.was_asked(), 1);
}

#[tokio::test]
async fn a_fetch_ends_well_although_its_caller_hangs_up() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server = KeyServer::start(set(&[signer.jwk("a")])).await;
    server.script.gate.forget_permits(1000);
    let verifier = server.verifier(Algorithm::EdDsa);
    let (start, good) = (Instant::now(), token(&signer, "a"));
    {
        let asked = Box::pin(shown(&verifier, &good, start));
        // Polled once, so that it begins the fetch, and dropped while it waits.
        assert!(futures_util::FutureExt::now_or_never(asked).is_none());
    }
    server.script.gate.add_permits(1);
    assert!(shown(&verifier, &good, start).await.is_ok());
    assert_eq!(server.was_asked(), 1);
    verifier.shutdown().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let signer = Signer::new(Algorithm::EdDsa);
    let server =
        KeyServer::start(Answer::Redirect(json!({"keys": [signer.jwk("a")]}).to_string())).await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let answer = shown(&verifier, &token(&signer, "a"), Instant::now()).await;
    assert_eq!(answer, Err(AuthError::KeysUnavailable));
    assert_eq!(server.was_asked(), 1);
    assert_eq!(server.script.asked_elsewhere.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_key_server_that_stalls_is_given_up() {
    let signer = Signer::new(Algorithm::EdDsa);
    let policy = Policy { timeout: Duration::from_millis(100), ..Policy::default() };
    for answer in [Answer::Stall, Answer::StallInBody] {
        let server = KeyServer::start(answer).await;
        let verifier = server.verifier_with(Algorithm::EdDsa, policy);
        let start = Instant::now();
        let answer = shown(&verifier, &token(&signer, "a"), start).await;
        assert_eq!(answer, Err(AuthError::KeysUnavailable));
        assert!(start.elapsed() < seconds(5), "{:?}", start.elapsed());
        // The fetch itself was given up as well: nothing waits for it any more.
        server.answers(set(&[signer.jwk("a")]));
        assert!(shown(&verifier, &token(&signer, "a"), start + seconds(60)).await.is_ok());
        assert_eq!(server.was_asked(), 2);
    }
}

#[tokio::test]
async fn answers_that_are_no_key_set_are_refused() {
    let signer = Signer::new(Algorithm::EdDsa);
    let good = json!({"keys": [signer.jwk("a")]}).to_string();
    let filled = |length: usize| format!("{good}{}", " ".repeat(length - good.len()));
    let two_alike = json!({"keys": [signer.jwk("a"), Signer::new(Algorithm::EdDsa).jwk("a")]});
    let many: Vec<_> = (0..65).map(|number| signer.jwk(&number.to_string())).collect();
    let cases = [
        ("over 64 KiB", Answer::Body(filled(64 * 1024 + 1)), false),
        ("over 64 KiB without a stated length", Answer::Chunked(filled(64 * 1024 + 1)), false),
        ("exactly 64 KiB", Answer::Body(filled(64 * 1024)), true),
        ("exactly 64 KiB without a stated length", Answer::Chunked(filled(64 * 1024)), true),
        ("empty", Answer::Body(String::new()), false),
        ("HTML", Answer::Body("<html>".into()), false),
        ("a list", Answer::Body("[]".into()), false),
        ("no keys", Answer::Body("{}".into()), false),
        ("an empty set", set(&[]), false),
        ("keys that are no objects", set(&[json!("a")]), false),
        ("a member twice", Answer::Body(format!("{{\"keys\":[],{}", &good[1..])), false),
        ("two keys of one name", Answer::Body(two_alike.to_string()), false),
        ("too many keys", Answer::Body(json!({"keys": many}).to_string()), false),
        ("another status", Answer::Status(StatusCode::CREATED), false),
    ];
    for (what, answer, is_good) in cases {
        let server = KeyServer::start(answer).await;
        let verifier = server.verifier(Algorithm::EdDsa);
        let answer = shown(&verifier, &token(&signer, "a"), Instant::now()).await;
        assert_eq!(answer.is_ok(), is_good, "{what}: {answer:?}");
        if !is_good {
            assert_eq!(answer, Err(AuthError::KeysUnavailable), "{what}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_not_for_this_are_left_out_of_a_set() {
    let signer = Signer::new(Algorithm::EdDsa);
    let changed = |id: &str, name: &str, value: Value| {
        let mut jwk = signer.jwk(id);
        jwk[name] = value;
        jwk
    };
    let secret = "secret-secret-secret-secret-secret";
    let server = KeyServer::start(set(&[
        json!({"kty": "oct", "kid": "symmetric", "alg": "HS256", "k": super::signer::part(secret)}),
        json!({"kty": "RSA", "kid": "weak", "e": "AQAB", "n": "-".repeat(168)}),
        json!({"kty": "AKP", "kid": "foreign"}),
        changed("encrypts", "use", json!("enc")),
        changed("signs", "key_ops", json!(["sign"])),
        changed("other", "alg", json!("ES256")),
        changed("private", "d", json!("AAAA")),
        signer.jwk("good"),
    ]))
    .await;
    let verifier = server.verifier(Algorithm::EdDsa);
    let start = Instant::now();
    assert!(shown(&verifier, &token(&signer, "good"), start).await.is_ok());
    for id in ["symmetric", "weak", "foreign", "encrypts", "signs", "other", "private"] {
        let answer = shown(&verifier, &token(&signer, id), start).await;
        assert_eq!(answer, Err(AuthError::UnknownKey), "{id}");
    }
    // What is not in the set for this algorithm may not be reached through another one.
    let header = json!({"alg": "HS256", "kid": "symmetric"}).to_string();
    let message =
        [super::signer::part(&header), super::signer::part(&claims().to_string())].join(".");
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let library = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, library).unwrap();
    let forged = format!("{message}.{signature}");
    assert_eq!(shown(&verifier, &forged, start).await, Err(AuthError::Algorithm));
}

#[tokio::test]
async fn urls_that_leak_or_wander_are_no_configuration() {
    for url in [
        "http://keys.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://10.0.0.1/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/keys",
        "https://user@keys.example/",
        "https://:secret@keys.example/",
        "https://keys.example/#a",
        "keys.example",
        "",
    ] {
        let config = shellgate_gateway::auth::VerifierConfig {
            issuers: vec![super::signer::issuer(
                super::signer::ISSUER,
                vec![Algorithm::Rs256],
                KeySource::Jwks { url: url.to_owned(), policy: Policy::default() },
            )],
            leeway: Duration::ZERO,
            max_lifetime: Duration::from_secs(31 * 86_400),
        };
        let faults = Verifier::new(config).unwrap_err();
        assert_eq!(faults.len(), 1, "{url}: {faults:?}");
        assert!(!faults[0].contains("secret@"), "a password shows: {faults:?}");
    }
}
