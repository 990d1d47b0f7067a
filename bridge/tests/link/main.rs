//! A real bridge process, outside of any sandbox, with a scripted gateway at the other end of its
//! link.

// The scripted gateway is part of the tests: what goes wrong there is the test's failure.
#![allow(clippy::unwrap_used)]

mod channels;
mod door;
mod gateway;
mod pace;
mod program;
mod sealed;

use gateway::{Client, Gateway, Heard, at, script};
use shellgate_protocol::client_leg::EndReason;
use shellgate_protocol::limits::INPUT_UNAPPLIED_MAX;
use shellgate_protocol::{Dial, FromBridge, ToBridge};

/// A raw terminal, so that what is typed comes out as it went in.
const RAW_CAT: &str = "stty raw -echo; echo ready; exec cat";

/// What a terminal makes of `seq 100000 last`.
fn numbers(last: u32) -> Vec<u8> {
    (100_000..=last).flat_map(|n| format!("{n}\r\n").into_bytes()).collect()
}

fn paste(len: usize) -> Vec<u8> {
    (0..len).map(|n| b"0123456789abcdefghijklmnopqrstuvwxyz"[(n / 7 + n) % 36]).collect()
}

#[tokio::test]
async fn it_enrols_and_echoes_and_exits_with_its_programs_status() {
    let mut gateway = Gateway::start(script("read line; echo you said $((6*7)) $line; exit 5"));
    let (mut link, introduction) = gateway.is_dialled().await;
    assert_eq!(introduction.token.as_deref(), Some("burn-after-reading"));
    assert_eq!(introduction.dial, Dial(1));
    gateway.greet(&mut link).await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.types(&mut link, opened, 0, b"hello\r").await;
    client.sees(&mut link, opened, "you said 42 hello").await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let exit = client.exit.clone().unwrap();
    assert_eq!((exit.code, exit.reason), (Some(5), EndReason::Exited));
    let FromBridge::Ended { at, acknowledged, status, .. } = ended(&mut link).await else {
        panic!("not ended")
    };
    assert_eq!((at, acknowledged), (client.knows_up_to(), client.knows_up_to()));
    assert_eq!(status, exit);
    link.stops().await;
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(0));
}

async fn ended(link: &mut gateway::Link) -> FromBridge {
    loop {
        let control = link.control().await;
        if matches!(control, FromBridge::Ended { .. }) {
            return control;
        }
    }
}

#[tokio::test]
async fn a_dial_whose_welcome_was_lost_repeats_token_and_key_and_a_later_one_has_no_token() {
    let gateway = Gateway::start(script(RAW_CAT));
    let (lost, first) = gateway.is_dialled().await;
    drop(lost);
    let (mut link, second) = gateway.is_dialled().await;
    assert_eq!((second.token.clone(), second.key), (first.token, first.key));
    assert_eq!(second.dial, Dial(2));
    gateway.greet(&mut link).await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready").await;
    drop(link);
    let (_link, third) = gateway.is_dialled().await;
    assert_eq!((third.token, third.key), (None, second.key));
}

#[tokio::test]
async fn a_link_cut_in_the_middle_of_a_megabyte_is_resumed_exactly() {
    let gateway = Gateway::start(script("seq 100000 260000; sleep 1000"));
    let mut client = Client::driver();
    let expected = numbers(260_000);
    for cut in [1, 300_001, 300_002, 700_000, expected.len()] {
        let mut link = gateway.linked().await;
        let opened = link.opens(1, &client).await;
        assert_eq!(opened.from, client.knows_up_to());
        client.has(&mut link, opened, cut).await;
    }
    assert!(client.output == expected);
}

#[tokio::test]
async fn input_that_is_sent_again_after_a_break_is_applied_once() {
    let gateway = Gateway::start(script(RAW_CAT));
    let mut client = Client::driver();
    let text = paste(200_000);
    let mut link = gateway.linked().await;
    let mut opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready\n").await;
    let begins = client.output.len();
    for cut in [10_000, 50_000, 120_000, 200_000] {
        // All of it from the beginning: whatever was received already is known there.
        client.types(&mut link, opened, 0, &text[..cut]).await;
        client.has(&mut link, opened, begins + cut / 2).await;
        drop(link);
        link = gateway.linked().await;
        opened = link.opens(1, &client).await;
        assert!(opened.applied >= at(cut / 2));
    }
    // What was still under way when the last one broke.
    client.types(&mut link, opened, 0, &text).await;
    client.has(&mut link, opened, begins + text.len()).await;
    assert!(client.output[begins..] == text);
    assert_eq!(link.closes(opened.channel, false).await, at(text.len()));
}

/// A paste of so many bytes into a program that prints what it reads: all of it arrives, and is said to
/// have been applied.
async fn arrives_pasted(gateway: &Gateway, bytes: usize) {
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready\n").await;
    let begins = client.output.len();
    let text = paste(bytes);
    client.types(&mut link, opened, 0, &text).await;
    client.has(&mut link, opened, begins + text.len()).await;
    assert!(client.output[begins..] == text);
    while client.applied < at(text.len()) {
        client.takes(&mut link, opened).await;
    }
}

