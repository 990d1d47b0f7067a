//! A time that goes on only when nobody has anything left to do, so that what takes an hour is over
//! in seconds, however slow the machine. Knows no gateway.
//!
//! Tokio's own paused clock goes on whenever the runtime waits, also for a socket or for the
//! database's thread. This one looks first whether all of them are at rest.

use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::spawn_blocking;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long everybody must have been at rest. In the time of the machine.
const REST: Duration = Duration::from_micros(200);

/// Runs something in a runtime of its own, whose time goes on in such steps.
///
/// # Panics
/// Where the machine gives no runtime.
pub fn in_still_time<T>(step: Duration, story: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let _clock = AbortOnDropHandle::new(TaskTracker::new().spawn(go_on(step)));
        story.await
    })
}

async fn go_on(step: Duration) {
    loop {
        let parked = Handle::current().metrics().worker_park_count(0);
        // While a blocking task runs, Tokio's clock stands.
        let at_rest = spawn_blocking(rest).await.expect("it does not panic");
        // This runtime waited for this rest and for nothing else: who is busy does not wait, and who has
        // woken up meanwhile may have asked somebody else for something.
        let waited_once = Handle::current().metrics().worker_park_count(0) - parked == 1;
        if at_rest && waited_once {
            tokio::time::advance(step).await;
        }
    }
}

/// Waits a little, and says whether every other thread of this process sleeps.
fn rest() -> bool {
    std::thread::sleep(REST);
    let own = nix::unistd::gettid().to_string();
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux shows threads");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        // One that has just ended has no state any more.
        thread.file_name() == *own || state.is_none_or(|state| state == 'S')
    })
}
