//! Every process that descends from the bridge, as /proc shows it: what they use, and their end.
//! Knows nothing of terminals.

use std::fs::{self, File};
use std::io::{self, Read};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The processes below the bridge.
#[derive(Debug, Clone, Copy)]
pub struct Processes {
    own: i32,
    /// Whether everything in sight descends from the bridge: it is pid 1 of a namespace of its own.
    all_are_ours: bool,
    tick_ms: u64,
    page: u64,
}

/// What they use, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many there are.
    pub processes: u32,
    /// Processor time so far, of those that are gone as well, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Whether it has ended, and nobody has asked how.
    pub zombie: bool,
    /// Processor time, its own and that of children whose end was asked for, in clock ticks.
    pub ticks: u64,
    /// Resident memory, in pages.
    pub pages: u64,
}

impl Processes {
    /// Makes the bridge the one to whom orphans below it fall.
    ///
    /// # Errors
    /// The kernel's.
    pub fn adopt_orphans() -> io::Result<Self> {
        let own = std::process::id() as i32;
        if own != 1 {
            set_subreaper()?;
        }
        let [tick, page] = [libc::_SC_CLK_TCK, libc::_SC_PAGESIZE].map(configured);
        Ok(Self { own, all_are_ours: own == 1, tick_ms: 1000 / tick.clamp(1, 1000), page })
    }

    /// Sends KILL to every one. Tells whether there was any.
    pub fn kill_all(&self) -> bool {
        if self.all_are_ours {
            // As pid 1 this reaches every process of the namespace but the bridge itself.
            return kill(Pid::from_raw(-1), Signal::SIGKILL).is_ok();
        }
        let mut any = false;
        for process in self.below().iter().filter(|process| !process.zombie) {
            any |= kill(Pid::from_raw(process.pid), Signal::SIGKILL).is_ok();
        }
        any
    }

    /// Reaps one process that has ended: its pid and how; `None` where there is none now.
    #[must_use]
    pub fn reap(&self) -> Option<(i32, WaitStatus)> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..))) => {
                    return Some((pid.as_raw(), status));
                }
                Ok(WaitStatus::StillAlive) => return None,
                Err(nix::errno::Errno::EINTR) | Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// What they use now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let below = self.below();
        let ticks: u64 = below.iter().map(|process| process.ticks).sum();
        let pages: u64 = below.iter().map(|process| process.pages).sum();
        Usage {
            processes: below.len() as u32,
            cpu_ms: ticks * self.tick_ms + reaped_cpu_ms(),
            memory: pages * self.page,
        }
    }

    fn below(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let mut line = [0; 1024];
        let all = pids.filter_map(|pid| {
            // Gone in the meantime, or not ours to see.
            let len = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
            Process::parse(&String::from_utf8_lossy(&line[..len]))
        });
        let mut all: Vec<_> = all.filter(|process| process.pid != self.own).collect();
        if !self.all_are_ours {
            keep_descendants(&mut all, self.own);
        }
        all
    }
}

impl Process {
    /// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name in it is the process's own choice, and
    /// may hold spaces and parentheses.
    #[must_use]
    pub fn parse(stat: &str) -> Option<Self> {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        // The state is field 3 of the whole line and the first here.
        let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<i64>().ok());
        let ticks = [14, 15, 16, 17].into_iter().map(|n| field(n).unwrap_or(0).max(0) as u64).sum();
        Some(Self {
            pid,
            parent: field(4)? as i32,
            zombie: fields.first() == Some(&"Z"),
            ticks,
            pages: field(24)?.max(0) as u64,
        })
    }
}

fn keep_descendants(all: &mut Vec<Process>, root: i32) {
    let mut ours = vec![root];
    let mut next = 0;
    while let Some(&parent) = ours.get(next) {
        ours.extend(all.iter().filter(|p| p.parent == parent).map(|p| p.pid));
        next += 1;
    }
    all.retain(|process| ours.contains(&process.pid));
}

#[allow(unsafe_code)]
fn set_subreaper() -> io::Result<()> {
    // SAFETY: prctl with PR_SET_CHILD_SUBREAPER takes integers only.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(unsafe_code)]
fn configured(name: i32) -> u64 {
    // SAFETY: sysconf takes an integer and returns one.
    unsafe { libc::sysconf(name) }.max(1) as u64
}

fn reaped_cpu_ms() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0 };
    let ms =
        |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1000 + time.tv_usec() as u64 / 1000;
    ms(usage.user_time()) + ms(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) S 9 ) (x) Z 7 42 42 0 -1 4 1 2 3 4 10 20 30 40 20 0 1 0 99 1000 55 18446744073709551615";
        let process = Process::parse(stat).unwrap();
        let expected = Process { pid: 42, parent: 7, zombie: true, ticks: 100, pages: 55 };
        assert_eq!(process, expected);
        for broken in ["", "42", "42 (a", "42 (a)", "x (a) S 1"] {
            assert_eq!(Process::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn only_descendants_are_kept_in_whatever_order_they_come() {
        let process = |pid, parent| Process { pid, parent, zombie: false, ticks: 0, pages: 0 };
        let mut all = vec![process(30, 20), process(20, 10), process(40, 1), process(50, 40)];
        keep_descendants(&mut all, 10);
        assert_eq!(all.iter().map(|p| p.pid).collect::<Vec<_>>(), [30, 20]);
    }
}
