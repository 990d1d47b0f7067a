//! The AWS of a world: tasks of ECS that really run, homes behind access points of EFS, parameters
//! of SSM. Knows no gateway.
//!
//! A runner does what Fargate does with each task: it starts the image's entry point, the real
//! bridge, as the task definition says: its user, its environment, its mounts, a read-only root. In
//! place of a machine of its own each has a sandbox with this machine's network.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shellgate_cloud::{Cloud, Stop, Task};
use shellgate_gateway::authority;
use shellgate_infra::aws::AwsSettings;
use tokio::process::{Child, Command};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::config::Config;
use crate::world::lock;
use crate::{WorldBuilder, afar, binaries, until};

/// Where the tasks' certificates and the gateway's parameters begin.
const PREFIX: &str = "/shellgate";

/// What enrolment tokens are made with: 32 bytes that are no secret.
const ENROLMENT_KEY: &str = "c2hlbGxnYXRlJ3MgdGVzdHM6IG5vIHNlY3JldCBrZXk";

/// Another such key.
const ANOTHER_KEY: &str = "YW5vdGhlciBvZiB0aG9zZTogaXQgaXMgbm8gc2VjcmU";

/// The image's own environment.
const PATH: &str = "/home/agent/.local/bin:/usr/local/bin:/usr/bin:/bin";

/// The address that every task calls from.
const ADDRESS: &str = "127.0.0.1";

/// The AWS of a world.
pub struct Aws {
    cloud: Arc<Cloud>,
    cluster: String,
    file_system: String,
    running: Arc<Running>,
    failing: Arc<Mutex<VecDeque<Stop>>>,
    address: Arc<Mutex<&'static str>>,
    homes: PathBuf,
    _runner: AbortOnDropHandle<()>,
}

/// The tasks whose processes run, by ARN.
#[derive(Debug, Default)]
struct Running(Mutex<BTreeMap<String, i32>>);

impl Running {
    fn set(&self, arn: &str, pid: Option<i32>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pid {
            Some(pid) => running.insert(arn.to_owned(), pid),
            None => running.remove(arn),
        };
    }

    fn all(&self) -> BTreeMap<String, i32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Aws {
    /// An AWS whose tasks keep their users' homes below `place`.
    pub async fn start(place: &Path) -> Self {
        let cloud = Arc::new(Cloud::start().await);
        let (cluster, file_system) = (cloud.cluster().await, cloud.file_system().await);
        let (certificate, key) = authority(place).await;
        cloud.parameter(&format!("{PREFIX}/gateway/authority"), &certificate).await;
        cloud.parameter(&format!("{PREFIX}/gateway/authority-key"), &key).await;
        cloud.parameter(&format!("{PREFIX}/gateway/enrolment-key"), ENROLMENT_KEY).await;
        let homes = place.join("efs");
        std::fs::create_dir(&homes).expect("a folder");
        std::fs::set_permissions(&homes, std::fs::Permissions::from_mode(0o711)).expect("ours");
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o711)).expect("ours");
        let running = Arc::new(Running::default());
        let failing = Arc::new(Mutex::new(VecDeque::new()));
        let address = Arc::new(Mutex::new(ADDRESS));
        let runner =
            run(cloud.clone(), homes.clone(), running.clone(), failing.clone(), address.clone());
        let runner = AbortOnDropHandle::new(TaskTracker::new().spawn(runner));
        Self { cloud, cluster, file_system, running, failing, address, homes, _runner: runner }
    }

    /// The AWS itself: what goes wrong in it, and what was called.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Makes a gateway's configuration one that is on this AWS.
    pub(crate) fn configure(&self, config: &mut Config) {
        configure(config, &self.cloud.settings(), &self.cluster, &self.file_system);
        let parameter = |name: &str| format!("ssm:{PREFIX}/gateway/{name}");
        config.set("tasks.authorities", list(&parameter("authority")));
        config.set("tasks.authority_key", parameter("authority-key"));
        config.set("tasks.enrolment_key", parameter("enrolment-key"));
        config.set("secrets.kind", "ssm");
        config.set("secrets.prefix", PREFIX);
        config.set("secrets.max_age", "1s");
        config.set("listen.peer", format!("{ADDRESS}:0"));
        config.set("peers.deadline", "1s");
    }

    /// What the gateways' enrolment tokens are made with.
    #[must_use]
    pub(crate) fn enrolment_key(&self) -> Vec<u8> {
        shellgate_protocol::enrolment::decode(ENROLMENT_KEY).expect("it is base64url")
    }

    /// Replaces that key where it is kept.
    pub async fn has_another_enrolment_key(&self) {
        let key = format!("{PREFIX}/gateway/enrolment-key");
        self.cloud.parameter(&key, ANOTHER_KEY).await;
    }

    /// Gives a user, by their key, a secret.
    pub async fn keeps_a_secret(&self, user_key: &str, name: &str, value: &str) {
        self.cloud.parameter(&format!("{PREFIX}/users/{user_key}/{name}"), value).await;
    }

    /// The tasks that were started for a session, oldest first.
    pub async fn tasks_of(&self, session: &str) -> Vec<Task> {
        let tasks = self.cloud.tasks().await;
        tasks.into_iter().filter(|task| task.started_by.starts_with(session)).collect()
    }

    /// How many entries each home has at its top, by its access point, gone or not.
    #[must_use]
    pub fn homes(&self) -> BTreeMap<String, usize> {
        let entries = |at: &Path| std::fs::read_dir(at).expect("a folder").flatten();
        entries(&self.homes)
            .map(|home| {
                let name = home.file_name().into_string().expect("an access point");
                (name, entries(&home.path()).count())
            })
            .collect()
    }

    /// On what the tasks of a session were to run, oldest first.
    pub async fn capacities_of(&self, session: &str) -> Vec<String> {
        let tasks = self.tasks_of(session).await.into_iter();
        tasks.filter_map(|task| task.capacity_provider).collect()
    }

    /// The next task that is asked for does not start, and stops like this.
    pub fn fails_the_next_task(&self, stop: Stop) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).push_back(stop);
    }

    /// From now on ECS says that each new task has this address, which is not where it calls from.
    pub fn says_that_tasks_are_at(&self, address: &'static str) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Kills a task's machine: its process, and all that it has started.
    pub async fn loses_the_task_of(&self, session: &str) {
        let task = self.tasks_of(session).await.pop().expect("it has a task");
        let pid = self.running.all().get(&task.arn).copied().expect("it runs");
        signal(first_inside(pid).expect("its bridge runs"), Signal::KILL);
    }

    /// Fails where a task runs, or its process does.
    pub(crate) async fn assert_nothing_runs(&self) {
        until("every task has stopped", async || {
            let tasks = self.cloud.tasks().await;
            tasks.iter().all(|task| task.status == "STOPPED") && self.running.all().is_empty()
        })
        .await;
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        for pid in self.running.all().into_values() {
            signal(pid, Signal::KILL);
        }
    }
}

