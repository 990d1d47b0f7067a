//! The contracts of compute, volumes and secrets, as assertions that every implementation passes.
//! Knows no implementation.
//!
//! Each function is a sentence that holds. It panics where it does not, and leaves nothing behind
//! where it does. Tasks are to stay until they are told to end.

use std::time::Duration;

use shellgate_infra::compute::{Compute, TaskRef, TaskSpec};
use shellgate_infra::secrets::{SecretError, Secrets};
use shellgate_infra::volumes::{VolumeKey, VolumeRef, Volumes};

/// What a task is given to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// No step of a contract takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}

async fn started(compute: &impl Compute, spec: &TaskSpec) -> TaskRef {
    let task = soon("a start", compute.start(spec)).await;
    task.unwrap_or_else(|error| panic!("{} was not started: {error}", spec.name))
}

async fn listed(compute: &impl Compute) -> Vec<TaskRef> {
    let tasks = soon("a list", compute.list()).await;
    tasks.unwrap_or_else(|error| panic!("no list of tasks: {error}"))
}

async fn ended(compute: &impl Compute, task: &TaskRef) {
    let stopped = soon("a stop", compute.stop(task, GRACE)).await;
    stopped.unwrap_or_else(|error| panic!("{} was not stopped: {error}", task.name()));
    assert!(!listed(compute).await.contains(task), "{} is listed after its stop", task.name());
    let forgotten = soon("a forget", compute.forget(task.name())).await;
    forgotten.unwrap_or_else(|error| panic!("{} was not forgotten: {error}", task.name()));
}

/// A second start of a name is the first task.
pub async fn starting_twice_is_starting_once(compute: &impl Compute, spec: &TaskSpec) {
    let first = started(compute, spec).await;
    assert_eq!(started(compute, spec).await, first);
    assert_eq!(listed(compute).await.iter().filter(|task| **task == first).count(), 1);
    ended(compute, &first).await;
}

/// Starts at the same moment, by two who know nothing of each other, are one task.
pub async fn starting_at_once_from_two_sides_is_starting_once(
    one: &impl Compute,
    other: &impl Compute,
    spec: &TaskSpec,
) {
    let (a, b, c, d) =
        tokio::join!(started(one, spec), started(other, spec), started(one, spec), async {
            started(other, spec).await
        });
    assert!(a == b && b == c && c == d, "{a:?}, {b:?}, {c:?} and {d:?} are different tasks");
    assert_eq!(listed(other).await, std::slice::from_ref(&a));
    ended(other, &a).await;
    assert_eq!(listed(one).await, []);
}

/// A task is there for whoever comes after the one that started it.
pub async fn a_task_outlives_who_started_it<C: Compute>(
    starter: C,
    successor: &impl Compute,
    spec: &TaskSpec,
) {
    let task = started(&starter, spec).await;
    drop(starter);
    assert!(listed(successor).await.contains(&task));
    assert_eq!(started(successor, spec).await, task);
    ended(successor, &task).await;
}

/// A list names every task that runs, and no other.
pub async fn a_list_names_every_task(compute: &impl Compute, specs: &[TaskSpec]) {
    let mut tasks = Vec::new();
    for spec in specs {
        tasks.push(started(compute, spec).await);
    }
    let found = listed(compute).await;
    assert!(tasks.iter().all(|task| found.contains(task)), "{found:?} lacks some of {tasks:?}");
    while let Some(task) = tasks.pop() {
        ended(compute, &task).await;
        let found = listed(compute).await;
        assert!(!found.contains(&task) && tasks.iter().all(|task| found.contains(task)));
    }
}

/// Stopping, waiting for and forgetting what is gone succeeds at once.
pub async fn what_is_gone_can_be_stopped_awaited_and_forgotten(
    compute: &impl Compute,
    spec: &TaskSpec,
) {
    let task = started(compute, spec).await;
    for _ in 0..2 {
        soon("a stop", compute.stop(&task, GRACE)).await.expect("stops");
    }
    let end = soon("a wait", compute.wait(&task)).await.expect("is waited for");
    assert!(!end.evidence.is_empty());
    for _ in 0..2 {
        soon("a forget", compute.forget(&spec.name)).await.expect("is forgotten");
    }
    soon("a stop", compute.stop(&task, GRACE)).await.expect("stops, though forgotten");
    soon("a wait", compute.wait(&task)).await.expect("is waited for, though forgotten");
}

