//! One poller for all who wait for news of tasks. Knows no sessions.
//!
//! Whoever waits joins the roster and has a channel with the newest sight of its task. While anybody
//! waits, one task of this process asks ECS about all that are due, a hundred with each call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ecs::types::Task;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::calls::{Calls, random};
use super::config::{EcsConfig, Pace};
use super::roster::{BATCH, Roster, Round};
use super::{STOPPED, lock, words};
use crate::aws::AwsError;
use crate::compute::TaskEnd;

/// How long ECS may say that it does not know a task that it has just started.
const SETTLING: Duration = Duration::from_secs(60);
/// How many calls of one round are under way at once.
const IN_FLIGHT: usize = 4;

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
            tracker: TaskTracker::new(),
        }
    }

    /// Joins those who wait for news of a task.
    pub(super) fn join(self: &Arc<Self>, arn: &str, asked_ms: i64) -> Waiting {
        let mut state = lock(&self.state);
        let State { roster, waited_for, polled } = &mut *state;
        let waited_for = waited_for.entry(arn.to_owned()).or_insert_with(|| {
            roster.add(arn, age(asked_ms), Instant::now());
            WaitedFor { sight: watch::Sender::new(Sight::Unseen), asked_ms, waiting: 0 }
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

    async fn ask_about(self: &Arc<Self>, arns: &[String]) {
        let mut calls = JoinSet::new();
        for batch in arns.chunks(BATCH) {
            if calls.len() >= IN_FLIGHT {
                calls.join_next().await;
            }
            let (watch, batch) = (self.clone(), batch.to_vec());
            calls.spawn(async move { watch.look_at(batch).await });
        }
        while calls.join_next().await.is_some() {}
    }

    async fn look_at(&self, arns: Vec<String>) {
        let request = self.calls.client.describe_tasks().cluster(&self.cluster);
        let request = request.set_tasks(Some(arns.clone()));
        let asked =
            self.calls.ask(&self.calls.read, "ecs:DescribeTasks", || request.clone().send()).await;
        match asked {
            Ok(answer) => {
                for task in answer.tasks() {
                    if let Some(arn) = task.task_arn() {
                        self.see(arn, sight(task));
                    }
                }
                for failure in answer.failures() {
                    if let Some(arn) = failure.arn() {
                        self.miss(arn);
                    }
                }
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, tasks = arns.len(), "no news of tasks");
            }
            Err(error) => {
                for arn in &arns {
                    self.see(arn, Sight::Refused(error.clone()));
                }
            }
        }
    }

    fn see(&self, arn: &str, sight: Sight) {
        let mut state = lock(&self.state);
        if matches!(sight, Sight::Gone(_)) {
            state.roster.remove(arn);
        }
        if let Some(waited_for) = state.waited_for.get(arn) {
            waited_for.sight.send_replace(sight);
        }
    }

    /// ECS does not know it: not yet, or no more.
    fn miss(&self, arn: &str) {
        let asked_ms = lock(&self.state).waited_for.get(arn).map(|task| task.asked_ms);
        match asked_ms {
            Some(asked_ms) if age(asked_ms) < SETTLING => self.see(arn, Sight::Here(None)),
            Some(_) => {
                let evidence = words::FORGOTTEN.to_owned();
                self.see(arn, Sight::Gone(TaskEnd { evidence, ..TaskEnd::default() }));
            }
            None => {}
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
