//! Tasks as sandboxes on this machine: one `bwrap` each, with the bridge as its first process.
//! Knows neither sessions nor the wire.
//!
//! A sandbox is not a child to be kept: it has no pipe, terminal, process group or control group
//! in common with the gateway, and is known by boot id, process id and start time. Whoever opens
//! the same state directory later finds it.

mod begin;
mod cgroup;
mod child;
mod command;
mod etc;
mod hierarchy;
mod launch;
mod log;
mod preflight;
mod process;
mod record;
mod seccomp;
mod stat;
mod trial;
mod view;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, geteuid, getgid};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use self::cgroup::Cgroups;
use self::preflight::Plan;
use self::process::{Process, Watch};
use self::record::{Record, Records, io_error};
use crate::compute::{
    Compute, ComputeError, DialRoute, Emptying, TaskEnd, TaskName, TaskRef, TaskSpec,
};
use crate::volumes::VolumeRef;

pub use self::cgroup::Resource;
pub use self::preflight::{LimitedBy, Preflight};

/// How long processes that were killed may take to be gone.
const KILLING: Duration = Duration::from_secs(10);
/// How often a task that is to end is looked at until it can be asked.
const READINESS_POLL: Duration = Duration::from_millis(5);
/// How long a sandbox that was asked to end is given before it is asked again.
const ASKED_AGAIN: Duration = Duration::from_millis(500);
/// How long the outermost process may take to end by itself after the first one inside.
const TELLING: Duration = Duration::from_secs(1);
/// A private /tmp smaller than this is of no use, in bytes.
const TMP_MIN: u64 = 64 << 10;
/// What is known of a task whose end nobody of this process saw.
const GONE: &str = "gone (it was not this gateway's child)";

/// What sandboxes are made with.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where what is known about tasks is kept: this user's alone (0700), on a real disk. Made
    /// where its parent is there.
    pub state: PathBuf,
    /// The bridge: one file that needs nothing but /usr, executable for everybody.
    pub bridge: PathBuf,
    /// Another `bwrap` than the system's.
    pub bwrap: Option<PathBuf>,
}

impl SandboxConfig {
    /// Sandboxes by the system's `bwrap`.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>, bridge: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), bridge: bridge.into(), bwrap: None }
    }
}

/// Runs tasks as sandboxes on this machine. Needs a Tokio runtime with I/O and time.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SandboxConfig,
    records: Records,
    boot_id: String,
    /// Found out once, by a trial.
    plan: OnceCell<Plan>,
    /// Whose end is waited for.
    watch: Watch,
    /// What attends to this process's own sandboxes until they end.
    tracker: TaskTracker,
}

impl Sandbox {
    /// Opens a state directory. Runs nothing yet.
    ///
    /// # Errors
    /// Where the directory cannot be made, or is open to others.
    pub fn new(mut config: SandboxConfig) -> Result<Self, ComputeError> {
        let records = Records::open(&config.state)?;
        // One directory has one name: the parents of control groups are called after it.
        config.state = config
            .state
            .canonicalize()
            .map_err(io_error(format!("find {}", config.state.display())))?;
        let boot_id = process::boot_id().map_err(io_error("read the boot id".to_owned()))?;
        Ok(Self(Arc::new(Inner {
            config,
            records,
            boot_id,
            plan: OnceCell::new(),
            watch: Watch::default(),
            tracker: TaskTracker::new(),
        })))
    }

    /// Runs a sandbox and tells what it is held by here.
    ///
    /// # Errors
    /// [`ComputeError::Unavailable`] where there is no boundary; its text is the remedy.
    pub async fn preflight(&self) -> Result<Preflight, ComputeError> {
        Ok(self.plan().await?.preflight.clone())
    }

    async fn plan(&self) -> Result<&Plan, ComputeError> {
        self.0
            .plan
            .get_or_try_init(|| async {
                let inner = Arc::clone(&self.0);
                let held = self.0.records.lock_trials().await?;
                let plan = self
                    .blocking(move || {
                        inner.sweep_trials();
                        let plan = preflight::plan(&inner.config, &inner.cgroup_name());
                        drop(held);
                        plan
                    })
                    .await?;
                self.sweep_groups(&plan).await;
                Ok(plan)
            })
            .await
    }

