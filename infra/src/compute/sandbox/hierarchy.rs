//! Where this process's own control groups are in the filesystem, from what /proc says. Opens
//! nothing.

use std::path::{Path, PathBuf};

use super::cgroup::Resource;

/// A mounted hierarchy: which part of it is where, its type and its options.
struct Mount<'a> {
    root: &'a str,
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (place, filesystem) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        let root = place.nth(3)?;
        let at = place.next()?;
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next()?;
        let options = filesystem.nth(1)?;
        Some(Mount { root, at, kind, options })
    })
}

impl Mount<'_> {
    fn directory(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        let leaves = below.components().any(|part| part == std::path::Component::ParentDir);
        (!leaves).then(|| Path::new(self.at).join(below))
    }
}

/// This process's group of version 2, as a directory.
pub(super) fn own_group_v2(own: &str, mountinfo: &str) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts(mountinfo)
        .filter(|mount| mount.kind == "cgroup2")
        .find_map(|mount| mount.directory(group))
}

/// This process's groups of version 1, one per resource, as directories.
pub(super) fn own_groups_v1(own: &str, mountinfo: &str) -> Vec<(Resource, PathBuf)> {
    Resource::ALL
        .into_iter()
        .filter_map(|resource| {
            let has = |list: &str| list.split(',').any(|one| one == resource.controller());
            let group = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                has(fields.nth(1)?).then(|| fields.next())?
            })?;
            let directory = mounts(mountinfo)
                .filter(|mount| mount.kind == "cgroup" && has(mount.options))
                .find_map(|mount| mount.directory(group))?;
            Some((resource, directory))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "5:memory:/box/gate\n4:cpu,cpuacct:/\n3:pids:/box\n0::/user.slice/a\n";
    const MOUNTS: &str = "\
        34 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:33 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        36 31 0:34 /elsewhere /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn own_groups_are_found_where_they_are_mounted() {
        let found = own_groups_v1(OWN, MOUNTS);
        assert_eq!(
            found,
            [
                (Resource::Memory, "/sys/fs/cgroup/memory/gate".into()),
                (Resource::Cpu, "/sys/fs/cgroup/cpu,cpuacct/".into()),
            ]
        );
        assert_eq!(own_group_v2(OWN, MOUNTS), Some("/sys/fs/cgroup/unified/user.slice/a".into()));
        assert_eq!(own_group_v2("0::/../outside", MOUNTS), None);
        assert_eq!(own_group_v2("", ""), None);
    }
}
