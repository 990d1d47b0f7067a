//! The AWS that tests run against: a [`Cloud`] is moto behind a proxy of our own, on loopback, which
//! throttles, drops, stalls and loses what a test tells it to ([`Faults`]), and whose tasks live as
//! the test says. Nothing of it outlives the test.
//!
//! Everything here panics with a sentence where a test would have to fail anyway. Knows what providers
//! need to call AWS ([`shellgate_infra::aws`]), and nothing of what they call it for.

mod cloud;
mod task;

mod operation;
mod proxy;

mod bucket;
mod faults;

mod moto;

mod simulated;

pub use bucket::Bucket;
pub use cloud::Cloud;
pub use faults::{Call, Fault, Faults};
pub use simulated::{Launch, Simulated};
pub use task::{Stop, Task};

use std::time::Duration;

/// How long anything that should happen may take. Far more than it does, so that a busy machine
/// fails no test.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for what should happen; panics with `what` where it does not.
async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, happens).await {
        Ok(happened) => happened,
        Err(_) => panic!("{what}: not within {} s", DEADLINE.as_secs()),
    }
}
