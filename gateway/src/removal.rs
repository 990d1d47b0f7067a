//! The removal of a user: their sessions are ended, their files are deleted, and what is stored of them
//! is forgotten, but for the audit and their uid. Knows no request.
//!
//! Each step is stored before the next begins, and each may be repeated: a gateway that starts takes
//! up what an earlier one left. Until the last step is done the user gets no session: the row is
//! written before the sessions are looked for, and every start looks for the row.
//!
//! A uid is never given to somebody else. A file that was missed, on a backup or by hand, would be
//! theirs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shellgate_infra::compute::{Compute, ComputeError, Emptying, TaskName};
use shellgate_infra::volumes::{VolumeError, VolumeKey, VolumeRef, Volumes};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::auth::UserId;
use crate::config::VolumeKind;
use crate::core::Core;
use crate::store::StoreError;
use crate::{audit, clock, stopping};

/// Users who are removed at one time; the others wait.
const AT_ONCE: usize = 4;

/// How long a user's sessions may take to end. A task of ECS takes up to two minutes.
const SESSIONS_END: Duration = Duration::from_secs(600);

/// Between two looks whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often a removal is tried before it waits for somebody to ask for it again, and the pause before
/// the second try; it doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);

/// A removal, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Who is removed.
    pub user: UserId,
    /// Who asked for it.
    pub asked_by: UserId,
    /// When, in milliseconds since the Unix epoch.
    pub asked_ms: i64,
    /// What is done now, or to be done next.
    pub step: Step,
    /// Which task is to empty their volume, where that takes one: a repeat of the same is the same.
    pub attempt: u32,
    /// Why the last try failed.
    pub failure: Option<String>,
    /// Whether it waits for somebody to ask for it again.
    pub given_up: bool,
    /// When it was done.
    pub ended_ms: Option<i64>,
}

/// A removal's steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Their sessions are ended.
    Sessions,
    /// What is in their volume is deleted, where only a task can do that.
    Files,
    /// Their volume is removed.
    Volume,
    /// What is stored of them is forgotten.
    Records,
    /// There is nothing left to do.
    Done,
}

impl Step {
    fn next(self) -> Self {
        match self {
            Self::Sessions => Self::Files,
            Self::Files => Self::Volume,
            Self::Volume => Self::Records,
            Self::Records | Self::Done => Self::Done,
        }
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error("{0} sessions of theirs have not ended after {SESSIONS_END:?}")]
    Sessions(usize),
    #[error("{0:?} is not a key of volumes")]
    Key(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("their files: {0}")]
    Volume(#[from] VolumeError),
    #[error("their files: {0}")]
    Compute(#[from] ComputeError),
}

impl RemovalError {
    /// Whether the same step may succeed later.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Sessions(_) => true,
            Self::Key(_) => false,
            Self::Store(error) => error.is_retryable(),
            Self::Volume(error) => error.is_retryable(),
            // The next try has a task of another name.
            Self::Compute(ComputeError::Changed(_)) => true,
            Self::Compute(error) => error.is_retryable(),
        }
    }
}

/// The removals that this gateway works at.
#[derive(Debug)]
pub struct Removals {
    /// By the user's key.
    at_work: Arc<Mutex<HashSet<String>>>,
    places: Semaphore,
}

