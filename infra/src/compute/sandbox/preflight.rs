//! What this machine enforces, found out by running a sandbox. Knows no tasks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use serde::Serialize;

use super::SandboxConfig;
use super::cgroup::{Cgroups, Resource, Version};
use super::launch::Engine;
use super::record::io_error;
use super::trial::{Outside, Refused, Trial};
use crate::compute::ComputeError;

/// Where distributions put bwrap.
const BWRAP: &[&str] = &["/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"];
const SYSTEMD_RUN: &[&str] = &["/usr/bin/systemd-run", "/bin/systemd-run"];

/// By what a resource is limited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    /// A control group of the sandbox's own, version 1.
    CgroupV1,
    /// A control group of the sandbox's own, version 2.
    CgroupV2,
    /// A scope of the user's systemd.
    SystemdScope,
    /// Limits that each process has for itself.
    EachProcess,
    /// A limit of the kernel's for the sandbox's own user.
    OwnUser,
    /// Nothing.
    Nothing,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV1 => "by the sandbox's own control group (v1)",
            Self::CgroupV2 => "by the sandbox's own control group (v2)",
            Self::SystemdScope => "by a systemd scope",
            Self::EachProcess => "per process only, not for the sandbox as a whole",
            Self::OwnUser => "by a process limit of the sandbox's own user namespace",
            Self::Nothing => "not limited",
        })
    }
}

/// What was seen in a sandbox that really ran here. `Display` says it in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// The engine.
    pub bwrap: PathBuf,
    /// What it calls itself.
    pub bwrap_version: String,
    /// The gateway is root: every sandbox runs as its user's own uid.
    pub drops_to_own_uid: bool,
    /// The kernel refuses further user namespaces inside; where it cannot, the filter does.
    pub nested_user_namespaces_off: bool,
    /// How memory is limited.
    pub memory: LimitedBy,
    /// How the number of processes is.
    pub pids: LimitedBy,
    /// How processor time is.
    pub cpu: LimitedBy,
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bwrap, bwrap_version, memory, pids, cpu, .. } = self;
        writeln!(f, "sandbox: {bwrap_version} ({})", bwrap.display())?;
        writeln!(
            f,
            "  own processes, files, network, ipc and host name: yes (seen in a trial run)"
        )?;
        writeln!(f, "  network: none but the way to the gateway")?;
        let uid = if self.drops_to_own_uid {
            "a uid per user (the gateway is root and drops to it)"
        } else {
            "the gateway's own, for all users: only the sandbox keeps their files apart"
        };
        writeln!(f, "  on the host it runs as: {uid}")?;
        writeln!(f, "  capabilities: none; no_new_privs: on; system call filter: on")?;
        let nested = if self.nested_user_namespaces_off {
            "refused by the kernel and by the filter"
        } else {
            "refused by the filter"
        };
        writeln!(f, "  further user namespaces: {nested}")?;
        writeln!(f, "  memory: {memory}")?;
        if *memory == LimitedBy::EachProcess {
            writeln!(
                f,
                "  files in /tmp and /dev/shm: their size is limited, their number is not"
            )?;
        }
        writeln!(f, "  processes: {pids}\n  processor time: {cpu}")?;
        write!(f, "  disk: not limited")
    }
}

/// How sandboxes are started here, and what that gives.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) engine: Engine,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) preflight: Preflight,
}

/// Finds out how sandboxes can be started here. Blocks for some tens of milliseconds.
pub(super) fn plan(config: &SandboxConfig, cgroup_name: &str) -> Result<Plan, ComputeError> {
    let bwrap = find(config.bwrap.as_deref(), BWRAP).ok_or_else(|| {
        ComputeError::Unavailable(
            "there is no bwrap here, and without it no sandbox: apt-get install bubblewrap"
                .to_owned(),
        )
    })?;
    if geteuid().is_root() && bwrap.canonicalize().is_ok_and(|path| path.starts_with("/tmp")) {
        return Err(ComputeError::Unavailable(format!(
            "{} cannot be used by a root gateway, which hides /tmp from it: put it elsewhere",
            bwrap.display()
        )));
    }
    let bwrap_version = output_of(Command::new(&bwrap).arg("--version"))?;
    let options = output_of(Command::new(&bwrap).arg("--help"))?;
    for option in ["--ro-bind-fd", "--add-seccomp-fd", "--as-pid-1", "--size", "--disable-userns"] {
        if !options.contains(option) {
            return Err(ComputeError::Unavailable(format!(
                "{bwrap_version} has no {option}: install a newer one (apt-get install bubblewrap \
                 with your distribution's security updates on)"
            )));
        }
    }
    let cgroups = Cgroups::find(cgroup_name);
    if let Some(cgroups) = &cgroups {
        cgroups.sweep_trials();
    }
    let has = |resource| cgroups.as_ref().is_some_and(|cgroups| cgroups.limits(resource));
    let (memory, pids) = (has(Resource::Memory), has(Resource::Pids));
    let scope = if memory || geteuid().is_root() { None } else { working_systemd_run() };
    let by_scope = scope.as_ref().map_or(ScopeLimits::default(), |(_, limits)| *limits);
    let mut engine = Engine {
        bwrap: bwrap.to_string_lossy().into_owned(),
        disable_userns: true,
        systemd_run: scope.map(|(systemd_run, _)| systemd_run),
        memory_is_limited: memory || by_scope.memory,
        pids_are_limited: pids || by_scope.pids,
    };
    let trial = Trial::prepare(config)?;
    let mut seen = trial.run(&engine, cgroups.as_ref());
    if let Err(Refused::Engine(_)) = &seen {
        engine.disable_userns = false;
        let without = trial.run(&engine, cgroups.as_ref());
        if without.is_ok() {
            seen = without;
        }
    }
    if let Some(cgroups) = &cgroups {
        cgroups.remove_parents();
    }
    seen.map_err(|refused| refused.with_remedy(&bwrap_version))?.check(&Outside::look()?)?;

    let limited = |resource, by_scope: bool, otherwise| {
        let version = cgroups.as_ref().and_then(|cgroups| cgroups.version(resource));
        match version {
            Some(Version::V1) => LimitedBy::CgroupV1,
            Some(Version::V2) => LimitedBy::CgroupV2,
            None if by_scope => LimitedBy::SystemdScope,
            None => otherwise,
        }
    };
    let preflight = Preflight {
        bwrap,
        bwrap_version,
        drops_to_own_uid: geteuid().is_root(),
        nested_user_namespaces_off: engine.disable_userns,
        memory: limited(Resource::Memory, by_scope.memory, LimitedBy::EachProcess),
        pids: limited(Resource::Pids, by_scope.pids, LimitedBy::OwnUser),
        cpu: limited(Resource::Cpu, by_scope.cpu, LimitedBy::Nothing),
    };
    Ok(Plan { engine, cgroups, preflight })
}

