//! Volumes as directories of this machine, one per key. Knows no sandbox.

mod removal;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, RenameFlags, fstat, openat, renameat_with};
use rustix::process::{getegid, geteuid};

use super::{Removal, VolumeError, VolumeKey, VolumeRef, Volumes};

/// What a home has in it where the operator gives no skeleton.
const BUILT_IN: &[(&str, &str)] = &[
    (
        ".bashrc",
        "# Yours to change: made once, when this home was new.\n\
         case $- in *i*) ;; *) return ;; esac\n\
         HISTCONTROL=ignoreboth\n\
         HISTSIZE=10000\n\
         HISTFILESIZE=20000\n\
         shopt -s histappend checkwinsize\n\
         PS1='\\[\\e[32m\\]\\u\\[\\e[0m\\]:\\[\\e[34m\\]\\w\\[\\e[0m\\]\\$ '\n\
         alias ls='ls --color=auto'\n\
         alias grep='grep --color=auto'\n\
         alias ll='ls -l'\n",
    ),
    (
        ".profile",
        "# Read by login shells.\n\
         if [ -n \"$BASH_VERSION\" ] && [ -f \"$HOME/.bashrc\" ]; then\n    \
             . \"$HOME/.bashrc\"\n\
         fi\n",
    ),
    (
        ".inputrc",
        "$include /etc/inputrc\n\
         set bell-style none\n\
         set enable-bracketed-paste on\n\
         \"\\e[1;5C\": forward-word\n\
         \"\\e[1;5D\": backward-word\n",
    ),
];

/// Entries of a skeleton, its folders' included.
const SKELETON_ENTRIES: usize = 10_000;
/// All its files together, in bytes.
const SKELETON_BYTES: u64 = 256 << 20;
/// How deep its folders lie.
const SKELETON_DEPTH: usize = 32;
/// Begins the name of a volume that is being filled; no key begins so.
const UNFINISHED: &str = ".new-";
/// One that has been filled for longer belongs to nobody who lives.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A directory per key below one root.
#[derive(Debug, Clone)]
pub struct DirectoryVolumes {
    root: PathBuf,
    skeleton: Option<PathBuf>,
}

impl DirectoryVolumes {
    /// Volumes below `root` (made, 0700, where its parent is there), filled from `skeleton`, else
    /// with a few start-up files. Looks at neither yet.
    #[must_use]
    pub fn new(root: PathBuf, skeleton: Option<PathBuf>) -> Self {
        Self { root, skeleton }
    }

    fn ensure_now(&self, key: &VolumeKey, owner: Owner) -> Result<VolumeRef, VolumeError> {
        let root = self.open_root()?;
        let path = self.root.join(key.as_str());
        let volume = || VolumeRef::Directory { path: path.clone(), uid: owner.uid, gid: owner.gid };
        if look(&root, key, &path, owner)? {
            return Ok(volume());
        }
        self.sweep();
        self.make(&root, key, owner)?;
        // Whoever made it: what is there now is looked at like any other.
        match look(&root, key, &path, owner)? {
            true => Ok(volume()),
            false => Err(VolumeError::Unsafe(format!("{} was taken away", path.display()))),
        }
    }

    fn remove_now(&self, key: &VolumeKey, owner: Owner) -> Result<Removal, VolumeError> {
        let root = self.open_root()?;
        // What is not its owner's is not removed.
        look(&root, key, &self.root.join(key.as_str()), owner)?;
        let gone = removal::remove(&root, key.as_str());
        gone.map_err(failed(format!("remove the volume of {key}")))?;
        Ok(Removal::Whole)
    }

