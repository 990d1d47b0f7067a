//! The engine of the sandbox with the arguments that the product gives it, around the same shell, on
//! a terminal of the generator's own: what a start costs before a gateway has any part in it.
//!
//! Leaves out the two system call filters, so that it is quicker by their loading.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use shellgate_load::pty;

use super::Wish;
use super::local::Children;
use crate::session::Session;

/// Files of the sandbox's own /etc.
const FILES: [(&str, &str); 9] = [
    ("/etc/passwd", "agent:x:1000:1000:agent:/home/agent:/bin/bash\n"),
    ("/etc/group", "agent:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("/etc/hostname", "shellgate\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/shells", "/bin/sh\n/bin/bash\n"),
    ("/etc/profile", ". /etc/bash.bashrc\n"),
    ("/etc/bash.bashrc", "[ -z \"$PS1\" ] && return\nPS1='\\u@\\h:\\w\\$ '\n"),
];

/// What is seen of the host's /etc.
const FROM_HOST: [&str; 4] =
    ["/etc/alternatives", "/etc/ssl/certs", "/etc/ld.so.cache", "/etc/terminfo"];

/// What /proc does not show.
const MASKED: [&str; 8] = [
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
];

/// The size of a /tmp, in bytes: the product's default.
const TMP: &str = "268435456";

/// Sandboxes without a gateway.
pub struct Bwrap {
    place: PathBuf,
    children: Children,
}

impl Bwrap {
    /// Sandboxes with their files below `place`.
    pub fn new(place: &Path) -> Result<Self> {
        for name in ["home", "dial"] {
            std::fs::create_dir_all(place.join(name))?;
        }
        for (path, text) in FILES {
            std::fs::write(place.join(file_of(path)), text)?;
        }
        Ok(Self { place: place.into(), children: Children::default() })
    }

    /// A shell in a sandbox.
    pub fn open(&self, wish: Wish) -> Result<Session> {
        let (master, child) = pty::spawn(self.command())?;
        self.children.add(child);
        Ok(Session::over_pty(wish.number, wish.number.to_string(), master))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("bwrap");
        // Not from the product's list: the sandbox ends with the generator.
        command.args(["--die-with-parent", "--unshare-all", "--unshare-user"]);
        command.args(["--new-session", "--as-pid-1", "--cap-drop", "ALL"]);
        command.args(["--uid", "1000", "--gid", "1000", "--hostname", "shellgate"]);
        command.args(["--ro-bind", "/usr", "/usr"]);
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            if Path::new("/usr").join(name).is_dir() {
                command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
            }
        }
        for (path, _) in FILES {
            command.arg("--ro-bind").arg(self.place.join(file_of(path))).arg(path);
        }
        for path in FROM_HOST {
            command.args(["--ro-bind-try", path, path]);
        }
        command.args(["--proc", "/proc"]);
        for path in MASKED.iter().filter(|path| Path::new(path).exists()) {
            command.args(["--ro-bind", "/dev/null", path]);
        }
        command.args(["--dev", "/dev"]);
        command.args(["--perms", "1777", "--size", TMP, "--tmpfs", "/dev/shm"]);
        command.args(["--remount-ro", "/dev"]);
        command.args(["--perms", "1777", "--size", TMP, "--tmpfs", "/tmp"]);
        command.args(["--symlink", "../tmp", "/var/tmp"]);
        command.args(["--perms", "0700", "--size", "4194304", "--tmpfs", "/run/secrets"]);
        command.arg("--ro-bind").arg(self.place.join("dial")).arg("/run/gw");
        command.arg("--bind").arg(self.place.join("home")).arg("/home/agent");
        command.args(["--remount-ro", "/", "--chdir", "/home/agent", "--clearenv"]);
        for (name, value) in [
            ("HOME", "/home/agent"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm-256color"),
        ] {
            command.args(["--setenv", name, value]);
        }
        command.args(["--", "bash", "-l"]);
        command
    }
}

fn file_of(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "-")
}
