//! One driver: who replaces whom, and what the others are told.

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use shellgate_gateway::relay::Command;
use shellgate_protocol::client_leg::{Notice, Token};
use shellgate_protocol::{CloseCode, FromBridge, FromClient, Kind, ToClient};

use crate::scene::{Scene, Visitor, at, driver, observer};
use shellgate_gateway::relay::{News, Renewal};

#[tokio::test]
async fn another_driver_is_refused_and_the_first_hears_nothing_of_it() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let mut bob = scene.joins(driver()).await;
    assert_eq!(bob.is_closed_with().await, CloseCode::AnotherDriver);
    ada.types(0, b"x").await;
    assert_eq!(bridge.gets().await.0, ada.channel);
}

#[tokio::test]
async fn the_same_client_replaces_its_own_older_connection() {
    let (scene, mut bridge) = Scene::begins().await;
    let page = driver();
    let again = Visitor { client: page.client, ..driver() };
    let mut old = scene.lets_in(&mut bridge, page).await;
    let new = scene.joins(again).await;
    assert_eq!(bridge.is_told_to_close().await, (old.channel, false));
    assert_ne!(bridge.is_told_to_open().await, old.channel);
    assert_eq!(old.is_closed_with().await, CloseCode::Normal);
    drop(new);
}

#[tokio::test]
async fn a_connection_that_joins_late_does_not_replace_its_clients_newer_one() {
    let (scene, mut bridge) = Scene::begins().await;
    let page = Visitor { order: 2, ..driver() };
    let dead = Visitor { order: 1, client: page.client, ..driver() };
    let mut ada = scene.lets_in(&mut bridge, page).await;
    let mut late = scene.joins(dead).await;
    assert_eq!(late.is_closed_with().await, CloseCode::Normal);
    ada.types(0, b"still here").await;
    assert_eq!(bridge.gets().await.0, ada.channel);
}

#[tokio::test]
async fn a_driver_that_was_taken_over_learns_what_was_applied() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.types(0, b"half a word").await;
    bridge.gets().await;
    let bob = scene.joins(Visitor { takeover: true, ..driver() }).await;
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, true));
    let channel = bridge.is_told_to_open().await;
    // It does not know yet, and goes on typing and acknowledging: that is no fault of its.
    ada.types(11, b" more").await;
    ada.acknowledges(900).await;
    ada.says(&FromClient::Ping { t: 1 }).await;
    assert_eq!(ada.hears().await, ToClient::Pong { t: 1 });
    bridge.says(&FromBridge::Closed { channel: ada.channel, applied: at(4) }).await;
    let notice = Notice::TakenOver { applied: at(4) };
    assert_eq!(ada.hears().await, ToClient::Notice { notice });
    assert_eq!(ada.is_closed_with().await, CloseCode::AnotherDriver);
    bridge.attaches(channel).await;
    bridge.sends(channel, Kind::Data, 0, b"x").await;
    drop(bob);
}

#[tokio::test]
async fn presence_follows_who_comes_and_goes() {
    let (scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    let eve = scene.lets_in(&mut bridge, observer()).await;
    let seen = ada.hears().await;
    assert_eq!(seen, ToClient::Notice { notice: Notice::Observers { count: 1 } });
    assert!(scene.activity.driver.load(Ordering::Relaxed));
    drop(eve.socket);
    // At once: nobody waits for a clock to tick.
    let gone = ada.hears().await;
    assert_eq!(gone, ToClient::Notice { notice: Notice::Observers { count: 0 } });
    assert_eq!(scene.activity.observers.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_refused_token_closes_the_client_and_its_channel() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let mut ada = scene.lets_in(&mut bridge, driver()).await;
    ada.says(&FromClient::Reauth { token: Token("no token".into()) }).await;
    let Some(News::Reauth(Renewal { channel, .. })) = scene.learns().await else {
        panic!("no news")
    };
    scene.command(Command::Reauthenticated(channel, None)).await;
    assert_eq!(bridge.is_told_to_close().await, (ada.channel, false));
    assert_eq!(ada.is_closed_with().await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn who_comes_is_news_and_what_is_told_to_all_is_told_to_those_who_have_come() {
    let (mut scene, mut bridge) = Scene::begins().await;
    let mut coming = scene.joins(observer()).await;
    coming.channel = bridge.is_told_to_open().await;
    let notice = Notice::IdleWarning { seconds: 60 };
    scene.command(Command::Tell(notice.clone())).await;
    bridge.attaches(coming.channel).await;
    // It is told by whoever hears that it has come: what is true then.
    assert!(matches!(coming.hears().await, ToClient::Attached { .. }));
    let Some(News::Opened(channel)) = scene.news.next().await else { panic!("no news") };
    assert_eq!(channel, coming.channel);
    scene.command(Command::Tell(notice.clone())).await;
    assert_eq!(coming.hears().await, ToClient::Notice { notice });
}