fn find(configured: Option<&Path>, usual: &[&str]) -> Option<PathBuf> {
    match configured {
        Some(path) => path.is_file().then(|| path.to_owned()),
        None => usual.iter().map(PathBuf::from).find(|path| path.is_file()),
    }
}

fn output_of(command: &mut Command) -> Result<String, ComputeError> {
    let output = command
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(io_error(format!("run {}", command.get_program().to_string_lossy())))?;
    let mut text = output.stdout;
    text.extend(output.stderr);
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// What a scope of this user's systemd really limits: systemd takes a property for a controller
/// that it was not given, and says nothing (systemd.resource-control(5)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ScopeLimits {
    memory: bool,
    pids: bool,
    cpu: bool,
}

impl ScopeLimits {
    /// Reads what [`LOOK_AT_SCOPE`] prints.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(|line| !line.is_empty() && !line.starts_with("max"));
        let mut next = || lines.next().unwrap_or(false);
        Self { memory: next(), pids: next(), cpu: next() }
    }
}

/// Prints the limits of the control group that it runs in, a line each, as the kernel's control
/// groups of version 2 show them.
const LOOK_AT_SCOPE: &str = r#"group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
for limit in memory.max pids.max cpu.max; do cat "$group/$limit" || echo max; done"#;

/// `systemd-run`, if this user has a systemd whose scopes limit anything, and what they limit.
fn working_systemd_run() -> Option<(String, ScopeLimits)> {
    let runtime = format!("/run/user/{}", geteuid().as_raw());
    if !Path::new(&runtime).join("systemd/private").exists() {
        return None;
    }
    let path = find(None, SYSTEMD_RUN)?;
    let mut command = Command::new(&path);
    command.args(["--user", "--scope", "--quiet", "--collect"]);
    command.args(["-p", "MemoryMax=64M", "-p", "TasksMax=64", "-p", "CPUQuota=50%"]);
    command.args(["--", "sh", "-c", LOOK_AT_SCOPE]);
    command.env_clear().env("XDG_RUNTIME_DIR", runtime).env("PATH", "/usr/bin:/bin");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let limits = ScopeLimits::parse(&String::from_utf8_lossy(&output.stdout));
    (limits != ScopeLimits::default()).then(|| (path.to_string_lossy().into_owned(), limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_limits_what_the_kernel_says_that_it_limits() {
        let of = |memory, pids, cpu| ScopeLimits { memory, pids, cpu };
        assert_eq!(ScopeLimits::parse("67108864\n64\n50000 100000\n"), of(true, true, true));
        assert_eq!(ScopeLimits::parse("67108864\n64\nmax\n"), of(true, true, false));
        assert_eq!(ScopeLimits::parse("max\n64\nmax 100000\n"), of(false, true, false));
        assert_eq!(ScopeLimits::parse(""), of(false, false, false));
    }

    #[test]
    fn a_look_at_a_scope_prints_a_line_for_each_limit() {
        let output = Command::new("sh").args(["-c", LOOK_AT_SCOPE]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
    }

    #[test]
    fn what_is_not_limited_is_told() {
        let mut preflight = Preflight {
            bwrap: "/usr/bin/bwrap".into(),
            bwrap_version: "bubblewrap 0".to_owned(),
            drops_to_own_uid: false,
            nested_user_namespaces_off: true,
            memory: LimitedBy::EachProcess,
            pids: LimitedBy::OwnUser,
            cpu: LimitedBy::Nothing,
        };
        let told = preflight.to_string();
        for words in ["their number is not", "per process only", "processor time: not limited"] {
            assert!(told.contains(words), "{told}");
        }
        // A control group counts what the kernel keeps about each file, too.
        preflight.memory = LimitedBy::CgroupV2;
        assert!(!preflight.to_string().contains("their number"));
    }
}
