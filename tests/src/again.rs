//! The same stories once more: as an ordinary user, or with the gateway's tasks, files and secrets
//! on AWS and its store in Postgres. Runs the test program again, with another uid or another environment. Knows no story.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::binaries;

/// A uid that is nobody's account, outside of what a gateway gives to its users.
const ORDINARY: u32 = 54_321;

/// Where worlds are, as a test program that is run again is told.
const ON: &str = "SHELLGATE_STORIES_ON";
const AWS: &str = "aws";
const AWS_BY_ANOTHER: &str = "aws, by another gateway";

/// The tests that run the others again.
const RETELLING: [&str; 3] = ["::as_an_ordinary_user", "::on_aws", "::by_another_gateway"];

/// Runs the tests of a module (its `module_path!()`) again, all but those named in `but`, as an
/// ordinary user. Where this is one already, it says so and does nothing.
///
/// # Panics
/// Where one of them fails.
pub fn as_an_ordinary_user(module: &str, but: &[&str]) {
    if !Uid::effective().is_root() {
        println!("these tests run as an ordinary user already");
        return;
    }
    let place = tempfile::Builder::new().prefix("shellgate-again-").tempdir().expect("a place");
    let home = place.path();
    chown(home, Some(ORDINARY), Some(ORDINARY)).expect("root may");
    let test = reachable(home);
    // The first part is the test program's own name, which names no test.
    let (_, module) = module.split_once("::").expect("a module of a test program");
    let mut again = again(&test, module, but);
    again.current_dir(home).env("HOME", home).env("TMPDIR", home).uid(ORDINARY).gid(ORDINARY);
    passes(again, &format!("as an ordinary user, the tests of {module}"));
    let left: Vec<_> = std::fs::read_dir(home).expect("it is there").flatten().collect();
    let left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
    assert!(left.iter().all(|name| name == "copy"), "temporary files are left: {left:?}");
}

/// Runs the tests of a module (its `module_path!()`) again, all but those named in `but`, in worlds
/// that are on AWS. Those left out say nothing about where tasks run, or speak of sandboxes.
///
/// # Panics
/// Where one of them fails.
pub fn on_aws(module: &str, but: &[&str]) {
    on(AWS, module, but);
}

/// The same, in worlds where bridges dial one gateway, and users come to another.
///
/// # Panics
/// Where one of them fails.
pub fn by_another_gateway(module: &str, but: &[&str]) {
    on(AWS_BY_ANOTHER, module, but);
}

fn on(what: &str, module: &str, but: &[&str]) {
    let (_, module) = module.split_once("::").expect("a module of a test program");
    let test = std::env::current_exe().expect("a test has a path");
    let mut again = again(&test, module, but);
    let kept = ["HOME", "SHELLGATE_MOTO_PYTHON", "SHELLGATE_POSTGRES_BIN"];
    again.env(ON, what).envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    passes(again, &format!("on {what}, the tests of {module}"));
}

/// Whether worlds are on AWS unless they say otherwise.
#[must_use]
pub(crate) fn is_on_aws() -> bool {
    std::env::var_os(ON).is_some_and(|on| on == AWS || on == AWS_BY_ANOTHER)
}

/// Whether their users come to another gateway than their bridges.
#[must_use]
pub(crate) fn is_by_another() -> bool {
    std::env::var_os(ON).is_some_and(|on| on == AWS_BY_ANOTHER)
}

/// The test program once more, for the tests of a module but these.
fn again(test: &Path, module: &str, but: &[&str]) -> Command {
    let mut again = Command::new(test);
    again
        .arg(format!("{module}::"))
        .args(RETELLING.iter().chain(but).flat_map(|but| ["--skip", but]))
        .args(["--test-threads", "2"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(std::env::var_os(binaries::PACKAGE).map(|package| (binaries::PACKAGE, package)))
        .stdin(Stdio::null());
    again
}

fn passes(mut again: Command, what: &str) {
    let ran = again.output().expect("the test program runs again");
    let said = String::from_utf8_lossy(&ran.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{what}: {}", ran.status);
    assert!(!said.contains("running 0 tests"), "{what}: there are none");
}

/// The test program where everybody can run it: itself, or a copy with the programs beside it.
fn reachable(home: &Path) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let programs = binaries::folder();
    if test.ancestors().skip(1).all(is_open) {
        return test;
    }
    let copy = home.join("copy");
    let deps = copy.join("deps");
    std::fs::create_dir_all(&deps).expect("a folder");
    for program in ["shellgate-gateway", "shellgate-bridge", "shellgate"] {
        std::fs::copy(programs.join(program), copy.join(program)).expect("copied");
    }
    let copied = deps.join(test.file_name().expect("a program has a name"));
    std::fs::copy(&test, &copied).expect("copied");
    copied
}

/// Whether everybody may go through a directory.
fn is_open(directory: &Path) -> bool {
    directory
        .metadata()
        .is_ok_and(|about| about.permissions().mode() & 0o001 != 0 || about.uid() == ORDINARY)
}