impl Default for Removals {
    fn default() -> Self {
        Self { at_work: Arc::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Removals {
    /// The right to work at a user's removal, until it is dropped; `None` where somebody has it.
    fn claim(&self, key: String) -> Option<Claim> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.insert(key.clone()).then(|| Claim { key, at_work: self.at_work.clone() })
    }
}

struct Claim {
    key: String,
    at_work: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Removal {
    fn new(user: UserId, asked_by: UserId) -> Self {
        Self {
            user,
            asked_by,
            asked_ms: clock::unix_millis(),
            step: Step::Sessions,
            attempt: 1,
            failure: None,
            given_up: false,
            ended_ms: None,
        }
    }

    /// Whether its user gets no session yet.
    #[must_use]
    pub fn hinders(&self) -> bool {
        self.ended_ms.is_none()
    }

    /// The name of the task that empties its user's volume.
    #[must_use]
    pub fn task_name(&self) -> Option<TaskName> {
        // So much of a key is no other user's either, and a task's name has 64 characters. A user who
        // came back is removed by other tasks than the first time.
        let user = &self.user.key()[..32];
        TaskName::new(format!("removal-{user}-{:x}-{}", self.asked_ms, self.attempt))
    }
}

/// Begins the removal of a user, or goes on with it; `None` where there is nothing of them here. Does
/// not wait for it.
///
/// # Errors
/// Where the store fails: then nothing was begun.
pub async fn begin(
    core: &Arc<Core>,
    user: &UserId,
    asked_by: &UserId,
) -> Result<Option<Removal>, StoreError> {
    let kept = core.store.removal(&user.key()).await?;
    if kept.as_ref().is_none_or(|kept| !kept.hinders()) {
        if !is_known(core, user).await? {
            return Ok(kept);
        }
        let removal = Removal::new(user.clone(), asked_by.clone());
        if core.store.begin_removal(&removal).await? {
            note(core, &removal, asked_by, "user.removal.asked", "").await;
        }
    }
    let mut kept = core.store.removal(&user.key()).await?;
    if let Some(removal) = kept.as_mut().filter(|removal| removal.hinders()) {
        // Whoever has given it up works at it no more.
        let is_ours = core.store.take_removal(&user.key(), removal.given_up).await?;
        if is_ours && take_up(core, removal.clone()) && removal.given_up {
            note(core, removal, asked_by, "user.removal.asked", "again").await;
        }
        removal.given_up = false;
    }
    Ok(kept)
}

/// Goes on with every removal that no other gateway works at, but for those that wait to be asked for
/// again.
///
/// # Errors
/// Where the store can't be read.
pub async fn take_up_all(core: &Arc<Core>) -> Result<(), StoreError> {
    let left = core.store.unended_removals().await?;
    for removal in left.into_iter().filter(|removal| !removal.given_up) {
        if core.store.take_removal(&removal.user.key(), false).await? {
            take_up(core, removal);
        }
    }
    Ok(())
}

/// Works at a removal beside its caller; `false` where somebody does already.
fn take_up(core: &Arc<Core>, removal: Removal) -> bool {
    let Some(claim) = core.removals.claim(removal.user.key()) else { return false };
    let working = core.clone();
    core.tracker.spawn(async move {
        let stopping = working.stopping.clone();
        tokio::select! {
            // What is left of it is taken up by the next gateway.
            () = stopping.cancelled() => {}
            () = work(&working, removal) => {}
        }
        drop(claim);
    });
    true
}

async fn work(core: &Arc<Core>, mut removal: Removal) {
    if std::mem::take(&mut removal.given_up) {
        removal.failure = None;
        if save(core, &removal).await == Some(false) {
            return;
        }
    }
    let mut pause = PAUSE;
    for tries in 1..=TRIES {
        let stored_attempt = removal.attempt;
        let error = match steps(core, &mut removal).await {
            Ok(()) => {
                tracing::info!(user = %removal.user, "a user was removed");
                return;
            }
            Err(error) => error,
        };
        removal.failure = Some(error.to_string());
        removal.given_up = tries == TRIES || !error.is_retryable();
        let (user, step) = (&removal.user, removal.step);
        if removal.given_up {
            tracing::error!(%user, ?step, %error, "a removal waits to be asked for again");
            let by = removal.asked_by.clone();
            note(core, &removal, &by, "user.removal.failed", &error.to_string()).await;
        } else {
            tracing::warn!(%user, ?step, tries, %error, "a removal is tried again");
        }
        match save(core, &removal).await {
            Some(true) => {}
            Some(false) => return,
            // A task of which no row knows would be stopped as nobody's.
            None => removal.attempt = stored_attempt,
        }
        if removal.given_up {
            return;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Stores how far it is; `None` where that failed, and `false` where another gateway works at it.
async fn save(core: &Core, removal: &Removal) -> Option<bool> {
    let saved = core.store.save_removal(removal).await;
    if let Err(error) = &saved {
        tracing::error!(user = %removal.user, %error, "a removal was not stored");
    }
    saved.ok()
}

/// Takes every step that is left.
async fn steps(core: &Arc<Core>, removal: &mut Removal) -> Result<(), RemovalError> {
    let user = removal.user.key();
    let key = VolumeKey::new(&user).ok_or_else(|| RemovalError::Key(user.clone()))?;
    loop {
        match removal.step {
            Step::Sessions => end_sessions(core, removal).await?,
            Step::Files => {
                let _place = core.removals.places.acquire().await;
                empty(core, removal, &key).await?;
            }
            Step::Volume => {
                let _place = core.removals.places.acquire().await;
                if let Some(volume) = volume_of(core, &key).await? {
                    core.volumes.remove(&key, &volume).await?;
                }
            }
            Step::Records => core.store.forget(&removal.user).await?,
            Step::Done => return Ok(()),
        }
        // A step that could not be stored is taken again.
        let next = Removal { step: removal.step.next(), failure: None, ..removal.clone() };
        let next = match next.step {
            Step::Done => {
                // Before the row that ends it: who is told that it is done finds that in the audit.
                note(core, &next, &next.asked_by, "user.removed", "").await;
                Removal { ended_ms: Some(clock::unix_millis()), ..next }
            }
            Step::Sessions | Step::Files | Step::Volume | Step::Records => next,
        };
        if !core.store.save_removal(&next).await? {
            return Ok(());
        }
        *removal = next;
    }
}

async fn end_sessions(core: &Core, removal: &Removal) -> Result<(), RemovalError> {
    let until = Instant::now() + SESSIONS_END;
    let mut told = HashSet::new();
    loop {
        let left = core.store.unended_of(&removal.user).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(RemovalError::Sessions(left.len()));
        }
        for id in left.into_iter().map(|kept| kept.record.id) {
            if !told.contains(&id) && stopping::stop(core, id, &removal.asked_by).await {
                told.insert(id);
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Has a task delete what is in the user's volume, where nothing else can.
async fn empty(core: &Core, removal: &mut Removal, key: &VolumeKey) -> Result<(), RemovalError> {
    let user = key.as_str();
    let Some(volume) = core.store.volume(user).await? else { return Ok(()) };
    if !volume.needs_emptying() {
        return Ok(());
    }
    // A task could not mount what is not there any more, and would say so less well.
    let uid = core.uid_of(user).await?;
    let volume = core.volumes.ensure(key, uid, Some(&volume)).await?;
    let name = removal.task_name().ok_or_else(|| RemovalError::Key(user.to_owned()))?;
    let emptying = Emptying { name, user: user.to_owned(), volume };
    match core.compute.empty(&emptying).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // The task of that name is over: another try has another one.
            if matches!(error, ComputeError::NotEmptied(_) | ComputeError::Changed(_)) {
                removal.attempt = removal.attempt.saturating_add(1);
            }
            Err(error.into())
        }
    }
}

/// The user's volume, as it is removed: what is stored, or what their directory must be.
async fn volume_of(core: &Core, key: &VolumeKey) -> Result<Option<VolumeRef>, RemovalError> {
    let user = key.as_str();
    match core.store.volume(user).await? {
        Some(volume) => Ok(Some(volume)),
        // Also where it is gone: what an earlier removal left of it goes with this one.
        None if core.config.volumes.kind == VolumeKind::Directory => {
            let (root, uid) = (nix::unistd::geteuid().is_root(), core.uid_of(user).await?);
            let gid = if root { uid } else { nix::unistd::getegid().as_raw() };
            let path = core.config.volumes.root.join(user);
            Ok(Some(VolumeRef::Directory { path, uid, gid }))
        }
        // No task ever used one: that is stored before.
        None => Ok(None),
    }
}

async fn has_directory(core: &Core, user: &str) -> bool {
    let of = &core.config.volumes;
    // What can't be looked at is there: the removal says why not.
    of.kind == VolumeKind::Directory
        && tokio::fs::try_exists(of.root.join(user)).await.unwrap_or(true)
}

async fn is_known(core: &Core, user: &UserId) -> Result<bool, StoreError> {
    Ok(core.store.knows(user).await? || has_directory(core, &user.key()).await)
}

async fn note(core: &Core, removal: &Removal, by: &UserId, action: &'static str, more: &str) {
    let user = &removal.user;
    let detail = if more.is_empty() { user.to_string() } else { format!("{user}: {more}") };
    audit::record(&core.store, None, Some(by), action, detail).await;
}