/// A wait that began while the task ran returns when it ends.
pub async fn a_wait_ends_with_its_task(compute: &impl Compute, spec: &TaskSpec) {
    let task = started(compute, spec).await;
    let waiting = compute.wait(&task);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "the wait ended before its task: {early:?}");
    soon("a stop", compute.stop(&task, GRACE)).await.expect("stops");
    soon("the wait", waiting).await.expect("is waited for");
    ended(compute, &task).await;
}

/// A key that has a volume gets it again, as it is.
pub async fn ensuring_twice_is_ensuring_once(volumes: &impl Volumes, key: &VolumeKey, uid: u32) {
    let first = soon("a volume", volumes.ensure(key, uid, None)).await.expect("a volume");
    for known in [None, Some(&first)] {
        let again = soon("a volume", volumes.ensure(key, uid, known)).await;
        assert_eq!(first, again.expect("the same volume"));
    }
}

/// Two keys have two volumes.
pub async fn two_keys_never_share_a_volume(
    volumes: &impl Volumes,
    keys: [&VolumeKey; 2],
    uid: u32,
) {
    assert_ne!(keys[0], keys[1]);
    let one = soon("a volume", volumes.ensure(keys[0], uid, None)).await.expect("a volume");
    let other = soon("a volume", volumes.ensure(keys[1], uid, None)).await.expect("another volume");
    let apart = match (&one, &other) {
        (VolumeRef::Directory { path: one, .. }, VolumeRef::Directory { path: other, .. }) => {
            !one.starts_with(other) && !other.starts_with(one)
        }
        (
            VolumeRef::AccessPoint { access_point: one, .. },
            VolumeRef::AccessPoint { access_point: other, .. },
        ) => one != other,
        _ => false,
    };
    assert!(apart, "{one:?} and {other:?}");
}

/// What is removed is gone, and is removed when it is removed again; its key gets another one.
pub async fn what_is_removed_is_gone(volumes: &impl Volumes, key: &VolumeKey, uid: u32) {
    let first = soon("a volume", volumes.ensure(key, uid, None)).await.expect("a volume");
    let removal = soon("a removal", volumes.remove(key, &first)).await.expect("is removed");
    let again = soon("a removal", volumes.remove(key, &first)).await.expect("is removed again");
    assert_eq!(removal, again);
    soon("a volume", volumes.ensure(key, uid, None)).await.expect("another volume");
}

/// A user's own secret comes before the shared one of its name; a name that nobody has is left
/// out. `user` has its own `owned`, `everybody` is shared only, `absent` is nowhere.
pub async fn own_secrets_come_before_shared_ones(
    secrets: &impl Secrets,
    user: &str,
    [owned, everybody, absent]: [&str; 3],
) {
    let names = [owned, everybody, absent].map(str::to_owned);
    let own = soon("secrets", secrets.read(user, &names)).await.expect("secrets");
    let others = soon("secrets", secrets.read("nobody", &names)).await.expect("secrets");
    let found: Vec<&str> = own.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(found, [owned, everybody]);
    let shared = others.iter().find(|secret| secret.name == owned).expect("the shared one");
    assert!(own[0].value != shared.value && own[0].version != shared.version);
    assert_eq!(own[1], others[1]);
}

/// What is changed is seen by the next read, with another version: of a store that keeps nothing.
/// `change` gives the user's secret of this name another value.
pub async fn a_change_is_seen_by_the_next_read(
    secrets: &impl Secrets,
    user: &str,
    name: &str,
    change: impl AsyncFnOnce(),
) {
    let names = [name.to_owned()];
    let before = soon("secrets", secrets.read(user, &names)).await.expect("secrets");
    let same = soon("secrets", secrets.read(user, &names)).await.expect("secrets");
    assert_eq!(before, same);
    change().await;
    let after = soon("secrets", secrets.read(user, &names)).await.expect("secrets");
    assert_eq!((before.len(), after.len()), (1, 1));
    assert!(before[0].value != after[0].value && before[0].version != after[0].version);
}

/// Values that are too much for one session together are refused, in words that say which and how
/// much, and none of them is given. Each of these names alone is fine.
pub async fn what_is_too_large_together_is_refused(
    secrets: &impl Secrets,
    user: &str,
    names: &[String],
) {
    let refused = soon("secrets", secrets.read(user, names)).await.expect_err("too much");
    let words = refused.to_string();
    assert!(matches!(refused, SecretError::TooLarge(_)), "{words}");
    assert!(words.contains("128 KiB") && names.iter().all(|name| words.contains(name)), "{words}");
    for name in names {
        let one = soon("a secret", secrets.read(user, std::slice::from_ref(name))).await;
        assert_eq!(one.expect("a secret").len(), 1);
    }
}
