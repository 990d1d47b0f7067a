//! The command line of bwrap: a sandbox's whole shape as a pure function. Opens and starts nothing.
//!
//! All but the mark and the command go by a descriptor (`--args`), so that the process list of
//! the host shows neither the session nor its environment.

use std::os::fd::RawFd;
use std::path::Path;

use super::etc;

/// Where the bridge is inside.
pub(super) const BRIDGE: &str = "/run/shellgate/bridge";
/// Where the directory with `dial.sock` is inside.
pub(super) const DIAL_DIRECTORY: &str = "/run/gw";
/// Where secrets are written inside.
pub(super) const SECRETS_DIRECTORY: &str = "/run/secrets";
/// All secrets of a session together, in bytes: their files live in memory.
const SECRETS_SIZE: u64 = 4 << 20;

/// What /proc shows of the kernel and of other sandboxes, and nobody inside needs.
const MASKED: &[&str] = &[
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
];

/// Something of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// An open descriptor that bwrap inherits.
    Descriptor(RawFd),
    /// A path that bwrap can walk.
    Path(&'static str),
}

/// What one sandbox is made of.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) home: Source,
    pub(super) dial_directory: Source,
    pub(super) bridge: Source,
    /// Contents of files to be, each by a descriptor.
    pub(super) files: Vec<(&'static str, RawFd)>,
    pub(super) seccomp: [RawFd; 2],
    /// Where bwrap says which process is the first one inside.
    pub(super) info: RawFd,
    /// The size of /tmp and of /dev/shm, in bytes.
    pub(super) tmp: u64,
    pub(super) environment: &'a [(&'static str, String)],
    /// Whether the kernel lets bwrap forbid further user namespaces.
    pub(super) disable_userns: bool,
}

/// The argument by which a sandbox is known on the host. To bwrap it means nothing: a variable of
/// that name is never set.
pub(super) fn mark(marker: &str) -> String {
    format!("SHELLGATE_TASK_{marker}")
}

/// What stands on the command line itself.
pub(super) fn visible(marker: &str, arguments: RawFd, program: &[&str]) -> Vec<String> {
    let mut line =
        vec!["--unsetenv".to_owned(), mark(marker), "--args".to_owned(), arguments.to_string()];
    line.push("--".to_owned());
    line.extend(program.iter().map(|&word| word.to_owned()));
    line
}

