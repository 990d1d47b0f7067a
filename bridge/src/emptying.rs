//! The emptying of a removed user's home, which is all that its task does: it mounts the home and dials
//! nobody. In as much memory and with as many descriptors for any tree, however deep a hostile
//! program has made it, and never by way of a link. Knows no gateway.
//!
//! A directory that is not empty is moved up to the top before it is emptied in its turn. What a task
//! that was cut off has left is deleted by the next.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A directory that is one itself, not a link to one.
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// Deletes all that is in a directory, and leaves the directory; tells how many entries it had.
///
/// # Errors
/// Where something cannot be deleted. What could be is.
pub fn empty(path: &Path) -> io::Result<u64> {
    let top = open(CWD, path)?;
    let mut deleted = 0;
    loop {
        let (mut is_empty, mut moved, mut failure) = (true, false, None);
        let before = deleted;
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            if is_itself(entry.file_name()) {
                continue;
            }
            is_empty = false;
            let taken = match delete(top.as_fd(), entry.file_name()) {
                Ok(true) => {
                    deleted += 1;
                    Ok(false)
                }
                Ok(false) => take_apart(top.as_fd(), entry.file_name(), &mut deleted),
                Err(error) => Err(error),
            };
            match taken {
                Ok(any) => moved |= any,
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        if is_empty {
            return Ok(deleted);
        }
        if deleted == before && !moved {
            let silent = || io::Error::other("what is left neither goes nor says why");
            return Err(failure.unwrap_or_else(silent));
        }
    }
}

/// Deletes a file or an empty directory; `false` where it is a directory that has something in it.
fn delete(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let refused = match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // A directory: the first is what Linux says, the second what others say.
        Err(refused @ (Errno::ISDIR | Errno::PERM)) => refused,
        Err(error) => return Err(error.into()),
    };
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        // It is none, and may not go.
        Err(Errno::NOTDIR) => Err(refused.into()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes all in a directory at the top but the directories in it that are not empty: those it moves to
/// the top, and tells whether there were any.
fn take_apart(top: BorrowedFd<'_>, name: &CStr, deleted: &mut u64) -> io::Result<bool> {
    let opened = open(top, name)?;
    let (mut moved, mut failure) = (false, None);
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let inner = entry.file_name();
        if is_itself(inner) {
            continue;
        }
        match delete_or_move(opened.as_fd(), inner, top) {
            Ok(true) => *deleted += 1,
            Ok(false) => moved = true,
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    // Where some of it was not shown while it was being changed, it is the next time.
    *deleted += u64::from(delete(top, name)?);
    match failure {
        Some(error) if !moved => Err(error),
        Some(_) | None => Ok(moved),
    }
}

/// Deletes an entry; `false` where it is a directory that has something in it, and is at the top now.
fn delete_or_move(parent: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> io::Result<bool> {
    if delete(parent, name)? {
        return Ok(true);
    }
    // To move a directory takes the right to write to it.
    drop(open(parent, name)?);
    renameat(parent, name, top, new_name()?)?;
    Ok(false)
}

fn is_itself(name: &CStr) -> bool {
    name == c"." || name == c".."
}

/// Opens a directory, and opens it up where its owner has locked themselves out.
fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let held = openat(parent, name, DIRECTORY.union(OFlags::PATH), Mode::empty())?;
    // By way of /proc, because one that may not be read cannot be opened otherwise.
    chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::RWXU)?;
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// A name that nothing has. (NFS, which EFS is, knows no renaming that spares what is there.)
fn new_name() -> io::Result<String> {
    let mut random = [0; 16];
    if getrandom(&mut random, GetRandomFlags::empty())? < random.len() {
        return Err(io::Error::other("no random numbers"));
    }
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, mkdirat};

    use super::*;

    fn is_empty(directory: &Path) -> bool {
        fs::read_dir(directory).unwrap().next().is_none()
    }

    #[test]
    fn what_cannot_be_deleted_keeps_nothing_else_and_says_why() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path();
        fs::create_dir_all(at.join("a/b")).unwrap();
        for file in ["0", "a/0", "a/b/0", "a/b/kept", "a/z", "z"] {
            fs::write(at.join(file), "").unwrap();
        }
        let kept = fs::File::open(at.join("a/b/kept")).unwrap();
        let Ok(flags) = ioctl_getflags(&kept) else { return println!("left out: no such flags") };
        if let Err(why) = ioctl_setflags(&kept, flags | IFlags::IMMUTABLE) {
            return println!("left out: this process may not make a file immutable ({why})");
        }
        let error = empty(at);
        ioctl_setflags(&kept, flags).unwrap();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let left: Vec<_> = fs::read_dir(at).unwrap().flatten().collect();
        let [directory] = left.as_slice() else { panic!("{left:?}") };
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        empty(at).unwrap();
        assert!(is_empty(at));
    }

    #[test]
    fn a_home_goes_with_its_links_and_locked_folders_and_nothing_else_does() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = home.path();
        fs::create_dir_all(at.join("a/b/c")).unwrap();
        fs::create_dir(at.join("nothing")).unwrap();
        for file in ["file", ".hidden", "a/file", "a/b/c/file"] {
            fs::write(at.join(file), "").unwrap();
        }
        fs::write(other.path().join("file"), "").unwrap();
        symlink(other.path(), at.join("a/link")).unwrap();
        symlink(other.path(), at.join("link")).unwrap();
        for locked in ["a/b", "a", "nothing", "."] {
            fs::set_permissions(at.join(locked), Permissions::from_mode(0o000)).unwrap();
        }
        // Four directories, four files, two links.
        assert_eq!(empty(at).unwrap(), 10);
        assert!(is_empty(at) && !is_empty(other.path()));
        assert_eq!(empty(at).unwrap(), 0);
    }

    #[test]
    fn a_home_deeper_than_any_path_goes() {
        const DEPTH: u64 = 5000;
        let home = tempfile::tempdir().unwrap();
        let mut deepest = open(CWD, home.path()).unwrap();
        for _ in 0..DEPTH {
            mkdirat(&deepest, "down", Mode::RWXU).unwrap();
            deepest = openat(&deepest, "down", DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(empty(home.path()).unwrap(), DEPTH);
        assert!(is_empty(home.path()));
    }

    #[test]
    fn what_is_a_link_or_no_directory_is_not_emptied() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("file"), "").unwrap();
        symlink(other.path(), home.path().join("link")).unwrap();
        assert!(empty(&home.path().join("link")).is_err());
        assert!(empty(&other.path().join("file")).is_err());
        assert!(!is_empty(other.path()));
    }
}
