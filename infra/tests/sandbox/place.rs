//! A place of its own for each test: a state directory, a user's home, a socket to dial, and a
//! shell in a sandbox to talk to.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{getegid, geteuid};
use shellgate_infra::compute::sandbox::{Preflight, Sandbox, SandboxConfig};
use shellgate_infra::compute::{
    Capacity, Compute, DialRoute, EnrolmentToken, Limits, TaskName, TaskRef, TaskSpec,
};
use shellgate_infra::volumes::{VolumeKey, VolumeRef, Volumes, directory::DirectoryVolumes};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What the probe's file is called.
pub const PROBE: &str = "shellgate-sandbox-probe";
/// What each launch gets to introduce itself.
pub const TOKEN: &str = "only-once-0123456789";
/// Whose launch it is.
pub const SESSION: &str = "ses_00000000000000000000000000000001";
/// No step takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// As whom a root's sandboxes run.
const UID: u32 = 54_400;

/// Where the probe is: beside a copied test, else where it was built.
pub fn probe() -> PathBuf {
    let beside = std::env::current_exe().unwrap().with_file_name(PROBE);
    if beside.exists() { beside } else { env!("CARGO_BIN_EXE_shellgate-sandbox-probe").into() }
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this took too long")
}

pub struct Place {
    directory: tempfile::TempDir,
    pub sandbox: Sandbox,
    listener: UnixListener,
    home: VolumeRef,
}

impl Place {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let home = Self::furnished(at).await;
        let gw = at.join("gw");
        let listener = UnixListener::bind(gw.join("dial.sock")).unwrap();
        if geteuid().is_root() {
            chown(gw.join("dial.sock"), Some(UID), Some(UID)).unwrap();
        }
        let sandbox = Self::sandbox_at(at);
        Self { directory, sandbox, listener, home }
    }

    /// The directories of a place, and two users' homes; the first one's is returned.
    pub async fn furnished(at: &std::path::Path) -> VolumeRef {
        let gw = at.join("gw");
        if !gw.exists() {
            std::fs::create_dir(&gw).unwrap();
            std::fs::set_permissions(&gw, std::fs::Permissions::from_mode(0o711)).unwrap();
        }
        let volumes = DirectoryVolumes::new(at.join("homes"), None);
        volumes.ensure(&VolumeKey::new("bob").unwrap(), UID + 1, None).await.unwrap();
        volumes.ensure(&VolumeKey::new("ada").unwrap(), UID, None).await.unwrap()
    }

    pub fn sandbox_at(at: &std::path::Path) -> Sandbox {
        Sandbox::new(SandboxConfig::new(at.join("state"), probe())).unwrap()
    }

    /// One on the same state directory whose bridge is this script.
    pub fn sandbox_with_bridge(&self, script: &str) -> Sandbox {
        let bridge = self.at().join("bridge");
        std::fs::write(&bridge, script).unwrap();
        std::fs::set_permissions(&bridge, std::fs::Permissions::from_mode(0o755)).unwrap();
        Sandbox::new(SandboxConfig::new(self.at().join("state"), bridge)).unwrap()
    }

    /// Waits until the sandbox that was started as `task` calls.
    pub async fn is_called_by(&self, task: TaskRef) -> Shell {
        let call = soon(async {
            tokio::select! {
                call = self.listener.accept() => Ok(call.unwrap().0),
                end = self.sandbox.wait(&task) => Err(end.unwrap()),
            }
        });
        let stream = call.await.unwrap_or_else(|end| panic!("the sandbox ended: {end:?}"));
        Shell::introduced(task, stream).await
    }

    /// Another one on the same state directory, as after a restart.
    pub fn another_sandbox(&self) -> Sandbox {
        Self::sandbox_at(self.directory.path())
    }

    pub fn at(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// As whom its tasks run on the host.
    pub fn uid() -> u32 {
        if geteuid().is_root() { UID } else { geteuid().as_raw() }
    }

    pub fn gid() -> u32 {
        if geteuid().is_root() { UID } else { getegid().as_raw() }
    }

    pub async fn preflight(&self) -> Preflight {
        soon(self.sandbox.preflight()).await.unwrap()
    }

    pub fn spec(&self, name: &str) -> TaskSpec {
        spec(name, self.home.clone(), self.at())
    }

    /// Waits for a call and its first byte, and hangs up.
    pub async fn is_called_by_anybody(&self) {
        let mut stream = soon(self.listener.accept()).await.unwrap().0;
        soon(tokio::io::AsyncReadExt::read_u8(&mut stream)).await.unwrap();
    }

    /// Starts a sandbox and waits until it calls.
    pub async fn opens_a_shell(&self) -> Shell {
        self.opens(&self.spec("one")).await
    }

    pub async fn opens(&self, spec: &TaskSpec) -> Shell {
        let task = soon(self.sandbox.start(spec)).await.unwrap();
        self.is_called_by(task).await
    }

    /// Ends everything, and fails where something is left.
    pub async fn closes(self) {
        for task in soon(self.sandbox.list()).await.unwrap() {
            soon(self.sandbox.stop(&task, Duration::from_secs(5))).await.unwrap();
            soon(self.sandbox.forget(task.name())).await.unwrap();
        }
        let left = std::fs::read_dir(self.directory.path().join("state/tasks")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert_eq!(groups_of(self.at()), Vec::<PathBuf>::new());
    }
}

/// What to start in a place.
pub fn spec(name: &str, home: VolumeRef, at: &std::path::Path) -> TaskSpec {
    TaskSpec {
        name: TaskName::new(name).unwrap(),
        session: SESSION.to_owned(),
        launch: 1,
        token: EnrolmentToken(TOKEN.to_owned()),
        volume: home,
        user: "ada".to_owned(),
        template: "default".to_owned(),
        dial: DialRoute::Socket(at.join("gw")),
        capacity: Capacity::OnDemand,
        limits: Limits { memory: 128 << 20, cpu_millis: 2000, pids: 48, tmp: 2 << 20 },
    }
}

/// The control groups of a place that are there.
fn groups_of(at: &std::path::Path) -> Vec<PathBuf> {
    let state = at.join("state").canonicalize().unwrap();
    let digest = {
        use std::os::unix::ffi::OsStrExt;
        let path = state.as_os_str().as_bytes();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path)
    };
    let name: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("shellgate-{name}");
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str() == Some(&name) {
                    found.push(entry.path());
                }
                directories.push(entry.path());
            }
        }
    }
    found
}

