//! What of the host a sandbox sees besides /usr: one home, one directory with a socket, one
//! program. Checks and holds them; mounts nothing.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawMode};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::geteuid;

use super::command::Source;
use super::launch::Order;
use super::record::io_error;
use crate::compute::ComputeError;

/// What of the host is seen inside, held open: its names can change from here on.
pub(super) struct View {
    pub(super) home: OwnedFd,
    pub(super) dial_directory: OwnedFd,
    pub(super) bridge: OwnedFd,
    /// Whether these are detached mounts, to be attached where the user's own uid can walk.
    pub(super) is_staged: bool,
}

impl View {
    pub(super) fn open(order: &Order<'_>) -> Result<Self, ComputeError> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut view = Self {
            home: open(order.home, directory)?,
            dial_directory: open(order.dial_directory, directory)?,
            bridge: open(order.bridge, OFlags::PATH | OFlags::CLOEXEC)?,
            is_staged: false,
        };
        let wrong = |path: &Path, what: &str| {
            Err(ComputeError::BadSpec(format!("{} {what}", path.display())))
        };
        let home = stat(&view.home, order.home)?;
        if home.st_uid != order.uid || home.st_mode as RawMode & 0o777 != 0o700 {
            return wrong(order.home, "is not a directory of this user, and theirs alone (0700)");
        }
        let dial = stat(&view.dial_directory, order.dial_directory)?;
        let needed = match (dial.st_uid == order.uid, dial.st_gid == order.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if dial.st_mode as RawMode & needed == 0 {
            return wrong(order.dial_directory, "cannot be entered by the sandbox: chmod 711 it");
        }
        let bridge = stat(&view.bridge, order.bridge)?;
        if bridge.st_mode as RawMode & libc::S_IFMT != libc::S_IFREG {
            return wrong(order.bridge, "is not a file");
        }
        let needed = if bridge.st_uid == order.uid { 0o500 } else { 0o005 };
        if bridge.st_mode as RawMode & needed != needed {
            let remedy = "cannot be run by the users of sandboxes: chmod 755 it";
            return Err(ComputeError::Unavailable(format!("{} {remedy}", order.bridge.display())));
        }
        if geteuid().is_root() {
            for fd in [&mut view.home, &mut view.dial_directory, &mut view.bridge] {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_EMPTY_PATH;
                *fd = open_tree(&*fd, c"", flags)
                    .map_err(|error| failed("make a mount for a sandbox", error))?;
            }
            view.is_staged = true;
        }
        Ok(view)
    }

    pub(super) fn source(&self, fd: &OwnedFd, staged: &'static str) -> Source {
        if self.is_staged { Source::Path(staged) } else { Source::Descriptor(fd.as_raw_fd()) }
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, ComputeError> {
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|error| failed(&format!("open {}", path.display()), error))
}

fn stat(fd: &OwnedFd, path: &Path) -> Result<rustix::fs::Stat, ComputeError> {
    rustix::fs::fstat(fd).map_err(|error| failed(&format!("look at {}", path.display()), error))
}

fn failed(what: &str, error: rustix::io::Errno) -> ComputeError {
    io_error(what.to_owned())(error.into())
}
