//! Tasks: one isolated place each in which one bridge runs. Knows neither sessions nor the wire.

pub mod any;
#[cfg(feature = "aws")]
pub mod ecs;
pub mod sandbox;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A task's name, unique among all that ever ran: the caller's session and launch. 1 to 64 of
/// `a-z`, `0-9`, `_`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName(String);

impl TaskName {
    /// A name; `None` where it has other characters, none, or too many.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        ((1..=64).contains(&name.len()) && name.bytes().all(legal)).then_some(Self(name))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TaskName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(name.clone()).ok_or_else(|| format!("not a task's name: {name:?}"))
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> Self {
        name.0
    }
}

/// The secret with which a task's bridge introduces itself. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken(pub String);

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentToken(…)")
    }
}

/// What a task may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the whole task, in bytes.
    pub memory: u64,
    /// Processor time, in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// The private /tmp, in bytes.
    pub tmp: u64,
}

/// How a task's bridge gets to its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialRoute {
    /// By a socket: the directory with `dial.sock` in it, seen inside, read-only, at `/run/gw`.
    /// For tasks on this machine.
    Socket(PathBuf),
    /// By a network.
    Network {
        /// `wss://host:port`.
        url: String,
        /// The certificates, in PEM, by one of which the gateway's must be signed: two during a
        /// rotation.
        authorities: String,
    },
}

/// What a task runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    /// What is there until it is given back.
    OnDemand,
    /// Cheaper, and taken away with two minutes' notice.
    Spot,
}

/// What to start. A pure function of the caller's row: a repeat is the same request.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Its name.
    pub name: TaskName,
    /// What the bridge must know to introduce itself: `SHELLGATE_SESSION` in its environment.
    pub session: String,
    /// And `SHELLGATE_LAUNCH`.
    pub launch: u32,
    /// Handed over by a descriptor (on this machine) or in the environment, never in `argv`.
    pub token: EnrolmentToken,
    /// The user's files, as [`crate::volumes::Volumes::ensure`] gave them.
    pub volume: crate::volumes::VolumeRef,
    /// The key of the user whose task it is, as in [`crate::volumes::VolumeKey`].
    pub user: String,
    /// The name of the template that it is made by.
    pub template: String,
    /// How its bridge gets to the gateway.
    pub dial: DialRoute,
    /// On which of the provider's capacities it is to run, where there are several.
    pub capacity: Capacity,
    /// What it may use.
    pub limits: Limits,
}

/// A volume whose contents are to be deleted by a task that mounts it. A repeat is the same request.
#[derive(Debug, Clone)]
pub struct Emptying {
    /// The task's name.
    pub name: TaskName,
    /// The key of the user whose volume it is.
    pub user: String,
    /// The volume, which no other task uses any more.
    pub volume: crate::volumes::VolumeRef,
}

/// A task that was started, as it can be stored and found again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "compute", rename_all = "snake_case")]
pub enum TaskRef {
    /// A sandbox on this machine.
    Sandbox {
        /// Its name.
        name: TaskName,
        /// The kernel's boot id: process ids mean nothing after another boot.
        boot_id: String,
        /// Its outermost process on the host.
        pid: i32,
        /// When that process started, in clock ticks since boot (field 22 of `/proc/PID/stat`):
        /// tells it from a later process with the same id.
        start_time: u64,
    },
    /// A task of Amazon ECS.
    Ecs {
        /// Its name.
        name: TaskName,
        /// Its ARN.
        arn: String,
        /// When it was asked for, in milliseconds since the Unix epoch: ECS may say for a while that
        /// it does not know it.
        asked_ms: i64,
    },
}

impl TaskRef {
    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &TaskName {
        match self {
            Self::Sandbox { name, .. } | Self::Ecs { name, .. } => name,
        }
    }
}

/// How a task came to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// In words for an operator: `exit code 0`, `killed by signal 9`, `gone (it was not this gateway's child)`.
    pub evidence: String,
    /// What its user should know of that, in words that name nothing of the provider's.
    pub told: Option<String>,
    /// Whether it never ran, because there was none of the capacity that it was to run on.
    pub no_capacity: bool,
    /// The exit code of its first process, where the provider gives one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The last lines that the task's bridge or engine wrote to its log, at most 4 KiB.
    pub log_tail: String,
}

