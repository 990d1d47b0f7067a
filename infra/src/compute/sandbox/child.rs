//! What happens between fork and exec: the child leaves the gateway, and becomes the user. Knows no
//! bwrap.
//!
//! It runs in a copy of a process that had other threads: nothing here may allocate or lock.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, mount, mount_change, move_mount,
};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Descriptors that a program gets unasked; it may raise this itself up to [`NOFILE_MAX`].
const NOFILE: u64 = 1024;
/// And the most that it can have.
const NOFILE_MAX: u64 = 65_536;

/// Where a root gateway's child shows bwrap what the user's own uid could not reach by its path.
const STAGE: &std::ffi::CStr = c"/tmp";
pub(super) const STAGED_HOME: &str = "/tmp/home";
pub(super) const STAGED_DIAL: &str = "/tmp/gw";
pub(super) const STAGED_BRIDGE: &str = "/tmp/bridge";

/// What a child does between fork and exec.
pub(super) struct Child {
    pub(super) entrances: Vec<RawFd>,
    pub(super) inherited: Vec<RawFd>,
    /// The most memory of its own that each process may have, where nothing limits all together.
    pub(super) data: Option<u64>,
    pub(super) stage: Option<Stage>,
}

/// What a root gateway's child does besides.
pub(super) struct Stage {
    pub(super) trees: [RawFd; 3],
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Child {
    /// Leaves everything that would tie the sandbox to the gateway, and takes up what is its own.
    /// Runs in a copy of a process that had other threads: nothing here may allocate or lock.
    pub(super) fn prepare(&self) -> io::Result<()> {
        for &entrance in &self.entrances {
            rustix::io::write(borrow(entrance), b"0")?;
        }
        rustix::process::setsid()?;
        reset_signals();
        if let Some(data) = self.data {
            let limit = Rlimit { current: Some(data), maximum: Some(data) };
            rustix::process::setrlimit(Resource::Data, limit)?;
        }
        // A gateway that the kernel spares must not lend that to its sandboxes; where it may not
        // be written it is what every process has.
        if let Ok(score) =
            rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY, Mode::empty())
        {
            let _ = rustix::io::write(&score, b"0");
        }
        // Keys belong to no namespace: without this the gateway's would be the sandbox's. Where
        // the kernel has no keys there is nothing to lend.
        const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
        // SAFETY: a null name asks for a new keyring; no memory of this process is touched.
        #[allow(unsafe_code)]
        unsafe {
            libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        if let Some(stage) = &self.stage {
            stage.set()?;
        }
        close_all_on_exec();
        for &fd in &self.inherited {
            rustix::io::fcntl_setfd(borrow(fd), rustix::io::FdFlags::empty())?;
        }
        // Last: the gateway's descriptors are still open here, and where there are more of them
        // than a sandbox may have, nothing could be opened any more.
        bound_descriptors()
    }
}

impl Stage {
    /// Shows bwrap the three things at paths that anybody may walk, in a mount namespace that
    /// nobody else is in, and becomes the user.
    fn set(&self) -> io::Result<()> {
        // SAFETY: only the mount namespace is unshared, no descriptors or memory.
        #[allow(unsafe_code)]
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)?;
        }
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"tmpfs", STAGE, c"tmpfs", flags, Some(c"mode=0755,size=64k,nr_inodes=16"))?;
        rustix::fs::mkdir(c"/tmp/home", Mode::from_raw_mode(0o755))?;
        rustix::fs::mkdir(c"/tmp/gw", Mode::from_raw_mode(0o755))?;
        drop(rustix::fs::open(
            c"/tmp/bridge",
            OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o644),
        )?);
        for (tree, to) in self.trees.iter().zip([c"/tmp/home", c"/tmp/gw", c"/tmp/bridge"]) {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(borrow(*tree), c"", CWD, to, flags)?;
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

/// A gateway that was started in the background ignores SIGINT: inherited, Ctrl-C would be dead in
/// every sandbox.
fn reset_signals() {
    const SIGNALS: libc::c_int = 64;
    // SAFETY: the default action is no code of ours, and an empty set is a valid mask. A refusal
    // (KILL, STOP, what libc keeps for itself) changes nothing.
    #[allow(unsafe_code)]
    unsafe {
        for signal in 1..=SIGNALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn bound_descriptors() -> io::Result<()> {
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let maximum = hard.unwrap_or(NOFILE_MAX).min(NOFILE_MAX);
    let limit = Rlimit { current: Some(NOFILE.min(maximum)), maximum: Some(maximum) };
    rustix::process::setrlimit(Resource::Nofile, limit)?;
    let core = rustix::process::getrlimit(Resource::Core);
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), ..core })?;
    Ok(())
}

/// Whatever a library left open without saying so does not reach the sandbox.
fn close_all_on_exec() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: only marks descriptors of this process; the memory of none is touched.
    #[allow(unsafe_code)]
    let marked = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if marked == 0 {
        return;
    }
    // Kernels before 5.11: one by one, as far as this process may have had any.
    let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(NOFILE_MAX);
    for fd in 3..most.min(NOFILE_MAX) as RawFd {
        let _ = rustix::io::fcntl_setfd(borrow(fd), rustix::io::FdFlags::CLOEXEC);
    }
}

/// A descriptor that was opened before the fork and stays open until exec.
fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the child of a fork has every descriptor that its parent had, and closes none; a
    // number that is not open is refused by the kernel.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(fd)
    }
}
