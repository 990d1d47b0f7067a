//! The removal of a directory with all that is in it, however deep a hostile program has made it: in
//! as much memory and with as many descriptors for any tree. Knows no volume.
//!
//! The tree is moved into a directory of its own, and every directory that is not empty is moved up to
//! beside it before it is emptied in its turn. What was left when the process ended is found there
//! by the next removal of the same name.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, chmod, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::OPEN_DIRECTORY;

/// Begins the name of a place where a tree is taken apart; no key begins so.
const PLACE: &str = ".old-";

/// Removes `name` in `root`, if it is there, and what an earlier removal of it has left.
pub(super) fn remove(root: &OwnedFd, name: &str) -> io::Result<()> {
    let place_name = format!("{PLACE}{name}");
    match mkdirat(root, &place_name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let place = openat(root, &place_name, OPEN_DIRECTORY, Mode::empty())?;
    lift(root, name, &place)?;
    while let Some(child) = first(&place)? {
        take_apart(&place, &child)?;
    }
    match unlinkat(root, &place_name, AtFlags::REMOVEDIR) {
        // Somebody else removes it too.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory of the place, or at least all in it but directories that are lifted out.
fn take_apart(place: &OwnedFd, name: &CStr) -> io::Result<()> {
    let opened = match open(place, name) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match unlinkat(&opened, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            // A directory: the first is what Linux says, the second what others say.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        match unlinkat(&opened, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                // To move a directory takes the right to write to it.
                open(&opened, name).map(drop)?;
                lift(&opened, name, place)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    match unlinkat(place, name, AtFlags::REMOVEDIR) {
        // Not empty: some of it was not shown while it was being changed, and is next time.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory, and opens it up where its owner has locked themselves out.
fn open(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OPEN_DIRECTORY.union(OFlags::PATH);
    let held = openat(parent, name, flags, Mode::empty())?;
    // By way of /proc, because one that may not be read cannot be opened otherwise.
    chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::RWXU)?;
    openat(parent, name, OPEN_DIRECTORY, Mode::empty())
}

/// Moves an entry into the place, under a name that nothing there has.
fn lift(from: &OwnedFd, name: impl rustix::path::Arg + Copy, place: &OwnedFd) -> io::Result<()> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let new = format!("{:032x}", u128::from_ne_bytes(random));
    match rustix::fs::renameat_with(from, name, place, new, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn first(directory: &OwnedFd) -> io::Result<Option<std::ffi::CString>> {
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use rustix::fs::CWD;

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let root = openat(CWD, directory.path(), OPEN_DIRECTORY, Mode::empty()).unwrap();
        (directory, root)
    }

    fn names(at: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(at).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_tree_goes_with_its_links_and_locked_folders_and_nothing_else_does() {
        let (directory, root) = root();
        let at = directory.path();
        std::fs::create_dir_all(at.join("ada/a/b/c")).unwrap();
        std::fs::create_dir_all(at.join("ada/empty")).unwrap();
        std::fs::create_dir(at.join("other")).unwrap();
        for file in ["ada/file", "ada/a/file", "ada/a/b/c/file", "other/file"] {
            std::fs::write(at.join(file), "").unwrap();
        }
        symlink(at.join("other"), at.join("ada/a/link")).unwrap();
        for locked in ["ada/a/b", "ada/a", "ada/empty"] {
            let nothing = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(at.join(locked), nothing).unwrap();
        }
        remove(&root, "ada").unwrap();
        assert_eq!(names(at), ["other"]);
        assert_eq!(names(&at.join("other")), ["file"]);
        remove(&root, "ada").unwrap();
        assert_eq!(names(at), ["other"]);
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes() {
        const DEPTH: usize = 5000;
        let (directory, root) = root();
        let mut deepest = root.try_clone().unwrap();
        for _ in 0..DEPTH {
            mkdirat(&deepest, "ada", Mode::RWXU).unwrap();
            deepest = openat(&deepest, "ada", OPEN_DIRECTORY, Mode::empty()).unwrap();
        }
        remove(&root, "ada").unwrap();
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_an_earlier_removal_left_goes_with_the_next() {
        let (directory, root) = root();
        let at = directory.path();
        std::fs::create_dir_all(at.join(".old-ada/00/a/b")).unwrap();
        std::fs::create_dir_all(at.join(".old-bob/00")).unwrap();
        std::fs::create_dir(at.join("ada")).unwrap();
        remove(&root, "ada").unwrap();
        assert_eq!(names(at), [".old-bob"]);
    }
}
