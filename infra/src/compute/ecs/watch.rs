//! One poller for all who wait for news of tasks. Knows no sessions.
//!
//! Whoever waits joins the roster and has a channel with the newest sight of its task. While anybody
//! waits, one task of this process asks ECS about all that are due, a hundred with each call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ecs::types::Task;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::calls::Calls;
use super::config::{EcsConfig, Pace};
use super::roster::{BATCH, Roster, Round};
use super::{STOPPED, lock, words};
use crate::aws::{AwsError, random};
use crate::compute::TaskEnd;

/// How long ECS may say that it does not know a task that it has just started.
const SETTLING: Duration = Duration::from_secs(60);
/// How often in a row it must say so of an older one before it is believed.
const MISSED: u32 = 2;
/// How many calls are under way at once. One that stalls keeps no other waiting.
const IN_FLIGHT: usize = 16;

/// What is known of a task.
#[derive(Debug, Clone)]
pub(super) enum Sight {
    /// Nothing yet.
    Unseen,
    /// It is there; its address, once it has one.
    Here(Option<IpAddr>),
    /// It has ended.
    Gone(TaskEnd),
    /// ECS does not say, and would not if it were asked again.
    Refused(AwsError),
}

/// The poller and those who wait for it.
#[derive(Debug)]
pub(super) struct Watch {
    calls: Arc<Calls>,
    cluster: String,
    state: Mutex<State>,
    /// Something is due earlier than the poller knows.
    sooner: Arc<Notify>,
    in_flight: Arc<Semaphore>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct State {
    roster: Roster,
    waited_for: HashMap<String, WaitedFor>,
    /// Whether a poller runs.
    polled: bool,
}

#[derive(Debug)]
struct WaitedFor {
    sight: watch::Sender<Sight>,
    asked_ms: i64,
    /// How often in a row ECS has said that it does not know it.
    missed: u32,
    waiting: usize,
}

/// Somebody's wait for news of one task; ends with it.
#[derive(Debug)]
pub(super) struct Waiting {
    watch: Arc<Watch>,
    arn: String,
    pub(super) sight: watch::Receiver<Sight>,
}

impl Waiting {
    /// News of it is expected from now on.
    pub(super) fn hurry(&self) {
        lock(&self.watch.state).roster.hurry(&self.arn, Instant::now());
        self.watch.sooner.notify_one();
    }

    /// The next sight that there is to be seen.
    pub(super) async fn next(&mut self) -> Sight {
        // The sender is kept while anybody waits.
        let _ = self.sight.changed().await;
        self.sight.borrow_and_update().clone()
    }

