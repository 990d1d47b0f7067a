//! The state directory: private, and held by one gateway at a time. Also the keys that live there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::auth::enrolment::EnrolmentKey;

/// The file whose lock says that the directory is held; its text says by whom.
const LOCK: &str = "lock";

/// The file with the key that enrolment tokens are made with.
const ENROLMENT_KEY: &str = "enrolment.key";

/// The file with the directory's own name: who comes back after a crash is known by it.
const INSTANCE: &str = "instance";

/// Why the state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another gateway holds it.
    #[error(
        "{path} is held by the gateway with process id {holder}: stop it first, or set server.state_dir to another directory"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// The holder's process id, as it wrote it.
        holder: String,
    },
    /// It is open to others, or somebody else's.
    #[error(
        "{path} must belong to the gateway's user and be closed to everybody else: chmod 700 {path}"
    )]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// A key file is not as it must be.
    #[error("{path} is not a key of this gateway: {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A state directory that this process holds until it is dropped.
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Makes the directory where it is not there, and holds it.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn hold(path: &Path) -> Result<Self, StateDirError> {
        let io = |source| StateDirError::Io { path: path.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let path = path.canonicalize().map_err(io)?;
        let about = path.metadata().map_err(io)?;
        if about.uid() != nix::unistd::geteuid().as_raw() || about.permissions().mode() & 0o077 != 0
        {
            return Err(StateDirError::Open { path });
        }
        let lock_path = path.join(LOCK);
        let io = |source| StateDirError::Io { path: lock_path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io)?;
        let mut holder = String::new();
        (&mut file).take(32).read_to_string(&mut holder).map_err(io)?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            StateDirError::Held { path: path.clone(), holder: holder.trim().to_owned() }
        })?;
        lock.set_len(0).map_err(io)?;
        lock.rewind().map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name of the directory, by chance, that stays.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn instance(&self) -> Result<String, StateDirError> {
        let path = self.path.join(INSTANCE);
        let io = |source| StateDirError::Io { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(name) if uuid::Uuid::parse_str(&name).is_ok() => Ok(name),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
            // Damaged, it is as good as none.
            Ok(_) | Err(_) => {
                let name = uuid::Uuid::new_v4().simple().to_string();
                write_private(&path, name.as_bytes()).map_err(io)?;
                Ok(name)
            }
        }
    }

    /// The key that enrolment tokens are made with; a new one where there is none.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn enrolment_key(&self) -> Result<EnrolmentKey, StateDirError> {
        let path = self.path.join(ENROLMENT_KEY);
        let wrong = |why| StateDirError::Key { path: path.clone(), why };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes =
                    EnrolmentKey::generate().map_err(|_| wrong("there are no random numbers"))?;
                write_private(&path, &bytes)
                    .map_err(|source| StateDirError::Io { path: path.clone(), source })?;
                bytes.to_vec()
            }
            Err(source) => return Err(StateDirError::Io { path, source }),
        };
        let bytes = bytes.try_into().map_err(|_| wrong("it is not 32 bytes"))?;
        Ok(EnrolmentKey::new(&bytes))
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// Where the operating system says no.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("state");
        let held = StateDir::hold(&path).expect("held");
        let Err(StateDirError::Held { holder, .. }) = StateDir::hold(&path) else {
            panic!("held twice")
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(held);
        assert!(StateDir::hold(&path).is_ok());
    }

    #[test]
    fn an_open_directory_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("state");
        std::fs::create_dir(&path).expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("opened");
        assert!(matches!(StateDir::hold(&path), Err(StateDirError::Open { .. })));
    }

    #[test]
    fn a_directory_keeps_its_name_and_has_another_than_others() {
        let place = tempfile::tempdir().expect("a directory");
        let [one, other] = ["one", "other"].map(|name| {
            StateDir::hold(&place.path().join(name)).expect("held").instance().expect("a name")
        });
        assert_ne!(one, other);
        let again = StateDir::hold(&place.path().join("one")).expect("held");
        assert_eq!(again.instance().expect("its name"), one);
    }

    #[test]
    fn the_enrolment_key_stays() {
        let place = tempfile::tempdir().expect("a directory");
        let held = StateDir::hold(&place.path().join("state")).expect("held");
        let token = |key: EnrolmentKey| {
            let session = "ses_00000000000000000000000000000001".parse().expect("an id");
            key.token(session, shellgate_protocol::Launch(1)).0
        };
        let first = token(held.enrolment_key().expect("a key"));
        assert_eq!(first, token(held.enrolment_key().expect("the same key")));
    }
}
