//! What no honest peer does, and what it gets for that.

use futures_util::{SinkExt, StreamExt};
use shellgate_gateway::relay::Down;
use shellgate_protocol::client_leg::{ExitStatus, GapReason};
use shellgate_protocol::enrolment::Opaque;
use shellgate_protocol::frame::LINK_HEADER_LEN;
use shellgate_protocol::limits::{INPUT_UNAPPLIED_MAX, LAST_SCREEN_MAX};
use shellgate_protocol::{ClientId, CloseCode, FromBridge, FromClient, Kind, TerminalSize};
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{Scene, Visitor, at, driver, observer};

#[tokio::test]
async fn a_client_that_acknowledges_what_was_not_sent_is_closed() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.acknowledges(1).await;
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
    assert_eq!(ada.is_closed_with().await, CloseCode::BadRequest);
}

#[tokio::test]
async fn a_client_s_bytes_come_in_order_and_after_attached() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.types(5, b"x").await;
    assert_eq!(ada.is_closed_with().await, CloseCode::BadRequest);
    bridge.is_told_to_close().await;
    let mut early = scene.joins(driver()).await;
    early.types(0, b"x").await;
    assert_eq!(early.is_closed_with().await, CloseCode::BadRequest);
}

#[tokio::test]
async fn a_client_may_not_send_more_than_may_be_unapplied() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    // It reads all the while; the close may overtake what has not left yet.
    let reading = scene.tracker.spawn(async move {
        let mut got = 0;
        while let Some(Ok(Message::Binary(frame))) = bridge.0.next().await {
            got += (frame.len() - LINK_HEADER_LEN) as u64;
        }
        got
    });
    let piece = vec![b'x'; 16 * 1024];
    for n in 0..INPUT_UNAPPLIED_MAX / piece.len() as u64 {
        ada.types(n * piece.len() as u64, &piece).await;
    }
    ada.types(INPUT_UNAPPLIED_MAX, b"x").await;
    assert_eq!(ada.is_closed_with().await, CloseCode::BadRequest);
    let got = reading.await.expect("no panic");
    assert!(got <= INPUT_UNAPPLIED_MAX, "{got}");
}

#[tokio::test]
async fn a_client_s_flood_of_control_closes_it() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    for _ in 0..600 {
        let text = r#"{"type":"ping","t":1}"#;
        if ada.socket.feed(Message::text(text)).await.is_err() {
            break;
        }
    }
    let _ = ada.socket.flush().await;
    assert_eq!(ada.is_closed_with().await, CloseCode::BadRequest);
}

#[tokio::test]
async fn control_that_is_none_closes_the_client_and_deep_json_harms_nobody() {
    let (scene, mut bridge) = Scene::begins().await;
    for text in [r#"{"type":"sudo"}"#.to_owned(), "[".repeat(16_000), "nonsense".to_owned()] {
        let mut eve = scene.lets_in(&mut bridge, observer()).await;
        eve.sends(Message::text(text)).await;
        bridge.is_told_to_close().await;
        assert_eq!(eve.is_closed_with().await, CloseCode::BadRequest);
    }
    let mut eve = scene.lets_in(&mut bridge, observer()).await;
    eve.sends(Message::text(format!(r#"{{"type":"ping","t":1,"x":"{}"}}"#, "x".repeat(17_000))))
        .await;
    assert_eq!(eve.is_closed_with().await, CloseCode::TooBig);
}

#[tokio::test]
async fn a_bridge_that_exceeds_a_window_is_cut_off() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    bridge.sends(ada.channel, Kind::Data, 0, &[b'x'; 64 * 1024]).await;
    bridge.sends(ada.channel, Kind::Data, 64 * 1024, b"x").await;
    assert_eq!(ada.is_closed_with().await, CloseCode::LinkLost);
    drop(bridge);
    assert!(matches!(scene.ends().await, Down::Violation(_)));
}

#[tokio::test]
async fn a_bridge_that_skips_again_and_again_fills_no_client_s_queue_without_bound() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let stalled = scene.lets_in(&mut bridge, observer()).await;
    ada.hears().await;
    let channel = stalled.channel;
    let (mut offset, window) = (0, 64 * 1024);
    // Each gap gives credit for another window, though nothing was read.
    for _ in 0..200 {
        bridge.sends(channel, Kind::Data, offset, &vec![b'x'; window as usize]).await;
        offset += window;
        let (from, to) = (at(offset), at(offset + 1));
        offset += 1;
        bridge.says(&FromBridge::Gap { channel, from, to, why: GapReason::Lost }).await;
    }
    assert_eq!(bridge.is_told_to_close().await, (channel, false));
    // Everybody else goes on.
    bridge.sends(ada.channel, Kind::Data, 0, b"a").await;
    loop {
        if let Message::Binary(_) = ada.next().await {
            break;
        }
    }
    drop(stalled);
}

#[tokio::test]
async fn a_second_keyframe_before_the_first_was_acknowledged_is_a_violation() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    bridge.sends(ada.channel, Kind::Keyframe, 10, b"screen").await;
    bridge.sends(ada.channel, Kind::Keyframe, 10, b" goes on").await;
    assert_eq!(ada.sees().await.kind, Kind::Keyframe);
    ada.acknowledges(10).await;
    assert_eq!(bridge.gets().await.1.offset, at(10));
    bridge.sends(ada.channel, Kind::Keyframe, 20, b"screen").await;
    bridge.sends(ada.channel, Kind::Keyframe, 30, b"screen").await;
    drop(bridge);
    assert_eq!(ada.is_closed_with().await, CloseCode::LinkLost);
    assert!(matches!(scene.ends().await, Down::Violation(_)));
}