    /// How the task ends.
    pub(super) async fn end(&mut self) -> Result<TaskEnd, AwsError> {
        let mut sight = self.sight.borrow_and_update().clone();
        loop {
            match sight {
                Sight::Gone(end) => return Ok(end),
                Sight::Refused(error) => return Err(error),
                Sight::Unseen | Sight::Here(_) => sight = self.next().await,
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.watch.state);
        if let Some(waited_for) = state.waited_for.get_mut(&self.arn) {
            waited_for.waiting -= 1;
            if waited_for.waiting == 0 {
                state.waited_for.remove(&self.arn);
                state.roster.remove(&self.arn);
            }
        }
    }
}

impl Watch {
    pub(super) fn new(calls: Arc<Calls>, config: &EcsConfig) -> Self {
        let pace: Pace = config.pace;
        Self {
            calls,
            cluster: config.cluster.clone(),
            state: Mutex::new(State {
                roster: Roster::new(pace, Instant::now()),
                waited_for: HashMap::new(),
                polled: false,
            }),
            sooner: Arc::default(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            tracker: TaskTracker::new(),
        }
    }

    /// Joins those who wait for news of a task.
    pub(super) fn join(self: &Arc<Self>, arn: &str, asked_ms: i64) -> Waiting {
        let mut state = lock(&self.state);
        let State { roster, waited_for, polled } = &mut *state;
        let waited_for = waited_for.entry(arn.to_owned()).or_insert_with(|| {
            roster.add(arn, age(asked_ms), Instant::now());
            let sight = watch::Sender::new(Sight::Unseen);
            WaitedFor { sight, asked_ms, missed: 0, waiting: 0 }
        });
        waited_for.waiting += 1;
        let sight = waited_for.sight.subscribe();
        if !std::mem::replace(polled, true) {
            self.tracker.spawn(poll(Arc::downgrade(self), self.sooner.clone()));
        }
        drop(state);
        self.sooner.notify_one();
        Waiting { watch: self.clone(), arn: arn.to_owned(), sight }
    }

    fn round(&self) -> Round {
        let mut state = lock(&self.state);
        let round = state.roster.round(Instant::now(), random());
        state.polled = round != Round::Over;
        round
    }

    /// Asks, a batch with each call, and waits for no answer.
    async fn ask_about(self: &Arc<Self>, arns: &[String]) {
        for batch in arns.chunks(BATCH) {
            let Ok(permit) = self.in_flight.clone().acquire_owned().await else { return };
            self.tracker.spawn(look_at(self.clone(), batch.to_vec(), permit));
        }
    }

    fn see(&self, arn: &str, sight: Sight) {
        let mut state = lock(&self.state);
        if matches!(sight, Sight::Gone(_)) {
            state.roster.remove(arn);
        }
        if let Some(waited_for) = state.waited_for.get_mut(arn) {
            // Answers may overtake each other, and nothing comes after an end.
            if matches!(*waited_for.sight.borrow(), Sight::Gone(_)) {
                return;
            }
            waited_for.missed = 0;
            waited_for.sight.send_replace(sight);
        }
    }

    /// ECS does not know it: not yet, or no more.
    fn miss(&self, arn: &str) {
        let mut state = lock(&self.state);
        let State { roster, waited_for, .. } = &mut *state;
        let Some(task) = waited_for.get_mut(arn) else { return };
        if age(task.asked_ms) < SETTLING {
            drop(state);
            return self.see(arn, Sight::Here(None));
        }
        task.missed += 1;
        if task.missed < MISSED {
            roster.hurry(arn, Instant::now());
            return;
        }
        drop(state);
        let evidence = words::FORGOTTEN.to_owned();
        self.see(arn, Sight::Gone(TaskEnd { evidence, ..TaskEnd::default() }));
    }
}

/// Asks once: what is not answered is asked again in its turn.
async fn look_at(watch: Arc<Watch>, arns: Vec<String>, _in_flight: OwnedSemaphorePermit) {
    let calls = &watch.calls;
    let request = calls.client.describe_tasks().cluster(&watch.cluster);
    let request = request.set_tasks(Some(arns.clone()));
    match calls.once(&calls.read, "ecs:DescribeTasks", request.send()).await {
        Ok(answer) => {
            for task in answer.tasks() {
                if let Some(arn) = task.task_arn() {
                    watch.see(arn, sight(task));
                }
            }
            for failure in answer.failures() {
                match (failure.arn(), failure.reason()) {
                    (Some(arn), Some("MISSING")) => watch.miss(arn),
                    (arn, reason) => tracing::warn!(?arn, ?reason, "no news of a task"),
                }
            }
        }
        Err(error) if error.is_retryable() => {
            tracing::warn!(%error, tasks = arns.len(), "no news of tasks");
        }
        Err(error) => {
            for arn in &arns {
                watch.see(arn, Sight::Refused(error.clone()));
            }
        }
    }
}

/// Asks as long as anybody waits.
async fn poll(watch: Weak<Watch>, sooner: Arc<Notify>) {
    loop {
        let Some(watch) = watch.upgrade() else { return };
        match watch.round() {
            Round::Over => return,
            Round::Ask(arns) => watch.ask_about(&arns).await,
            Round::Later(when) => {
                // Whoever goes meanwhile takes the poller along at the next turn.
                drop(watch);
                tokio::select! {
                    () = tokio::time::sleep_until(when) => {}
                    () = sooner.notified() => {}
                }
            }
        }
    }
}

fn sight(task: &Task) -> Sight {
    if task.last_status() == Some(STOPPED) {
        return Sight::Gone(words::end(task));
    }
    let details = task.attachments().iter().flat_map(|attachment| attachment.details());
    let mut addresses = details.filter(|detail| detail.name() == Some("privateIPv4Address"));
    Sight::Here(addresses.next().and_then(|detail| detail.value()?.parse().ok()))
}

/// How long ago that was; nothing where it is yet to come, by another clock.
fn age(asked_ms: i64) -> Duration {
    let asked = Duration::from_millis(u64::try_from(asked_ms).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{Aws, AwsSettings};
    use crate::compute::ecs::example_config;

    #[tokio::test]
    async fn an_older_answer_that_comes_after_the_end_does_not_undo_it() {
        let config = example_config();
        let settings = AwsSettings {
            region: Some("us-east-1".to_owned()),
            ecs_endpoint: Some("http://127.0.0.1:1".to_owned()),
            ..Default::default()
        };
        let calls = Arc::new(Calls::new(&Aws::new(settings).await, config.rates));
        let watch = Arc::new(Watch::new(calls, &config));
        let mut waiting = watch.join("arn", 0);
        let end = TaskEnd { evidence: "exit code 0".to_owned(), ..TaskEnd::default() };
        watch.see("arn", Sight::Gone(end.clone()));
        watch.see("arn", Sight::Here(None));
        watch.miss("arn");
        watch.miss("arn");
        assert_eq!(waiting.end().await.expect("it has ended"), end);
    }
}
