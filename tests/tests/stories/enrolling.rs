//! Bridges: the honest one whose link breaks, and those that are not what they say.

use shellgate_client::session::State;
use shellgate_protocol::client_leg::{EndReason, Role};
use shellgate_protocol::{CloseCode, Dial, Launch, SessionId};
use shellgate_tests::bridge::{Played, TurnedAway, silent};
use shellgate_tests::gate::Gate;
use shellgate_tests::raw::{Heard, attach};
use shellgate_tests::{Raw, World};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

/// A world whose bridges never dial: the test plays them.
async fn world_without_bridges() -> (World, tempfile::TempDir) {
    let place = tempfile::Builder::new().prefix("shellgate-bridge-").tempdir().expect("a place");
    let bridge = silent(place.path());
    let bridge = bridge.to_str().expect("UTF-8").to_owned();
    (World::builder().set("sandbox.bridge", bridge).start().await, place)
}

fn closed(code: CloseCode) -> impl Fn(&TurnedAway) -> bool {
    move |end| matches!(end, TurnedAway::Closed(number, _) if *number == code.number())
}

#[tokio::test]
async fn a_link_that_breaks_costs_no_byte_and_repeats_none() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("stty -echo; echo be''gin; seq 1 400000; echo d''one\n").await;
    let begin = shell.finds("begin\r\n").await.end;
    let attached = shell.times_attached();
    assert!(world.link(shell.session()).cut(), "there is a link");
    shell.stands_again(attached).await;
    let end = shell.finds("done\r\n").await.start;
    let stream: String = (1..=400_000).map(|line| format!("{line}\r\n")).collect();
    assert_eq!(end - begin, stream.len(), "no byte more and none less");
    assert!(shell.seen().output[begin..end] == *stream.as_bytes());
    assert_eq!(shell.seen().breaks[0].code(), Some(CloseCode::LinkLost.number()));
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_whose_welcome_is_lost_comes_again_and_is_welcome() {
    // A root gateway hides /tmp from its engine.
    let place =
        tempfile::Builder::new().prefix("shellgate-gate-").tempdir_in("/var/tmp").expect("a place");
    let gate = Gate::closed(place.path());
    let world = World::builder().set("sandbox.bwrap", gate.engine()).start().await;
    let ada = world.user("ada");
    gate.is_put_up();
    let session = ada.asks_for_a("default").await.id;
    let cable = world.link_cable(session).await;
    cable.loses("\"type\":\"welcome\"");
    gate.opens();
    let mut shell = ada.attaches_to(session).await;
    shell.types("echo $((6 * 7)) is welcome\n").await;
    shell.shows("42 is welcome").await;
    assert_eq!(cable.cuts(), 1, "its first welcome was lost");
    assert!(cable.carried() >= 2, "it came again");
    drop(cable);
    world.stop().await;
}

#[tokio::test]
async fn a_burnt_token_in_other_hands_ends_the_session_as_compromised() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let mut thief = Played::new(&world, shell.session());
    thief.dial = Dial(2);
    let refused = thief.enrols().await.err().expect("refused");
    assert!(closed(CloseCode::Forbidden)(&refused), "{refused:?}");
    assert_eq!(shell.exits().await.reason, EndReason::Compromised);
    shell.closes_with(CloseCode::Ended).await;
    let ended = world.operator().sees_the_end_of(shell.session()).await.ended.expect("ended");
    assert_eq!(ended.reason, EndReason::Compromised);
    let evidence = ended.evidence.expect("there is evidence");
    assert!(evidence.contains("token"), "{evidence}");
    world.stop().await;
}

#[tokio::test]
async fn a_key_without_the_token_is_refused_and_harms_nobody() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    let mut stranger = Played::new(&world, shell.session());
    stranger.token = None;
    stranger.dial = Dial(2);
    let refused = stranger.enrols().await.err().expect("refused");
    assert!(closed(CloseCode::Forbidden)(&refused), "{refused:?}");
    shell.types("echo $((6 * 7)) goes on\n").await;
    shell.shows("42 goes on").await;
    world.stop().await;
}

#[tokio::test]
async fn a_token_of_another_session_is_refused_at_the_door() {
    let (world, _place) = world_without_bridges().await;
    let ada = world.user("ada");
    let (one, other) = (ada.asks_for_a("default").await.id, ada.asks_for_a("default").await.id);
    let mut bridge = Played::new(&world, one);
    bridge.token = Some(bridge.token_of(&world.state(), other));
    assert_eq!(bridge.enrols().await.err(), Some(TurnedAway::Refused(403)));
    bridge.token = Some("no token".into());
    assert_eq!(bridge.enrols().await.err(), Some(TurnedAway::Refused(403)));
    world.stop().await;
}

