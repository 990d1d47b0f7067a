//! The /etc of a sandbox: of our own making, and the few things of the host without which its
//! programs do not run. Knows no users but the one inside.

use std::path::{Path, PathBuf};

/// The user inside, whoever owns the files outside.
pub(super) const UID: u32 = 1000;
/// Its group, likewise.
pub(super) const GID: u32 = 1000;
/// Its home.
pub(super) const HOME: &str = "/home/agent";
/// What the machine calls itself inside.
pub(super) const HOSTNAME: &str = "shellgate";
/// Where its programs are.
pub(super) const PATH: &str =
    "/home/agent/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files with their whole contents.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "/etc/passwd",
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n\
         agent:x:1000:1000:agent:/home/agent:/bin/bash\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\ntty:x:5:\nagent:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost shellgate\n::1 localhost ip6-localhost\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
         protocols: files\nservices: files\n",
    ),
    ("/etc/hostname", "shellgate\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/shells", "/bin/sh\n/bin/bash\n"),
    (
        "/etc/profile",
        "if [ -n \"$BASH_VERSION\" ] && [ -n \"$PS1\" ] && [ -r /etc/bash.bashrc ]; then\n  \
         . /etc/bash.bashrc\nfi\n",
    ),
    (
        "/etc/bash.bashrc",
        "[ -z \"$PS1\" ] && return\nshopt -s checkwinsize\nPS1='\\u@\\h:\\w\\$ '\n",
    ),
];

/// What is taken from the host as it is, where the host has it: which program a name stands for,
/// whom to trust, where libraries are, what a terminal can do.
pub(super) const FROM_HOST: &[&str] =
    &["/etc/alternatives", "/etc/ssl/certs", "/etc/ld.so.cache", "/etc/terminfo"];

/// Where the host's time zone is described, if it is one that the sandbox has too.
pub(super) fn localtime() -> Option<PathBuf> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let zone = match link.strip_prefix("..") {
        Ok(from_root) => Path::new("/").join(from_root),
        Err(_) => link,
    };
    let plain = zone.components().all(|part| part != std::path::Component::ParentDir);
    (plain && zone.starts_with("/usr/share/zoneinfo")).then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_and_group_say_the_same_as_the_constants() {
        let passwd = FILES.iter().find(|(path, _)| *path == "/etc/passwd").unwrap().1;
        assert!(passwd.contains(&format!("agent:x:{UID}:{GID}:agent:{HOME}:")));
        let hostname = FILES.iter().find(|(path, _)| *path == "/etc/hostname").unwrap().1;
        assert_eq!(hostname.trim(), HOSTNAME);
    }
}
