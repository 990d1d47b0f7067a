//! Control groups, version 1 and 2: what holds a whole sandbox to its limits. Knows no bwrap.
//!
//! Groups are made below the gateway's own, so that what holds the gateway holds its sandboxes:
//! `<own group>/shellgate-<hash of the state directory>/<task>`. Under systemd on version 2 they are
//! made below a unit beside the gateway's: systemd cannot start a service anew in whose own group
//! there are groups with limits.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::hierarchy::{own_group_v2, own_groups_v1};
use super::process::Process;
use crate::compute::Limits;

/// The window over which processor time is counted, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// How long a group is given to become empty after all in it were killed.
const EMPTYING: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(10);
/// The child of its own group into which a gateway moves on version 2, where a group has either
/// processes or groups with limits.
const GATEWAY: &str = "shellgate-gateway";
/// The unit beside the gateway's that is there for sandboxes (packaging/shellgate-sandboxes.service).
const PLACE: &str = "shellgate-sandboxes.service";
/// The child of that unit's group into which whoever holds the place is moved.
const HOLDER: &str = "holder";

/// Begins the name of a group that is only tried. No task's name has a dot.
pub(super) const TRIAL: &str = "trial.";
/// How long what was left of one may take to end.
const SWEEPING: Duration = Duration::from_secs(2);

/// A resource that a group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Memory, without swap.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Resource {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(super) fn controller(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Which of the kernel's two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A file in a group, what goes into it, and whether a kernel may be without it.
type Setting = (&'static str, String, bool);

fn settings(version: Version, resource: Resource, limits: &Limits) -> Vec<Setting> {
    let quota = u64::from(limits.cpu_millis.max(10)) * CPU_PERIOD / 1000;
    let (memory, pids) = (limits.memory.to_string(), limits.pids.to_string());
    match (version, resource) {
        (Version::V1, Resource::Memory) => vec![
            // Memory and swap together are never below memory alone, not even in between.
            ("memory.memsw.limit_in_bytes", "-1".to_owned(), true),
            ("memory.limit_in_bytes", memory.clone(), false),
            ("memory.memsw.limit_in_bytes", memory, true),
        ],
        (Version::V2, Resource::Memory) => {
            vec![("memory.max", memory, false), ("memory.swap.max", "0".to_owned(), true)]
        }
        (_, Resource::Pids) => vec![("pids.max", pids, false)],
        (Version::V1, Resource::Cpu) => vec![
            ("cpu.cfs_period_us", CPU_PERIOD.to_string(), false),
            ("cpu.cfs_quota_us", quota.to_string(), false),
        ],
        (Version::V2, Resource::Cpu) => vec![("cpu.max", format!("{quota} {CPU_PERIOD}"), false)],
    }
}

/// A directory below which groups for tasks may be made, and what they limit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parent {
    version: Version,
    directory: PathBuf,
    resources: Vec<Resource>,
}

/// Where this gateway makes its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    parents: Vec<Parent>,
}

impl Cgroups {
    /// Finds out, by doing it, what this process may limit with groups; `None` where nothing.
    /// `name` is the parent's, one per state directory.
    pub(super) fn find(name: &str) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut found = Self { parents: Vec::new() };
        if let Some(group) = own_group_v2(&own, &mounts) {
            found.parents.extend(delegated_v2(&group, name));
        }
        for (resource, group) in own_groups_v1(&own, &mounts) {
            if found.limits(resource) {
                continue;
            }
            let directory = group.join(name);
            let known = found.parents.iter_mut().find(|parent| parent.directory == directory);
            match known {
                // Controllers can be mounted together.
                Some(parent) => parent.resources.push(resource),
                None => found.parents.push(Parent {
                    version: Version::V1,
                    directory,
                    resources: vec![resource],
                }),
            }
        }
        found.parents.retain(Parent::works);
        (!found.parents.is_empty()).then_some(found)
    }

    /// Whether this resource is limited.
    pub(super) fn limits(&self, resource: Resource) -> bool {
        self.parents.iter().any(|parent| parent.resources.contains(&resource))
    }

    /// The version of the interface that limits a resource.
    pub(super) fn version(&self, resource: Resource) -> Option<Version> {
        let parent = self.parents.iter().find(|parent| parent.resources.contains(&resource))?;
        Some(parent.version)
    }

    /// Where the groups of a task of this name are, or would be.
    pub(super) fn of_task(&self, task: &str) -> Vec<Group> {
        self.parents.iter().map(|parent| Group(parent.directory.join(task))).collect()
    }

    /// Makes a task's groups and sets their limits.
    pub(super) fn make(&self, task: &str, limits: &Limits) -> io::Result<Vec<Group>> {
        self.parents.iter().map(|parent| parent.make(task, limits)).collect()
    }

    fn children(&self) -> impl Iterator<Item = std::fs::DirEntry> {
        self.parents
            .iter()
            .filter_map(|parent| std::fs::read_dir(&parent.directory).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    }

    /// Ends trials that were cut off, and removes their groups. Only for whoever may make one.
    pub(super) fn sweep_trials(&self) {
        for entry in self.children() {
            if entry.file_name().to_string_lossy().starts_with(TRIAL) {
                let group = Group(entry.path());
                // Whatever cannot be ended is met again by the next preflight.
                let _ = group.kill();
                group.remove_when_empty(SWEEPING);
            }
        }
    }

    /// The names of the tasks that have groups here.
    pub(super) fn tasks(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .children()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with(TRIAL))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Removes the parents, where no group is left in them.
    pub(super) fn remove_parents(&self) {
        for parent in &self.parents {
            // A refusal means that there is a group in it.
            let _ = std::fs::remove_dir(&parent.directory);
        }
    }
}