    /// Removes the control groups of tasks that are gone. One that cannot be removed takes nothing
    /// from the others.
    async fn sweep_groups(&self, plan: &Plan) {
        let Some(cgroups) = &plan.cgroups else { return };
        for name in cgroups.tasks().into_iter().filter_map(TaskName::new) {
            if let Err(error) = self.sweep_group(cgroups, &name).await {
                tracing::warn!(task = %name, %error, "something of a task may be left");
            }
        }
        cgroups.remove_parents();
    }

    async fn sweep_group(&self, cgroups: &Cgroups, name: &TaskName) -> Result<(), ComputeError> {
        // Held, so that nobody is between making a group and entering it.
        let held = self.0.records.lock(name).await?;
        // A record that cannot be read may be that of a task that lives: only one that is not there
        // speaks for none.
        let record = self.0.records.read(name)?.map(|record| self.0.completed(record, &held));
        let lives = |record: &Record| {
            [record.outermost, record.first].into_iter().flatten().any(|one| one.lives())
        };
        if record.as_ref().is_some_and(|r| r.boot_id == self.0.boot_id && lives(r)) {
            return Ok(());
        }
        for group in cgroups.of_task(name.as_str()) {
            group.clear().await.map_err(io_error(format!("end what is left of {name}")))?;
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ComputeError> + Send + 'static,
    ) -> Result<T, ComputeError> {
        let done = self.0.tracker.spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(ComputeError::Failed(error.to_string())))
    }

    /// Sees a child of this process to its end: keeps how it ended, and leaves no zombie.
    fn attend(&self, name: TaskName, launched: Process, runtime: &tokio::runtime::Handle) {
        let sandbox = self.clone();
        let attending = async move {
            sandbox.0.watch.ended(launched).await;
            if let Some(exit) = launched.exit()
                && let Err(error) = sandbox.note_end(&name, launched, &exit.to_string()).await
            {
                tracing::warn!(task = %name, %error, "the end of a task could not be recorded");
            }
            launched.reap();
            if let Err(error) = sandbox.clean_up(&name, launched).await {
                tracing::warn!(task = %name, %error, "something of a task is left");
            }
        };
        self.0.tracker.spawn_on(attending, runtime);
    }

    async fn note_end(
        &self,
        name: &TaskName,
        outermost: Process,
        exit: &str,
    ) -> Result<(), ComputeError> {
        let held = self.0.records.lock(name).await?;
        let Some(mut record) = self.0.records.read(name)? else { return Ok(()) };
        if record.outermost == Some(outermost) && record.ended.is_none() {
            record.ended = Some(exit.to_owned());
            self.0.records.write(&record, &held)?;
        }
        Ok(())
    }

    /// Ends what is left of a task whose outermost process is gone, and removes its groups.
    async fn clean_up(&self, name: &TaskName, outermost: Process) -> Result<(), ComputeError> {
        let Some(record) = self.0.records.read(name)? else { return Ok(()) };
        if record.outermost != Some(outermost) {
            return Ok(());
        }
        if let Some(first) = record.first {
            kill(&self.0.watch, &[first], name).await?;
        }
        for group in &record.groups {
            group.clear().await.map_err(io_error(format!("end what is left of {name}")))?;
        }
        Ok(())
    }

    /// The task of a record, if it runs.
    async fn running(&self, mut record: Record) -> Result<Option<TaskRef>, ComputeError> {
        if record.is_cut_off() {
            let held = self.0.records.lock(&record.name).await?;
            let Some(newer) = self.0.records.read(&record.name)? else { return Ok(None) };
            record = self.0.completed(newer, &held);
        }
        let Some(outermost) = record.outermost else { return Ok(None) };
        if outermost.lives() {
            return Ok(record.task());
        }
        if record.first.is_some_and(|first| first.lives()) {
            // Its outermost process was killed alone: nobody would ever hear of its end.
            self.clean_up(&record.name, outermost).await?;
        }
        Ok(None)
    }

    fn is_of_this_boot(&self, boot_id: &str) -> bool {
        boot_id == self.0.boot_id
    }
}

