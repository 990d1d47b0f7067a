//! Gateways behind a proxy: whose request it is that the proxy passes on.

use shellgate_protocol::SessionId;
use shellgate_tests::raw::Knock;
use shellgate_tests::{Raw, World, until};
use tokio_tungstenite::tungstenite::http::Response;

/// Strangers that one address may have at the same time.
const STRANGERS: u32 = 2;

/// Knocks without a ticket that holds, as somebody for whom a proxy says this, and hears nothing of
/// what the gateway answers once it is in.
async fn stranger(world: &World, forwarded: &str) -> Result<Raw, Response<Option<Vec<u8>>>> {
    let knock = Knock::ticket(&"A".repeat(43), None).header("x-forwarded-for", forwarded);
    Raw::dials(world.address(), SessionId::generate(), &knock).await
}

/// Sends strangers, each with another head, until one is refused.
async fn are_refused(world: &World, what: &str, forwarded: impl Fn(u32) -> String) -> Vec<Raw> {
    let (mut strangers, mut number, mut refused) = (Vec::new(), 0, None);
    until(what, async || {
        number = (number + 1) % 250;
        match stranger(world, &forwarded(number)).await {
            Ok(raw) => strangers.push(raw),
            Err(response) => refused = Some(response),
        }
        refused.is_some()
    })
    .await;
    let refused = refused.expect("waited for");
    assert_eq!(refused.status(), 503);
    let retry = refused.headers().get("retry-after").and_then(|value| value.to_str().ok());
    assert!(retry.and_then(|seconds| seconds.parse().ok()).is_some_and(|seconds: u32| seconds > 0));
    strangers
}

#[tokio::test]
async fn behind_a_proxy_strangers_are_counted_by_the_last_address_that_is_no_proxy() {
    let world = World::builder()
        .set("listen.proxies", vec!["127.0.0.0/8", "10.0.0.0/8"])
        .set("listen.unauthenticated_per_address", i64::from(STRANGERS))
        .start()
        .await;
    let mut strangers = are_refused(&world, "an address is full", |_| "203.0.113.7".into()).await;
    assert!(strangers.len() >= STRANGERS as usize);
    for other in ["203.0.113.8", "203.0.113.7, 203.0.113.9", "203.0.113.10, 10.0.0.1"] {
        strangers.push(stranger(&world, other).await.expect("another address has room"));
    }
    let forged = are_refused(&world, "a forged head is not believed", |number| {
        format!("198.51.100.{number}, 203.0.113.7, 10.0.0.{number}")
    });
    strangers.extend(forged.await);
    let unnamed = are_refused(&world, "who is not named goes not uncounted", |number| {
        format!("198.51.100.{number}, unknown")
    });
    strangers.extend(unnamed.await);
    drop(strangers);
    until("there is room again", async || stranger(&world, "203.0.113.7").await.is_ok()).await;
    world.user("ada").asks_for_a("default").await;
    world.stop().await;
}

#[tokio::test]
async fn without_a_proxy_nobody_says_who_they_are_but_their_own_address() {
    let world = World::builder()
        .set("listen.proxies", vec!["10.0.0.0/8"])
        .set("listen.unauthenticated_per_address", i64::from(STRANGERS))
        .start()
        .await;
    let strangers =
        are_refused(&world, "the header is not believed", |number| format!("198.51.100.{number}"));
    let strangers = strangers.await;
    assert!(strangers.len() >= STRANGERS as usize);
    drop(strangers);
    until("there is room again", async || stranger(&world, "").await.is_ok()).await;
    world.stop().await;
}
