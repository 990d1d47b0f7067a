//! What a confinement really does, in a form for logs and for people. Knows only what was prepared.

use std::fmt;

use serde::Serialize;

use super::landlock::Fence;
use super::seccomp::Filters;
use super::{OPEN_FILES_MAX, most};

/// What takes effect on a program that the bridge starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfinementReport {
    /// Whether the system call filters are on.
    pub seccomp: bool,
    /// Landlock's version as far as it is used; `None` where nothing is fenced.
    pub landlock_abi: Option<u32>,
    /// Paths asked to be writable that are not there, and so are not.
    pub absent_paths: usize,
    /// Set-uid programs gain nothing. The kernel refuses to start without.
    pub no_new_privs: bool,
    /// Processes of the session's uid. `None`: only a cgroup bounds them, if there is one.
    pub processes: Option<u64>,
    /// Descriptors open in one process.
    pub open_files: u64,
    /// Private writable memory of one process, in bytes. `None`: only a cgroup, if there is one.
    pub data: Option<u64>,
    /// The uid is root, which the kernel's limit of processes does not hold.
    pub runs_as_root: bool,
}

impl ConfinementReport {
    pub(super) fn new(fence: &Fence, filters: &Filters) -> Self {
        Self {
            seccomp: filters.take_effect(),
            landlock_abi: fence.abi(),
            absent_paths: fence.absent_paths(),
            no_new_privs: true,
            processes: most(libc::RLIMIT_NPROC),
            open_files: most(libc::RLIMIT_NOFILE).unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX),
            data: most(libc::RLIMIT_DATA),
            runs_as_root: effective_uid() == 0,
        }
    }
}

impl fmt::Display for ConfinementReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.seccomp { "seccomp on" } else { "seccomp: not available here" })?;
        match self.landlock_abi {
            Some(abi) => write!(f, "; landlock ABI {abi}")?,
            None => f.write_str("; landlock: not available here")?,
        }
        if self.absent_paths > 0 {
            write!(f, " ({} writable paths absent)", self.absent_paths)?;
        }
        f.write_str("; no_new_privs")?;
        match self.processes {
            Some(_) if self.runs_as_root => f.write_str("; nproc: does not hold root")?,
            Some(most) => write!(f, "; nproc {most}")?,
            None => f.write_str("; nproc: by cgroup, if at all")?,
        }
        write!(f, "; nofile {}", self.open_files)?;
        match self.data {
            Some(bytes) => write!(f, "; memory: {bytes} bytes of data per process"),
            None => f.write_str("; memory: by cgroup, if at all"),
        }
    }
}

#[allow(unsafe_code)]
fn effective_uid() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}
