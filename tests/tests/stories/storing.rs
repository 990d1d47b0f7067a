//! A database that cannot be written for a while, or is not there any more.

use std::time::Duration;

use shellgate_client::api::NewSession;
use shellgate_client::session::State;
use shellgate_protocol::client_leg::Role;
use shellgate_tests::raw::{Knock, attach};
use shellgate_tests::{Raw, Shell, World, until};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

/// Holds the gateway's database so that nobody else writes.
async fn lock(world: &World) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(world.store()).busy_timeout(Duration::from_secs(5));
    let mut store = options.connect().await.expect("the store opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut store).await.expect("locked");
    store
}

#[tokio::test]
async fn a_locked_store_is_said_and_costs_nobody_their_shell() {
    let world = World::builder().set("store.busy_timeout", "100ms");
    let world = world.set("listen.origins", vec!["https://shell.example.com"]).start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let held = lock(&world).await;
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "store_unavailable"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    let origin = "https://shell.example.com";
    let refused = ada.api().ticket(shell.session(), Role::Driver, origin).await.err();
    assert!(matches!(
        refused,
        Some(shellgate_client::api::CallError::Refused(refused)) if refused.status == 503
    ));
    let knock = Knock::ticket(&"A".repeat(43), None);
    let mut raw = Raw::dials(ada.address(), shell.session(), &knock).await.expect("upgraded");
    raw.says(&attach(Role::Driver)).await;
    let (code, _) = raw.is_closed().await;
    assert!([1013, 4401, 4403].contains(&code), "{code}");
    let ready = format!("http://{}/readyz", world.admin_address());
    assert_eq!(reqwest::get(&ready).await.expect("an answer").status(), 503);
    shell.types("echo $((6 * 7)) all the same\n").await;
    shell.shows("42 all the same").await;
    held.close().await.expect("let go");
    until("the gateway is ready again", async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    ada.asks_for_a("default").await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_while_the_store_is_locked_has_ended_when_it_is_free() {
    let world = World::builder().set("store.busy_timeout", "100ms").start().await;
    let ada = world.user("ada");
    let shell = ada.opens_a_shell().await;
    let session = shell.session();
    let held = lock(&world).await;
    shell.types("exit 6\n").await;
    world.hears_the_gateway_say("was not stored").await;
    held.close().await.expect("let go");
    let ended = ada.sees(session, State::Ended).await.ended.expect("ended");
    assert_eq!(ended.code, Some(6));
    world.stop().await;
}

#[tokio::test]
async fn while_the_store_is_locked_nobody_waits_for_long_and_a_broken_link_comes_back_after_it() {
    let world = World::builder().set("store.busy_timeout", "1s").start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let attached = shell.times_attached();
    // Found before: who looks through a gateway's descriptors lets go of every lock of their own.
    let link = world.link(shell.session());
    let held = lock(&world).await;
    assert!(link.cut());
    // One after the other each of them would wait for the lock.
    let asked = Instant::now();
    let new = NewSession::default();
    let refused = futures_util::future::join_all((0..20).map(|_| ada.is_refused(&new))).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    for refused in refused {
        assert_eq!((refused.status, refused.code.as_str()), (503, "store_unavailable"));
    }
    shell.types("echo $((6 * 7)) all the same\n").await;
    held.close().await.expect("let go");
    shell.stands_again(attached).await;
    shell.shows("42 all the same").await;
    ada.asks_for_a("default").await;
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_is_deleted_under_the_gateway_is_written_anew() {
    let mut world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let store = world.store();
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", store.display())).expect("deleted");
    }
    shell.types("ANSWER=$((6 * 7)); echo $ANSWER all the same\n").await;
    shell.shows("42 all the same").await;
    let mut other = ada.opens_a_shell().await;
    world.hears_the_gateway_say("has been written anew").await;
    let attached = [&shell, &other].map(Shell::times_attached);
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    for (shell, attached) in [&mut shell, &mut other].into_iter().zip(attached) {
        shell.stands_again(attached).await;
    }
    shell.types("echo $ANSWER after all\n").await;
    shell.shows("42 after all").await;
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_is_moved_away_or_replaced_is_said_until_it_is_back() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let (store, aside) = (world.store(), world.state().join("aside.db"));
    std::fs::rename(&store, &aside).expect("moved");
    let ready = format!("http://{}/readyz", world.admin_address());
    for put_there in [None, Some("another file")] {
        if let Some(text) = put_there {
            std::fs::write(&store, text).expect("written");
        }
        let refused = ada.is_refused(&NewSession::default()).await;
        assert_eq!((refused.status, refused.code.as_str()), (503, "store_unavailable"));
        assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
        assert_eq!(reqwest::get(&ready).await.expect("an answer").status(), 503);
    }
    shell.types("echo $((6 * 7)) all the same\n").await;
    shell.shows("42 all the same").await;
    std::fs::rename(&aside, &store).expect("moved back");
    until("the gateway is ready again", async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    ada.asks_for_a("default").await;
    world.stop().await;
}

#[tokio::test]
async fn a_damaged_store_stops_the_start_with_its_name() {
    let mut world = World::start().await;
    world.stops_the_gateway().await;
    let kept = std::fs::read(world.store()).expect("it is there");
    std::fs::write(world.store(), b"this is no database, whatever its name says\n")
        .expect("damaged");
    let said = world.fails_to_start().await;
    assert!(said.contains("shellgate.db"), "{said}");
    std::fs::write(world.store(), kept).expect("mended");
    world.stop().await;
}

#[tokio::test]
async fn a_second_gateway_on_the_same_state_is_told_who_holds_it() {
    let world = World::start().await;
    let said = world.fails_to_start_beside().await;
    assert!(said.contains("is held by the gateway with process id"), "{said}");
    assert!(said.contains(&world.gateway_pid().to_string()), "{said}");
    world.stop().await;
}
