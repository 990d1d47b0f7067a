//! A program on a terminal, read and written from async code. Knows nothing of what it prints.

use std::io::{Error, Result};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::unistd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The terminal's size, in cells: that of one that nobody has measured.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// The gateway's end of a terminal.
#[derive(Debug)]
pub struct Master(AsyncFd<OwnedFd>);

/// Gives every signal its default action again. What is ignored stays so across exec, and a process
/// started in the background of a script has SIGINT ignored: its shells could not be interrupted.
/// For between fork and exec: it only makes system calls.
#[allow(unsafe_code)]
pub fn default_signals() {
    // SAFETY: both calls are async-signal-safe, and touch no memory but the set on this stack.
    unsafe {
        for number in 1..32 {
            // Refused for SIGKILL and SIGSTOP, which need none of this.
            libc::signal(number, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Runs a program on a new terminal of 80 × 24 cells that controls it.
///
/// # Errors
/// The operating system's.
#[allow(unsafe_code)]
pub fn spawn(mut command: Command) -> Result<(Master, Child)> {
    let pty = openpty(Some(&SIZE), None)?;
    for end in [&pty.master, &pty.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR))?;
    command
        .stdin(Stdio::from(pty.slave.try_clone()?))
        .stdout(Stdio::from(pty.slave.try_clone()?))
        .stderr(Stdio::from(pty.slave));
    // SAFETY: the closure only makes system calls that are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            default_signals();
            unistd::setsid()?;
            if libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    // SAFETY: the descriptor is the registration's own, and is closed only with it.
    let master = unsafe { AsyncFd::register(pty.master) }?;
    Ok((Master(master), child))
}

impl Master {
    /// Reads once; 0 when the program has gone.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn read(&self, into: &mut [u8]) -> Result<usize> {
        let read = self
            .0
            .async_io(Interest::READABLE, |fd| unistd::read(fd, into).map_err(Error::from))
            .await;
        match read {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(0),
            read => read,
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written = self
                .0
                .async_io(Interest::WRITABLE, |fd| unistd::write(fd, bytes).map_err(Error::from))
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}
