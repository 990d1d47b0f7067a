//! Several channels on one link, channels that go wrong, and links that follow one another.

use bytes::Bytes;
use shellgate_protocol::client_leg::{GapReason, Notice};
use shellgate_protocol::link_leg::Refused;
use shellgate_protocol::{ChannelNumber, Dial, Frame, FromBridge, Kind, Launch, ToBridge};

use crate::gateway::{Client, Gateway, Heard, PATIENCE, at, script};

#[tokio::test]
async fn a_slow_observer_skips_to_the_newest_screen_and_holds_nobody_up() {
    let gateway = Gateway::start(script("seq 100000 260000; printf 'the end'; sleep 1000"));
    let mut link = gateway.linked().await;
    let slow = Client { acknowledges: false, window: 64 * 1024, ..Client::observer() };
    let watching = link.opens(1, &slow).await;
    let mut client = Client::driver();
    let opened = link.opens(2, &client).await;
    let mut skipped = None;
    let keyframe = loop {
        match link.hears().await {
            Heard::Frame(channel, frame) if channel == watching.channel => match frame.kind {
                Kind::Keyframe => break frame,
                _ => assert!(frame.end() <= watching.from.plus(64 * 1024)),
            },
            Heard::Frame(_, frame) => {
                client.output.extend_from_slice(&frame.payload);
                client.acknowledge(&mut link, opened).await;
            }
            Heard::Control(FromBridge::Gap { channel, from, to, why }) => {
                assert_eq!((channel, from, why), (watching.channel, at(65536), GapReason::Skipped));
                skipped = Some(to);
            }
            Heard::Control(_) => {}
        }
    };
    assert_eq!(Some(keyframe.offset), skipped);
    assert!(String::from_utf8_lossy(&keyframe.payload).contains("the end"));
    assert!(client.output.ends_with(b"the end"));
}

#[tokio::test]
async fn a_channel_that_acknowledges_what_it_was_not_sent_is_closed_and_the_others_go_on() {
    let gateway = Gateway::start(script("echo ready; exec cat"));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    let watching = link.opens(2, &Client::observer()).await;
    let ack = Frame { kind: Kind::Ack, offset: at(1 << 40), payload: Bytes::new() };
    link.frame(watching.channel, ack).await;
    let refused = loop {
        if let FromBridge::Refused { channel, why } = link.control().await {
            break (channel, why);
        }
    };
    assert_eq!(refused, (watching.channel, Refused::BadInput));
    // Frames of a channel that is closed, or never was, are dropped.
    for channel in [watching.channel, ChannelNumber(77)] {
        link.frame(channel, Frame { kind: Kind::Data, offset: at(0), payload: "x".into() }).await;
    }
    client.acknowledges = false;
    client.types(&mut link, opened, 0, b"go on\n").await;
    loop {
        if let Heard::Frame(channel, frame) = link.hears().await
            && channel == opened.channel
            && String::from_utf8_lossy(&frame.payload).contains("go on")
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_screen_with_holes_has_them_until_its_program_has_painted_it() {
    // Held by its driver, a program paints nothing.
    let gateway = Gateway::start(script("exec seq 100000 9999999"));
    let mut link = gateway.linked().await;
    let mut driver = Client { acknowledges: false, window: 4 << 20, ..Client::driver() };
    let opened = link.opens(1, &driver).await;
    driver.has(&mut link, opened, 4 << 20).await;
    for number in [2, 3] {
        let newcomer = Client { wants_the_screen: true, ..Client::observer() };
        let watching = link.opens(number, &newcomer).await;
        let partial = link.shows_a_partial_screen(watching.channel).await;
        assert!(partial, "channel {number}");
        // The bridge's next look at the program comes long after that had to paint.
        while number == 2 && !matches!(link.hears().await, Heard::Control(FromBridge::Stats(_))) {}
    }
}

#[tokio::test]
async fn a_channel_too_many_is_refused() {
    let gateway = Gateway::start(script("exec cat"));
    let mut link = gateway.linked().await;
    for number in 1..=64 {
        link.opens(number, &Client::observer()).await;
    }
    let attach = Client::observer().attach();
    link.says(&ToBridge::Open { channel: ChannelNumber(65), attach }).await;
    let refused = FromBridge::Refused { channel: ChannelNumber(65), why: Refused::TooMany };
    while link.control().await != refused {}
}

#[tokio::test]
async fn a_client_of_another_launch_is_told_and_starts_from_the_beginning() {
    let gateway = Gateway::start(script("echo first; exec cat"));
    let mut link = gateway.linked().await;
    let mut watcher = Client::observer();
    let watching = link.opens(1, &watcher).await;
    watcher.sees(&mut link, watching, "first").await;
    let mut client = Client { launch: Some(Launch(2)), begins: at(4000), ..Client::driver() };
    let opened = link.opens(2, &client).await;
    assert_eq!(opened.from, at(0));
    client.begins = at(0);
    client.sees(&mut link, opened, "first").await;
    let notice = |message: &FromBridge| {
        matches!(
            message,
            FromBridge::Notice { notice: Notice::NewLaunch { launch: Launch(3) }, .. }
        )
    };
    assert!(client.told.iter().any(notice));
}

#[tokio::test]
async fn a_gateway_that_leaves_serves_on_until_the_next_one_has_the_link() {
    let gateway = Gateway::start(script("stty raw -echo; echo ready; exec cat"));
    let mut old = gateway.linked().await;
    let mut client = Client::driver();
    let opened = old.opens(1, &client).await;
    client.sees(&mut old, opened, "ready\n").await;
    old.says(&ToBridge::Goaway { retry_ms: 50 }).await;
    let (mut new, introduction) = gateway.is_dialled().await;
    assert_eq!((introduction.dial, introduction.token), (Dial(2), None));
    client.types(&mut old, opened, 0, b"on the old link").await;
    client.sees(&mut old, opened, "on the old link").await;
    gateway.greet(&mut new).await;
    let opened = new.opens(1, &client).await;
    assert_eq!((opened.from, opened.applied), (client.knows_up_to(), at(15)));
    client.types(&mut new, opened, 15, b", on the new one").await;
    client.sees(&mut new, opened, "on the old link, on the new one").await;
}

#[tokio::test]
async fn a_bridge_that_nobody_answers_ends_its_program_and_itself() {
    let mut gateway = Gateway::start(script("echo pid $$; exec sleep 1000"));
    gateway.orphan_seconds = 1;
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "pid ").await;
    client.sees(&mut link, opened, "\n").await;
    gateway.goes_away();
    drop(link);
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(69));
    let text = String::from_utf8(client.output).unwrap();
    let pid = text.trim().trim_start_matches("pid ");
    // It was sent KILL; the kernel takes it away in its own time.
    let gone = async {
        loop {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the program has ended");
}
