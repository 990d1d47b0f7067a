//! What is kept on disk about a task: enough to find it again, whoever asks. Starts nothing.
//!
//! A record is written before its effect. One without a process means: look for the marker, a
//! process that has it is the task; where nobody has it, the task was never begun.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::process::Process;
use crate::compute::{ComputeError, TaskName, TaskRef};

/// A record is a few hundred bytes.
const RECORD_MAX: u64 = 64 << 10;
/// Names share locks, so that there is a fixed number of lock files and none is ever removed.
const LOCKS: u64 = 64;
/// How long somebody else may hold a lock: they start a process and write two small files.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(2);

/// One task, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: TaskName,
    /// Random per launch; shows in the arguments of the task's outermost process.
    pub(super) marker: String,
    pub(super) boot_id: String,
    pub(super) groups: Vec<Group>,
    /// Its outermost process on the host.
    pub(super) outermost: Option<Process>,
    /// The first process of its own process namespace: when it ends, the kernel ends all others.
    pub(super) first: Option<Process>,
    /// How many processes its user may have inside, where no group limits them.
    #[serde(default)]
    pub(super) process_limit: Option<u32>,
    /// How it ended, once this is known.
    pub(super) ended: Option<String>,
}

impl Record {
    /// Whether its start was cut off before both of its processes were written down.
    pub(super) fn is_cut_off(&self) -> bool {
        self.ended.is_none() && (self.outermost.is_none() || self.first.is_none())
    }

    /// The task as its caller knows it; `None` while its process is not known.
    pub(super) fn task(&self) -> Option<TaskRef> {
        let outermost = self.outermost?;
        Some(TaskRef::Sandbox {
            name: self.name.clone(),
            boot_id: self.boot_id.clone(),
            pid: outermost.pid,
            start_time: outermost.start_time,
        })
    }
}

/// The records of one state directory.
#[derive(Debug, Clone)]
pub(super) struct Records {
    tasks: PathBuf,
    locks: PathBuf,
}

impl Records {
    /// Opens the records below a state directory, which is made where it is not there.
    pub(super) fn open(state: &Path) -> Result<Self, ComputeError> {
        let records = Self { tasks: state.join("tasks"), locks: state.join("locks") };
        for directory in [state, &records.tasks, &records.locks] {
            make_private(directory)?;
        }
        Ok(records)
    }

    /// Waits for the right to change what is known about a task. Held by everybody who has the
    /// file's description: a process that was forked lets go of it when it starts its program.
    pub(super) async fn lock(&self, name: &TaskName) -> Result<Lock, ComputeError> {
        let stripe = name
            .as_str()
            .bytes()
            .fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
            % LOCKS;
        self.lock_file(&format!("{stripe:02}"), name.as_str()).await
    }

    /// Waits for the right to try a sandbox: whatever an earlier trial left is nobody's then.
    pub(super) async fn lock_trials(&self) -> Result<Lock, ComputeError> {
        self.lock_file("trial", "of the preflight").await
    }

