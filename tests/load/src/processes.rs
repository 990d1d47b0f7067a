//! Starting, stopping and accounting for the processes of a system.
//!
//! What counts: the processes started here and their descendants, except those with a controlling
//! terminal, which are the shells and what runs in them. Knows no gateway.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, setsid, sysconf};
use shellgate_load::pty;
use tokio::time::{Duration, Instant};

/// How long a process may take to open its port.
const READY: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(20);

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What clients talk to.
    Gateway,
    /// What owns a session's terminal.
    Bridge,
    /// What stands around it: the engine of the sandbox.
    Sandbox,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Bridge, Self::Sandbox];

    /// As it stands in a metric's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Bridge => "bridge",
            Self::Sandbox => "sandbox",
        }
    }
}

/// What a system has used, by role.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    cpu_s: BTreeMap<Role, f64>,
    memory: BTreeMap<Role, f64>,
}

impl Usage {
    /// Whether there are processes of this role.
    pub fn has(&self, role: Role) -> bool {
        self.cpu_s.contains_key(&role)
    }

    /// Seconds of processor time since `before`.
    pub fn cpu_since(&self, before: &Self, role: Role) -> f64 {
        let of = |usage: &Self| usage.cpu_s.get(&role).copied().unwrap_or(0.0);
        of(self) - of(before)
    }

    /// Bytes of memory: each shared page in equal parts for all who share it.
    pub fn memory(&self, role: Role) -> f64 {
        self.memory.get(&role).copied().unwrap_or(0.0)
    }

    /// The same of all roles together.
    pub fn all_cpu_since(&self, before: &Self) -> f64 {
        Role::ALL.iter().map(|role| self.cpu_since(before, *role)).sum()
    }

    /// The same of all roles together.
    pub fn all_memory(&self) -> f64 {
        self.memory.values().sum()
    }
}

/// Processes that are looked at while others are measured, at little cost.
pub struct Watched(Vec<(u32, Role)>);

impl Watched {
    /// The memory that they have and no file stands behind: to know that, the kernel walks no page
    /// tables.
    pub fn private_memory(&self) -> Usage {
        let mut usage = Usage::default();
        for (pid, role) in &self.0 {
            let bytes = field(*pid, "status", "RssAnon:").unwrap_or(0.0);
            *usage.memory.entry(*role).or_default() += bytes;
        }
        usage
    }
}

/// Processes that were started here, and all that they start.
#[derive(Default)]
pub struct Family {
    roots: Mutex<Vec<(Child, Role)>>,
}

#[derive(Debug, Clone)]
struct Stat {
    parent: u32,
    terminal: i64,
    ticks: u64,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name may hold spaces and brackets: counting starts after the last one.
        let fields: Vec<&str> = text[text.rfind(')')? + 2..].split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: number(1)?.try_into().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            started: number(19)?,
        })
    }

    fn all() -> HashMap<u32, Self> {
        let Ok(directory) = fs::read_dir("/proc") else { return HashMap::new() };
        directory
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, Self::of(pid)?)))
            .collect()
    }
}

/// Seconds of processor time. The scheduler's own count of each thread is exact, but forgets
/// threads that have ended; the ticks of the process are coarse, but forget nothing.
fn cpu_s(pid: u32, ticks: u64) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let exact: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    (exact as f64 / 1e9).max(ticks as f64 / per_second)
}

/// Proportional set size in bytes. Of a process that does not let itself be looked at, to who is
/// not root: its private memory, which is all but what it shares with others of its kind.
fn memory(pid: u32) -> f64 {
    field(pid, "smaps_rollup", "Pss:").or_else(|| field(pid, "status", "RssAnon:")).unwrap_or(0.0)
}

/// A line of a process's file that gives KiB, in bytes.
fn field(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_ascii_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

fn role_of(pid: u32, inherited: Role) -> Role {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|&byte| byte == 0).next().unwrap_or_default();
    if first.ends_with(b"bwrap") {
        Role::Sandbox
    } else if first.ends_with(b"/bridge") || line.split(|&b| b == 0).nth(1) == Some(b"bridge") {
        Role::Bridge
    } else {
        inherited
    }
}

