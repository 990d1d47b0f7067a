//! One AWS of a test's own: moto and the proxy in front of it, on a thread of their own, so that a
//! test may block, and may share one between several runtimes. Knows no provider.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use shellgate_infra::aws::AwsSettings;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::moto::{Moto, Process};
use crate::proxy::{Changes, Proxy};
use crate::{Faults, Stop, Task};

/// The region that everything is in.
pub(crate) const REGION: &str = "us-east-1";

/// An AWS of a test's own.
///
/// Tasks stay in `PROVISIONING` until the test says what becomes of them: by [`Self::runs`] and
/// [`Self::stops`], or for all at once by [`Self::obliges`].
pub struct Cloud {
    address: SocketAddr,
    pid: Option<u32>,
    moto: Moto,
    faults: Arc<Faults>,
    changes: Arc<Changes>,
    /// Tasks that [`Self::next_task`] has given.
    given: tokio::sync::Mutex<usize>,
    made: std::sync::atomic::AtomicU32,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Cloud {
    /// Starts one. Also sets this process's environment so that the SDK finds credentials and no
    /// configuration of this machine.
    ///
    /// # Panics
    /// Where moto can't be started.
    pub async fn start() -> Self {
        set_environment();
        let faults = Arc::new(Faults::new());
        let changes = Arc::<Changes>::default();
        let stop = CancellationToken::new();
        let (ready, started) = oneshot::channel();
        let thread = {
            let (faults, changes, stop) = (faults.clone(), changes.clone(), stop.clone());
            std::thread::Builder::new()
                .name("cloud".to_owned())
                .spawn(move || run(faults, changes, &stop, ready))
                .expect("a thread starts")
        };
        let started = started.await.expect("the cloud's thread lives");
        let Started { address, pid, moto } = started.unwrap_or_else(|why| panic!("{why}"));
        Self {
            address,
            pid,
            moto,
            faults,
            changes,
            given: tokio::sync::Mutex::default(),
            made: 0.into(),
            stop,
            thread: Some(thread),
        }
    }

    /// How a provider reaches it.
    #[must_use]
    pub fn settings(&self) -> AwsSettings {
        settings_at(self.address)
    }

    /// The address at which all three services answer.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a program under test needs in its environment: credentials, and no configuration of this
    /// machine.
    #[must_use]
    pub fn credentials_environment() -> [(&'static str, &'static str); 6] {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
    }

    /// What goes wrong, and what was called.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes a cluster for Fargate, and returns its name.
    pub async fn cluster(&self) -> String {
        let name = self.new_name("cluster");
        let providers = ["FARGATE", "FARGATE_SPOT"];
        let asked = json!({ "clusterName": name, "capacityProviders": providers });
        self.ecs("CreateCluster", &asked).await;
        name
    }

    /// Makes an EFS file system, and returns its id.
    pub async fn file_system(&self) -> String {
        let token = json!({ "CreationToken": self.new_name("files") });
        let made = self.aws("/2015-02-01/file-systems", None, "elasticfilesystem", &token).await;
        made["FileSystemId"].as_str().expect("a file system has an id").to_owned()
    }

    /// Puts a parameter, encrypted; over the one that is there.
    pub async fn parameter(&self, name: &str, value: &str) {
        let asked =
            json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true });
        self.aws("/", Some("AmazonSSM.PutParameter"), "ssm", &asked).await;
    }

    /// Every task that was ever started, oldest first.
    pub async fn tasks(&self) -> Vec<Task> {
        let tasks = self.ask("tasks", json!({})).await;
        serde_json::from_value(tasks).expect("tasks are shown as tasks")
    }

    /// A task.
    pub async fn task(&self, arn: &str) -> Task {
        let task = self.ask("task", json!({ "arn": arn })).await;
        serde_json::from_value(task).expect("a task is shown as a task")
    }

    /// The next task that is started, each once: for what runs them. Waits for it as long as it takes.
    pub async fn next_task(&self) -> Task {
        let mut starts = self.changes.starts.subscribe();
        let mut given = self.given.lock().await;
        loop {
            starts.mark_unchanged();
            let new = self.ask("tasks", json!({ "since": *given, "most": 1 })).await;
            let new: Vec<Task> = serde_json::from_value(new).expect("tasks are shown as tasks");
            if let Some(task) = new.into_iter().next() {
                *given += 1;
                return task;
            }
            starts.changed().await.expect("the cloud is there");
        }
    }

    /// Waits, as long as it takes, until a task has been told to stop.
    pub async fn told_to_stop(&self, arn: &str) -> Task {
        let mut stops = self.changes.stops.subscribe();
        loop {
            stops.mark_unchanged();
            let task = self.task(arn).await;
            if task.desired_status == "STOPPED" {
                return task;
            }
            stops.changed().await.expect("the cloud is there");
        }
    }

    /// A task comes to a status on its way: `PENDING`, `ACTIVATING`, `DEACTIVATING`.
    pub async fn becomes(&self, arn: &str, status: &str) {
        self.change(json!({ "arn": arn, "status": status })).await;
    }

    /// A task runs, and its network interface has this address.
    pub async fn runs(&self, arn: &str, address: &str) {
        self.change(json!({ "arn": arn, "status": "RUNNING", "address": address })).await;
    }

    /// A task has stopped.
    pub async fn stops(&self, arn: &str, stop: Stop) {
        let mut change = serde_json::to_value(stop).expect("a stop is plain");
        change["arn"] = json!(arn);
        change["status"] = json!("STOPPED");
        self.change(change).await;
    }

    /// ECS no longer knows of a task, as it does some time after it has stopped.
    pub async fn forgets(&self, arn: &str) {
        self.ask("forget", json!({ "arn": arn })).await;
    }

    /// From now on every task runs, at 127.0.0.1, right after it was asked for, and has stopped right
    /// after it was told to.
    pub async fn obliges(&self) {
        self.ask("oblige", json!({ "yes": true })).await;
    }

    /// From now on a file system holds so many access points.
    pub async fn limits_access_points(&self, to: u32) {
        self.ask("limit_access_points", json!({ "to": to })).await;
    }

    /// A file system holds so many bytes from now on.
    pub async fn holds(&self, file_system: &str, bytes: u64) {
        let change = json!({ "identity": file_system, "region": REGION, "size": bytes });
        self.ask("file_system", change).await;
    }

    /// An access point is in a state: `creating`, `available`, `error`. Until this is said it is
    /// `creating` in CreateAccessPoint's answer and `available` from then on.
    pub async fn access_point(&self, id: &str, state: &str) {
        self.ask("access_point", json!({ "identity": id, "state": state })).await;
    }

    /// The process that moto runs in.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    async fn change(&self, change: Value) {
        self.ask("becomes", change).await;
        self.changes.stops.send_replace(());
    }

    fn new_name(&self, of: &str) -> String {
        let made = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{of}-{made}")
    }

    async fn ecs(&self, operation: &str, asked: &Value) -> Value {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        self.aws("/", Some(&target), "ecs", asked).await
    }

    /// A call of the test's own: nothing goes wrong with it, and it is not among the calls.
    async fn aws(&self, path: &str, target: Option<&str>, service: &str, asked: &Value) -> Value {
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let mut headers = json!({ "authorization": signed, "content-type": "application/json" });
        if let Some(target) = target {
            headers["x-amz-target"] = json!(target);
            headers["content-type"] = json!("application/x-amz-json-1.1");
        }
        let request = json!({
            "method": "POST", "path": path, "headers": headers, "body": asked.to_string(),
        });
        let answer = self.ask("aws", request).await;
        let body = answer["body"].as_str().unwrap_or_default();
        assert!(answer["status"].as_u64() < Some(300), "{path} {target:?}: {body}");
        serde_json::from_str(body).expect("AWS answers in JSON")
    }

    async fn ask(&self, what: &str, arguments: Value) -> Value {
        // Its deadline is kept where no test has stopped the clock.
        self.moto.ask(what, arguments).await.unwrap_or_else(|why| panic!("{what}: {why}"))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said why.
            let _ = thread.join();
        }
    }
}

