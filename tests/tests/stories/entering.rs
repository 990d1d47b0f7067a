//! Who is let in, and what the others are told.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use shellgate_client::api::{CallError, Which};
use shellgate_client::attach::Why;
use shellgate_client::{AttachOptions, Events, Input, TokenSource, attach};
use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::{Notice, Role, Token};
use shellgate_tests::issuer::{Issuer, claims};
use shellgate_tests::raw::{Heard, Knock, attach as says_attach};
use shellgate_tests::transcript::Transcript;
use shellgate_tests::user::from_the_start;
use shellgate_tests::{Raw, User, World, documented, within};
use tokio::sync::watch;

/// A page that may ask for tickets.
const ORIGIN: &str = "https://shell.example.com";

/// Another one that may.
const OTHER_ORIGIN: &str = "https://other.example.com";

async fn status_of(user: &User, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", user.address());
    let asked = reqwest::Client::new().get(url).bearer_auth(user.token().0).send();
    let answer = within("an answer", asked).await.expect("an answer");
    let status = answer.status().as_u16();
    if path.starts_with("/v1/") {
        documented::declares("GET", path, status);
    }
    (status, answer.json().await.unwrap_or_default())
}

async fn ticket(user: &User, session: SessionId, role: Role, origin: &str) -> String {
    let asked = user.api();
    let ticket = within("a ticket", asked.ticket(session, role, origin)).await;
    ticket.expect("a ticket").ticket
}

async fn closed(user: &User, session: SessionId, knock: Knock, role: Role) -> (u16, String) {
    let mut raw = Raw::dials(user.address(), session, &knock).await.expect("upgraded");
    raw.says(&says_attach(role)).await;
    raw.is_closed().await
}

#[tokio::test]
async fn a_token_that_does_not_hold_opens_nothing() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let now = SystemTime::now();
    let changed = |name: &str, value: Value| {
        let mut said = claims("ada", "", now + Duration::from_secs(600));
        said[name] = value;
        world.issuer().sign(&said)
    };
    let tokens = [
        ("another issuer's key", Issuer::default().token("ada", "")),
        ("run out", world.issuer().expired_token("ada", Duration::from_secs(60))),
        ("for another audience", changed("aud", "somebody-else".into())),
        ("of an unknown issuer", changed("iss", "https://evil.example".into())),
        ("of nobody", changed("sub", Value::Null)),
        ("for ever", changed("exp", 99_999_999_999_999_u64.into())),
        ("not yet good", changed("nbf", 4_000_000_000_u64.into())),
        ("no token at all", Token("ey.ey.ey".into())),
    ];
    for (what, token) in tokens {
        let stranger = ada.with_token(token.clone());
        let (status, problem) = status_of(&stranger, "/v1/sessions").await;
        assert_eq!(status, 401, "{what}: {problem}");
        assert!(problem["code"].is_string(), "{what}: {problem}");
        let (code, _) = closed(&ada, session, Knock::bearer(&token), Role::Driver).await;
        assert_eq!(code, 4401, "{what}");
        let refused = Raw::dials(ada.address(), session, &Knock::plain(&token)).await;
        assert_eq!(refused.err().map(|answer| answer.status().as_u16()), Some(401), "{what}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_credential_in_a_url_or_twice_is_none() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let token = ada.token();
    let nobody = || Knock::default().header("sec-websocket-protocol", "shellgate.v1");
    let in_url = nobody().query(&format!("token={0}&access_token={0}", token.0));
    let twice = Knock::bearer(&token).header("authorization", &format!("Bearer {}", token.0));
    for knock in [nobody(), in_url, twice] {
        assert_eq!(closed(&ada, session, knock, Role::Driver).await.0, 4401);
    }
    world.stop().await;
}

#[tokio::test]
async fn somebody_elses_session_looks_like_none() {
    let world = World::start().await;
    let ada = world.user("ada");
    let eve = world.user("eve");
    let theirs = ada.asks_for_a("default").await.id;
    let nobodys = SessionId::generate();
    for session in [theirs, nobodys] {
        let (status, problem) = status_of(&eve, &format!("/v1/sessions/{session}")).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("no_such_session")));
        assert_eq!(problem["detail"], format!("You have no session {session}."));
        let (status, _) = status_of(&eve, &format!("/v1/sessions/{session}/events")).await;
        assert_eq!(status, 404);
        for refused in [
            eve.api().stop(session).await.err(),
            eve.api().ticket(session, Role::Driver, ORIGIN).await.err(),
        ] {
            let Some(CallError::Refused(refused)) = refused else { panic!("{refused:?}") };
            assert_eq!((refused.status, refused.code.as_str()), (404, "no_such_session"));
        }
        let knock = Knock::bearer(&eve.token());
        assert_eq!(closed(&eve, session, knock, Role::Driver).await.0, 4404);
        let plain = Raw::dials(eve.address(), session, &Knock::plain(&eve.token())).await;
        assert_eq!(plain.err().map(|answer| answer.status().as_u16()), Some(404));
    }
    assert!(eve.api().list(Which::default()).await.expect("a list").is_empty());
    assert_eq!(ada.looks_at(theirs).await.id, theirs);
    world.stop().await;
}