impl Parent {
    fn works(&self) -> bool {
        let Ok(random) = super::random_hex() else { return false };
        let trial = format!("{TRIAL}{random}");
        let limits = Limits { memory: 64 << 20, cpu_millis: 1000, pids: 64, tmp: 0 };
        let made = self.make(&trial, &limits);
        let works = made.as_ref().is_ok_and(|group| group.entrance().is_ok());
        let _ = std::fs::remove_dir(self.directory.join(trial));
        works
    }

    /// Tries again where somebody removes the empty parent at the same moment.
    fn make(&self, task: &str, limits: &Limits) -> io::Result<Group> {
        const TRIES: usize = 5;
        let mut made = self.try_make(task, limits);
        for _ in 1..TRIES {
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    made = self.try_make(task, limits);
                }
                made => return made,
            }
        }
        made
    }

    fn try_make(&self, task: &str, limits: &Limits) -> io::Result<Group> {
        make_directory(&self.directory)?;
        if self.version == Version::V2 {
            enable(&self.directory, &self.resources)?;
        }
        let group = Group(self.directory.join(task));
        make_directory(&group.0)?;
        for &resource in &self.resources {
            for (file, value, optional) in settings(self.version, resource, limits) {
                match write(&group.0.join(file), &value) {
                    Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
                    result => result?,
                }
            }
        }
        Ok(group)
    }
}