    async fn lock_file(&self, file: &str, name: &str) -> Result<Lock, ComputeError> {
        let path = self.locks.join(file);
        let what = || format!("lock {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error(what()))?;
        let deadline = tokio::time::Instant::now() + LOCK_DEADLINE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io_error(what())(error.into())),
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(ComputeError::Failed(format!(
                    "task {name} is being started elsewhere"
                )));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// What is known about a task.
    pub(super) fn read(&self, name: &TaskName) -> Result<Option<Record>, ComputeError> {
        let path = self.path(name);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => file.take(RECORD_MAX).read_to_string(&mut text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
        .map_err(io_error(format!("read {}", path.display())))?;
        // Left by a loss of power, and the task has ended with it.
        if text.bytes().all(|b| b == 0) {
            return Ok(None);
        }
        let record: Record = serde_json::from_str(&text).map_err(|error| {
            ComputeError::Failed(format!("{} is not a task's record: {error}", path.display()))
        })?;
        if record.name != *name {
            let told = format!("{} speaks of task {}", path.display(), record.name);
            return Err(ComputeError::Failed(told));
        }
        Ok(Some(record))
    }

    /// Replaces what is known about a task, completely or not at all, as every process of this
    /// boot sees it. It is not made to survive a loss of power, which no task survives either:
    /// that would double the time that a start takes.
    pub(super) fn write(&self, record: &Record, _held: &Lock) -> Result<(), ComputeError> {
        let path = self.path(&record.name);
        // One writer per name, by the lock: the name of the new file needs no randomness.
        let new = self.tasks.join(format!(".{}.new", record.name));
        let written = (|| {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            std::fs::rename(&new, &path)
        })();
        written.map_err(io_error(format!("write {}", path.display())))
    }

    /// Forgets a task and its log.
    pub(super) fn remove(&self, name: &TaskName, _held: &Lock) -> Result<(), ComputeError> {
        for path in [self.log(name), self.path(name)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(format!("remove {}", path.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every task about which something is known.
    pub(super) fn names(&self) -> Result<Vec<TaskName>, ComputeError> {
        let failed = io_error(format!("list {}", self.tasks.display()));
        let entries = match std::fs::read_dir(&self.tasks) {
            Ok(entries) => entries,
            Err(error) => return Err(failed(error)),
        };
        let stem = |entry: std::fs::DirEntry| {
            let file = entry.file_name().into_string().ok()?;
            TaskName::new(file.strip_suffix(".json")?)
        };
        Ok(entries.flatten().filter_map(stem).collect())
    }

    /// Where a task's log is.
    pub(super) fn log(&self, name: &TaskName) -> PathBuf {
        self.tasks.join(format!("{name}.log"))
    }

    fn path(&self, name: &TaskName) -> PathBuf {
        self.tasks.join(format!("{name}.json"))
    }
}

/// The right to change what is known about a task.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held until dropped")] File);

/// Makes a directory that is ours alone, or finds that it is.
pub(super) fn make_private(path: &Path) -> Result<(), ComputeError> {
    let shown = path.display();
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error(format!("make the directory {shown}"))(error));
        }
        _ => {}
    }
    let found = std::fs::symlink_metadata(path).map_err(io_error(format!("look at {shown}")))?;
    if !found.is_dir()
        || found.uid() != rustix::process::geteuid().as_raw()
        || found.mode() & 0o077 != 0
    {
        return Err(ComputeError::Unavailable(format!(
            "{shown} must be a directory of this user alone: chown it, and chmod 700 it"
        )));
    }
    Ok(())
}

/// Says what was tried when the operating system said no.
pub(super) fn io_error(what: String) -> impl FnOnce(io::Error) -> ComputeError {
    move |source| ComputeError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        Record {
            name: TaskName::new(name).unwrap(),
            marker: "m".to_owned(),
            boot_id: "b".to_owned(),
            groups: Vec::new(),
            outermost: None,
            first: None,
            process_limit: None,
            ended: None,
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_listed_and_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(&state.path().join("state")).unwrap();
        let one = record("one");
        let held = records.lock(&one.name).await.unwrap();
        assert_eq!(records.read(&one.name).unwrap(), None);
        records.write(&one, &held).unwrap();
        assert_eq!(records.read(&one.name).unwrap(), Some(one.clone()));
        assert_eq!(records.names().unwrap(), std::slice::from_ref(&one.name));
        records.remove(&one.name, &held).unwrap();
        records.remove(&one.name, &held).unwrap();
        assert_eq!(records.names().unwrap(), []);
    }

    #[tokio::test]
    async fn a_record_that_a_loss_of_power_emptied_says_nothing() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(&state.path().join("state")).unwrap();
        let name = TaskName::new("one").unwrap();
        for left in [&b""[..], &[0; 300]] {
            std::fs::write(records.path(&name), left).unwrap();
            assert_eq!(records.read(&name).unwrap(), None);
        }
        std::fs::write(records.path(&name), "{").unwrap();
        records.read(&name).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_somebody_keeps_is_not_waited_for_forever() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(&state.path().join("state")).unwrap();
        let name = TaskName::new("one").unwrap();
        let held = records.lock(&name).await.unwrap();
        assert!(records.lock(&name).await.unwrap_err().is_retryable());
        drop(held);
        records.lock(&name).await.unwrap();
    }

    #[test]
    fn a_state_directory_that_others_can_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Records::open(state.path()).unwrap_err();
        assert!(refused.to_string().contains("chmod 700"), "{refused}");
    }
}