#[tokio::test]
async fn an_operator_may_do_what_their_scopes_say_and_no_more() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.opens_a_shell().await.session();
    let reader = world.user("oda").with_scopes("sessions:read");
    let seen = reader.looks_at(session).await;
    assert_eq!(seen.owner.map(|owner| owner.user).as_deref(), Some("ada"));
    let knock = Knock::bearer(&reader.token());
    assert_eq!(closed(&reader, session, knock, Role::Observer).await.0, 4404);
    let Err(CallError::Refused(refused)) = reader.api().stop(session).await else {
        panic!("a reader stops nothing")
    };
    assert_eq!(refused.status, 404);
    let everybodys = Which { all: true, ..Which::default() };
    assert_eq!(reader.api().list(everybodys).await.expect("a list").len(), 1);
    let watcher = world.user("odo").with_scopes("sessions:observe");
    watcher.watches(session).await;
    let seen = watcher.looks_at(session).await;
    assert_eq!(seen.owner.map(|owner| owner.user).as_deref(), Some("ada"));
    let admin = world.user("ida").with_scopes("sessions:admin");
    admin.watches(session).await;
    assert_eq!(admin.api().list(everybodys).await.expect("a list").len(), 1);
    for operator in [&watcher, &admin] {
        for takeover in [false, true] {
            let mut raw = Raw::knocks(operator, session).await;
            let mut wants = says_attach(Role::Driver);
            wants["takeover"] = takeover.into();
            raw.says(&wants).await;
            assert_eq!(raw.is_closed().await.0, 4404, "nobody types as somebody else");
        }
        let Err(CallError::Refused(refused)) =
            operator.api().ticket(session, Role::Driver, ORIGIN).await
        else {
            panic!("there is no ticket for it either")
        };
        assert_eq!(refused.status, 404);
    }
    for (operator, expected) in [(&watcher, [403, 404]), (&admin, [0, 0])] {
        let status = |refused| match refused {
            Some(CallError::Refused(refused)) => refused.status,
            None => 0,
            Some(error) => panic!("{error}"),
        };
        let listed = status(operator.api().list(everybodys).await.err());
        let stopped = status(operator.api().stop(session).await.err());
        assert_eq!([listed, stopped], expected, "{}", operator.name());
    }
    let nobody = world.user("eve").with_scopes("sessions:nothing shells:admin");
    let Err(CallError::Refused(refused)) = nobody.api().list(everybodys).await else {
        panic!("everybody's sessions are not for everybody")
    };
    assert_eq!((refused.status, refused.code.as_str()), (403, "forbidden"));
    world.stop().await;
}