/// Why compute said no.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// Something that this machine lacks; the text says how to get it.
    #[error("{0}")]
    Unavailable(String),
    /// The engine refused or failed; may be tried again.
    #[error("the task could not be started: {0}")]
    Failed(String),
    /// The request itself is wrong; trying again is of no use.
    #[error("the task's request is wrong: {0}")]
    BadSpec(String),
    /// There is none of the capacity that was asked for; another launch may ask for another.
    #[error("{0}")]
    NoCapacity(String),
    /// The name was started before with another request, and that task is gone: it takes another
    /// launch.
    #[error("{0}")]
    Changed(String),
    /// A task has not deleted all that is in its volume; may be tried again.
    #[error("{0}")]
    NotEmptied(String),
    /// AWS said no.
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
}

impl ComputeError {
    /// What the user whose task it was to be should know, in words that name nothing of the
    /// provider's.
    #[must_use]
    pub fn told(&self) -> Option<&'static str> {
        match self {
            Self::NoCapacity(_) => Some("there is no room for it now; try again in some minutes"),
            Self::Aws(error) => Some(error.told()),
            Self::Unavailable(_) | Self::BadSpec(_) => {
                Some("this gateway is not set up right; its operator can see why")
            }
            Self::Changed(_) | Self::Failed(_) | Self::NotEmptied(_) | Self::Io { .. } => None,
        }
    }

    /// Whether no task of this name runs, nor ever will, and one of another name might.
    #[must_use]
    pub fn takes_another_launch(&self) -> bool {
        match self {
            Self::NoCapacity(_) | Self::Changed(_) => true,
            Self::Unavailable(_)
            | Self::Failed(_)
            | Self::BadSpec(_)
            | Self::NotEmptied(_)
            | Self::Aws(_)
            | Self::Io { .. } => false,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed(_) | Self::NoCapacity(_) | Self::NotEmptied(_) | Self::Io { .. } => true,
            Self::Aws(error) => error.is_retryable(),
            Self::Unavailable(_) | Self::BadSpec(_) | Self::Changed(_) => false,
        }
    }
}

/// Runs tasks.
///
/// `start` with a name that already runs returns that task, also from another process and after a
/// crash in the middle of an earlier `start`. `stop` of a task that is gone succeeds, and returns
/// when none of its processes is left. `list` names every task of this owner that runs. A task
/// outlives the process that started it.
pub trait Compute: Send + Sync {
    /// Starts a task.
    fn start(&self, spec: &TaskSpec) -> impl Future<Output = Result<TaskRef, ComputeError>> + Send;

    /// Ends a task: asks its first process (TERM), and kills all of them after `grace`.
    fn stop(
        &self,
        task: &TaskRef,
        grace: Duration,
    ) -> impl Future<Output = Result<(), ComputeError>> + Send;

    /// Every task that runs, whoever started it.
    fn list(&self) -> impl Future<Output = Result<Vec<TaskRef>, ComputeError>> + Send;

    /// Waits until a task is gone (forever, while it is not); at once where it is gone already.
    fn wait(&self, task: &TaskRef) -> impl Future<Output = Result<TaskEnd, ComputeError>> + Send;

    /// The address that a task's connections come from, where it has one of its own; `None` where it
    /// has none, or not yet.
    fn address(
        &self,
        task: &TaskRef,
    ) -> impl Future<Output = Result<Option<IpAddr>, ComputeError>> + Send;

    /// Deletes all that is in a volume, by a task that mounts it, and returns when nothing is left.
    /// With a name whose task runs it waits for that one. What a failure left is deleted by the next
    /// call; one whose task has ended takes another name. Only for volumes that
    /// [need it](crate::volumes::VolumeRef::needs_emptying).
    fn empty(&self, what: &Emptying) -> impl Future<Output = Result<(), ComputeError>> + Send;

    /// So many gateways share what this provider's account allows, this one being one of them.
    fn share(&self, among: u32);

    /// Forgets what is kept about a task that is gone (its record, its log). Succeeds where there
    /// is nothing.
    fn forget(&self, name: &TaskName) -> impl Future<Output = Result<(), ComputeError>> + Send;
}
