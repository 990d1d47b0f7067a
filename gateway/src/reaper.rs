//! Reconciliation, both ways: sessions that an earlier gateway left get a keeper again; tasks and
//! dial directories that belong to no session are removed; what is old is forgotten.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use shellgate_infra::compute::{Compute, TaskRef};
use shellgate_protocol::SessionId;

use crate::clock;
use crate::core::{Core, dial_root};
use crate::launcher::task_name;
use crate::removal::Removal;
use crate::session::State;
use crate::session::keeper::{Keeper, Message};
use crate::store::StoreError;

/// How often tasks and sessions are compared, and the store is swept.
const ROUND: Duration = Duration::from_secs(60);

/// Sessions that are taken over at the same time. Whatever is left, others may take as well.
const TAKEN_AT_ONCE: u32 = 64;

/// Tasks that are stopped at the same time: each may take minutes to be gone.
const STOPS_AT_ONCE: usize = 50;

/// How long an ended session, and the audit trail, are kept.
const KEPT_MS: i64 = 30 * 86_400_000;

/// Takes every session that has not ended and is nobody's: what earlier gateways have left.
///
/// # Errors
/// Where the store can't be read.
pub async fn adopt(core: &Arc<Core>) -> Result<usize, StoreError> {
    let mut adopted = 0;
    loop {
        match take_unkept(core).await? {
            0 => return Ok(adopted),
            some => adopted += some,
        }
        // All of them, where nothing is somebody else's; and whoever was taken for dead takes nothing.
        if !core.store.is_shared() || core.peers.is_lost() {
            return Ok(adopted);
        }
    }
}

/// Takes some of the sessions that are nobody's: how many. The others leave some, too.
///
/// # Errors
/// Where the store can't be read.
pub async fn take_unkept(core: &Arc<Core>) -> Result<usize, StoreError> {
    let most = if core.store.is_shared() { TAKEN_AT_ONCE } else { u32::MAX };
    let records = core.store.take_unkept(most).await?;
    let taken = records.len();
    for record in records {
        tracing::info!(session = %record.id, "taken over: nobody kept it");
        Keeper::adopt(core, record);
    }
    Ok(taken)
}

/// Compares the keepers here with the rows that say which sessions this gateway keeps. A keeper whose
/// session is another's finds out. One that has none gets one, where it had none the last time either,
/// which is what `unkept` is for: one that is being made has its own in a moment.
///
/// # Errors
/// Where the store can't be read.
pub async fn compare_keepers(
    core: &Arc<Core>,
    unkept: &mut HashSet<SessionId>,
) -> Result<(), StoreError> {
    let keepers = core.registry.all();
    let ours: HashSet<_> = core.store.ours().await?.into_iter().collect();
    for (id, handle) in keepers.into_iter().filter(|(id, _)| !ours.contains(id)) {
        tracing::debug!(session = %id, "it may be another gateway's");
        // One that is too busy is told with the next round.
        let _ = handle.keeper.clone().try_send(Message::Taken);
    }
    let without = ours.into_iter().filter(|id| core.registry.get(*id).is_none());
    let before = std::mem::replace(unkept, without.collect());
    for id in unkept.intersection(&before) {
        if core.stopping.is_cancelled() {
            return Ok(());
        }
        // This gateway was not told that it got it.
        match core.store.kept(*id).await {
            Ok(Some(kept))
                if kept.gateway.as_deref() == Some(core.store.gateway())
                    && kept.record.life.state != State::Ended =>
            {
                tracing::warn!(session = %id, "it had no keeper");
                Keeper::adopt(core, kept.record);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(session = %id, %error, "it has no keeper"),
        }
    }
    Ok(())
}

/// Compares and sweeps until the gateway stops.
pub async fn run(core: Arc<Core>) {
    loop {
        reconcile(&core).await;
        let now = clock::unix_millis();
        if let Err(error) = core.store.sweep(now, now - KEPT_MS).await {
            tracing::warn!(%error, "the store was not swept");
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = core.stopping.cancelled() => return,
        }
    }
}

/// Stops tasks that no session owns, whichever gateway keeps it, and removes the directories in which
/// their bridges dialled.
async fn reconcile(core: &Arc<Core>) {
    // Listed before the sessions: what is started meanwhile is not in the lists.
    let directories = dial_directories(core).await;
    let tasks = match core.compute.list().await {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::warn!(%error, "tasks could not be listed");
            return;
        }
    };
    let read = async { Ok((core.store.running().await?, core.store.unended_removals().await?)) };
    let (running, removals) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let error: StoreError = error;
            tracing::warn!(%error, "sessions could not be read, so no task is stopped");
            return;
        }
    };
    let mut owned: HashSet<_> =
        running.into_iter().filter_map(|(id, launch)| task_name(id, launch)).collect();
    owned.extend(removals.iter().filter_map(Removal::task_name));
    let orphans = tasks.into_iter().filter(|task| !owned.contains(task.name()));
    futures_util::stream::iter(orphans)
        .for_each_concurrent(STOPS_AT_ONCE, |task| stop_orphan(core, task))
        .await;
    for id in directories.into_iter().filter(|id| core.registry.get(*id).is_none()) {
        if core.stopping.is_cancelled() {
            return;
        }
        match tokio::fs::remove_dir_all(core.dial_directory(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, session = %id, "a dial directory was not removed");
            }
            // Its keeper may have been quicker.
            Ok(()) | Err(_) => {}
        }
    }
}

async fn stop_orphan(core: &Core, task: TaskRef) {
    // A gateway that leaves takes its sessions from the registry, and leaves their tasks.
    if core.stopping.is_cancelled() {
        return;
    }
    tracing::warn!(task = %task.name(), "a task without a session is stopped");
    let grace = core.config.limits.stop_grace.get();
    if let Err(error) = core.compute.stop(&task, grace).await {
        tracing::warn!(%error, task = %task.name(), "it was not stopped");
    } else if let Err(error) = core.compute.forget(task.name()).await {
        tracing::warn!(%error, task = %task.name(), "it was not forgotten");
    }
}

/// The sessions that have a dial directory. Whatever else lies there is nobody's business.
async fn dial_directories(core: &Core) -> Vec<SessionId> {
    let root = dial_root(&core.config.server.state_dir);
    let mut ids = Vec::new();
    // Made with the first session.
    let Ok(mut entries) = tokio::fs::read_dir(root).await else { return ids };
    while let Ok(Some(entry)) = entries.next_entry().await {
        ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<SessionId>().ok()));
    }
    ids
}
