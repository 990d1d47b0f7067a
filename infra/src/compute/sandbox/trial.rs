//! A trial: one sandbox without a bridge, looked at from inside and outside. Keeps nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Signal, geteuid, getgid};

use super::SandboxConfig;
use super::cgroup::Cgroups;
use super::launch::{Engine, Launched, NotLaunched, Order, launch};
use super::record::{io_error, make_private};
use crate::compute::{ComputeError, Limits};

/// As whom a root gateway tries a sandbox: nobody's uid.
const TRIAL_UID: u32 = 65_534;
/// What a trial may use.
const TRIAL_LIMITS: Limits = Limits { memory: 256 << 20, cpu_millis: 1000, pids: 64, tmp: 1 << 20 };
/// How long a trial may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(10);
/// What a trial prints is a few kilobytes.
const REPORT_MAX: u64 = 64 << 10;
/// What a trial does inside, given the state directory. Its file shows outside as whom it ran.
const LOOK: &str = r#": > was-here
[ -e "$1" ] && echo "Sees-state: yes"
echo "Root: $(stat -c %d:%i /)"
for kind in ipc mnt net pid uts; do echo "Namespace-$kind: $(readlink /proc/self/ns/$kind)"; done
exec cat /proc/self/status /proc/self/uid_map /proc/net/dev"#;
/// The namespaces of which a sandbox has its own, with what it shares where it has not.
const NAMESPACES: [(&str, &str); 5] = [
    ("ipc", "it shares the host's ipc"),
    ("mnt", "it shares the host's mounts"),
    ("net", "it shares the host's network"),
    ("pid", "it shares the host's processes"),
    ("uts", "it shares the host's name"),
];

/// Why a trial showed nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// bwrap ended without a sandbox, saying this.
    Engine(String),
    /// The kernel refused what comes before bwrap.
    Kernel(String),
    Other(ComputeError),
}

impl Refused {
    pub(super) fn with_remedy(self, bwrap_version: &str) -> ComputeError {
        let said = match self {
            Self::Other(error) => return error,
            Self::Engine(said) => format!("{bwrap_version} says: {said}"),
            Self::Kernel(said) => said,
        };
        let setting = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let is = |path: &str, value: &str| setting(path).is_ok_and(|found| found == value);
        let remedy = if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
            "user namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1"
        } else if is("/proc/sys/user/max_user_namespaces", "0") {
            "user namespaces are switched off: sysctl -w user.max_user_namespaces=10000"
        } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
            "AppArmor restricts user namespaces: use the distribution's /usr/bin/bwrap with its \
             profile (apt-get install apparmor-profiles), or sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0"
        } else if geteuid().is_root() {
            "in a container, root needs CAP_SYS_ADMIN and a system call filter that allows user \
             namespaces; run the gateway outside of it, or as an ordinary user"
        } else {
            "in a container, its system call filter must allow user namespaces; run the gateway \
             outside of it"
        };
        ComputeError::Unavailable(format!(
            "no sandbox can be made here, and without one nothing is started. {said}. {remedy}"
        ))
    }
}

impl From<ComputeError> for Refused {
    fn from(error: ComputeError) -> Self {
        let ComputeError::Io { source, .. } = &error else { return Self::Other(error) };
        match source.raw_os_error() {
            // What a container's capabilities or its system call filter leave out.
            Some(libc::EPERM | libc::ENOSYS) => Self::Kernel(error.to_string()),
            _ => Self::Other(error),
        }
    }
}

/// A sandbox without a bridge, to be looked at from inside.
pub(super) struct Trial<'a> {
    config: &'a SandboxConfig,
    directory: PathBuf,
    uid: u32,
    gid: u32,
    deadline: Duration,
}

