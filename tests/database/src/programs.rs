//! Postgres' programs, and as whom they are run. Knows no server.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where they are, if neither on the path nor where Debian has them.
const NAMED: &str = "SHELLGATE_POSTGRES_BIN";

/// Where Debian has them, a directory a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// As whom they run where the test is run by root: `nobody`, as every Linux has it. Of a uid without an
/// account `initdb` knows nothing.
const UID: u32 = 65_534;

#[derive(Debug, Clone)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those of this machine.
    pub fn find() -> Self {
        let named = std::env::var_os(NAMED).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut versions: Vec<_> =
            std::fs::read_dir(DEBIAN).into_iter().flatten().flatten().collect();
        // The newest first: 9.6 is older than 15, whatever their letters say.
        versions.sort_by_key(|version| {
            let name = version.file_name().to_string_lossy().into_owned();
            std::cmp::Reverse(name.parse::<f64>().map_or(0, |number| (number * 100.0) as u64))
        });
        let debian = versions.into_iter().map(|version| version.path().join("bin"));
        let has_them =
            |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
        let folder = match named {
            Some(named) => Some(named),
            None => std::env::split_paths(&path).chain(debian).find(has_them),
        };
        let folder = folder.unwrap_or_else(|| {
            panic!("no Postgres: `make test` installs it, or {NAMED} names the folder of initdb")
        });
        Self { folder }
    }

    /// A program of them, to be run where it may read and write.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.stdin(Stdio::null());
        command
    }

    /// Has a command run as whom Postgres may be.
    pub fn as_ordinary(command: &mut Command) {
        if rustix::process::geteuid().is_root() {
            command.uid(UID).gid(UID);
        }
    }

    /// Gives what is below a place to whom Postgres runs as, and to nobody else.
    pub fn give(place: &Path) {
        let mode = if place.is_dir() { 0o700 } else { 0o600 };
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).expect("ours");
        if rustix::process::geteuid().is_root() {
            chown(place, Some(UID), Some(UID)).expect("root may");
        }
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            Self::give(&entry.path());
        }
    }
}
