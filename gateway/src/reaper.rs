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
use crate::session::keeper::{Keeper, Places};
use crate::store::StoreError;

/// How often tasks and sessions are compared, and the store is swept.
const ROUND: Duration = Duration::from_secs(60);

/// Tasks that are stopped at the same time: each may take minutes to be gone.
const STOPS_AT_ONCE: usize = 50;

/// How long an ended session, and the audit trail, are kept.
const KEPT_MS: i64 = 30 * 86_400_000;

/// Adopts every session that has not ended.
///
/// # Errors
/// Where the store can't be read.
pub async fn adopt(core: &Arc<Core>) -> Result<usize, StoreError> {
    let records = core.store.unended().await?;
    let adopted = records.len();
    for record in records {
        let permit = core.admission.adopt_session(&record.owner.key());
        Keeper::take_charge(core, record, Places { session: permit, start: None });
    }
    Ok(adopted)
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

/// Stops tasks that no session of this gateway owns, and removes the directories in which their
/// bridges dialled.
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
    // Asked after they were listed: whoever has taken the store from this gateway meanwhile has started
    // none of them yet.
    if let Err(error) = core.store.check().await {
        tracing::warn!(%error, "tasks are not compared: the store may be another's");
        return;
    }
    let removals = match core.store.unended_removals().await {
        Ok(removals) => removals,
        Err(error) => {
            tracing::warn!(%error, "removals could not be read, so no task is stopped");
            return;
        }
    };
    let mut owned: HashSet<_> = core
        .registry
        .all()
        .iter()
        .filter_map(|(_, handle)| task_name(&handle.view.borrow().record))
        .collect();
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