#[tokio::test]
async fn the_directory_says_which_session_a_bridge_is_for_whatever_the_path_says() {
    let (world, _place) = world_without_bridges().await;
    let ada = world.user("ada");
    let (one, other) = (ada.asks_for_a("default").await.id, ada.asks_for_a("default").await.id);
    let bridge = Played::new(&world, one);
    let nobodys = SessionId::generate();
    for path in [
        format!("/internal/task/{other}"),
        format!("/internal/task/{nobodys}"),
        format!("/v1/sessions/{one}/attach"),
        "/v1/sessions".into(),
        "/livez".into(),
    ] {
        assert_eq!(bridge.dials(&path).await.err(), Some(TurnedAway::Refused(404)), "{path}");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_newest_dial_wins_and_an_older_one_is_told_that_it_is_over() {
    let (world, _place) = world_without_bridges().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut bridge = Played::new(&world, session);
    let (mut first, _) = bridge.enrols().await.expect("welcome");
    ada.sees(session, State::Live).await;
    bridge.dial = Dial(2);
    // The token is burnt: the key alone is enough now, and it does no harm either.
    bridge.token = None;
    let (_second, _) = bridge.enrols().await.expect("welcome");
    let end = first.ends().await;
    assert_ne!(end, TurnedAway::Broken, "it is told");
    let refused = bridge.enrols().await.err().expect("refused");
    assert!(closed(CloseCode::Ended)(&refused), "the same dial again: {refused:?}");
    bridge.dial = Dial(3);
    bridge.launch = Launch(2);
    let refused = bridge.enrols().await.err().expect("refused");
    assert!(closed(CloseCode::Ended)(&refused), "a launch that is not: {refused:?}");
    world.stop().await;
}

#[tokio::test]
async fn the_same_key_may_show_its_token_twice() {
    let (world, _place) = world_without_bridges().await;
    let session = world.user("ada").asks_for_a("default").await.id;
    let mut bridge = Played::new(&world, session);
    bridge.enrols().await.expect("welcome");
    bridge.dial = Dial(2);
    bridge.enrols().await.expect("its first welcome may have been lost");
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_floods_past_its_credit_is_cut_off() {
    let (world, _place) = world_without_bridges().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut bridge = Played::new(&world, session);
    let (mut link, _) = bridge.enrols().await.expect("welcome");
    let mut client = Raw::knocks(&ada, session).await;
    let mut wants = attach(Role::Driver);
    wants["window"] = (128 * 1024).into();
    client.says(&wants).await;
    let channel = link.opens().await;
    client.stands().await;
    let piece = vec![b'x'; 64 * 1024];
    for number in 0..3 {
        link.sends_frame(channel, number * piece.len() as u64, &piece).await;
    }
    assert!(closed(CloseCode::BadRequest)(&link.ends().await));
    assert_eq!(client.is_closed().await.0, CloseCode::LinkLost.number());
    // The session waits for a bridge that behaves.
    bridge.dial = Dial(2);
    let (mut link, _) = bridge.enrols().await.expect("welcome");
    let mut client = Raw::knocks(&ada, session).await;
    client.says(&attach(Role::Driver)).await;
    let channel = link.opens().await;
    client.stands().await;
    link.sends_frame(channel, 0, b"good as gold").await;
    client.shows("good as gold").await;
    world.stop().await;
}

#[tokio::test]
async fn what_a_bridge_must_not_say_ends_its_link() {
    let (world, _place) = world_without_bridges().await;
    let session = world.user("ada").asks_for_a("default").await.id;
    let mut bridge = Played::new(&world, session);
    let messages = [
        Message::text("{"),
        Message::text(r#"{"type":"no-such-type"}"#),
        Message::text(r#"{"type":"proof","signature":""}"#),
        Message::binary(vec![0; 3]),
        Message::text(format!(
            r#"{{"type":"log","source":"bridge","text":"{}"}}"#,
            "x".repeat(300_000)
        )),
    ];
    for (number, message) in (1..).zip(messages) {
        bridge.dial = Dial(number);
        let (mut link, _) = bridge.enrols().await.expect("welcome");
        link.sends(message.clone()).await;
        let end = link.ends().await;
        assert!(matches!(end, TurnedAway::Closed(..) | TurnedAway::Broken), "{message:?}: {end:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_never_dials_ends_its_session_as_failed() {
    let place = tempfile::Builder::new().prefix("shellgate-bridge-").tempdir().expect("a place");
    let bridge = silent(place.path()).to_str().expect("UTF-8").to_owned();
    let world = World::builder()
        .set("sandbox.bridge", bridge)
        .set("limits.start_deadline", "3s")
        .set("limits.stop_grace", "100ms")
        .start()
        .await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut leaving = Raw::knocks(&ada, session).await;
    leaving.says(&attach(Role::Observer)).await;
    assert!(matches!(leaving.hears().await, Heard::Control(_)));
    let (code, reason) = (CloseCode::Normal.number().into(), "".into());
    leaving.sends(Message::Close(Some(CloseFrame { code, reason }))).await;
    assert_eq!(leaving.is_closed().await.0, CloseCode::Normal.number());
    let mut client = Raw::knocks(&ada, session).await;
    client.says(&attach(Role::Driver)).await;
    let mut phases = 0;
    let code = loop {
        match client.hears().await {
            Heard::Control(_) => phases += 1,
            Heard::Closed(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert!(phases > 0, "it was told what it waits for");
    assert_eq!(code, CloseCode::Ended.number());
    let ended = ada.sees_the_end_of(session).await.ended.expect("ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    world.stop().await;
}
