//! What a world must not leave behind: processes, rows, sockets, control groups, files. Knows the
//! layout of a gateway's state directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use shellgate_protocol::SessionId;

use crate::clock::{At, Store};

/// A process: its number on this machine, and when it started, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
}

impl Process {
    /// The process that has this number now, if one lives.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything; what follows its last bracket is fixed.
        let rest: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let start_time = rest.get(19)?.parse().ok()?;
        (rest.first() != Some(&"Z")).then_some(Self { pid, start_time })
    }

    fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// A task, as a gateway's compute provider records it.
#[derive(Debug, Deserialize)]
struct Task {
    name: String,
    groups: Vec<PathBuf>,
    outermost: Option<Process>,
    first: Option<Process>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    processes: BTreeMap<Process, String>,
    groups: BTreeMap<PathBuf, String>,
}

impl Leftovers {
    /// Notes all tasks that are there now.
    pub(crate) fn look(&mut self, state: &Path) {
        for task in tasks(state) {
            for process in [task.outermost, task.first].into_iter().flatten() {
                self.processes.insert(process, task.name.clone());
            }
            self.groups.extend(task.groups.into_iter().map(|group| (group, task.name.clone())));
        }
    }

    /// The first process inside a session's sandbox: its bridge.
    pub(crate) fn first_process(&self, state: &Path, session: SessionId) -> Process {
        let tasks = tasks(state);
        let task = tasks.iter().find(|task| task.name.starts_with(&session.to_string()));
        task.and_then(|task| task.first).expect("the session has a task")
    }

    /// Fails where anything is left.
    pub(crate) async fn assert_none(&self, state: &Path, store: &At, tmp: &Path) {
        let mut left: Vec<String> = Vec::new();
        left.extend(tasks(state).iter().map(|task| format!("the record of {}", task.name)));
        left.extend(
            self.processes
                .iter()
                .filter(|(process, _)| process.lives())
                .map(|(process, task)| format!("process {} of {task}", process.pid)),
        );
        left.extend(
            self.groups
                .keys()
                .flat_map(|group| [Some(group.as_path()), group.parent()])
                .flatten()
                .filter(|group| group.exists())
                .map(|group| format!("the control group {}", group.display())),
        );
        for folder in [&state.join("dial"), tmp] {
            left.extend(entries(folder).iter().map(|path| path.display().to_string()));
        }
        let mut store = Store::open(store).await;
        let rows = store.pairs("SELECT id, state FROM sessions WHERE state <> 'ended'").await;
        left.extend(rows.iter().map(|(id, state)| format!("{id} is {state}")));
        store.close().await;
        assert!(left.is_empty(), "something is left:\n{}", left.join("\n"));
    }

    /// Kills what is left of a world whose test has failed.
    pub(crate) fn kill(&self) {
        for process in self.processes.keys().filter(|process| process.lives()) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // Gone meanwhile, most likely.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn tasks(state: &Path) -> Vec<Task> {
    entries(&state.join("sandbox/tasks"))
        .iter()
        .filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok())
        .collect()
}