    fn open_root(&self) -> Result<OwnedFd, VolumeError> {
        let shown = self.root.display();
        match std::fs::DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(format!("make {shown}"))(error));
            }
            _ => {}
        }
        let root =
            openat(CWD, &self.root, OPEN_DIRECTORY, Mode::empty()).map_err(
                |error| match error {
                    rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => VolumeError::Unsafe(
                        format!("{shown} must be a directory, not a link to one"),
                    ),
                    error => failed(format!("open {shown}"))(error.into()),
                },
            )?;
        let found = fstat(&root).map_err(|e| failed(format!("look at {shown}"))(e.into()))?;
        if found.st_uid != geteuid().as_raw() || found.st_mode as RawMode & 0o022 != 0 {
            return Err(VolumeError::Unsafe(format!(
                "{shown} must be the gateway's, and no others may write to it: chmod 700 it"
            )));
        }
        Ok(root)
    }

    fn make(&self, root: &OwnedFd, key: &VolumeKey, owner: Owner) -> Result<(), VolumeError> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| failed("get random numbers".to_owned())(io::Error::other("none")))?;
        let name = format!("{UNFINISHED}{key}-{:016x}", u64::from_ne_bytes(random));
        let new = self.root.join(&name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&new)
            .map_err(failed(format!("make {}", new.display())))?;
        let made = self.fill(&new, owner).and_then(|()| {
            match renameat_with(root, &name, root, key.as_str(), RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                // Somebody else was faster: theirs is as good.
                Err(rustix::io::Errno::EXIST) => {
                    std::fs::remove_dir_all(&new).map_err(failed(format!("remove {name}")))
                }
                Err(error) => Err(failed(format!("name the volume {key}"))(error.into())),
            }
        });
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&new);
        }
        made
    }

    /// Ours until all of it is there: nobody can change it while it is being filled.
    fn fill(&self, new: &Path, owner: Owner) -> Result<(), VolumeError> {
        match &self.skeleton {
            Some(skeleton) => Copying::default().directory(skeleton, new, 0)?,
            None => {
                for (name, text) in BUILT_IN {
                    std::fs::write(new.join(name), text)
                        .map_err(failed(format!("write {name} of a new volume")))?;
                }
            }
        }
        std::fs::set_permissions(new, std::fs::Permissions::from_mode(0o700))
            .map_err(failed("close a new volume to others".to_owned()))?;
        if geteuid().is_root() {
            give(new, owner).map_err(failed(format!("give a new volume to {}", owner.uid)))?;
        }
        Ok(())
    }

    /// Removes what a gateway that was killed left unfinished.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let changed = entry.metadata().and_then(|found| found.modified());
            let age = changed.map(|at| at.elapsed().unwrap_or_default());
            if unfinished && age.is_ok_and(|age| age > ABANDONED) {
                // Another gateway may sweep too.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Volumes for DirectoryVolumes {
    async fn ensure(
        &self,
        key: &VolumeKey,
        uid: u32,
        known: Option<&VolumeRef>,
    ) -> Result<VolumeRef, VolumeError> {
        let owner = Owner::of(uid)?;
        match known {
            // Wherever it was: the root may have been moved, and the files with it.
            None | Some(VolumeRef::Directory { .. }) => {}
            Some(VolumeRef::AccessPoint { .. }) => return Err(elsewhere(key)),
        }
        let (volumes, key) = (self.clone(), key.clone());
        let done = tokio::task::spawn_blocking(move || volumes.ensure_now(&key, owner)).await;
        done.unwrap_or_else(|e| Err(failed("make a volume".to_owned())(io::Error::other(e))))
    }

    async fn remove(&self, key: &VolumeKey, volume: &VolumeRef) -> Result<Removal, VolumeError> {
        let VolumeRef::Directory { uid, gid, .. } = *volume else { return Err(elsewhere(key)) };
        let owner = Owner { uid, gid };
        let (volumes, key) = (self.clone(), key.clone());
        let done = tokio::task::spawn_blocking(move || volumes.remove_now(&key, owner)).await;
        done.unwrap_or_else(|e| Err(failed("remove a volume".to_owned())(io::Error::other(e))))
    }
}

fn elsewhere(key: &VolumeKey) -> VolumeError {
    VolumeError::Unsafe(format!("the files of {key} are on EFS, not on this machine"))
}

/// As whom a volume's files are kept.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn of(uid: u32) -> Result<Self, VolumeError> {
        match (geteuid().is_root(), uid) {
            (true, 0) => Err(VolumeError::Unsafe("no volume is root's".to_owned())),
            (true, uid) => Ok(Self { uid, gid: uid }),
            (false, _) => Ok(Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }),
        }
    }
}

