//! Limits: what is refused, how that is said, and that a place that is given back can be had.

use shellgate_client::api::NewSession;
use shellgate_client::session::State;
use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::Role;
use shellgate_tests::raw::{Knock, attach};
use shellgate_tests::{Raw, World, until};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[tokio::test]
async fn one_session_too_many_is_refused_until_one_ends() {
    let world = World::builder().set("limits.sessions_per_user", 2).start().await;
    let ada = world.user("ada");
    let first = ada.asks_for_a("default").await.id;
    ada.asks_for_a("default").await;
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "too_many_sessions"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    world.user("eve").asks_for_a("default").await;
    ada.stops(first).await;
    ada.sees_the_end_of(first).await;
    until("the place is free again", async || {
        ada.api().create(&NewSession::default()).await.is_ok()
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_full_says_so() {
    let world =
        World::builder().set("limits.sessions", 1).set("limits.sessions_per_user", 1).start().await;
    world.user("ada").asks_for_a("default").await;
    let refused = world.user("eve").is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "gateway_full"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    world.stop().await;
}

#[tokio::test]
async fn too_many_starts_in_a_minute_are_refused() {
    let world = World::builder().set("limits.starts_per_minute_per_user", 2).start().await;
    let ada = world.user("ada");
    for _ in 0..2 {
        let session = ada.asks_for_a("default").await.id;
        ada.sees(session, State::Live).await;
    }
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "start_rate"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds > 10), "{refused:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_start_that_is_not_wanted_any_more_counts_all_the_same() {
    let world = World::builder().set("limits.starts_per_minute_per_user", 2).start().await;
    let ada = world.user("ada");
    for _ in 0..2 {
        let session = ada.asks_for_a("default").await.id;
        ada.stops(session).await;
        ada.sees_the_end_of(session).await;
    }
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (429, "start_rate"));
    world.stop().await;
}

#[tokio::test]
async fn one_attachment_too_many_is_refused_until_one_leaves() {
    let world = World::builder().set("limits.attachments_per_session", 2).start().await;
    let ada = world.user("ada");
    let shell = ada.opens_a_shell().await;
    let observer = ada.watches(shell.session()).await;
    let mut raw = Raw::knocks(&ada, shell.session()).await;
    raw.says(&attach(Role::Observer)).await;
    let (code, reason) = raw.is_closed().await;
    assert_eq!((code, reason.as_str()), (CloseCode::Quota.number(), "too_many_attachments"));
    observer.hangs_up().await;
    until("the place is free again", async || {
        let mut raw = Raw::knocks(&ada, shell.session()).await;
        raw.says(&attach(Role::Observer)).await;
        loop {
            match raw.hears().await {
                shellgate_tests::raw::Heard::Closed(..) => return false,
                shellgate_tests::raw::Heard::Control(shellgate_protocol::ToClient::Attached {
                    ..
                }) => return true,
                _ => {}
            }
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn an_address_with_too_many_strangers_gets_a_503_at_the_door() {
    let world = World::builder().set("listen.unauthenticated_per_address", 3).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(TcpStream::connect(ada.address()).await.expect("a gateway listens"));
    }
    let mut answer = String::new();
    until("the address is full", async || {
        let mut one_more = TcpStream::connect(ada.address()).await.expect("a gateway listens");
        answer.clear();
        let read = one_more.read_to_string(&mut answer);
        matches!(tokio::time::timeout(std::time::Duration::from_millis(200), read).await, Ok(Ok(_)))
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("retry-after: ") && answer.contains(r#""code":"too_many_sockets""#),
        "{answer}"
    );
    drop(strangers);
    until("there is room again", async || {
        let stream = TcpStream::connect(ada.address()).await;
        drop(stream);
        ada.api().get(session).await.is_ok()
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_gives_its_place_back() {
    let world = World::builder()
        .template("nothing", &["no-such-program"])
        .set("limits.sessions_per_user", 1)
        .start()
        .await;
    let ada = world.user("ada");
    for _ in 0..3 {
        let mut made = None;
        until("there is a place", async || {
            let new = NewSession { template: Some("nothing".into()), ..NewSession::default() };
            made = ada.api().create(&new).await.ok();
            made.is_some()
        })
        .await;
        let id = made.expect("made").0.id;
        let mut shell = ada.comes_to(id);
        shell.exits().await;
        ada.sees_the_end_of(id).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_request_for_nothing_known_is_refused_in_words() {
    let world = World::start().await;
    let ada = world.user("ada");
    let template = |name: &str| NewSession { template: Some(name.into()), ..NewSession::default() };
    let refused = ada.is_refused(&template("no-such-template")).await;
    assert_eq!((refused.status, refused.code.as_str()), (400, "no_such_template"));
    let named = |name: &str| NewSession { name: Some(name.into()), ..NewSession::default() };
    let refused = ada.is_refused(&named("../../etc/passwd")).await;
    assert_eq!((refused.status, refused.code.as_str()), (400, "bad_request"));
    let session = ada.asks_for_a("default").await.id;
    let url = format!("http://{}/v1/sessions/{session}/attach", ada.address());
    let asked = reqwest::Client::new().get(url).bearer_auth(ada.token().0).send();
    let answer = shellgate_tests::within("an answer", asked).await.expect("an answer");
    assert_eq!(answer.status(), 426, "a socket is not asked for");
    let knock = Knock::plain(&ada.token());
    let nobodys = shellgate_protocol::SessionId::generate();
    let refused = Raw::dials(ada.address(), nobodys, &knock).await.err().expect("refused");
    assert_eq!(refused.status(), 404);
    world.stop().await;
}
