//! The programs under test: finds them beside the test itself, and has Cargo build what is missing
//! or older than its sources. Knows no gateway.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};

/// A program, and the folders of the workspace that it is made from.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("shellgate-gateway", &["gateway/src", "gateway/migrations", "infra/src", "protocol/src"]),
    ("shellgate-bridge", &["bridge/src", "protocol/src"]),
    ("shellgate", &["client/src", "protocol/src"]),
];

/// Where Cargo says which package's test or program it runs.
pub(crate) const PACKAGE: &str = "CARGO_MANIFEST_DIR";

/// The folder with `shellgate-gateway`, `shellgate-bridge` and `shellgate`.
///
/// # Panics
/// Where they are neither there nor can be built.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST
        let folder = test.parent().and_then(Path::parent).expect("Cargo's layout").to_path_buf();
        if !are_current(&folder) {
            build(&folder);
        }
        folder
    })
}

/// The `shellgate` program.
pub fn cli() -> PathBuf {
    folder().join("shellgate")
}

/// The folder of the sources: of the workspace that Cargo runs this from, since a target folder may
/// have been copied there from where it was built.
fn workspace() -> PathBuf {
    let package = std::env::var_os(PACKAGE).map(PathBuf::from);
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let locked = package.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    locked.or(package.parent()).expect("a package is in a workspace").to_path_buf()
}

fn are_current(folder: &Path) -> bool {
    PROGRAMS.iter().all(|(program, sources)| {
        let Some(built) = modified(&folder.join(program)) else { return false };
        sources.iter().all(|source| newest(&workspace().join(source)).is_none_or(|at| at <= built))
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|about| about.modified()).ok()
}

/// When anything below a folder was changed last; `None` where there is nothing, as for a test
/// that runs away from its sources.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            if path.is_dir() { newest(&path) } else { modified(&path) }
        })
        .max()
}

fn build(folder: &Path) {
    // Tests run at once, each in a process of its own: one builds, the others wait for it.
    let lock = File::create(folder.join("shellgate-tests.lock")).expect("the lock of the build");
    let _held = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, why)| why).expect("locked");
    if are_current(folder) {
        return;
    }
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let built = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the programs under test are not in {} and could not be built: `cargo build --workspace \
         --bins` says why",
        folder.display()
    );
    for (program, _) in PROGRAMS {
        // A change that Cargo sees no reason to build for: what is there is current.
        let program = File::options().append(true).open(folder.join(program));
        program.and_then(|file| file.set_modified(SystemTime::now())).expect("built");
    }
}