const OPEN_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whether the key has a volume, and that it is what it must be.
fn look(root: &OwnedFd, key: &VolumeKey, path: &Path, owner: Owner) -> Result<bool, VolumeError> {
    let shown = path.display();
    let found = match rustix::fs::statat(root, key.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        found => found.map_err(|error| failed(format!("look at {shown}"))(error.into()))?,
    };
    let mode = found.st_mode as RawMode;
    let refused = if mode & libc::S_IFMT != libc::S_IFDIR {
        "must be a directory, not a link or a file".to_owned()
    } else if (found.st_uid, found.st_gid) != (owner.uid, owner.gid) {
        format!("belongs to {}:{}, not {}:{}", found.st_uid, found.st_gid, owner.uid, owner.gid)
    } else {
        if mode & 0o777 != 0o700 {
            // Its own user opened it, or locked themselves out, from inside: it is as it was again.
            let flags = OPEN_DIRECTORY.union(OFlags::PATH);
            let mended = openat(root, key.as_str(), flags, Mode::empty()).and_then(|held| {
                // By way of /proc, because one that may not be read cannot be opened otherwise.
                let path = format!("/proc/self/fd/{}", held.as_raw_fd());
                rustix::fs::chmod(path, Mode::RWXU)
            });
            mended.map_err(|error| failed(format!("chmod 700 {shown}"))(error.into()))?;
        }
        return Ok(true);
    };
    Err(VolumeError::Unsafe(format!("the volume {shown} {refused}")))
}

/// A skeleton's way into a new volume, held to its bounds.
#[derive(Default)]
struct Copying {
    entries: usize,
    bytes: u64,
}

impl Copying {
    fn directory(&mut self, from: &Path, to: &Path, depth: usize) -> Result<(), VolumeError> {
        let shown = from.display();
        let entries = std::fs::read_dir(from).map_err(failed(format!("read {shown}")))?;
        for entry in entries {
            let entry = entry.map_err(failed(format!("read {shown}")))?;
            self.entries += 1;
            if self.entries > SKELETON_ENTRIES || depth >= SKELETON_DEPTH {
                let most = format!("{SKELETON_ENTRIES} entries, {SKELETON_DEPTH} deep");
                return Err(VolumeError::Unsafe(format!("the skeleton {shown} is over {most}")));
            }
            self.entry(&entry.path(), &to.join(entry.file_name()), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path, depth: usize) -> Result<(), VolumeError> {
        let shown = from.display();
        let copying = || failed(format!("copy {shown}"));
        let found = std::fs::symlink_metadata(from).map_err(copying())?;
        // Whatever the skeleton allows to others: a home is its user's.
        let mode = found.permissions().mode() & 0o755;
        if found.is_dir() {
            std::fs::DirBuilder::new().mode(0o700).create(to).map_err(copying())?;
            self.directory(from, to, depth + 1)?;
            return std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode | 0o700))
                .map_err(copying());
        }
        if found.is_symlink() {
            let target = std::fs::read_link(from).map_err(copying())?;
            return symlink(target, to).map_err(copying());
        }
        if !found.is_file() {
            return Err(VolumeError::Unsafe(format!(
                "{shown}: a skeleton has files, directories and symbolic links only"
            )));
        }
        self.bytes = self.bytes.saturating_add(found.len());
        if self.bytes > SKELETON_BYTES {
            return Err(VolumeError::Unsafe(format!(
                "the skeleton with {shown} is over {SKELETON_BYTES} bytes"
            )));
        }
        let mut source = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(from)
            .map_err(copying())?;
        let mut copy = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(copying())?;
        io::copy(&mut source, &mut copy).map_err(copying())?;
        copy.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(copying())
    }
}

/// Gives a finished tree away, itself last: until then nobody else can reach into it.
fn give(path: &Path, owner: Owner) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    lchown(path, Some(owner.uid), Some(owner.gid))
}

