//! A database on another machine: away for a while, or shared with another gateway.

use shellgate_client::api::{CallError, NewSession};
use shellgate_client::session::State;
use shellgate_tests::{World, until};

/// Whether the gateway is ready for new sessions.
async fn is_ready(world: &World) -> bool {
    let ready = format!("http://{}/readyz", world.admin_address());
    reqwest::get(&ready).await.expect("an answer").status() == 200
}

#[tokio::test]
async fn a_database_that_is_away_costs_nobody_their_shell_and_is_used_when_it_is_back() {
    let world = World::builder().on_postgres().start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let attached = shell.times_attached();
    let link = world.link(shell.session());
    assert!(is_ready(&world).await);
    world.stops_its_database();
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "store_unavailable"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    assert!(!is_ready(&world).await);
    shell.types("echo $((6 * 7)) all the same\n").await;
    shell.shows("42 all the same").await;
    assert!(link.cut());
    shell.types("echo $((6 * 8)) after that\n").await;
    world.starts_its_database_again();
    shell.stands_again(attached).await;
    shell.shows("48 after that").await;
    until("the gateway is ready again", async || is_ready(&world).await).await;
    ada.asks_for_a("default").await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_while_the_database_is_away_has_ended_when_it_is_back() {
    let world = World::builder().on_postgres().start().await;
    let ada = world.user("ada");
    let shell = ada.opens_a_shell().await;
    let session = shell.session();
    world.stops_its_database();
    shell.types("exit 6\n").await;
    world.hears_the_gateway_say("was not stored").await;
    world.starts_its_database_again();
    let ended = ada.sees(session, State::Ended).await.ended.expect("ended");
    assert_eq!(ended.code, Some(6));
    world.stop().await;
}

#[tokio::test]
async fn a_second_gateway_lives_says_what_it_waits_for_and_has_its_turn() {
    let mut world = World::builder().on_postgres().start().await;
    let standby = world.has_a_standby().await;
    until("it says what it waits for", async || {
        let (status, words) = standby.says("readyz").await.expect("it answers");
        assert_eq!(status, 503, "{words}");
        words.contains("another gateway has the store") && words.contains("since 20")
    })
    .await;
    world.user("ada").opens_a_shell().await.types("exit\n").await;
    world.stops_the_gateway().await;
    standby.serves_and_is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_was_declared_dead_leaves_and_its_sessions_go_on_with_the_next() {
    let mut world = World::builder().on_postgres().set("peers.deadline", "1s").start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("ANSWER=$((6 * 7)); echo $ANSWER so far\n").await;
    shell.shows("42 so far").await;
    let attached = shell.times_attached();
    // As another gateway does that has seen nothing of it for too long.
    world.does_in_its_database("DELETE FROM gateways").await;
    world.sees_the_gateway_leave().await;
    world.starts_the_gateway_again().await;
    shell.stands_again(attached).await;
    shell.types("echo $ANSWER after all\n").await;
    shell.shows("42 after all").await;
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_stops_the_start_in_plain_words() {
    let mut world = World::builder().on_postgres().set("store.start_wait", "100ms").start().await;
    world.stops_the_gateway().await;
    world.stops_its_database();
    let said = world.fails_to_start().await;
    assert!(
        said.contains("the database at localhost:") && said.contains("can't be reached"),
        "{said}"
    );
    world.starts_its_database_again();
    world.does_in_its_database("ALTER ROLE shellgate PASSWORD 'changed meanwhile'").await;
    let said = world.fails_to_start().await;
    assert!(said.contains("store.password") && !said.contains("not a secret"), "{said}");
    world.does_in_its_database("ALTER ROLE shellgate PASSWORD 'not a secret: of a test'").await;
    world.stop().await;
}

#[tokio::test]
async fn a_token_is_made_and_shown_to_nobody_but_the_database() {
    let mut world = World::builder().on_postgres().start().await;
    world.stops_the_gateway().await;
    world.signs_in_by_a_token();
    // This Postgres believes no token: it is enough that it was given one.
    let said = world.fails_to_start().await;
    assert!(said.contains("rds_iam") && said.contains("rds-db:connect"), "{said}");
    for (who, words) in [("the gateway", said), ("the database", world.log_of_its_database())] {
        assert!(!words.contains("X-Amz"), "{who} shows a token: {words}");
    }
    assert!(world.log_of_its_database().contains("password authentication failed"));
}

#[tokio::test]
async fn a_stop_that_was_not_stored_is_not_confirmed_and_what_is_a_gateways_has_a_keeper_there() {
    let world = World::builder().on_postgres().set("peers.deadline", "8s").start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    ada.sees(session, State::Live).await;
    // As another gateway does that takes it.
    for sql in [
        "INSERT INTO gateways (id, instance, name, address, since_ms)
             VALUES ('another', 'another', 'another', '127.0.0.1:1', 0)",
        "UPDATE sessions SET gateway = 'another'",
    ] {
        world.does_in_its_database(sql).await;
    }
    let refused = ada.api().stop(session).await.expect_err("it is another's");
    let CallError::Refused(refused) = refused else { panic!("{refused}") };
    assert!(matches!(refused.status, 503 | 504), "{refused:?}");
    // And gives it back, in a way that this one is not told of.
    for sql in [
        "UPDATE sessions SET gateway = (SELECT id FROM gateways WHERE id <> 'another')",
        "DELETE FROM gateways WHERE id = 'another'",
    ] {
        world.does_in_its_database(sql).await;
    }
    world.hears_the_gateway_say("it had no keeper").await;
    ada.sees(session, State::Live).await;
    world.stop().await;
}