impl WorldBuilder {
    /// Has the gateway's tasks on the ECS of this AWS, and their homes on its EFS.
    pub(crate) fn with_tasks_on(self, aws: &AwsSettings) -> Self {
        let (certificate, key) = afar::papers(self.shared.place());
        authority::make(&certificate, &key, SystemTime::now()).expect("an authority");
        let from = |path: &Path| format!("file:{}", path.display());
        let mut config = lock(&self.shared.config);
        configure(&mut config, aws, "storm", "fs-0123456789abcdef0");
        drop(config);
        self.set("tasks.authorities", list(&from(&certificate)))
            .set("tasks.authority_key", from(&key))
    }
}

/// Makes a gateway's configuration one whose tasks run on ECS, with their homes on EFS.
pub(crate) fn configure(config: &mut Config, aws: &AwsSettings, cluster: &str, file_system: &str) {
    let endpoints =
        [("ecs", &aws.ecs_endpoint), ("efs", &aws.efs_endpoint), ("ssm", &aws.ssm_endpoint)];
    for (service, endpoint) in endpoints {
        if let Some(endpoint) = endpoint {
            config.set(&format!("aws.{service}_endpoint"), endpoint.as_str());
        }
    }
    let port = free_port();
    config.set("aws.region", aws.region.as_deref().unwrap_or("us-east-1"));
    config.set("listen.task", format!("{ADDRESS}:{port}"));
    config.set("tasks.compute", "ecs");
    config.set("tasks.dial", format!("wss://localhost:{port}"));
    config.set("ecs.cluster", cluster);
    config.set("ecs.image", "registry.invalid/shellgate-task:story");
    config.set("ecs.subnets", list("subnet-0123456789abcdef0"));
    config.set("ecs.security_groups", list("sg-0123456789abcdef0"));
    config.set("ecs.execution_role", "arn:aws:iam::123456789012:role/execution");
    config.set("ecs.task_role", "arn:aws:iam::123456789012:role/task");
    config.set("ecs.stop_timeout", "5s");
    config.set("volumes.kind", "efs");
    config.set("efs.file_systems", list(file_system));
}

fn list(item: &str) -> toml::Value {
    toml::Value::Array(vec![item.into()])
}