#[tokio::test]
async fn a_bridge_that_applies_what_was_not_sent_or_hands_over_too_much_is_cut_off() {
    let (scene, mut bridge) = Scene::begins().await;
    let ada = scene.lets_in(&mut bridge, driver()).await;
    bridge.sends(ada.channel, Kind::Applied, 1, b"").await;
    assert!(matches!(scene.ends().await, Down::Violation(_)));
    let (scene, mut bridge) = Scene::begins().await;
    let reason = shellgate_protocol::client_leg::EndReason::Exited;
    let status = ExitStatus { code: Some(0), signal: None, reason, detail: None };
    let screen = Opaque(vec![0; LAST_SCREEN_MAX + 1]);
    let (size, acknowledged) = (TerminalSize::DEFAULT, at(0));
    bridge.says(&FromBridge::Ended { at: at(0), acknowledged, screen, size, status }).await;
    assert!(matches!(scene.ends().await, Down::Violation(_)));
}

#[tokio::test]
async fn a_bridge_that_does_not_read_is_left_and_its_clients_are_sent_back() {
    let (scene, bridge) = Scene::begins().await;
    // What it is to be told piles up: each newcomer has a lot to say, and replaces the one before.
    let client = ClientId::random();
    for _ in 0..500 {
        if scene.down.is_finished() {
            break;
        }
        let can = vec!["x".repeat(8 * 1024)];
        drop(scene.joins(Visitor { client, can, ..driver() }).await);
        tokio::task::yield_now().await;
    }
    assert!(scene.down.is_finished());
    drop(bridge);
    assert!(matches!(scene.ends().await, Down::LinkLost(_)));
}

#[tokio::test]
async fn a_log_that_floods_pushes_out_no_other_news() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let source = shellgate_protocol::link_leg::LogSource::Program;
    for _ in 0..300 {
        bridge.says(&FromBridge::Log { source, text: "noise".into() }).await;
    }
    let reason = shellgate_protocol::client_leg::EndReason::Exited;
    let status = ExitStatus { code: Some(0), signal: None, reason, detail: None };
    bridge.says(&FromBridge::Exit { channel: None, at: at(1), status }).await;
    let news = scene.learns().await;
    assert!(matches!(news, Some(shellgate_gateway::relay::News::Exited { .. })), "{news:?}");
}

#[tokio::test]
async fn tokens_can_t_be_offered_without_end() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let token = shellgate_protocol::client_leg::Token("x".into());
    let text = serde_json::to_string(&FromClient::Reauth { token }).expect("JSON");
    for _ in 0..20 {
        if ada.socket.send(Message::text(text.clone())).await.is_err() {
            break;
        }
        while scene.news.try_recv().is_ok() {}
    }
    assert_eq!(ada.is_closed_with().await, CloseCode::BadRequest);
}
