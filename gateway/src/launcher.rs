//! Starts a session's task, phase by phase. Every step may be repeated: a start that was cut off
//! by a crash is started again and comes to the same task. Knows no links and no clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shellgate_infra::compute::{Capacity, Compute, TaskName, TaskRef, TaskSpec};
use shellgate_infra::volumes::{VolumeKey, Volumes};
use shellgate_protocol::client_leg::Phase;
use shellgate_protocol::{Launch, SessionId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::admission::{Place, Ticket};
use crate::config::Template;
use crate::core::Core;
use crate::registry::{View, Waiting};
use crate::session::Record;

/// How long a provider that can't list its tasks is given before it is asked again.
const LIST_AGAIN: Duration = Duration::from_secs(10);

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The template is gone from the configuration.
    #[error("there is no template {0:?} any more")]
    NoTemplate(String),
    /// A key or name that the providers do not take.
    #[error("a name is not legal: {0}")]
    BadName(String),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The user's files could not be had.
    #[error("the user's files: {0}")]
    Volume(#[from] shellgate_infra::volumes::VolumeError),
    /// The user is being removed.
    #[error("its user is being removed")]
    UserLeaves,
    /// It was stopped before it was started.
    #[error("it was stopped before it was started")]
    Unwanted,
    /// It took longer than a start may.
    #[error("the start took longer than {0:?}")]
    TooSlow(Duration),
    /// No task of that name runs.
    #[error("no such task runs")]
    NoTask,
    /// The task could not be started.
    #[error(transparent)]
    Compute(#[from] shellgate_infra::compute::ComputeError),
}

impl LaunchError {
    /// What the user whose session it is should know, in words that name nothing of a provider's.
    #[must_use]
    pub fn told(&self) -> Option<&'static str> {
        match self {
            Self::Volume(error) => error.told(),
            Self::Compute(error) => error.told(),
            Self::UserLeaves => Some("its user is being removed"),
            Self::NoTemplate(_)
            | Self::BadName(_)
            | Self::Store(_)
            | Self::Unwanted
            | Self::TooSlow(_)
            | Self::NoTask => None,
        }
    }

    /// Whether a task may run all the same.
    #[must_use]
    pub fn may_have_started(&self) -> bool {
        match self {
            Self::TooSlow(_) => true,
            Self::Compute(error) => !error.takes_another_launch(),
            Self::NoTemplate(_)
            | Self::BadName(_)
            | Self::Store(_)
            | Self::Volume(_)
            | Self::UserLeaves
            | Self::Unwanted
            | Self::NoTask => false,
        }
    }
}

/// What the phases of a start usually take, learnt from those that succeeded.
#[derive(Debug, Default)]
pub struct Timings {
    volume: AtomicU64,
    task: AtomicU64,
    dialling: AtomicU64,
}

impl Timings {
    fn of(&self, phase: Phase) -> Option<&AtomicU64> {
        match phase {
            Phase::Volume => Some(&self.volume),
            Phase::Task => Some(&self.task),
            Phase::Dialling => Some(&self.dialling),
            Phase::Queued | Phase::Secrets | Phase::Reconnecting => None,
        }
    }

    /// What a phase usually takes, in milliseconds; 0 where nobody knows yet.
    #[must_use]
    pub fn expected_ms(&self, phase: Phase) -> u64 {
        self.of(phase).map_or(0, |ms| ms.load(Ordering::Relaxed))
    }

    /// A phase took so long: a moving average over about eight of them.
    pub fn learn(&self, phase: Phase, took: Duration) {
        let Some(average) = self.of(phase) else { return };
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let old = average.load(Ordering::Relaxed);
        let new = if old == 0 { took } else { (old * 7 + took) / 8 };
        average.store(new.max(1), Ordering::Relaxed);
    }
}

/// Shows everybody which phase a session is in.
pub fn enter(core: &Core, view: &watch::Sender<View>, phase: Phase) {
    let expected_ms = core.timings.expected_ms(phase);
    let waiting = Waiting { phase, position: None, since: Instant::now(), expected_ms };
    view.send_modify(|view| view.waiting = Some(waiting));
}

/// The name of the task of a session's launch.
#[must_use]
pub fn task_name(id: SessionId, launch: Launch) -> Option<TaskName> {
    TaskName::new(format!("{id}-{launch}"))
}

fn name_of(record: &Record) -> Result<TaskName, LaunchError> {
    let name = task_name(record.id, record.life.link.launch);
    name.ok_or_else(|| LaunchError::BadName(record.id.to_string()))
}

/// A task that runs.
#[derive(Debug)]
pub struct Launched {
    /// The task.
    pub task: TaskRef,
    /// When its turn to be started came.
    pub turned: Instant,
}

/// Starts a session's task, or finds the one that an earlier, cut-off start has made. Gives up
/// when the task becomes `unwanted` before there is one.
///
/// # Errors
/// [`LaunchError`]: whatever was made before is left for the next start, or for the reaper.
pub async fn launch(
    core: &Core,
    record: &Record,
    turn: Option<Ticket>,
    view: &watch::Sender<View>,
    unwanted: &CancellationToken,
) -> Result<Launched, LaunchError> {
    enter(core, view, Phase::Queued);
    // One without a turn was let in before: by an earlier gateway, or for an earlier launch.
    let mut turn = turn.unwrap_or_else(|| core.starts.enter_again(&record.owner.key()));
    tokio::select! {
        biased;
        () = unwanted.cancelled() => return Err(LaunchError::Unwanted),
        () = await_turn(&mut turn, view) => {}
    }
    let turned = Instant::now();
    let deadline = core.config.limits.start_deadline.get();
    let task = timeout(deadline, start(core, record, view, unwanted))
        .await
        .map_err(|_| LaunchError::TooSlow(deadline))??;
    turn.finish(turned.elapsed());
    Ok(Launched { task, turned })
}

/// Waits for a session's turn to be started, and shows its place meanwhile.
async fn await_turn(turn: &mut Ticket, view: &watch::Sender<View>) {
    loop {
        let (position, expected) = match turn.moved().await {
            Place::Turn => return,
            Place::Waiting { position, expected } => (position, expected),
        };
        view.send_modify(|view| {
            if let Some(waiting) = &mut view.waiting {
                waiting.position = Some(position);
                waiting.expected_ms = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
            }
        });
    }
}

async fn start(
    core: &Core,
    record: &Record,
    view: &watch::Sender<View>,
    unwanted: &CancellationToken,
) -> Result<TaskRef, LaunchError> {
    let template_name = &record.detail.template;
    let template = core
        .config
        .templates
        .get(template_name)
        .ok_or_else(|| LaunchError::NoTemplate(template_name.clone()))?;
    let name = name_of(record)?;
    let user = record.owner.key();
    let key = VolumeKey::new(&user).ok_or_else(|| LaunchError::BadName(user.clone()))?;

    // A session that the removal did not find, because it was made at the same moment, finds it.
    if core.store.removal(&user).await?.is_some_and(|removal| removal.hinders()) {
        return Err(LaunchError::UserLeaves);
    }
    enter(core, view, Phase::Volume);
    let began = Instant::now();
    let uid = core.uid_of(&user).await?;
    let known = core.store.volume(&user).await?;
    let mut volume = core.volumes.ensure(&key, uid, known.as_ref()).await?;
    if known.is_none() && volume.was_chosen() {
        // Before a task uses it: of two gateways that chose, one was first.
        volume = core.store.keep_volume(&user, &volume).await?;
    }
    core.timings.learn(Phase::Volume, began.elapsed());

    if unwanted.is_cancelled() {
        return Err(LaunchError::Unwanted);
    }
    enter(core, view, Phase::Task);
    let began = Instant::now();
    let spec = TaskSpec {
        name,
        session: record.id.to_string(),
        launch: record.life.link.launch.0,
        token: core.enrolment.token(record.id, record.life.link.launch),
        volume,
        user,
        template: template_name.clone(),
        dial: core.dial_route(record.id),
        capacity: capacity(record, template),
        limits: (&template.limits).into(),
    };
    let task = core.compute.start(&spec).await?;
    core.timings.learn(Phase::Task, began.elapsed());
    Ok(task)
}

/// What a session's task is to run on.
#[must_use]
pub fn capacity(record: &Record, template: &Template) -> Capacity {
    let of_template = if template.spot { Capacity::Spot } else { Capacity::OnDemand };
    record.detail.capacity.unwrap_or(of_template)
}

/// Finds a session's task without starting one, however long its provider takes to say.
///
/// # Errors
/// [`LaunchError::NoTask`] where none runs.
pub async fn find(core: &Core, record: &Record) -> Result<Launched, LaunchError> {
    let name = name_of(record)?;
    loop {
        match core.compute.list().await {
            Ok(tasks) => {
                let task = tasks.into_iter().find(|task| *task.name() == name);
                let task = task.ok_or(LaunchError::NoTask)?;
                return Ok(Launched { task, turned: Instant::now() });
            }
            Err(error) => {
                tracing::warn!(session = %record.id, %error, "tasks could not be listed");
                tokio::time::sleep(LIST_AGAIN).await;
            }
        }
    }
}
