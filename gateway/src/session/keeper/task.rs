//! A keeper's dealings with its session's task: how it is started, found, watched and stopped.

use shellgate_infra::compute::{Capacity, Compute, ComputeError, TaskEnd, TaskRef};
use shellgate_protocol::client_leg::{EndReason, Phase};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Keeper, STOP_AGAIN};
use crate::launcher::{self, LaunchError, Launched};
use crate::session::{Event, State};

impl Keeper {
    pub(super) fn start(&mut self) {
        let (core, record, view) = (self.core.clone(), self.record.clone(), self.view.clone());
        let (unwanted, turn) = (self.unwanted.clone(), self.turn.take());
        self.begin(async move { launcher::launch(&core, &record, turn, &view, &unwanted).await });
    }

    /// Looks for the task of a session that should have one and names none.
    pub(super) fn find_task(&mut self) {
        let (core, record) = (self.core.clone(), self.record.clone());
        self.begin(async move { launcher::find(&core, &record).await });
    }

    /// As a task of its own: it must get on, and let go of the store, while the keeper itself waits
    /// for the store.
    fn begin(
        &mut self,
        launch: impl Future<Output = Result<Launched, LaunchError>> + Send + 'static,
    ) {
        self.launch = Some(AbortOnDropHandle::new(self.core.tracker.spawn(launch)));
    }

    pub(super) async fn launched(&mut self, launched: Result<Launched, LaunchError>) {
        match launched {
            Ok(Launched { task, turned }) => {
                self.record_mut().detail.task = Some(task.clone());
                self.watch_task(task);
                self.dialling_since = Instant::now();
                match self.record.life.state {
                    State::Starting => {
                        let deadline = self.core.config.limits.start_deadline.get();
                        self.set_deadline(deadline.saturating_sub(turned.elapsed()));
                        self.show_waiting(Phase::Dialling);
                    }
                    // Its bridge was quicker than the news of its start, or has been found again.
                    State::Live | State::Severed => {}
                    // It has been asked to end; where that is not enough, its deadline comes.
                    State::Stopping | State::Ended if self.relay.is_some() => {}
                    State::Stopping | State::Ended => {
                        let reason = self.record.life.reason.unwrap_or(EndReason::Stopped);
                        self.stop_task(reason);
                    }
                }
                self.save().await;
            }
            Err(LaunchError::NoTask) => {
                self.record_mut().detail.evidence.get_or_insert("there is no such task".into());
                self.step(Event::TaskGone).await;
            }
            Err(LaunchError::Compute(error))
                if self.record.life.state == State::Starting && self.may_do_better(&error) =>
            {
                let capacity = match error {
                    ComputeError::NoCapacity(_) => Some(Capacity::OnDemand),
                    _ => self.record.detail.capacity,
                };
                self.relaunch(&error.to_string(), capacity).await;
            }
            Err(error) => {
                tracing::warn!(session = %self.record.id, %error, "a start failed");
                self.record_mut().detail.told = error.told().map(str::to_owned);
                self.record_mut().detail.evidence.get_or_insert(error.to_string());
                if !error.may_have_started() && !self.was_begun {
                    self.step(Event::StartFailed).await;
                } else if self.record.life.state == State::Starting {
                    // Its place is given back when what was started is gone, and not before.
                    self.step(Event::Deadline).await;
                } else {
                    self.find_task();
                }
            }
        }
    }

    /// Whether another launch of this session may have a task where this one has none.
    fn may_do_better(&self, error: &ComputeError) -> bool {
        match error {
            ComputeError::Changed(_) => true,
            ComputeError::NoCapacity(_) => self.is_on_spot(),
            ComputeError::Unavailable(_)
            | ComputeError::Failed(_)
            | ComputeError::BadSpec(_)
            | ComputeError::NotEmptied(_)
            | ComputeError::Aws(_)
            | ComputeError::Io { .. } => false,
        }
    }

    fn is_on_spot(&self) -> bool {
        let template = self.core.config.templates.get(&self.record.detail.template);
        template.is_some_and(|of| launcher::capacity(&self.record, of) == Capacity::Spot)
    }

    /// Goes on to the next launch, on this capacity: what Spot has not now it may not have for hours.
    async fn relaunch(&mut self, why: &str, capacity: Option<Capacity>) {
        self.note(None, "session.relaunch", why.to_owned()).await;
        self.gone = None;
        self.was_begun = false;
        let is_last = self.record.life.step(Event::Relaunch).0.state == State::Ended;
        let record = self.record_mut();
        record.pinned_key = None;
        record.detail.task = None;
        record.detail.capacity = capacity;
        if is_last {
            record.detail.evidence.get_or_insert_with(|| why.to_owned());
        }
        self.step(Event::Relaunch).await;
    }

    pub(super) fn watch_task(&mut self, task: TaskRef) {
        let core = self.core.clone();
        self.gone = Some(Box::pin(async move {
            loop {
                match core.compute.wait(&task).await {
                    Ok(end) => return end,
                    // It is no task of where this gateway's tasks run: nobody here can watch or stop it.
                    Err(ComputeError::BadSpec(evidence)) => {
                        return TaskEnd { evidence, ..TaskEnd::default() };
                    }
                    Err(error) => {
                        tracing::warn!(%error, task = %task.name(), "a task can't be watched");
                        tokio::time::sleep(STOP_AGAIN).await;
                    }
                }
            }
        }));
    }

    pub(super) async fn task_gone(&mut self, end: TaskEnd) {
        if end.no_capacity && self.record.life.state == State::Starting && self.is_on_spot() {
            return self.relaunch(&end.evidence, Some(Capacity::OnDemand)).await;
        }
        // Where the program's own end is known, it says all that there is to say.
        if self.record.detail.exit.is_none() {
            let log = end.log_tail.trim();
            let evidence = if log.is_empty() {
                format!("the task is gone: {}", end.evidence)
            } else {
                format!("the task is gone: {}; it said: {log}", end.evidence)
            };
            self.record_mut().detail.evidence.get_or_insert(evidence);
            // Who stopped it knows why.
            if self.record.life.reason.is_none() {
                self.record_mut().detail.told = end.told;
            }
        }
        self.step(Event::TaskGone).await;
    }

    /// Stops the task beside the keeper: its end comes as news of its own.
    pub(super) fn stop_task(&mut self, reason: EndReason) {
        let grace = self.core.config.limits.stop_grace.get();
        self.set_deadline(grace + STOP_AGAIN);
        let Some(task) = self.record.detail.task.clone() else {
            // A start that is under way hears that it is not wanted, and says what came of it.
            if self.launch.is_none() {
                self.find_task();
            }
            return;
        };
        tracing::info!(session = %self.record.id, ?reason, "stopping the task");
        let core = self.core.clone();
        self.core.tracker.spawn(async move {
            if let Err(error) = core.compute.stop(&task, grace).await {
                tracing::warn!(%error, task = %task.name(), "a task was not stopped");
            }
        });
    }
}
