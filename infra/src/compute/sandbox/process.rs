//! One process on this host, told from any later one with the same id. Knows no tasks.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, pidfd_send_signal,
    waitid,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::stat::Stat;

/// How often a process is looked at where the kernel cannot tell of its end.
const POLL: Duration = Duration::from_millis(200);
/// The same where a thread may block.
const BLOCKING_POLL: Duration = Duration::from_millis(1);

/// A process id with the time at which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(super) start_time: u64,
}

/// How a child of this process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // bwrap reports the end of the task's first process as a shell does.
            Self::Code(code) if (129..=192).contains(code) => {
                write!(f, "exit code {code} (as after signal {})", code - 128)
            }
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

impl Process {
    /// The process that has this id now; `None` where none lives.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        stat.lives().then_some(Self { pid, start_time: stat.start_time })
    }

    /// Whether it has not ended. A process that waits to be reaped has.
    pub(super) fn lives(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// A descriptor that stands for this very process, also when its id is given again.
    fn open(&self) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        // Checked after opening: from here on the id cannot change hands behind the descriptor.
        match Stat::of(self.pid) {
            Some(stat) if stat.start_time == self.start_time => Ok(fd),
            _ => Err(rustix::io::Errno::SRCH.into()),
        }
    }

    /// Sends a signal. A process that is gone is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match self.open() {
            Ok(fd) => pidfd_send_signal(fd, signal).map_err(io::Error::from),
            Err(error) if is_gone(&error) => Err(error),
            Err(_) if !self.lives() => return Ok(()),
            Err(_) => match Pid::from_raw(self.pid) {
                Some(pid) => kill_process(pid, signal).map_err(io::Error::from),
                None => return Ok(()),
            },
        };
        match sent {
            Err(error) if is_gone(&error) => Ok(()),
            sent => sent,
        }
    }

    /// Whether it handles a signal, or has blocked it to read it. The first process of a namespace
    /// gets no other signal, but for those that nobody can handle.
    pub(super) fn catches(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let hears = |line: &str| {
            let mask = line.strip_prefix("SigCgt:").or_else(|| line.strip_prefix("SigBlk:"))?;
            let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
            Some(mask >> (signal.as_raw() - 1) & 1 == 1)
        };
        status.as_deref().unwrap_or_default().lines().filter_map(hears).any(|hears| hears)
    }

    /// Blocks until it has ended, at most this long.
    pub(super) fn ended_within(&self, most: Duration) -> bool {
        for _ in 0..most.as_millis().div_ceil(BLOCKING_POLL.as_millis()) {
            if !self.lives() {
                return true;
            }
            std::thread::sleep(BLOCKING_POLL);
        }
        !self.lives()
    }

    /// How it ended, where it is a child of this process that nobody has reaped yet. It stays.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// As [`Self::exit`], and takes its entry out of the process table.
    pub(super) fn reap(&self) -> Option<Exit> {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait(&self, options: WaitIdOptions) -> Option<Exit> {
        let fd = self.open();
        let id = match &fd {
            Ok(fd) => WaitId::PidFd(fd.as_fd()),
            // Without descriptors for processes: an unreaped child's id is not given again.
            Err(error) if !is_gone(error) => WaitId::Pid(Pid::from_raw(self.pid)?),
            Err(_) => return None,
        };
        let status = waitid(id, options).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Code(code)),
            (None, Some(signal)) => Some(Exit::Signal(signal)),
            (None, None) => None,
        }
    }

    /// Its living children.
    pub(super) fn children(&self) -> Vec<Self> {
        all()
            .filter_map(|pid| {
                let stat = Stat::of(pid)?;
                (stat.parent == self.pid && stat.lives())
                    .then_some(Self { pid, start_time: stat.start_time })
            })
            .collect()
    }

    /// The outermost living process that has this argument: its child is still a copy of it while
    /// the sandbox is being built.
    pub(super) fn with_argument(argument: &str) -> Option<Self> {
        let marked: Vec<(Self, i32)> = all()
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                    line.split(|&b| b == 0).any(|word| word == argument.as_bytes())
                })
            })
            .filter_map(|pid| {
                let stat = Stat::of(pid)?;
                stat.lives().then_some((Self { pid, start_time: stat.start_time }, stat.parent))
            })
            .collect();
        let is_inner = |parent: i32| marked.iter().any(|(other, _)| other.pid == parent);
        marked.iter().find(|(_, parent)| !is_inner(*parent)).map(|(process, _)| *process)
    }
}

/// The processes whose end somebody waits for: one descriptor each, however many wait.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<HashMap<Process, Weak<AsyncFd<OwnedFd>>>>);

impl Watch {
    /// Returns when the process has ended. Reaps nothing.
    pub(super) async fn ended(&self, process: Process) {
        if let Some(fd) = self.descriptor(process) {
            // An error leaves the slower way below.
            let _ = fd.readable().await.map(|mut guard| guard.retain_ready());
        }
        while process.lives() {
            tokio::time::sleep(POLL).await;
        }
        self.watched().remove(&process);
    }

    fn descriptor(&self, process: Process) -> Option<Arc<AsyncFd<OwnedFd>>> {
        let mut watched = self.watched();
        if let Some(fd) = watched.get(&process).and_then(Weak::upgrade) {
            return Some(fd);
        }
        let fd = Arc::new(process.open().ok().and_then(registered)?);
        watched.insert(process, Arc::downgrade(&fd));
        Some(fd)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<Process, Weak<AsyncFd<OwnedFd>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registered(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one descriptor, open for as long as it lives, and `AsyncFd` owns it.
    #[allow(unsafe_code)]
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// The ids of all processes that can be seen.
fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Which boot of this machine this is: process ids and start times count within one.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_time_is_another_process() {
        let me = Process::of(std::process::id().cast_signed()).unwrap();
        assert!(me.lives());
        let other = Process { start_time: me.start_time + 1, ..me };
        assert!(!other.lives());
        other.signal(Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_child_is_watched_reported_and_reaped_once() {
        let mut shell = std::process::Command::new("/bin/sh");
        let mut child = shell.args(["-c", "exit 7"]).spawn().unwrap();
        let pid = child.id().cast_signed();
        let start_time = Stat::of(pid).unwrap().start_time;
        let process = Process { pid, start_time };
        Watch::default().ended(process).await;
        assert_eq!(process.exit(), Some(Exit::Code(7)));
        assert_eq!(process.exit(), Some(Exit::Code(7)));
        assert_eq!(process.reap(), Some(Exit::Code(7)));
        assert_eq!(process.exit(), None);
        child.wait().unwrap_err();
    }

    #[tokio::test]
    async fn all_who_wait_for_a_process_hear_of_its_end_by_one_descriptor() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::of(child.id().cast_signed()).unwrap();
        let watch = Watch::default();
        let one = watch.descriptor(process).unwrap();
        assert!(Arc::ptr_eq(&one, &watch.descriptor(process).unwrap()));
        drop(one);
        let end = async {
            tokio::task::yield_now().await;
            drop(child.stdin.take());
        };
        tokio::join!(watch.ended(process), watch.ended(process), end);
        assert!(watch.watched().is_empty());
        child.wait().unwrap();
    }
}
