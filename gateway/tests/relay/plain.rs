//! Clients that send bare bytes: the gateway plays their part.

use shellgate_gateway::relay::{Command, Dialect, Lines, PLAIN_MESSAGE_MAX, Progress};
use shellgate_protocol::client_leg::{EndReason, ExitStatus, Role};
use shellgate_protocol::limits::{INPUT_UNAPPLIED_MAX, OUTPUT_FRAME_MAX, WINDOW_DEFAULT};
use shellgate_protocol::{ChannelNumber, CloseCode, FromBridge, Kind};
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{Bridge, Scene, Visitor, at, driver};

fn terminal(role: Role) -> Visitor {
    Visitor { role, dialect: Dialect::PlainTerminal(Progress::default()), ..driver() }
}

fn lines() -> Visitor {
    Visitor { dialect: Dialect::PlainLines(Lines::new(32 * 1024)), ..driver() }
}

/// Lines as long as they may be.
fn long_lines() -> Visitor {
    let dialect = Dialect::PlainLines(Lines::new(PLAIN_MESSAGE_MAX));
    Visitor { dialect, window: WINDOW_DEFAULT, ..driver() }
}

/// The bridge prints a line of so many bytes.
async fn prints_a_line(bridge: &mut Bridge, channel: ChannelNumber, len: usize) {
    let mut line = vec![b'x'; len];
    line.push(b'\n');
    for (n, piece) in line.chunks(OUTPUT_FRAME_MAX).enumerate() {
        bridge.sends(channel, Kind::Data, (n * OUTPUT_FRAME_MAX) as u64, piece).await;
    }
}

fn exited() -> ExitStatus {
    ExitStatus { code: Some(0), signal: None, reason: EndReason::Exited, detail: None }
}

#[tokio::test]
async fn what_is_typed_before_the_task_answers_is_typed_once_it_does() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.joins(terminal(Role::Driver)).await;
    ada.sends(Message::text("ls\n")).await;
    let channel = bridge.is_told_to_open().await;
    bridge.attaches(channel).await;
    let (_, frame) = bridge.gets().await;
    assert_eq!((frame.offset, &frame.payload[..]), (at(0), &b"ls\n"[..]));
    bridge.sends(channel, Kind::Data, 0, b"file\r\n").await;
    assert_eq!(ada.next().await, Message::binary(&b"file\r\n"[..]));
}

#[tokio::test]
async fn what_was_sent_before_hanging_up_arrives() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, lines()).await;
    ada.sends(Message::text("{\"last\":\"words\"}")).await;
    ada.socket.close(None).await.expect("closed");
    let (_, frame) = bridge.gets().await;
    assert_eq!(&frame.payload[..], b"{\"last\":\"words\"}\n");
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
}

/// Takes input until all that was sent is there, and says so each time that it has `step` more.
async fn takes(bridge: &mut Bridge, channel: ChannelNumber, upto: u64, step: u64) {
    let (mut taken, mut told) = (0, 0);
    while taken < upto {
        let (_, frame) = bridge.gets().await;
        assert_eq!(frame.offset, at(taken));
        taken += frame.payload.len() as u64;
        assert!(taken - told <= INPUT_UNAPPLIED_MAX, "{taken} and {told} applied");
        if taken - told >= step || taken == upto {
            told = taken;
            bridge.sends(channel, Kind::Applied, taken, b"").await;
        }
    }
}

#[tokio::test]
async fn a_large_paste_waits_where_it_is_until_there_is_room() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, terminal(Role::Driver)).await;
    let (channel, pieces) = (ada.channel, 30);
    let pastes = async {
        for _ in 0..pieces {
            ada.sends(Message::binary(vec![b'x'; 100 * 1024])).await;
        }
    };
    // As seldom as may be: after each time the client is held.
    let taken = takes(&mut bridge, channel, pieces * 100 * 1024, 500 * 1024);
    tokio::join!(pastes, taken);
    ada.socket.close(None).await.expect("closed");
    assert_eq!(bridge.is_told_to_close().await, (channel, false));
}

#[tokio::test]
async fn all_that_waited_when_a_plain_client_hung_up_arrives() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, terminal(Role::Driver)).await;
    for _ in 0..5 {
        ada.sends(Message::binary(vec![b'x'; 100 * 1024])).await;
    }
    ada.socket.close(None).await.expect("closed");
    let mut taken = 0;
    while taken < 500 * 1024 {
        taken += bridge.gets().await.1.payload.len();
    }
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
}

#[tokio::test]
async fn a_plain_observer_types_nothing() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut eve = scene.lets_in(&mut bridge, terminal(Role::Observer)).await;
    eve.sends(Message::text("rm -rf /\n")).await;
    eve.sends(Message::binary(&b"more"[..])).await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.types(0, b"ls\n").await;
    let (channel, frame) = bridge.gets().await;
    assert_eq!((channel, &frame.payload[..]), (ada.channel, &b"ls\n"[..]));
    drop(eve);
}