#[tokio::test]
async fn a_ticket_opens_its_session_once() {
    let world = World::builder().set("listen.origins", vec![ORIGIN, OTHER_ORIGIN]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let ticket = ticket(&ada, session, Role::Driver, ORIGIN).await;
    let knock = Knock::ticket(&ticket, Some(ORIGIN));
    let mut raw = Raw::dials(ada.address(), session, &knock).await.expect("upgraded");
    raw.says(&says_attach(Role::Driver)).await;
    raw.stands().await;
    assert_eq!(closed(&ada, session, knock, Role::Driver).await.0, 4401, "a second time");
    world.stop().await;
}

#[tokio::test]
async fn a_ticket_opens_nothing_else() {
    let world = World::builder().set("listen.origins", vec![ORIGIN, OTHER_ORIGIN]).start().await;
    let ada = world.user("ada");
    let (one, other) = (ada.asks_for_a("default").await.id, ada.asks_for_a("default").await.id);
    let new = || ticket(&ada, one, Role::Observer, ORIGIN);
    let at = |ticket: String, origin| Knock::ticket(&ticket, origin);
    let observer = Role::Observer;
    let wrong = [
        ("another session", other, at(new().await, Some(ORIGIN)), observer),
        ("another role", one, at(new().await, Some(ORIGIN)), Role::Driver),
        ("another origin", one, at(new().await, Some(OTHER_ORIGIN)), observer),
        ("no ticket", one, at("A".repeat(43), Some(ORIGIN)), observer),
        ("malformed", one, at("A".into(), Some(ORIGIN)), observer),
    ];
    for (what, session, knock, role) in wrong {
        assert_eq!(closed(&ada, session, knock, role).await.0, 4401, "{what}");
    }
    let foreign = at(new().await, Some("https://evil.example"));
    assert_eq!(closed(&ada, one, foreign, observer).await.0, 4403, "an origin of nobody's");
    let none = at(new().await, None);
    assert!([4401, 4403].contains(&closed(&ada, one, none, observer).await.0), "no origin");
    world.stop().await;
}

#[tokio::test]
async fn a_ticket_for_no_page_is_not_given() {
    let world = World::builder().set("listen.origins", vec![ORIGIN]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let url = format!("http://{}/v1/sessions/{session}/tickets", ada.address());
    for (body, origin, status) in [
        (r#"{"role":"driver"}"#, None, 400),
        (r#"{"origin":"https://shell.example.com"}"#, None, 201),
        (r#"{"origin":"https://evil.example"}"#, None, 403),
        (r#"{"role":"driver"}"#, Some(ORIGIN), 201),
        ("[]", Some(ORIGIN), 400),
    ] {
        let asked = reqwest::Client::new().post(&url).bearer_auth(ada.token().0);
        let asked = asked.header("content-type", "application/json").body(body);
        let asked = match origin {
            Some(origin) => asked.header("origin", origin),
            None => asked,
        };
        let answer = within("an answer", asked.send()).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{body} {origin:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_ticket_runs_out() {
    let mut world = World::builder().set("listen.origins", vec![ORIGIN]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    ada.sees(session, shellgate_client::session::State::Live).await;
    let old = ticket(&ada, session, Role::Driver, ORIGIN).await;
    world.stops_the_gateway().await;
    world.lets_pass(Duration::from_secs(31)).await;
    world.starts_the_gateway_again().await;
    let knock = Knock::ticket(&old, Some(ORIGIN));
    assert_eq!(closed(&ada, session, knock, Role::Driver).await.0, 4401);
    world.stop().await;
}

#[tokio::test]
async fn a_page_of_no_listed_origin_gets_no_ticket_and_no_socket() {
    let world = World::builder().set("listen.origins", vec![ORIGIN]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let knock = Knock::bearer(&ada.token()).header("origin", "https://evil.example");
    assert_eq!(closed(&ada, session, knock, Role::Driver).await.0, 4403);
    let url = format!("http://{}/v1/sessions/{session}/tickets", ada.address());
    let asked = reqwest::Client::new()
        .post(url)
        .bearer_auth(ada.token().0)
        .header("origin", "https://evil.example")
        .send();
    assert_eq!(within("an answer", asked).await.expect("an answer").status(), 403);
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_while_the_session_goes_on() {
    let world = World::builder().set("auth.leeway", "0s").set("auth.grace", "30s").start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let (input, mut events, mut transcript) = renews(&ada, session, Role::Driver).await;
    within("an answer", async {
        input.send("echo still $((40 + 2)) here\n").await.expect("taken");
        while !transcript.text().contains("still 42 here") {
            transcript.take(events.next().await.expect("it goes on"));
        }
    })
    .await;
    assert_eq!(transcript.attached.len(), 1, "without a new connection: {:?}", transcript.breaks);
    world.stop().await;
}

#[tokio::test]
async fn an_operator_who_watches_renews_a_token_of_their_own() {
    let world = World::builder().set("auth.leeway", "0s").set("auth.grace", "30s").start().await;
    let session = world.user("ada").opens_a_shell().await.session();
    let watcher = world.user("odo").with_scopes("sessions:observe");
    let (_, _, transcript) = renews(&watcher, session, Role::Observer).await;
    assert_eq!(transcript.attached.len(), 1, "without a new connection: {:?}", transcript.breaks);
    // Neither the owner's token nor one that allows less keeps a watcher's connection.
    for token in [world.user("ada").token(), world.user("odo").token()] {
        let knock = Knock::bearer(&watcher.token());
        let mut raw = Raw::dials(watcher.address(), session, &knock).await.expect("upgraded");
        raw.says(&says_attach(Role::Observer)).await;
        raw.stands().await;
        raw.says(&json!({ "type": "reauth", "token": token })).await;
        assert_eq!(raw.is_closed().await.0, 4401);
    }
    world.stop().await;
}

/// Attaches with a token that lasts for five seconds, and stays until the gateway goes by a renewed
/// one and a third is given to take its place.
async fn renews(user: &User, session: SessionId, role: Role) -> (Input, Events, Transcript) {
    let (short, minted) = (user.clone(), watch::Sender::new(0));
    let mut given = minted.subscribe();
    let tokens = TokenSource::refresh(move |old| {
        minted.send_modify(|count| *count += 1);
        // A renewed one lasts longer, but not so long that the gateway does not ask for the next.
        let seconds = if old.is_none() { 5 } else { 25 };
        let token = short.token_for(Duration::from_secs(seconds));
        async move { Ok(token) }
    });
    let api = user.api();
    let (input, mut events) = attach(api.endpoint(), tokens, session, from_the_start(role));
    let mut transcript = Transcript::default();
    within("two renewals", async {
        while expiries(&transcript).len() < 2 {
            transcript.take(events.next().await.expect("it goes on"));
        }
        given.wait_for(|count| *count >= 3).await.expect("it goes on");
    })
    .await;
    // By then nothing is left of the first token.
    let left = expiries(&transcript);
    assert!(left[1] > 0, "a renewed token counts: {left:?} s are left");
    (input, events, transcript)
}

/// How many seconds a token had left each time that a newer one was wanted.
fn expiries(transcript: &Transcript) -> Vec<u64> {
    let seconds = |notice: &Notice| match notice {
        Notice::TokenExpires { seconds } => Some(*seconds),
        _ => None,
    };
    transcript.notices.iter().filter_map(seconds).collect()
}

#[tokio::test]
async fn a_token_that_runs_out_for_good_closes_its_connection_and_not_the_session() {
    let world = World::builder().set("auth.leeway", "0s").set("auth.grace", "6s").start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    ada.sees(session, shellgate_client::session::State::Live).await;
    let token = ada.token_for(Duration::from_secs(5));
    let late = ada.with_token(token);
    let mut shell = late.comes_with(session, AttachOptions::default());
    let closed = shell.closes().await;
    assert_eq!(closed.why, Why::Unauthenticated, "{closed:?}");
    assert!(shell.times_attached() == 1, "it had stood");
    assert!(
        shell.seen().notices.iter().any(|notice| matches!(notice, Notice::TokenExpires { .. })),
        "{:?}",
        shell.seen().notices
    );
    let mut shell = ada.attaches_to(session).await;
    shell.types("echo $((6 * 7)) lives\n").await;
    shell.shows("42 lives").await;
    world.stop().await;
}

#[tokio::test]
async fn a_newer_token_of_somebody_else_closes_the_connection() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut raw = Raw::drives(&ada, session).await;
    let stranger = world.user("eve").token();
    raw.says(&json!({ "type": "reauth", "token": stranger })).await;
    assert_eq!(raw.is_closed().await.0, 4401);
    world.stop().await;
}

#[tokio::test]
async fn routes_of_one_listener_are_unknown_to_the_others() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    for path in [format!("/internal/task/{session}"), "/metrics".into(), "/readyz".into()] {
        assert_eq!(status_of(&ada, &path).await.0, 404, "{path}");
    }
    let admin = format!("http://{}", world.admin_address());
    for (path, expected) in [("/livez", 200), ("/readyz", 200), ("/v1/sessions", 404)] {
        let answer = within("an answer", reqwest::get(format!("{admin}{path}"))).await;
        assert_eq!(answer.expect("an answer").status(), expected, "{path}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_request_that_offers_other_protocols_is_told_so() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let knock = Knock::plain(&ada.token()).header("sec-websocket-protocol", "shellgate.v9");
    // One who offers something else can't read what this gateway would say.
    match Raw::dials(ada.address(), session, &knock).await {
        Err(answer) => assert!(answer.status().is_client_error(), "{answer:?}"),
        Ok(mut raw) => assert!(matches!(raw.hears().await, Heard::Closed(4400 | 4401, _))),
    }
    world.stop().await;
}