struct Started {
    address: SocketAddr,
    pid: Option<u32>,
    moto: Moto,
}

/// Runs moto and the proxy until told to stop.
fn run(
    faults: Arc<Faults>,
    changes: Arc<Changes>,
    stop: &CancellationToken,
    ready: oneshot::Sender<Result<Started, String>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let started = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.map_err(|error| format!("loopback: {error}"))?;
            let address = listener.local_addr().map_err(|error| format!("loopback: {error}"))?;
            let (process, moto) = Process::start().await?;
            Ok((listener, address, process, moto))
        };
        let (listener, address, mut process, moto) = match started.await {
            Ok(started) => started,
            Err(why) => {
                // Whoever asked may have gone away.
                let _ = ready.send(Err(why));
                return;
            }
        };
        let proxy = Proxy { faults, moto: moto.clone(), changes };
        let _ = ready.send(Ok(Started { address, pid: process.id(), moto }));
        tokio::select! {
            () = stop.cancelled() => {}
            () = process.serve() => eprintln!("moto has ended before its test"),
            failed = proxy.serve(listener) => eprintln!("the proxy: {failed:?}"),
        }
        process.end().await;
    });
}

/// How a provider reaches what answers for all three services there.
pub(crate) fn settings_at(address: SocketAddr) -> AwsSettings {
    let endpoint = Some(format!("http://{address}"));
    AwsSettings {
        region: Some(REGION.to_owned()),
        ecs_endpoint: endpoint.clone(),
        efs_endpoint: endpoint.clone(),
        ssm_endpoint: endpoint,
    }
}

/// Sets what [`Cloud::credentials_environment`] says, once in a process.
#[allow(unsafe_code)]
pub(crate) fn set_environment() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, value) in Cloud::credentials_environment() {
            // SAFETY: Rust code reads the environment under the lock that this takes. No C code of
            // ours reads these names, and none keeps pointers into the environment.
            unsafe { std::env::set_var(name, value) };
        }
    });
}
