//! The database's file and its log by their paths and by themselves: whether what is written into the
//! one is found by the other. SQLite goes on writing into a file that nobody will ever find again. Knows no SQL.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// What the name of the log ends with, which SQLite keeps beside a database's file: the newest
/// writes are in there alone.
const LOG: &str = "-wal";

/// All that SQLite keeps beside it.
const BESIDE: [&str; 2] = [LOG, "-shm"];

/// Which file: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

/// What has become of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is where it belongs.
    InPlace,
    /// It, or its log, has no name any more: what is in there is gone once it is closed.
    Deleted,
    /// It is somewhere else, and may come back.
    Moved,
    /// Another file has its place.
    Replaced,
}

/// Where the database's file belongs, and the file itself.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// As long as it is held no other file gets its number.
    file: Mutex<File>,
    /// Its log, once SQLite has made one. It lasts as long as the database is open.
    log: Mutex<Option<File>>,
}

impl Place {
    /// The place of the file that is there now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = Mutex::new(hold(path)?);
        let place = Self { path: path.to_path_buf(), file, log: Mutex::new(None) };
        place.log_is_there()?;
        Ok(place)
    }

    /// Which file is the database's.
    pub fn file(&self) -> io::Result<FileId> {
        Ok(id(&self.held().metadata()?))
    }

    /// Which file has the path now.
    pub fn file_there(&self) -> io::Result<FileId> {
        Ok(id(&std::fs::metadata(&self.path)?))
    }

    /// What has become of the file.
    pub fn look(&self) -> io::Result<Whereabouts> {
        let held = self.held().metadata()?;
        match self.file_there() {
            Ok(there) if there == id(&held) => Ok(match self.log_is_there()? {
                true => Whereabouts::InPlace,
                false => Whereabouts::Deleted,
            }),
            Ok(_) => Ok(Whereabouts::Replaced),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if held.nlink() == 0 => Ok(Whereabouts::Deleted),
            Err(_) => Ok(Whereabouts::Moved),
        }
    }

    /// Whether the log that is written to is the one that a later gateway would find. One that is
    /// seen for the first time is.
    fn log_is_there(&self) -> io::Result<bool> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let there = match hold(&self.beside(LOG)) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (Some(held), there) = (&*log, &there) else {
            *log = there;
            return Ok(true);
        };
        let Some(there) = there else { return Ok(false) };
        Ok(id(&held.metadata()?) == id(&there.metadata()?))
    }

    /// A name beside it for the file that is to come after it. Nothing is there.
    pub fn next(&self) -> io::Result<PathBuf> {
        let next = self.beside(".new");
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(next),
        }
    }

    /// Puts the file that comes after it into its place.
    pub fn give_to(&self, next: &Path) -> io::Result<()> {
        let file = hold(next)?;
        for end in BESIDE {
            // Of the file that is gone: SQLite would take it for this one's.
            match std::fs::remove_file(self.beside(end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(next, &self.path)?;
        *self.held() = file;
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(end);
        path.into()
    }

    fn held(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a file without opening it: closing one that was opened would undo SQLite's locks on it.
fn hold(path: &Path) -> io::Result<File> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?.into())
}

fn id(about: &std::fs::Metadata) -> FileId {
    FileId(about.dev(), about.ino())
}
