//! Real sandboxes on this machine: what they keep to, and what cannot get out of them. Every test
//! runs as whoever runs it, and where that is root once more as an ordinary user.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod contract;
mod escape;
mod life;
mod place;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

/// Nobody's uid on any machine that this runs on.
const ORDINARY: u32 = 54_321;

#[test]
fn all_of_this_holds_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Copies: an ordinary user may be unable to walk to where they were built.
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let tests = directory.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(place::probe(), directory.path().join(place::PROBE)).unwrap();
    let run = std::process::Command::new(&tests)
        .args(["--test-threads", "2", "--skip", "all_of_this_holds_for_an_ordinary_user_too"])
        .env_clear()
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("test result: ok. ") && !said.contains(" 0 passed"), "{said}");
    println!("{said}");
}