/// What goes by the descriptor: the arguments, each with a zero after it.
pub(super) fn hidden(shape: &Shape<'_>) -> Vec<u8> {
    let mut line = Line(Vec::with_capacity(4096));
    line.words(&["--unshare-all", "--unshare-user"]);
    if shape.disable_userns {
        line.words(&["--disable-userns"]);
    }
    line.words(&["--new-session", "--as-pid-1", "--cap-drop", "ALL"]);
    line.words(&["--uid", &etc::UID.to_string(), "--gid", &etc::GID.to_string()]);
    line.words(&["--hostname", etc::HOSTNAME]);

    line.words(&["--ro-bind", "/usr", "/usr"]);
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if Path::new("/usr").join(name).is_dir() {
            line.words(&["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
    }
    for (path, descriptor) in &shape.files {
        line.words(&["--perms", "0644", "--file", &descriptor.to_string(), path]);
    }
    for path in etc::FROM_HOST {
        line.words(&["--ro-bind-try", path, path]);
    }
    if let Some(zone) = etc::localtime().as_deref().and_then(Path::to_str) {
        line.words(&["--symlink", zone, "/etc/localtime"]);
    }

    line.words(&["--proc", "/proc"]);
    for path in MASKED.iter().filter(|path| Path::new(path).exists()) {
        line.words(&["--ro-bind", "/dev/null", path]);
    }
    let tmp = shape.tmp.to_string();
    line.words(&["--dev", "/dev"]);
    line.words(&["--perms", "1777", "--size", &tmp, "--tmpfs", "/dev/shm"]);
    line.words(&["--remount-ro", "/dev"]);
    line.words(&["--perms", "1777", "--size", &tmp, "--tmpfs", "/tmp"]);
    line.words(&["--symlink", "../tmp", "/var/tmp"]);
    let secrets = SECRETS_SIZE.to_string();
    line.words(&["--perms", "0700", "--size", &secrets, "--tmpfs", SECRETS_DIRECTORY]);
    line.bind("--ro-bind", &shape.dial_directory, DIAL_DIRECTORY);
    line.bind("--ro-bind", &shape.bridge, BRIDGE);
    line.bind("--bind", &shape.home, etc::HOME);
    line.words(&["--remount-ro", "/", "--chdir", etc::HOME]);

    line.words(&["--clearenv"]);
    for (name, value) in shape.environment {
        line.words(&["--setenv", name, value]);
    }
    for descriptor in shape.seccomp {
        line.words(&["--add-seccomp-fd", &descriptor.to_string()]);
    }
    line.words(&["--info-fd", &shape.info.to_string()]);
    line.0
}

struct Line(Vec<u8>);

impl Line {
    fn words(&mut self, words: &[&str]) {
        for word in words {
            self.0.extend_from_slice(word.as_bytes());
            self.0.push(0);
        }
    }

    fn bind(&mut self, how: &str, source: &Source, to: &str) {
        match source {
            Source::Descriptor(fd) => self.words(&[&format!("{how}-fd"), &fd.to_string(), to]),
            Source::Path(path) => self.words(&[how, path, to]),
        }
    }
}

/// The command that puts a sandbox into a scope of the user's systemd, which holds it to its
/// limits, and then becomes `bwrap`.
pub(super) fn in_a_scope(
    unit: &str,
    limits: &crate::compute::Limits,
    bwrap: &str,
    line: &[String],
) -> Vec<String> {
    let fixed = ["--user", "--scope", "--quiet", "--collect"].map(str::to_owned);
    let mut command: Vec<String> = fixed.into();
    command.push(format!("--unit={unit}"));
    for property in [
        format!("MemoryMax={}", limits.memory),
        "MemorySwapMax=0".to_owned(),
        format!("TasksMax={}", limits.pids),
        format!("CPUQuota={}%", limits.cpu_millis.div_ceil(10).max(1)),
    ] {
        command.extend(["-p".to_owned(), property]);
    }
    // systemd-run needs a few variables to find its systemd; bwrap is to see none.
    command.extend(["--", "/usr/bin/env", "-i", bwrap].map(str::to_owned));
    command.extend_from_slice(line);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Limits;

    fn shape<'a>(environment: &'a [(&'static str, String)]) -> Shape<'a> {
        Shape {
            home: Source::Descriptor(11),
            dial_directory: Source::Path("/tmp/gw"),
            bridge: Source::Descriptor(12),
            files: vec![("/etc/passwd", 13)],
            seccomp: [14, 15],
            info: 16,
            tmp: 4096,
            environment,
            disable_userns: true,
        }
    }

    fn words(line: &[u8]) -> Vec<String> {
        line.split(|&b| b == 0).map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_root_and_dev_are_made_read_only_after_everything_in_them_is_there() {
        let line = words(&hidden(&shape(&[])));
        let at = |word: &str| line.iter().rposition(|w| w == word).unwrap();
        let root = line.windows(2).position(|w| w[0] == "--remount-ro" && w[1] == "/").unwrap();
        let dev = line.windows(2).position(|w| w[0] == "--remount-ro" && w[1] == "/dev").unwrap();
        for made in ["--proc", "--dev", "--tmpfs", "--bind-fd", "--ro-bind-fd", "--file"] {
            assert!(at(made) < root, "{made}");
        }
        assert!(at("/dev/shm") < dev);
    }

    #[test]
    fn every_tmpfs_has_a_size() {
        let line = words(&hidden(&shape(&[])));
        for (at, _) in line.iter().enumerate().filter(|(_, word)| *word == "--tmpfs") {
            assert_eq!(line[at - 2], "--size", "{}", line[at + 1]);
        }
    }

    #[test]
    fn nothing_is_handed_on_from_the_hosts_environment_and_no_network_is_kept() {
        let environment = [("A", "b".to_owned())];
        let line = words(&hidden(&shape(&environment)));
        let clear = line.iter().position(|word| word == "--clearenv").unwrap();
        let set = line.iter().position(|word| word == "--setenv").unwrap();
        assert!(clear < set);
        assert!(line.contains(&"--unshare-all".to_owned()));
        assert!(!line.contains(&"--share-net".to_owned()));
        assert!(!line.contains(&"--die-with-parent".to_owned()));
    }

    #[test]
    fn the_host_sees_the_mark_and_the_program_only() {
        let line = visible("abc", 9, &[BRIDGE]);
        assert_eq!(line, ["--unsetenv", "SHELLGATE_TASK_abc", "--args", "9", "--", BRIDGE]);
    }

    #[test]
    fn a_scope_gets_every_limit_and_an_empty_environment() {
        let limits = Limits { memory: 1 << 30, cpu_millis: 1500, pids: 64, tmp: 1 };
        let line = in_a_scope("shellgate-x.scope", &limits, "/usr/bin/bwrap", &["--".to_owned()]);
        assert_eq!(
            line.join(" "),
            "--user --scope --quiet --collect --unit=shellgate-x.scope -p MemoryMax=1073741824 \
             -p MemorySwapMax=0 -p TasksMax=64 -p CPUQuota=150% -- /usr/bin/env -i \
             /usr/bin/bwrap --"
        );
    }
}