impl Family {
    /// Starts a process in a session of its own, with nothing to read, and its words in `log`.
    #[allow(unsafe_code)]
    pub fn start(&self, role: Role, mut command: Command, log: &Path) -> Result<()> {
        let log = File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: both make system calls only, which are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                pty::default_signals();
                setsid()?;
                Ok(())
            });
        }
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("running {}", program.display()))?;
        self.lock().push((child, role));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Child, Role)>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this port of this machine takes connections.
    pub async fn listens(&self, address: std::net::SocketAddr, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            let words = || fs::read_to_string(log).unwrap_or_default();
            for (child, _) in self.lock().iter_mut() {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended ({status}) before it served {address}:\n{}", words());
                }
            }
            if Instant::now() >= deadline {
                bail!("nobody serves {address} after {READY:?}:\n{}", words());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every process with its role, its children after it.
    fn members(&self, shells: bool) -> Vec<(u32, Role, Stat)> {
        let stats = Stat::all();
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, stat) in &stats {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let mut stack: Vec<_> =
            self.lock().iter().map(|(child, role)| (child.id(), *role, true)).collect();
        let (mut seen, mut members) = (HashSet::new(), Vec::new());
        while let Some((pid, inherited, root)) = stack.pop() {
            let Some(stat) = stats.get(&pid) else { continue };
            if (stat.terminal != 0 && !shells) || !seen.insert(pid) {
                continue;
            }
            let role = if root { inherited } else { role_of(pid, inherited) };
            let below = children.get(&pid).into_iter().flatten();
            stack.extend(below.map(|child| (*child, role, false)));
            members.push((pid, role, stat.clone()));
        }
        members
    }

    /// What they have used so far; memory only where asked for, because looking at it takes long.
    pub fn usage(&self, with_memory: bool) -> Usage {
        let mut usage = Usage::default();
        for (pid, role, stat) in self.members(false) {
            *usage.cpu_s.entry(role).or_default() += cpu_s(pid, stat.ticks);
            if with_memory {
                *usage.memory.entry(role).or_default() += memory(pid);
            }
        }
        usage
    }

    /// Those that are there now, shells left out.
    pub fn watched(&self) -> Watched {
        Watched(self.members(false).into_iter().map(|(pid, role, _)| (pid, role)).collect())
    }

    /// Asks those that were started here to end, waits, and kills what is left with all of its
    /// descendants.
    pub fn stop(&self, ask: Signal, patience: Duration) {
        // Remembered with their start times, so that an id that was given again is left alone.
        let members = self.members(true);
        let mut roots = self.lock();
        for (child, _) in roots.iter() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), ask);
        }
        let deadline = Instant::now() + patience;
        let ended = |(child, _): &mut (Child, Role)| !matches!(child.try_wait(), Ok(None));
        while Instant::now() < deadline && !roots.iter_mut().all(ended) {
            std::thread::sleep(LOOK);
        }
        let kill_all = || {
            let lives = |pid, started| Stat::of(pid).is_some_and(|stat| stat.started == started);
            let left = members.iter().filter(|(pid, _, stat)| lives(*pid, stat.started));
            left.filter(|(pid, ..)| kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_ok())
                .count()
        };
        kill_all();
        for (mut child, _) in roots.drain(..) {
            let _ = child.wait();
        }
        let deadline = Instant::now() + patience;
        while kill_all() > 0 && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.stop(Signal::SIGKILL, Duration::from_secs(3));
    }
}

/// Processor time of the generator itself, in seconds.
pub fn own_cpu_s() -> f64 {
    let pid = std::process::id();
    Stat::of(pid).map_or(0.0, |stat| cpu_s(pid, stat.ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_counted_and_ends_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let family = Family::default();
        let mut command = Command::new("/bin/sh");
        let ready = place.path().join("ready");
        let script = format!("sleep 30 & echo > {}; wait", ready.display());
        command.args(["-c", &script]);
        family.start(Role::Gateway, command, &place.path().join("log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ready.exists() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let members = family.members(true);
        assert_eq!(members.len(), 2);
        assert!(family.usage(true).memory(Role::Gateway) > 0.0);
        family.stop(Signal::SIGTERM, Duration::from_secs(5));
        for (pid, _, stat) in members {
            assert!(Stat::of(pid).is_none_or(|now| now.started != stat.started));
        }
    }
}