impl<'a> Trial<'a> {
    pub(super) fn prepare(config: &'a SandboxConfig) -> Result<Self, ComputeError> {
        let name = super::random_hex().map_err(io_error("get random numbers".to_owned()))?;
        let directory = config.state.join(format!("trial-{name}"));
        let (uid, gid) = match geteuid().is_root() {
            true => (TRIAL_UID, TRIAL_UID),
            false => (geteuid().as_raw(), getgid().as_raw()),
        };
        let trial = Self { config, directory, uid, gid, deadline: TRIAL_DEADLINE };
        make_private(&trial.directory)?;
        for part in [trial.home(), trial.dial_directory()] {
            make_private(&part)?;
            chown(&part, Some(uid), Some(gid)).map_err(io_error("give a directory".to_owned()))?;
        }
        Ok(trial)
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    fn dial_directory(&self) -> PathBuf {
        self.directory.join("gw")
    }

    pub(super) fn run(&self, engine: &Engine, cgroups: Option<&Cgroups>) -> Result<Seen, Refused> {
        let other = |what: &str| {
            let what = what.to_owned();
            move |error| Refused::Other(io_error(what)(error))
        };
        let random = super::random_hex().map_err(other("get random numbers"))?;
        let task = format!("{}{random}", super::cgroup::TRIAL);
        let groups = match cgroups {
            Some(cgroups) => {
                cgroups.make(&task, &TRIAL_LIMITS).map_err(other("make a control group"))?
            }
            None => Vec::new(),
        };
        // In memory: a full disk stops no gateway.
        let output = memfd_create(c"shellgate-trial", MemfdFlags::CLOEXEC);
        let output = output.map_err(|error| other("make a trial's output")(error.into()))?;
        let mut output = File::from(output);
        let marker = super::random_hex().map_err(other("get random numbers"))?;
        let launched = launch(
            engine,
            Order {
                marker: &marker,
                home: &self.home(),
                uid: self.uid,
                gid: self.gid,
                dial_directory: &self.dial_directory(),
                bridge: &self.config.bridge,
                limits: TRIAL_LIMITS,
                groups: &groups,
                program: &["/bin/sh", "-c", LOOK, "look", &self.config.state.to_string_lossy()],
                environment: Vec::new(),
                descriptors: Vec::new(),
                output: output.try_clone().map_err(other("share a file"))?,
            },
        );
        let mut hung = false;
        if let Ok(Launched { outermost, first }) = &launched {
            hung = !outermost.ended_within(self.deadline);
            if hung {
                for process in [first, outermost] {
                    // One that cannot be killed is left with its group, to be swept.
                    let _ = process.signal(Signal::KILL);
                    process.ended_within(self.deadline);
                }
            }
            outermost.reap();
        }
        for group in &groups {
            group.remove_when_empty(self.deadline);
        }
        if hung {
            let told = format!("a trial did not end within {:?} and was killed", self.deadline);
            return Err(Refused::Other(ComputeError::Failed(told)));
        }
        let mut text = String::new();
        let rewound = output.seek(SeekFrom::Start(0)).and_then(|_| {
            Read::by_ref(&mut output as &mut File).take(REPORT_MAX).read_to_string(&mut text)
        });
        rewound.map_err(other("read a trial's output"))?;
        match launched {
            Err(NotLaunched::Error(error)) => Err(error.into()),
            // A trial is over in a moment, perhaps before it was seen to have begun.
            Ok(_) | Err(NotLaunched::EngineEnded(_)) => {
                let outside = std::fs::symlink_metadata(self.home().join("was-here"));
                let seen = Seen::parse(&text, outside.ok().map(|found| found.uid()));
                seen.ok_or_else(|| Refused::Engine(text.trim().to_owned()))
            }
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // What is left behind is swept when this state directory is used again.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What the same questions are answered with outside.
#[derive(Debug)]
pub(super) struct Outside {
    root: String,
    /// As in [`NAMESPACES`].
    namespaces: [String; NAMESPACES.len()],
}

impl Outside {
    pub(super) fn look() -> Result<Self, ComputeError> {
        let root = std::fs::metadata("/").map_err(io_error("look at /".to_owned()))?;
        let own = |kind| std::fs::read_link(format!("/proc/self/ns/{kind}"));
        // One that cannot be read is like none inside.
        let own = |kind| own(kind).unwrap_or_default().to_string_lossy().into_owned();
        let namespaces = NAMESPACES.map(|(kind, _)| own(kind));
        Ok(Self { root: format!("{}:{}", root.dev(), root.ino()), namespaces })
    }
}

/// What a process inside said of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    status: Vec<(String, String)>,
    uid_map: Vec<u64>,
    /// Who owns on the host what it wrote.
    uid_outside: Option<u32>,
    interfaces: Vec<String>,
}

impl Seen {
    /// Reads what [`LOOK`] prints: lines of its own, `/proc/self/status`, `/proc/self/uid_map` and
    /// `/proc/net/dev`, one after another.
    fn parse(text: &str, uid_outside: Option<u32>) -> Option<Self> {
        let (uid_map, interfaces) = (Vec::new(), Vec::new());
        let mut seen = Self { status: Vec::new(), uid_map, uid_outside, interfaces };
        let (before, devices) = text.split_once("Inter-|")?;
        for line in before.lines() {
            match line.split_once(':') {
                Some((key, value)) => {
                    seen.status.push((key.to_owned(), value.trim().to_owned()));
                }
                None => seen
                    .uid_map
                    .extend(line.split_ascii_whitespace().filter_map(|n| n.parse::<u64>().ok())),
            }
        }
        let names = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
        seen.interfaces.extend(names.map(|(name, _)| name.trim().to_owned()));
        (!seen.status.is_empty()).then_some(seen)
    }

    fn status(&self, key: &str) -> &str {
        self.status.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    /// Refuses what is no boundary.
    pub(super) fn check(&self, outside: &Outside) -> Result<(), ComputeError> {
        let own = |(kind, fault), theirs: &String| {
            let inside = self.status(&format!("Namespace-{kind}"));
            (!inside.is_empty() && inside != theirs, fault)
        };
        let namespaces = NAMESPACES.into_iter().zip(&outside.namespaces);
        let root = self.status("Root");
        let zero = |key: &str| self.status(key).bytes().all(|b| b == b'0');
        let faults: Vec<&str> = [
            (zero("CapEff") && zero("CapPrm") && zero("CapBnd"), "it has capabilities"),
            (self.status("NoNewPrivs") == "1", "it can gain privileges"),
            (self.status("Seccomp") == "2", "its system calls are not filtered"),
            (self.status("Pid") == "1", "it sees other processes"),
            (self.uid_outside.is_some_and(|uid| uid != 0), "it is root on the host"),
            (self.uid_map.len() == 3 && self.uid_map[2] == 1, "it is more than one user"),
            (self.interfaces == ["lo"], "it has a network"),
            (!root.is_empty() && root != outside.root, "it sees the host's files"),
            (self.status("Sees-state").is_empty(), "it sees the gateway's own files"),
        ]
        .into_iter()
        .chain(namespaces.map(|(namespace, theirs)| own(namespace, theirs)))
        .filter_map(|(holds, fault)| (!holds).then_some(fault))
        .collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(ComputeError::Unavailable(format!(
            "the sandbox is no boundary here: {}. Nothing is started. Try another bubblewrap, or \
             another kernel",
            faults.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::process::Process;
    use super::*;

    const GOOD: &str = "Root: 99:1\nNamespace-ipc: ipc:[2]\nNamespace-mnt: mnt:[2]\n\
        Namespace-net: net:[2]\nNamespace-pid: pid:[2]\nNamespace-uts: uts:[2]\nName:\tcat\nPid:\t1\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n      1000          0          1\n\
        Inter-|   Receive\n face |bytes\n    lo:       0       0\n";

    /// A place to try in, and something that stands for bwrap there. Not below /tmp, which a root's
    /// sandboxes see as their own from the beginning.
    fn place(bwrap: &str) -> (tempfile::TempDir, SandboxConfig, Engine) {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let open = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path(), open(0o755)).unwrap();
        std::fs::create_dir(place.path().join("for-all")).unwrap();
        std::fs::set_permissions(place.path().join("for-all"), open(0o777)).unwrap();
        let script = place.path().join("bwrap");
        std::fs::write(&script, format!("#!/bin/bash\n{bwrap}\n")).unwrap();
        std::fs::set_permissions(&script, open(0o755)).unwrap();
        let config = SandboxConfig::new(place.path().join("state"), script.clone());
        make_private(&config.state).unwrap();
        let engine = Engine {
            bwrap: script.to_str().unwrap().to_owned(),
            disable_userns: false,
            systemd_run: None,
            memory_is_limited: true,
            pids_are_limited: true,
        };
        (place, config, engine)
    }

    /// The process whose id a script wrote down.
    fn noted(place: &tempfile::TempDir) -> i32 {
        let pid = std::fs::read_to_string(place.path().join("for-all/pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    fn lives(pid: i32) -> bool {
        Process::of(pid).is_some()
    }

    #[test]
    fn a_trial_that_does_not_end_is_killed_with_what_is_inside() {
        let (place, config, engine) = place(
            "info=$(tr '\\0' '\\n' <&$4 | grep -A1 -e --info-fd | tail -n 1)\n\
             sleep 600 &\n\
             echo $! > \"${0%/*}/for-all/pid\"\n\
             echo \"{\\\"child-pid\\\": $!}\" >&$info\n\
             wait",
        );
        let mut trial = Trial::prepare(&config).unwrap();
        trial.deadline = Duration::from_millis(200);
        let refused = trial.run(&engine, None).unwrap_err();
        assert!(matches!(&refused, Refused::Other(ComputeError::Failed(_))), "{refused:?}");
        assert!(!lives(noted(&place)));
        let script = std::fs::canonicalize(&engine.bwrap).unwrap();
        assert_eq!(Process::with_argument(script.to_str().unwrap()), None);
    }

    #[test]
    fn a_failed_launch_leaves_no_copy_of_bwrap() {
        // Its child has the mark, as a copy of bwrap has, and another parent by the time it is
        // looked for. It has none of bwrap's descriptors, so that bwrap's end is seen at once.
        let (place, config, engine) = place(
            "close='for fd in /proc/self/fd/*; do fd=${fd##*/}; [ $fd -gt 2 ] && eval \"exec $fd>&-\"; done'\n\
             bash -c \"$close; kill -STOP \\$\\$\" bwrap \"$@\" &\n\
             echo $! > \"${0%/*}/for-all/pid\"\n\
             exit 1",
        );
        let trial = Trial::prepare(&config).unwrap();
        let refused = trial.run(&engine, None).unwrap_err();
        assert!(matches!(&refused, Refused::Engine(_)), "{refused:?}");
        assert!(!lives(noted(&place)));
    }

    #[test]
    fn what_the_kernel_refuses_before_bwrap_has_the_remedy_too() {
        let refused = |number| {
            let source = std::io::Error::from_raw_os_error(number);
            Refused::from(io_error("make a mount for a sandbox".to_owned())(source))
        };
        let told = refused(libc::EPERM).with_remedy("bubblewrap 0").to_string();
        assert!(told.contains("make a mount for a sandbox: Operation not permitted"), "{told}");
        assert!(told.contains("no sandbox can be made here"), "{told}");
        assert!(matches!(refused(libc::ENOSPC), Refused::Other(_)));
    }

    #[test]
    fn a_boundary_is_accepted_and_each_missing_part_of_one_is_named() {
        let outside = Outside {
            root: "8:2".to_owned(),
            namespaces: NAMESPACES.map(|(kind, _)| format!("{kind}:[1]")),
        };
        let check = |text: &str, uid| Seen::parse(text, uid).unwrap().check(&outside);
        check(GOOD, Some(54_321)).unwrap();
        for root in [None, Some(0)] {
            let refused = check(GOOD, root).unwrap_err().to_string();
            assert!(refused.contains("root on the host"), "{refused}");
        }
        for (from, to, fault) in [
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000001", "capabilities"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff", "capabilities"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "privileges"),
            ("Seccomp:\t2", "Seccomp:\t0", "filtered"),
            ("Pid:\t1", "Pid:\t4711", "other processes"),
            ("0          1\n", "0          2\n", "more than one user"),
            ("    lo:", "  eth0: 1\n    lo:", "a network"),
            ("Root: 99:1", "Root: 8:2", "the host's files"),
            ("Root: 99:1", "Root: ", "the host's files"),
            ("Root:", "Sees-state: yes\nRoot:", "the gateway's own files"),
            ("ipc:[2]", "ipc:[1]", "the host's ipc"),
            ("mnt:[2]", "mnt:[1]", "the host's mounts"),
            ("net:[2]", "net:[1]", "the host's network"),
            ("pid:[2]", "pid:[1]", "the host's processes"),
            ("uts:[2]", "uts:[1]", "the host's name"),
            ("Namespace-uts: uts:[2]", "", "the host's name"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            let refused = check(&text, Some(54_321)).unwrap_err().to_string();
            assert!(refused.contains(fault), "{refused}");
        }
        assert_eq!(Seen::parse("bwrap: No permissions to create new namespace", None), None);
    }
}
