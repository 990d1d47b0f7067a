//! What the bridge does to itself and to what it starts, so that neither can harm the other or the
//! machine. Does not know what is started, and never claims a protection that the kernel refused.

mod landlock;
mod report;
mod seccomp;

use std::io;
use std::path::PathBuf;

pub use report::ConfinementReport;

/// Descriptors that a program may raise its own limit to. What it gets unasked, and how many
/// processes and how much memory there may be, is up to whoever started the task.
const OPEN_FILES_MAX: u64 = 65_536;

/// Where the kernel keeps how readily a process is killed when memory runs out.
const OOM_SCORE_ADJ: &std::ffi::CStr = c"/proc/self/oom_score_adj";

/// The score of what the bridge starts: killed before anything that has kept the usual 0.
const OOM_SCORE: &[u8] = b"500";

/// The last signal that there is.
const LAST_SIGNAL: libc::c_int = 64;

/// The size of the kernel's set of signals, one bit each.
const SIGNAL_SET_BYTES: usize = 8;

/// Protects the calling process from what it will start. First thing in `main`.
///
/// Nobody of the same uid can trace it, read its memory or its `/proc/self/environ`; it leaves no
/// core; what it creates is its own; no signal disposition inherited as ignored is passed on.
///
/// # Errors
/// The kernel's, for the first step that it refuses.
#[allow(unsafe_code)]
pub fn protect_self() -> io::Result<()> {
    // SAFETY: prctl with PR_SET_DUMPABLE takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    set_limit(libc::RLIMIT_CORE, 0)?;
    // SAFETY: umask only sets the process's mask and cannot fail.
    unsafe { libc::umask(0o077) };
    // The bridge itself keeps SIGPIPE ignored, as the runtime set it: a program that closes its
    // stdin is an error of that write, not the bridge's end.
    reset_signals(Some(libc::SIGPIPE))
}

/// Lets the kernel kill a program that was started, and all that it starts, before the bridge when
/// memory runs out. For the parent, once `spawn` has returned: between fork and exec a child of a
/// protected process is protected too, so that only root can change its score there.
///
/// # Errors
/// The kernel's: the process is gone, or is another uid's, or /proc is not there.
pub fn raise_oom_score(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE)
}

/// What is laid on a program between fork and exec. Built once in the parent, where allocating is
/// allowed.
pub struct Confinement {
    landlock: landlock::Fence,
    filters: seccomp::Filters,
}

impl Confinement {
    /// Prepares the confinement of programs that may write only under `writable`, `/tmp`, `/dev`
    /// and to `/proc` (where the kernel guards each process's own). Paths that are not there are
    /// left out and counted in the report.
    #[must_use]
    pub fn prepare(writable: &[PathBuf]) -> Self {
        Self { landlock: landlock::Fence::prepare(writable), filters: seccomp::Filters::prepare() }
    }

    /// Confines the calling process and all that it will start. Async-signal-safe: for the child,
    /// after fork and before exec. Nothing of it can be taken back.
    ///
    /// # Errors
    /// The kernel's. The child must not exec then.
    pub fn apply_in_child(&self) -> io::Result<()> {
        raise_own_oom_score();
        reset_signals(None)?;
        set_no_new_privs()?;
        set_limit(libc::RLIMIT_CORE, 0)?;
        set_limit(libc::RLIMIT_NOFILE, OPEN_FILES_MAX)?;
        self.landlock.restrict_self()?;
        self.filters.install()
    }

    /// What takes effect, for the log and the gateway.
    #[must_use]
    pub fn report(&self) -> ConfinementReport {
        ConfinementReport::new(&self.landlock, &self.filters)
    }
}

/// The child's own attempt at [`raise_oom_score`], ahead of everything that it starts. It succeeds as
/// root, and fails without harm elsewhere.
#[allow(unsafe_code)]
fn raise_own_oom_score() {
    // SAFETY: the path is NUL-terminated and static; the descriptor is used and closed here only.
    unsafe {
        let file = libc::open(OOM_SCORE_ADJ.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
            libc::close(file);
        }
    }
}

#[allow(unsafe_code)]
fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: prctl with PR_SET_NO_NEW_PRIVS takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Gives every ignored signal but `except` its default disposition and blocks none: what was ignored
/// when the bridge started (`nohup … &`) would stay ignored through exec, and Ctrl-C dead in every
/// session.
#[allow(unsafe_code)]
fn reset_signals(except: Option<libc::c_int>) -> io::Result<()> {
    // By raw system calls: the C library keeps two signals to itself, and would leave them ignored.
    let all = (1..=LAST_SIGNAL).filter(|signal| Some(*signal) != except);
    for signal in all {
        let (default, mut now) = ([0_u64; 4], [0_u64; 4]);
        // SAFETY: both are as large as the kernel's `sigaction`, whose first word is the
        // disposition and whose zeros are the default one; KILL and STOP are never ignored.
        unsafe {
            let set = |new: *const u64, old: *mut u64| {
                libc::syscall(libc::SYS_rt_sigaction, signal, new, old, SIGNAL_SET_BYTES)
            };
            if set(std::ptr::null(), now.as_mut_ptr()) == 0 && now[0] == libc::SIG_IGN as u64 {
                set(default.as_ptr(), std::ptr::null_mut());
            }
        }
    }
    let none = 0_u64;
    // SAFETY: the kernel reads as many bytes as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut::<u64>(),
            SIGNAL_SET_BYTES,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lowers a hard limit, and with it the soft one where that is higher.
fn set_limit(resource: Resource, most: u64) -> io::Result<()> {
    let mut limit = limit(resource)?;
    limit.rlim_max = limit.rlim_max.min(most);
    limit.rlim_cur = limit.rlim_cur.min(limit.rlim_max);
    // SAFETY: the kernel reads one limit, which lives through the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn limit(resource: Resource) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one limit, which lives through the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

/// The most that there may be of something; `None` where nothing says so.
fn most(resource: Resource) -> Option<u64> {
    limit(resource).ok().map(|limit| limit.rlim_max).filter(|most| *most != libc::RLIM_INFINITY)
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
