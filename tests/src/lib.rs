//! What the stories, the torture and the load tests are told with: a [`World`] with a real gateway
//! and real sandboxes, its [`User`]s with their [`Shell`]s, and [`Cable`]s that can be cut.
//!
//! Everything here panics with a sentence where a test would have to fail anyway, and every wait
//! has a deadline.

pub mod aws;
pub mod binaries;
pub mod clock;
pub mod config;
pub mod database;
pub mod disk;
pub mod gateway;
pub mod issuer;
pub mod standby;
pub mod world;

pub mod user;

pub mod checksum;
pub mod shell;
pub mod transcript;

pub mod cable;
pub mod link;
mod wire;

pub mod afar;
pub mod another;
pub mod bridge;
pub mod documented;
pub mod gate;
pub mod here;
pub mod raw;
pub mod still;

pub mod again;
pub mod leftovers;

pub mod torture;

pub use cable::Cable;
pub use raw::Raw;
pub use shell::Shell;
pub use user::User;
pub use world::{World, WorldBuilder};

use std::time::Duration;

/// How long anything that should happen may take. Far more than it does, so that a busy machine
/// fails no test; all that it costs is the time in which a failing one fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what should happen; panics with `what` where it does not.
pub async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, happens).await {
        Ok(happened) => happened,
        Err(_) => panic!("{what}: not within {} s", DEADLINE.as_secs()),
    }
}

/// Looks again and again until something outside of this process has come about, for what tells
/// nobody when it does.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