/// The authority that an operator makes for the tasks' certificates: its certificate and key.
async fn authority(place: &Path) -> (String, String) {
    let (certificate, key) = (place.join("authority.pem"), place.join("authority.key"));
    let made = Command::new(binaries::folder().join("shellgate-gateway"))
        .arg("make-authority")
        .args([&certificate, &key])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the gateway's program runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |path| std::fs::read_to_string(path).expect("it was made");
    (read(&certificate), read(&key))
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((ADDRESS, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound").port()
}

/// Runs every task that is asked for, until it is dropped.
async fn run(
    cloud: Arc<Cloud>,
    homes: PathBuf,
    running: Arc<Running>,
    failing: Arc<Mutex<VecDeque<Stop>>>,
    address: Arc<Mutex<&'static str>>,
) {
    let mut tasks = Vec::new();
    loop {
        let task = cloud.next_task().await;
        let fails = failing.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(stop) = fails {
            cloud.stops(&task.arn, stop).await;
            continue;
        }
        let (cloud, homes, running) = (cloud.clone(), homes.clone(), running.clone());
        let address = *address.lock().unwrap_or_else(PoisonError::into_inner);
        let one = async move { run_one(&cloud, &homes, &running, task, address).await };
        tasks.push(AbortOnDropHandle::new(TaskTracker::new().spawn(one)));
    }
}

async fn run_one(cloud: &Cloud, homes: &Path, running: &Running, task: Task, address: &str) {
    let mut child = begin(&task, homes);
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    running.set(&task.arn, Some(pid));
    cloud.runs(&task.arn, address).await;
    let ended = tokio::select! {
        ended = child.wait() => ended,
        _ = cloud.told_to_stop(&task.arn) => stop(&mut child, pid, &task).await,
    };
    running.set(&task.arn, None);
    let exit_code = ended.ok().and_then(|status| status.code());
    cloud.stops(&task.arn, Stop { exit_code, ..Stop::default() }).await;
}

/// Asks the bridge to end, and kills the task after the definition's stop timeout.
async fn stop(
    child: &mut Child,
    pid: i32,
    task: &Task,
) -> std::io::Result<std::process::ExitStatus> {
    if let Some(bridge) = first_inside(pid) {
        signal(bridge, Signal::TERM);
    }
    let timeout = task.definition["containerDefinitions"][0]["stopTimeout"].as_u64().unwrap_or(30);
    match tokio::time::timeout(Duration::from_secs(timeout), child.wait()).await {
        Ok(ended) => ended,
        Err(_) => {
            if let Some(bridge) = first_inside(pid) {
                signal(bridge, Signal::KILL);
            }
            child.wait().await
        }
    }
}

/// Starts a task's one container as its definition says.
fn begin(task: &Task, homes: &Path) -> Child {
    let container = &task.definition["containerDefinitions"][0];
    assert!(container["readonlyRootFilesystem"] == true, "{container}");
    let user = container["user"].as_str().expect("a task has a user");
    let (uid, gid) = user.split_once(':').expect("with a group");
    let (uid, gid): (u32, u32) = (uid.parse().expect("a uid"), gid.parse().expect("a gid"));
    let volume = &task.definition["volumes"][0]["efsVolumeConfiguration"];
    let point = volume["authorizationConfig"]["accessPointId"].as_str().expect("an access point");
    let home = homes.join(point);
    let is_root = rustix::process::geteuid().is_root();
    if !home.exists() {
        std::fs::create_dir(&home).expect("a home");
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("ours");
        if is_root {
            std::os::unix::fs::chown(&home, Some(uid), Some(gid)).expect("root may");
        }
    }
    let mut line = Command::new("/usr/bin/bwrap");
    line.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"])
        .args(["--uid", &uid.to_string(), "--gid", &gid.to_string()])
        .args(["--as-pid-1", "--new-session", "--cap-drop", "ALL"])
        .args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"])
        .args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"])
        .args(["--symlink", "usr/sbin", "/sbin", "--proc", "/proc", "--dev", "/dev"]);
    for tmpfs in container["linuxParameters"]["tmpfs"].as_array().into_iter().flatten() {
        line.args(["--perms", mode(tmpfs), "--tmpfs"]).arg(text(&tmpfs["containerPath"]));
    }
    let mount = &container["mountPoints"][0];
    line.arg("--bind").arg(&home).arg(text(&mount["containerPath"]));
    line.arg("--ro-bind").arg(binaries::folder().join("shellgate-bridge")).arg("/bridge");
    line.args(["--ro-bind", "/etc/hosts", "/etc/hosts"]);
    line.args(["--remount-ro", "/", "--chdir", "/", "--", "/bridge"]);
    line.args(task.command());
    line.env_clear().env("PATH", PATH).envs(task.environment());
    line.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    if is_root {
        line.as_std_mut().uid(uid).gid(gid);
    }
    line.spawn().expect("bwrap starts")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The mode that a tmpfs's options name.
fn mode(tmpfs: &Value) -> &str {
    let options = tmpfs["mountOptions"].as_array().into_iter().flatten();
    options.filter_map(|option| text(option).strip_prefix("mode=")).next().unwrap_or("0755")
}

/// The first process inside, of a sandbox whose outermost process this is.
fn first_inside(outermost: i32) -> Option<i32> {
    let children = format!("/proc/{outermost}/task/{outermost}/children");
    std::fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone meanwhile, most likely.
        let _ = kill_process(pid, signal);
    }
}