/// One task's group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    /// The file into which a process of one thread writes `0` to enter. In version 1 a thread may
    /// enter by itself, and then does not wait until every processor has taken note: some 15 ms.
    pub(super) fn entrance(&self) -> io::Result<File> {
        let open = |name| OpenOptions::new().write(true).open(self.0.join(name));
        open("tasks").or_else(|_| open("cgroup.procs"))
    }

    /// Kills whatever is in it, until nothing is, and removes it. One that is gone is no error.
    pub(super) async fn clear(&self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + EMPTYING;
        loop {
            match std::fs::remove_dir(&self.0) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(_) => self.kill()?,
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Removes the group above it, where this was the last one in there.
    pub(super) fn remove_parent(&self) {
        if let Some(parent) = self.0.parent() {
            // A refusal means that there is another group in it.
            let _ = std::fs::remove_dir(parent);
        }
    }

    /// Removes it as soon as nothing is in it; blocks at most this long.
    pub(super) fn remove_when_empty(&self, most: Duration) {
        for _ in 0..most.as_millis().div_ceil(POLL.as_millis()) {
            match std::fs::remove_dir(&self.0) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(POLL),
                _ => return,
            }
        }
    }

    fn kill(&self) -> io::Result<()> {
        if write(&self.0.join("cgroup.kill"), "1").is_ok() {
            return Ok(());
        }
        for pid in processes(&self.0) {
            let Some(process) = Process::of(pid) else { continue };
            // Looked up before and after: an id that was given to another in between is spared.
            if processes(&self.0).contains(&pid) {
                process.signal(Signal::KILL)?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Lets the groups below this one have limits of these kinds.
fn enable(directory: &Path, resources: &[Resource]) -> io::Result<()> {
    let wanted: Vec<String> =
        resources.iter().map(|resource| format!("+{}", resource.controller())).collect();
    write(&directory.join("cgroup.subtree_control"), &wanted.join(" "))
}

/// The parent for tasks on version 2: in the unit that is there for them, else in this process's own
/// group, if it may divide that.
fn delegated_v2(own: &Path, name: &str) -> Option<Parent> {
    let base =
        if own.file_name().is_some_and(|last| last == GATEWAY) { own.parent()? } else { own };
    let place = base.parent().map(|above| above.join(PLACE)).filter(|place| place.is_dir());
    if let Some(place) = place {
        let holders = processes(&place);
        if let Some(parent) = divided(&place, name, HOLDER, &holders) {
            return Some(parent);
        }
        tracing::warn!(group = %place.display(), "no groups for sandboxes can be made there");
    }
    divided(base, name, GATEWAY, &[0])
}

/// The parent for tasks in a group that can be divided. These processes (0 is this one) are moved
/// into a child of it: the group must have no process of its own then.
fn divided(base: &Path, name: &str, child: &str, movable: &[i32]) -> Option<Parent> {
    let offered = std::fs::read_to_string(base.join("cgroup.controllers")).ok()?;
    let resources: Vec<Resource> = Resource::ALL
        .into_iter()
        .filter(|resource| offered.split_ascii_whitespace().any(|c| c == resource.controller()))
        .collect();
    if resources.is_empty() {
        return None;
    }
    if enable(base, &resources).is_err() {
        let child = base.join(child);
        make_directory(&child).ok()?;
        let moved = |to: &Path| {
            let to = to.join("cgroup.procs");
            movable.iter().try_for_each(|pid| write(&to, &pid.to_string()))
        };
        if moved(&child).and_then(|()| enable(base, &resources)).is_err() {
            // Others are in the group: it is not ours to divide, and all stays as it was.
            let _ = moved(base);
            let _ = std::fs::remove_dir(&child);
            return None;
        }
    }
    Some(Parent { version: Version::V2, directory: base.join(name), resources })
}

fn processes(group: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_limits_are_spelled_for_both_versions() {
        let limits = Limits { memory: 1 << 30, cpu_millis: 1500, pids: 64, tmp: 0 };
        let all = |version| {
            Resource::ALL
                .into_iter()
                .flat_map(|resource| settings(version, resource, &limits))
                .map(|(file, value, _)| format!("{file}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            all(Version::V2),
            "memory.max=1073741824 memory.swap.max=0 pids.max=64 cpu.max=150000 100000"
        );
        assert_eq!(
            all(Version::V1),
            "memory.memsw.limit_in_bytes=-1 memory.limit_in_bytes=1073741824 \
             memory.memsw.limit_in_bytes=1073741824 pids.max=64 \
             cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000"
        );
    }

    #[test]
    fn a_version_2_group_is_divided_after_this_process_left_it() {
        let base = tempfile::tempdir().unwrap();
        // Plain files stand for the kernel's; the first attempt to divide meets none.
        std::fs::write(base.path().join("cgroup.controllers"), "cpu io memory pids\n").unwrap();
        assert_eq!(delegated_v2(base.path(), "gate"), None);
        let child = base.path().join(GATEWAY);
        std::fs::create_dir(&child).unwrap();
        std::fs::write(child.join("cgroup.procs"), "").unwrap();
        std::fs::write(base.path().join("cgroup.subtree_control"), "").unwrap();
        for own in [base.path(), child.as_path()] {
            let parent = delegated_v2(own, "gate").unwrap();
            assert_eq!(parent.directory, base.path().join("gate"));
            assert_eq!(parent.resources, Resource::ALL);
        }
        let written = std::fs::read_to_string(base.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(written, "+memory +pids +cpu");
    }

    #[test]
    fn a_unit_that_is_there_for_sandboxes_is_divided_in_place_of_the_gateways_own() {
        let slice = tempfile::tempdir().unwrap();
        let (own, place) = (slice.path().join("gate.service"), slice.path().join(PLACE));
        for group in [own.clone(), place.join(HOLDER)] {
            std::fs::create_dir_all(&group).unwrap();
            std::fs::write(group.join("cgroup.procs"), "").unwrap();
        }
        std::fs::write(place.join("cgroup.controllers"), "memory pids\n").unwrap();
        std::fs::write(place.join("cgroup.procs"), "4711\n").unwrap();
        assert_eq!(delegated_v2(&own, "gate"), None);
        let held = std::fs::read_to_string(place.join(HOLDER).join("cgroup.procs")).unwrap();
        assert_eq!(held, "4711");
        std::fs::write(place.join("cgroup.subtree_control"), "").unwrap();
        let parent = delegated_v2(&own, "gate").unwrap();
        assert_eq!(parent.directory, place.join("gate"));
        assert_eq!(parent.resources, [Resource::Memory, Resource::Pids]);
        assert!(!own.join(GATEWAY).exists());
    }
}
