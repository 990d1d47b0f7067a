//! A small disk of a world's own, to be filled. Knows nothing of what lies on it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// What is written at once to fill a disk, in bytes, and at last: the least that takes any space.
const PIECES: [usize; 2] = [64 * 1024, 4096];

/// A disk, mounted for this thread and the processes that it starts. Nobody else sees it.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

/// What fills a disk, until it is dropped.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Disk {
    /// Mounts one of so many bytes on a folder that is made for it.
    ///
    /// # Errors
    /// Where this process may not mount.
    pub(crate) fn mount(at: PathBuf, bytes: u64) -> nix::Result<Self> {
        const NONE: Option<&str> = None;
        std::fs::create_dir(&at).expect("a folder");
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        let options = format!("size={bytes},mode=0700");
        mount(NONE, &at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self { at })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still has a file on it keeps that.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

impl Ballast {
    /// Takes all the space that is left on the disk of a folder.
    pub(crate) fn fill(folder: &Path) -> Self {
        let path = folder.join("ballast");
        let mut file = File::create(&path).expect("a disk has room for a name");
        for piece in PIECES {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        Self { path }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Gone with its disk, where that is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}