impl Compute for Sandbox {
    async fn start(&self, spec: &TaskSpec) -> Result<TaskRef, ComputeError> {
        checked(spec)?;
        self.plan().await?;
        let held = self.0.records.lock(&spec.name).await?;
        let (sandbox, spec) = (self.clone(), spec.clone());
        let runtime = tokio::runtime::Handle::current();
        self.blocking(move || {
            // Found out above, and never changed.
            let plan = sandbox.0.plan.get().ok_or_else(|| {
                ComputeError::Failed("how to start a sandbox is not known".to_owned())
            })?;
            let (task, launched) = sandbox.0.begin(plan, &spec, &held)?;
            if let Some(launched) = launched {
                sandbox.attend(spec.name, launched, &runtime);
            }
            Ok(task)
        })
        .await
    }

    async fn stop(&self, task: &TaskRef, grace: Duration) -> Result<(), ComputeError> {
        let TaskRef::Sandbox { name, boot_id, pid, start_time } = task else {
            return Err(foreign(task));
        };
        if !self.is_of_this_boot(boot_id) {
            return Ok(());
        }
        let outermost = Process { pid: *pid, start_time: *start_time };
        // Its processes are known without the record; what else is left goes with the next sweep.
        let record = self.0.records.read(name).unwrap_or_else(|error| {
            tracing::warn!(task = %name, %error, "a task is stopped without its record");
            None
        });
        let record = record.filter(|r| r.outermost == Some(outermost));
        let first = match record.as_ref().and_then(|record| record.first) {
            Some(first) => Some(first),
            None if outermost.lives() => outermost.children().first().copied(),
            None => None,
        };
        if let Some(first) = first.filter(Process::lives) {
            let asked = async {
                // One that is still being started would never hear of it.
                while first.lives() && !first.catches(Signal::TERM) {
                    tokio::time::sleep(READINESS_POLL).await;
                }
                // Again and again: where a program inside may send it signals, one of those can keep
                // a single one of ours from it.
                loop {
                    first.signal(Signal::TERM)?;
                    if tokio::time::timeout(ASKED_AGAIN, self.0.watch.ended(outermost))
                        .await
                        .is_ok()
                    {
                        return io::Result::Ok(());
                    }
                }
            };
            // Its time being up is no error: that is what the rest is for.
            if let Ok(told) = tokio::time::timeout(grace, asked).await {
                told.map_err(io_error(format!("ask {name} to end")))?;
            }
        }
        if let Some(first) = first {
            kill(&self.0.watch, &[first], name).await?;
            // The outermost process tells how the first one ended, if it may.
            let _ = tokio::time::timeout(TELLING, self.0.watch.ended(outermost)).await;
        }
        kill(&self.0.watch, &[outermost], name).await?;
        for group in record.iter().flat_map(|record| &record.groups) {
            group.clear().await.map_err(io_error(format!("end what is left of {name}")))?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<TaskRef>, ComputeError> {
        let inner = Arc::clone(&self.0);
        let records = self
            .blocking(move || {
                let mut records = Vec::new();
                for name in inner.records.names()? {
                    let record = match inner.records.read(&name) {
                        Ok(Some(record)) => record,
                        Ok(None) => continue,
                        // The others are no less there.
                        Err(error) => {
                            tracing::warn!(task = %name, %error, "a record is passed over");
                            continue;
                        }
                    };
                    if let Err(error) = log::cut(&inner.records.log(&name)) {
                        tracing::warn!(task = %name, %error, "a log could not be cut");
                    }
                    records.push(record);
                }
                Ok(records)
            })
            .await?;
        let mut tasks = Vec::new();
        for record in records.into_iter().filter(|r| self.is_of_this_boot(&r.boot_id)) {
            let name = record.name.clone();
            // One about which nothing can be found out takes nothing from the others.
            match self.running(record).await {
                Ok(task) => tasks.extend(task),
                Err(error) => tracing::warn!(task = %name, %error, "a task is passed over"),
            }
        }
        Ok(tasks)
    }

    async fn wait(&self, task: &TaskRef) -> Result<TaskEnd, ComputeError> {
        let TaskRef::Sandbox { name, boot_id, pid, start_time } = task else {
            return Err(foreign(task));
        };
        let log_tail = || log::tail(&self.0.records.log(name));
        if !self.is_of_this_boot(boot_id) {
            let evidence = "gone (the machine was started anew)".to_owned();
            return Ok(TaskEnd { evidence, log_tail: log_tail(), ..TaskEnd::default() });
        }
        let outermost = Process { pid: *pid, start_time: *start_time };
        self.0.watch.ended(outermost).await;
        // Before the record: whoever reaps it has written there first.
        let seen = outermost.exit().map(|exit| exit.to_string());
        self.clean_up(name, outermost).await?;
        let record = self.0.records.read(name)?.filter(|r| r.outermost == Some(outermost));
        let evidence = seen.or_else(|| record?.ended).unwrap_or_else(|| GONE.to_owned());
        Ok(TaskEnd { evidence, log_tail: log_tail(), ..TaskEnd::default() })
    }

    async fn address(&self, _: &TaskRef) -> Result<Option<IpAddr>, ComputeError> {
        Ok(None)
    }

    async fn empty(&self, what: &Emptying) -> Result<(), ComputeError> {
        Err(ComputeError::BadSpec(format!("no sandbox mounts the volume {:?}", what.volume)))
    }

    /// Nobody else has this machine.
    fn share(&self, _: u32) {}

    async fn forget(&self, name: &TaskName) -> Result<(), ComputeError> {
        let held = self.0.records.lock(name).await?;
        // One that cannot be read is forgotten like any other.
        if let Some(record) = self.0.records.read(name).ok().flatten() {
            let record = self.0.completed(record, &held);
            let of_this_boot = self.is_of_this_boot(&record.boot_id);
            let processes = [record.outermost, record.first].into_iter().flatten();
            if of_this_boot && processes.into_iter().any(|process| process.lives()) {
                return Err(ComputeError::Failed(format!("{name} still runs: stop it first")));
            }
            for group in &record.groups {
                group.clear().await.map_err(io_error(format!("end what is left of {name}")))?;
                group.remove_parent();
            }
        }
        self.0.records.remove(name, &held)
    }
}

/// A task of another provider, as a gateway's store has it whose provider was changed.
fn foreign(task: &TaskRef) -> ComputeError {
    ComputeError::BadSpec(format!("{} is no sandbox", task.name()))
}

/// The part of a request that only this engine can do something with.
struct Checked<'a> {
    home: &'a Path,
    uid: u32,
    gid: u32,
    dial_directory: &'a Path,
}

/// The part of a request that this engine can be wrong about.
fn checked(spec: &TaskSpec) -> Result<Checked<'_>, ComputeError> {
    let wrong = |what: String| Err(ComputeError::BadSpec(what));
    let VolumeRef::Directory { path: home, uid, gid } = &spec.volume else {
        return wrong(format!("a sandbox's files are a directory, not {:?}", spec.volume));
    };
    let DialRoute::Socket(dial_directory) = &spec.dial else {
        return wrong("a sandbox has no network to dial by".to_owned());
    };
    if *uid == 0 || *gid == 0 {
        return wrong("a sandbox never runs as the host's root".to_owned());
    }
    let (own_uid, own_gid) = (geteuid(), getgid());
    if !own_uid.is_root() && (*uid, *gid) != (own_uid.as_raw(), own_gid.as_raw()) {
        return wrong(format!("only root can run a sandbox as {uid}:{gid}"));
    }
    if spec.limits.tmp < TMP_MIN || spec.limits.memory == 0 || spec.limits.pids == 0 {
        return wrong(format!("limits that nothing can run with: {:?}", spec.limits));
    }
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !printable(&spec.session) || spec.session.len() > 128 {
        return wrong("a session's id is 1 to 128 printable characters".to_owned());
    }
    Ok(Checked { home, uid: *uid, gid: *gid, dial_directory })
}

/// Kills these processes and returns when they are gone.
async fn kill(watch: &Watch, processes: &[Process], name: &TaskName) -> Result<(), ComputeError> {
    for process in processes.iter().filter(|process| process.lives()) {
        process.signal(Signal::KILL).map_err(io_error(format!("kill {name}")))?;
    }
    let gone = async {
        for process in processes {
            watch.ended(*process).await;
        }
    };
    tokio::time::timeout(KILLING, gone).await.map_err(|_| {
        ComputeError::Failed(format!("{name} was killed and is not gone after {KILLING:?}"))
    })
}

/// 128 random bits as text.
fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
