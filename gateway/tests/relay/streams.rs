//! What crosses the relay, both ways, and what one slow client means to the others.

use shellgate_protocol::client_leg::{ExitStatus, GapReason, Notice};
use shellgate_protocol::{
    CloseCode, FromBridge, FromClient, Kind, TerminalSize, ToBridge, ToClient,
};

use crate::scene::{Scene, at, driver, observer};
use shellgate_gateway::relay::{Command, Down, News};

#[tokio::test]
async fn bytes_cross_with_their_channel_and_their_offsets() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.types(0, b"ls\n").await;
    let (channel, frame) = bridge.gets().await;
    assert_eq!((channel, frame.offset, &frame.payload[..]), (ada.channel, at(0), &b"ls\n"[..]));
    bridge.sends(channel, Kind::Applied, 3, b"").await;
    bridge.sends(channel, Kind::Data, 0, b"file\r\n").await;
    assert_eq!(ada.sees().await.kind, Kind::Applied);
    let output = ada.sees().await;
    assert_eq!((output.kind, &output.payload[..]), (Kind::Data, &b"file\r\n"[..]));
    ada.acknowledges(6).await;
    let (_, ack) = bridge.gets().await;
    assert_eq!((ack.kind, ack.offset), (Kind::Ack, at(6)));
    ada.says(&FromClient::Resize(TerminalSize::new(100, 30).expect("a size"))).await;
    assert!(matches!(bridge.hears().await, ToBridge::Resize { size, .. } if size.cols() == 100));
    scene.command(Command::Finish(CloseCode::Ended, "over".into())).await;
    assert_eq!(ada.is_closed_with().await, CloseCode::Ended);
    drop(bridge);
    assert_eq!(scene.ends().await, Down::Finished);
}

#[tokio::test]
async fn an_acknowledgement_is_passed_on_once() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    bridge.sends(ada.channel, Kind::Data, 0, b"0123456789").await;
    assert_eq!(ada.sees().await.payload.len(), 10);
    for offset in [4, 4, 2, 4, 9] {
        ada.acknowledges(offset).await;
    }
    ada.types(0, b"x").await;
    let mut passed_on = Vec::new();
    loop {
        let (_, frame) = bridge.gets().await;
        match frame.kind {
            Kind::Ack => passed_on.push(frame.offset.get()),
            _ => break,
        }
    }
    // A newer one may take the place of one that has not left.
    assert!(passed_on == [4, 9] || passed_on == [9], "{passed_on:?}");
}

#[tokio::test]
async fn the_end_of_a_gap_is_acknowledged_to_the_bridge_as_well() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let (from, to, why) = (at(0), at(500), GapReason::Lost);
    bridge.says(&FromBridge::Gap { channel: ada.channel, from, to, why }).await;
    assert_eq!(ada.hears().await, ToClient::Gap { from, to, why });
    ada.acknowledges(500).await;
    let (_, ack) = bridge.gets().await;
    assert_eq!((ack.kind, ack.offset), (Kind::Ack, at(500)));
}

#[tokio::test]
async fn a_client_that_stalls_stops_nobody_else() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let stalled = scene.lets_in(&mut bridge, observer()).await;
    // Its whole window lies unread, in pieces of every size.
    let mut sent = 0;
    while sent < 64 * 1024 {
        let len = (sent % 1500 + 1).min(64 * 1024 - sent);
        bridge.sends(stalled.channel, Kind::Data, sent as u64, &vec![b'x'; len]).await;
        sent += len;
    }
    assert!(matches!(ada.hears().await, ToClient::Notice { notice: Notice::Observers { .. } }));
    for offset in 0..100 {
        bridge.sends(ada.channel, Kind::Data, offset, b"a").await;
        assert_eq!(ada.sees().await.offset, at(offset));
        ada.types(offset, b"k").await;
        assert_eq!(bridge.gets().await.0, ada.channel);
    }
    drop(stalled);
}

#[tokio::test]
async fn an_observer_s_input_and_control_go_nowhere() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let mut eve = scene.lets_in(&mut bridge, observer()).await;
    eve.types(0, b"rm -rf /\n").await;
    eve.says(&FromClient::Resize(TerminalSize::DEFAULT)).await;
    eve.says(&FromClient::Ping { t: 7 }).await;
    assert_eq!(eve.hears().await, ToClient::Pong { t: 7 });
    ada.types(0, b"ls\n").await;
    let (channel, frame) = bridge.gets().await;
    assert_eq!((channel, &frame.payload[..]), (ada.channel, &b"ls\n"[..]));
}

#[tokio::test]
async fn frames_and_answers_for_a_channel_that_nobody_has_are_dropped() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let nobody = shellgate_protocol::ChannelNumber(900);
    bridge.sends(nobody, Kind::Data, 0, b"to nobody").await;
    bridge.attaches(nobody).await;
    bridge.says(&FromBridge::Closed { channel: nobody, applied: at(0) }).await;
    bridge.says(&FromBridge::Live { channel: nobody }).await;
    bridge.attaches(ada.channel).await;
    bridge.sends(ada.channel, Kind::Data, 0, b"x").await;
    assert_eq!(ada.sees().await.payload.len(), 1);
    assert!(!scene.down.is_finished());
}

#[tokio::test]
async fn the_end_is_news_and_a_lost_link_sends_the_clients_back() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let mut late = scene.joins(observer()).await;
    let status = ExitStatus {
        code: Some(3),
        signal: None,
        reason: shellgate_protocol::client_leg::EndReason::Exited,
        detail: None,
    };
    bridge.says(&FromBridge::Exit { channel: None, at: at(9), status: status.clone() }).await;
    let news = scene.learns().await;
    assert!(matches!(news, Some(News::Exited { status: told, .. }) if told == status));
    drop(bridge);
    assert_eq!(ada.is_closed_with().await, CloseCode::LinkLost);
    assert_eq!(late.is_closed_with().await, CloseCode::LinkLost);
    assert!(matches!(scene.ends().await, Down::LinkLost(_)));
}

#[tokio::test]
async fn a_bridge_that_leaves_after_its_end_has_not_lost_its_link() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let status = ExitStatus {
        code: Some(0),
        signal: None,
        reason: shellgate_protocol::client_leg::EndReason::Exited,
        detail: None,
    };
    let ended = FromBridge::Ended {
        at: at(0),
        acknowledged: at(0),
        screen: shellgate_protocol::enrolment::Opaque::default(),
        size: shellgate_protocol::TerminalSize::DEFAULT,
        status,
    };
    bridge.says(&ended).await;
    assert!(matches!(scene.learns().await, Some(News::Ended(_))));
    drop(bridge);
    assert_eq!(ada.is_closed_with().await, CloseCode::Normal);
}

#[tokio::test]
async fn what_a_client_held_is_given_back_when_it_has_been_seen_off() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.acknowledges(1).await;
    // It was told to go, and has not answered: its socket is still here, and counts.
    loop {
        if matches!(ada.next().await, tokio_tungstenite::tungstenite::Message::Close(_)) {
            break;
        }
    }
    assert!(
        ada.permit.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Empty)
    );
    drop(ada.socket);
    assert!(crate::scene::soon("the permit's return", ada.permit).await.is_err());
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
}
