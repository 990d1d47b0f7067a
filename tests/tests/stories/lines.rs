//! Programs that speak by lines, and plain clients, which speak no protocol of ours.

use std::time::Duration;

use shellgate_protocol::SessionId;
use shellgate_protocol::client_leg::EndReason;
use shellgate_protocol::limits::WINDOW_DEFAULT;
use shellgate_tests::raw::Knock;
use shellgate_tests::{Raw, User, World};
use tokio_tungstenite::tungstenite::Message;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[test]
fn on_aws() {
    shellgate_tests::again::on_aws(module_path!(), &[]);
}

#[test]
fn by_another_gateway() {
    shellgate_tests::again::by_another_gateway(module_path!(), &[]);
}

/// A plain client of a new session.
async fn plain(user: &User, template: &str, query: &str) -> Raw {
    let session = user.asks_for_a(template).await.id;
    comes(user, session, query).await
}

/// A plain client of a session that is there.
async fn comes(user: &User, session: SessionId, query: &str) -> Raw {
    let knock = Knock::plain(&user.token()).query(query);
    Raw::dials(user.address(), session, &knock).await.expect("let in")
}

async fn line(raw: &mut Raw) -> String {
    match raw.receives().await {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("expected a line, not {other:?}"),
    }
}

#[tokio::test]
async fn one_text_message_is_one_line_each_way() {
    let world = World::builder().agent("agent", &["cat"]).start().await;
    let mut raw = plain(&world.user("ada"), "agent", "").await;
    let long = "x".repeat(200_000);
    for said in [r#"{"jsonrpc":"2.0","id":1}"#, "", "ünïcödé \u{1f980}", "  spaces  ", &long] {
        raw.sends(Message::text(said)).await;
        assert_eq!(line(&mut raw).await, said);
    }
    world.stop().await;
}