#[tokio::test]
async fn the_gateway_acknowledges_what_has_left() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, terminal(Role::Driver)).await;
    bridge.sends(ada.channel, Kind::Data, 0, &[b'x'; 20 * 1024]).await;
    assert_eq!(ada.next().await.len(), 20 * 1024);
    let (_, ack) = bridge.gets().await;
    assert_eq!((ack.kind, ack.offset), (Kind::Ack, at(20 * 1024)));
    bridge.sends(ada.channel, Kind::Data, 20 * 1024, b"the end").await;
    assert_eq!(ada.next().await.len(), 7);
    let exit =
        FromBridge::Exit { channel: Some(ada.channel), at: at(20 * 1024 + 7), status: exited() };
    bridge.says(&exit).await;
    let (_, ack) = bridge.gets().await;
    assert_eq!((ack.kind, ack.offset), (Kind::Ack, at(20 * 1024 + 7)));
}

#[tokio::test]
async fn each_line_is_a_message_the_last_one_too() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, lines()).await;
    bridge.sends(ada.channel, Kind::Data, 0, b"{\"a\":1}\n{\"b\"").await;
    assert_eq!(ada.next().await, Message::text("{\"a\":1}"));
    bridge.sends(ada.channel, Kind::Data, 12, b":2}\nlast").await;
    assert_eq!(ada.next().await, Message::text("{\"b\":2}"));
    let exit = FromBridge::Exit { channel: Some(ada.channel), at: at(20), status: exited() };
    bridge.says(&exit).await;
    assert_eq!(ada.next().await, Message::text("last"));
    let (_, ack) = bridge.gets().await;
    assert_eq!((ack.kind, ack.offset), (Kind::Ack, at(20)));
    scene.command(Command::Finish(CloseCode::Normal, String::new())).await;
    assert_eq!(ada.is_closed_with().await, CloseCode::Normal);
}

#[tokio::test]
async fn a_line_that_is_too_long_or_no_text_closes_with_its_code() {
    for (output, code) in [
        (vec![b'x'; 33 * 1024], CloseCode::TooBig),
        (b"fine\n\xff\xfe\n".to_vec(), CloseCode::NotUtf8),
    ] {
        let (scene, mut bridge) = Scene::begins().await;
        let mut ada = scene.lets_in(&mut bridge, lines()).await;
        bridge.sends(ada.channel, Kind::Data, 0, &output).await;
        assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
        assert_eq!(ada.is_closed_with().await, code);
        drop(scene);
    }
}

#[tokio::test]
async fn a_line_may_be_as_long_as_half_the_window() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, long_lines()).await;
    prints_a_line(&mut bridge, ada.channel, PLAIN_MESSAGE_MAX).await;
    assert_eq!(ada.next().await.len(), PLAIN_MESSAGE_MAX);
    drop(scene);
}

#[tokio::test]
async fn the_longest_lines_of_a_client_wait_for_each_other() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, long_lines()).await;
    let (channel, each) = (ada.channel, PLAIN_MESSAGE_MAX as u64);
    let said = async {
        // With the first one and the ends of both, the second has just no room.
        for len in [PLAIN_MESSAGE_MAX - 1, PLAIN_MESSAGE_MAX] {
            ada.sends(Message::text("x".repeat(len))).await;
        }
    };
    tokio::join!(said, takes(&mut bridge, channel, 2 * each + 1, each));
    drop(scene);
}

#[tokio::test]
async fn a_line_of_one_byte_more_closes_with_its_code() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, long_lines()).await;
    prints_a_line(&mut bridge, ada.channel, PLAIN_MESSAGE_MAX + 1).await;
    assert_eq!(ada.is_closed_with().await, CloseCode::TooBig);
    drop(scene);
}

#[tokio::test]
async fn a_message_that_its_socket_does_not_take_is_the_gateways_fault() {
    let (scene, mut bridge) = Scene::begins().await;
    let ada = Visitor { written: Some(1024), ..long_lines() };
    let mut ada = scene.lets_in(&mut bridge, ada).await;
    prints_a_line(&mut bridge, ada.channel, PLAIN_MESSAGE_MAX).await;
    assert_eq!(ada.is_closed_with().await, CloseCode::Internal);
}

#[tokio::test]
async fn a_message_is_a_line_whether_it_is_text_or_binary() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, lines()).await;
    ada.sends(Message::text("one")).await;
    ada.sends(Message::binary(&b"two"[..])).await;
    let mut typed = Vec::new();
    while typed.len() < 8 {
        typed.extend_from_slice(&bridge.gets().await.1.payload);
    }
    assert_eq!(typed, b"one\ntwo\n");
}