/// A shell inside.
pub struct Shell {
    pub task: TaskRef,
    stream: BufReader<UnixStream>,
}

impl Shell {
    async fn introduced(task: TaskRef, stream: UnixStream) -> Self {
        let peer = stream.peer_cred().unwrap();
        assert_eq!((peer.uid(), peer.gid()), (Place::uid(), Place::gid()));
        let mut shell = Self { task, stream: BufReader::new(stream) };
        let mut token = String::new();
        soon(shell.stream.read_line(&mut token)).await.unwrap();
        assert_eq!(token.trim(), TOKEN);
        shell
    }

    /// Its outermost process on the host.
    pub fn pid(&self) -> i32 {
        let TaskRef::Sandbox { pid, .. } = &self.task else { panic!("{:?}", self.task) };
        *pid
    }

    /// Its first process, as the host numbers it.
    pub fn first_pid(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    }

    /// Runs a command and returns what it printed, errors included.
    pub async fn says(&mut self, command: &str) -> String {
        assert!(!command.contains('\n'), "one line");
        soon(async {
            self.stream.write_all(format!("{command}\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            self.stream.read_until(0, &mut answer).await.unwrap();
            assert_eq!(answer.pop(), Some(0), "the sandbox hung up in {command:?}");
            String::from_utf8_lossy(&answer).trim_end().to_owned()
        })
        .await
    }

    /// The number of the error with which a system call is refused, 0 where it is not.
    pub async fn calls(&mut self, call: libc::c_long, arguments: &[u64]) -> i32 {
        let arguments: Vec<String> = arguments.iter().map(|n| format!("{n:#x}")).collect();
        let line = format!("/run/shellgate/bridge syscall {call} {}", arguments.join(" "));
        let answer = self.says(&line).await;
        answer.parse().unwrap_or_else(|_| panic!("{call}: {answer}"))
    }
}