#[tokio::test]
async fn lines_of_an_agent_come_whole_however_they_are_written() {
    let agent =
        ["bash", "-c", "printf 'half'; sleep 0.2; printf ' a line\\nthe next\\nno end'; exit 5"];
    let world = World::builder().agent("agent", &agent).start().await;
    let ada = world.user("ada");
    let mut raw = plain(&ada, "agent", "").await;
    assert_eq!(line(&mut raw).await, "half a line");
    assert_eq!(line(&mut raw).await, "the next");
    assert_eq!(line(&mut raw).await, "no end");
    assert_eq!(raw.is_closed().await.0, 1000);
    world.stop().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_for_its_client_closes_it() {
    let most = WINDOW_DEFAULT as usize / 2;
    let print = "prints() { head -c $1 /dev/zero | tr '\\0' x; echo; }; read -r";
    let print = format!("{print}; prints {most}; prints {}; echo after; cat", most + 1);
    let world = World::builder().agent("agent", &["bash", "-c", &print]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("agent").await.id;
    let mut raw = comes(&ada, session, "").await;
    raw.sends(Message::text("go")).await;
    assert_eq!(line(&mut raw).await.len(), most);
    assert_eq!(raw.is_closed().await.0, 1009);
    // All that is kept is what it comes back to, unless it says otherwise.
    let mut raw = comes(&ada, session, "").await;
    assert_eq!(line(&mut raw).await.len(), most);
    assert_eq!(raw.is_closed().await.0, 1009);
    let mut raw = comes(&ada, session, "output=newest").await;
    raw.sends(Message::text("x".repeat(most - 1))).await;
    assert_eq!(line(&mut raw).await.len(), most - 1);
    world.stop().await;
}

#[tokio::test]
async fn a_plain_client_may_begin_at_the_newest_output() {
    let world = World::builder().agent("agent", &["cat"]).start().await;
    let ada = world.user("ada");
    let agent = ada.asks_for_a("agent").await.id;
    let mut raw = comes(&ada, agent, "").await;
    for said in ["one", "two"] {
        raw.sends(Message::text(said)).await;
        assert_eq!(line(&mut raw).await, said);
    }
    drop(raw);
    let mut raw = comes(&ada, agent, "takeover=true&output=newest").await;
    raw.sends(Message::binary(b"three".to_vec())).await;
    assert_eq!(line(&mut raw).await, "three");
    let mut raw = comes(&ada, agent, "takeover=true").await;
    assert_eq!(line(&mut raw).await, "one");
    let shell = ada.asks_for_a("default").await.id;
    let mut raw = comes(&ada, shell, "output=newest").await;
    raw.sends(Message::text("echo $((6 * 7)) typed\n")).await;
    shows(&mut raw, "42 typed").await;
    world.stop().await;
}

#[tokio::test]
async fn a_line_that_is_no_utf8_closes_its_client() {
    let print = "printf 'fine\\n'; printf '\\377\\n'; cat";
    let world = World::builder().agent("agent", &["bash", "-c", print]).start().await;
    let mut raw = plain(&world.user("ada"), "agent", "").await;
    assert_eq!(line(&mut raw).await, "fine");
    assert_eq!(raw.is_closed().await.0, 1007);
    world.stop().await;
}

#[tokio::test]
async fn an_agents_last_words_on_standard_error_are_in_its_exit() {
    let agent = ["bash", "-c", "echo 'out of tea' >&2; exit 9"];
    let world = World::builder().agent("agent", &agent).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("agent").await.id;
    let mut shell = ada.comes_to(session);
    let status = shell.exits().await;
    assert_eq!((status.code, status.reason), (Some(9), EndReason::Exited));
    assert!(status.detail.is_some_and(|detail| detail.contains("out of tea")));
    world.stop().await;
}

#[tokio::test]
async fn an_agent_survives_its_gateway() {
    let agent = ["bash", "-c", "while read -r line; do echo \"heard $line\"; done"];
    let mut world = World::builder().agent("agent", &agent).start().await;
    let mut shell = world.user("ada").opens_a("agent").await;
    shell.types("one\n").await;
    shell.shows("heard one\n").await;
    let attached = shell.times_attached();
    world.kills_the_gateway().await;
    shell.types("two\n").await;
    world.starts_the_gateway_again().await;
    shell.stands_again(attached).await;
    shell.shows("heard two\n").await;
    world.stop().await;
}

#[tokio::test]
async fn a_plain_terminal_is_bytes_in_and_bytes_out() {
    let world = World::start().await;
    let mut raw = plain(&world.user("ada"), "default", "cols=101&rows=37").await;
    raw.sends(Message::binary(b"stty size\n".to_vec())).await;
    shows(&mut raw, "37 101").await;
    raw.sends(Message::text("echo $((6 * 7)) typed\n")).await;
    shows(&mut raw, "42 typed").await;
    raw.sends(Message::text("exit 0\n")).await;
    assert_eq!(plain_close(&mut raw).await, 1000);
    world.stop().await;
}

#[tokio::test]
async fn a_plain_client_that_reads_slowly_gets_every_byte() {
    let world = World::start().await;
    let mut raw = plain(&world.user("ada"), "default", "").await;
    raw.sends(Message::text("seq 1 300000; echo d''one\n")).await;
    // For long enough that everything on the way is full.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let output = shows(&mut raw, "done\r\n").await;
    let stream: String = (1..=300_000).map(|line| format!("{line}\r\n")).collect();
    let at = shellgate_tests::transcript::find(&output, stream.as_bytes(), 0);
    assert!(at.is_some(), "{} bytes came", output.len());
    world.stop().await;
}

#[tokio::test]
async fn a_plain_client_is_closed_when_its_gateway_goes() {
    let mut world = World::start().await;
    let mut raw = plain(&world.user("ada"), "default", "").await;
    raw.sends(Message::text("echo $((6 * 7)) here\n")).await;
    shows(&mut raw, "42 here").await;
    world.stops_the_gateway().await;
    assert_eq!(plain_close(&mut raw).await, 1012);
    world.stop().await;
}

#[tokio::test]
async fn a_plain_query_that_is_not_understood_is_refused() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    for query in
        ["cols=0&rows=24", "cols=80&rows=100000", "cols=x", "colour=red", "role=king", "output=0"]
    {
        let knock = Knock::plain(&ada.token()).query(query);
        let refused = Raw::dials(ada.address(), session, &knock).await.err().expect("refused");
        assert_eq!(refused.status().as_u16(), 400, "{query}");
    }
    world.stop().await;
}

async fn shows(raw: &mut Raw, words: &str) -> Vec<u8> {
    let mut output = Vec::new();
    while shellgate_tests::transcript::find(&output, words.as_bytes(), 0).is_none() {
        match raw.receives().await {
            Some(Message::Binary(bytes)) => output.extend_from_slice(&bytes),
            Some(Message::Ping(_) | Message::Pong(_)) => {}
            other => panic!("{other:?} before {words:?}: {}", String::from_utf8_lossy(&output)),
        }
    }
    output
}

async fn plain_close(raw: &mut Raw) -> u16 {
    loop {
        match raw.receives().await {
            Some(Message::Close(Some(frame))) => return frame.code.into(),
            Some(Message::Close(None)) | None => panic!("no close code"),
            Some(_) => {}
        }
    }
}