fn failed(what: String) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Anybody's but root's and ours.
    const UID: u32 = 54_321;

    fn key(text: &str) -> VolumeKey {
        VolumeKey::new(text).unwrap()
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("volumes");
        (directory, root)
    }

    #[tokio::test]
    async fn a_new_volume_is_private_filled_and_its_owners() {
        let (_directory, root) = place();
        let volumes = DirectoryVolumes::new(root.clone(), None);
        let volume = volumes.ensure(&key("ada"), UID, None).await.unwrap();
        let VolumeRef::Directory { path, uid, gid } = volume else { panic!("{volume:?}") };
        assert_eq!(path, root.join("ada"));
        for at in [path.clone(), path.join(".bashrc"), path.join(".profile"), path.join(".inputrc")]
        {
            let found = std::fs::symlink_metadata(&at).unwrap();
            assert_eq!((found.uid(), found.gid()), (uid, gid), "{}", at.display());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(uid, if geteuid().is_root() { UID } else { geteuid().as_raw() });
    }

    #[tokio::test]
    async fn a_skeleton_is_copied_once_with_its_links_and_modes() {
        let (directory, root) = place();
        let skeleton = directory.path().join("skeleton");
        std::fs::create_dir_all(skeleton.join("bin")).unwrap();
        std::fs::write(skeleton.join("bin/tool"), "#!/bin/sh\n").unwrap();
        let executable = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(skeleton.join("bin/tool"), executable).unwrap();
        symlink("bin/tool", skeleton.join("link")).unwrap();
        let volumes = DirectoryVolumes::new(root.clone(), Some(skeleton.clone()));
        volumes.ensure(&key("ada"), UID, None).await.unwrap();
        let tool = root.join("ada/bin/tool");
        assert_eq!(std::fs::metadata(&tool).unwrap().mode() & 0o777, 0o755);
        assert_eq!(std::fs::read_link(root.join("ada/link")).unwrap(), Path::new("bin/tool"));
        std::fs::write(&tool, "mine").unwrap();
        volumes.ensure(&key("ada"), UID, None).await.unwrap();
        assert_eq!(std::fs::read_to_string(&tool).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_skeleton_that_cannot_be_copied_leaves_nothing() {
        let (directory, root) = place();
        let skeleton = directory.path().join("skeleton");
        std::fs::create_dir(&skeleton).unwrap();
        std::fs::write(skeleton.join("a"), "a").unwrap();
        let socket = std::os::unix::net::UnixListener::bind(skeleton.join("socket")).unwrap();
        let volumes = DirectoryVolumes::new(root.clone(), Some(skeleton));
        assert!(matches!(
            volumes.ensure(&key("ada"), UID, None).await.unwrap_err(),
            VolumeError::Unsafe(_)
        ));
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
        drop(socket);
    }

    #[tokio::test]
    async fn a_home_that_its_user_opened_or_locked_is_their_own_again() {
        let (_directory, root) = place();
        let volumes = DirectoryVolumes::new(root.clone(), None);
        let first = volumes.ensure(&key("ada"), UID, None).await.unwrap();
        for mode in [0o755, 0o000, 0o300, 0o500] {
            let changed = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(root.join("ada"), changed).unwrap();
            assert_eq!(volumes.ensure(&key("ada"), UID, None).await.unwrap(), first);
            assert_eq!(std::fs::metadata(root.join("ada")).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    async fn links_files_and_foreign_directories_are_refused() {
        let (directory, root) = place();
        let volumes = DirectoryVolumes::new(root.clone(), None);
        volumes.ensure(&key("ada"), UID, None).await.unwrap();
        symlink(root.join("ada"), root.join("link")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let mut refused = vec!["link", "file"];
        if geteuid().is_root() {
            volumes.ensure(&key("foreign"), UID + 1, None).await.unwrap();
            refused.push("foreign");
        }
        for name in refused {
            let error = volumes.ensure(&key(name), UID, None).await.unwrap_err();
            assert!(matches!(error, VolumeError::Unsafe(_)), "{name}: {error}");
        }
        symlink(&root, directory.path().join("elsewhere")).unwrap();
        let linked = DirectoryVolumes::new(directory.path().join("elsewhere"), None);
        assert!(matches!(
            linked.ensure(&key("ada"), UID, None).await.unwrap_err(),
            VolumeError::Unsafe(_)
        ));
    }

    #[tokio::test]
    async fn many_who_ask_at_once_get_the_same_volume_and_leave_nothing_unfinished() {
        let (_directory, root) = place();
        let volumes = DirectoryVolumes::new(root.clone(), None);
        let asking: Vec<_> = (0..16)
            .map(|_| {
                let volumes = volumes.clone();
                tokio_util::task::TaskTracker::new()
                    .spawn(async move { volumes.ensure(&key("ada"), UID, None).await })
            })
            .collect();
        for asked in asking {
            asked.await.unwrap().unwrap();
        }
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
    }
}
