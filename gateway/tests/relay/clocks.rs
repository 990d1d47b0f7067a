//! What time does: pings, silence, answers that do not come, tokens that run out. The clock is the
//! test's own.

use std::time::Duration;

use futures_util::StreamExt;
use shellgate_gateway::relay::{Command, Down};
use shellgate_protocol::client_leg::Notice;
use shellgate_protocol::{CloseCode, ToClient};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{GRACE, Scene, Visitor, driver};

#[tokio::test(start_paused = true)]
async fn both_sides_are_pinged_and_a_silent_bridge_is_left() {
    let (scene, mut bridge) = Scene::begins().await;
    let began = Instant::now();
    // It reads, and says nothing: the library's own answers stay in its buffer.
    let mut ping = [0; 2];
    bridge.0.get_mut().read_exact(&mut ping).await.expect("read");
    assert_eq!(ping, [0x89, 0], "a ping without bytes");
    assert!(began.elapsed() <= Duration::from_secs(30));
    let down = scene.down.await.expect("no panic");
    assert_eq!(down, Down::LinkLost("silent".into()));
    assert!(began.elapsed() <= Duration::from_secs(70));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_runs_out_closes_its_client() {
    let (scene, mut bridge) = Scene::begins().await;
    let authentic_until = Instant::now() + Duration::from_secs(12);
    let mut ada = scene.lets_in(&mut bridge, Visitor { authentic_until, ..driver() }).await;
    assert_eq!(ada.is_closed_with().await, CloseCode::Unauthenticated);
    assert!(Instant::now() >= authentic_until);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_once_that_its_token_runs_out_and_again_of_the_next() {
    let (scene, mut bridge) = Scene::begins().await;
    let began = Instant::now();
    let authentic_until = began + Duration::from_secs(45) + GRACE;
    let mut ada = scene.lets_in(&mut bridge, Visitor { authentic_until, ..driver() }).await;
    let told = ada.hears().await;
    let ToClient::Notice { notice: Notice::TokenExpires { seconds } } = told else {
        panic!("{told:?}")
    };
    assert!((25..=30).contains(&seconds), "{seconds} s, the grace not counted");
    let newer = Some(Instant::now() + Duration::from_secs(45) + GRACE);
    scene.command(Command::Reauthenticated(ada.channel, newer)).await;
    let told = ada.hears().await;
    assert!(matches!(told, ToClient::Notice { notice: Notice::TokenExpires { .. } }), "{told:?}");
    assert!(began.elapsed() >= Duration::from_secs(30), "each is told once");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_task_does_not_answer_is_sent_back() {
    let (scene, bridge) = Scene::begins().await;
    let began = Instant::now();
    let mut ada = scene.joins(driver()).await;
    let code = loop {
        match ada.socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, CloseCode::Timeout.number());
    assert!(began.elapsed() <= Duration::from_secs(40));
    drop(bridge);
}