#[tokio::test]
async fn a_mebibyte_is_pasted_into_cat() {
    let gateway = Gateway::start(script(RAW_CAT));
    arrives_pasted(&gateway, INPUT_UNAPPLIED_MAX as usize).await;
}

#[tokio::test]
async fn a_paste_that_nobody_reads_holds_up_no_output() {
    let ticks =
        "stty raw -echo; echo ready; n=0; while :; do echo tick $((n+=1)); sleep 0.02; done";
    let gateway = Gateway::start(script(ticks));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready").await;
    let text = paste(INPUT_UNAPPLIED_MAX as usize);
    client.types(&mut link, opened, 0, &text).await;
    client.sees(&mut link, opened, "tick 50\n").await;
    assert!(link.closes(opened.channel, false).await < at(text.len()));
}

#[tokio::test]
async fn a_programs_last_megabyte_and_status_wait_for_a_driver() {
    let mut gateway = Gateway::start(script("seq 100000 230000; (sleep 1000 &); exit 7"));
    let mut link = gateway.linked().await;
    let FromBridge::Exit { channel: None, at: end, status } = link.control().await else {
        panic!("not the exit")
    };
    let expected = numbers(230_000);
    assert_eq!((end, status.code), (at(expected.len()), Some(7)));
    drop(link);
    let mut link = gateway.linked().await;
    assert!(matches!(link.control().await, FromBridge::Exit { channel: None, .. }));
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    assert!(client.output == expected);
    assert_eq!(client.exit.as_ref().unwrap().code, Some(7));
    ended(&mut link).await;
    link.stops().await;
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(0));
}

#[tokio::test]
async fn a_driver_whose_window_is_full_stops_the_program() {
    let gateway = Gateway::start(script("yes"));
    let mut link = gateway.linked().await;
    let mut client = Client { acknowledges: false, window: 64 * 1024, ..Client::driver() };
    let opened = link.opens(1, &client).await;
    client.has(&mut link, opened, 64 * 1024).await;
    // The bridge's next look at the program finds that nothing more has been printed.
    loop {
        match link.hears().await {
            Heard::Control(FromBridge::Stats(stats)) => {
                assert_eq!(stats.output, at(64 * 1024));
                break;
            }
            Heard::Frame(_, frame) => panic!("beyond the window: {:?}", frame.offset),
            Heard::Control(_) => {}
        }
    }
    client.acknowledge(&mut link, opened).await;
    client.has(&mut link, opened, 128 * 1024).await;
    assert_eq!(client.output.len(), 128 * 1024);
}

#[tokio::test]
async fn a_driver_who_is_hidden_does_not_stop_the_program() {
    let gateway = Gateway::start(script("seq 100000 230000; echo done; sleep 1000"));
    let mut link = gateway.linked().await;
    let hidden = Client { acknowledges: false, window: 64 * 1024, ..Client::driver() };
    let opened = link.opens(1, &hidden).await;
    link.says(&ToBridge::Visible { channel: opened.channel, yes: false }).await;
    let mut watcher = Client::observer();
    let watching = link.opens(2, &watcher).await;
    watcher.sees(&mut link, watching, "done").await;
}

#[tokio::test]
async fn a_takeover_drops_what_the_old_driver_has_queued() {
    let deaf = "exec 2>/dev/null; trap 'exec cat' USR1; stty raw -echo; echo ready; while :; do sleep 0.05; done";
    let gateway = Gateway::start(script(deaf));
    let mut link = gateway.linked().await;
    let mut old = Client::driver();
    let opened = link.opens(1, &old).await;
    old.sees(&mut link, opened, "ready\n").await;
    let begins = old.output.len();
    let text = paste(500_000);
    old.types(&mut link, opened, 0, &text).await;
    let applied = link.closes(opened.channel, true).await.get() as usize;
    let mut new = Client::driver();
    let taken_over = link.opens(2, &new).await;
    assert!(applied < text.len());
    new.types(&mut link, taken_over, 0, b"the new one").await;
    let signal = shellgate_protocol::client_leg::Signal::Usr1;
    link.says(&ToBridge::Signal { channel: taken_over.channel, id: 1, name: signal }).await;
    new.sees(&mut link, taken_over, "the new one").await;
    let mut expected = text[..applied].to_vec();
    expected.extend(b"the new one");
    assert!(new.output[begins..] == expected, "{applied}");
}

#[tokio::test]
async fn a_launch_that_is_refused_three_times_ends() {
    let mut gateway = Gateway::start(script(RAW_CAT));
    gateway.refuses("503 Service Unavailable").await;
    for _ in 0..3 {
        gateway.refuses("410 Gone").await;
    }
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(69));
}
