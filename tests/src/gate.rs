//! A sandbox's engine that waits at a gate before it begins, so that a story can prepare what the
//! bridge will meet.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The gate: a named pipe, while it is up.
#[derive(Debug)]
pub struct Gate {
    pipe: PathBuf,
    engine: PathBuf,
}

impl Gate {
    /// An engine with a gate, which is not up yet, in a folder that everybody may read.
    #[must_use]
    pub fn closed(folder: &Path) -> Self {
        let (pipe, engine) = (folder.join("gate"), folder.join("engine"));
        // The shell itself waits: a process beside it could be taken for the sandbox's first.
        let script = format!(
            "#!/bin/sh\nif [ -p {0} ]; then read -r _ < {0}; fi\nexec bwrap \"$@\"\n",
            pipe.display()
        );
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, everybody.clone()).expect("a folder for everybody");
        std::fs::write(&engine, script).expect("written");
        std::fs::set_permissions(&engine, everybody).expect("executable");
        Self { pipe, engine }
    }

    /// The engine, for `sandbox.bwrap`.
    #[must_use]
    pub fn engine(&self) -> String {
        self.engine.to_str().expect("UTF-8").to_owned()
    }

    /// From now on every sandbox waits before it begins.
    pub fn is_put_up(&self) {
        mkfifo(&self.pipe, Mode::from_bits_truncate(0o644)).expect("a pipe");
    }

    /// Lets the one that waits pass, once it is there, and all that come later.
    pub fn opens(&self) {
        std::fs::write(&self.pipe, "open\n").expect("somebody waits");
        std::fs::remove_file(&self.pipe).expect("removed");
    }
}
