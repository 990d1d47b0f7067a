//! An AWS of counts alone, for more tasks than moto could have: ECS with its buckets, and EFS. It
//! runs in the caller's own runtime and in its time, so that an hour of it may take seconds. Knows no
//! life of a task: each is asked for, and never gets as far as to run.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shellgate_infra::aws::AwsSettings;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::Bucket;
use crate::cloud::{REGION, set_environment, settings_at};
use crate::operation;
use crate::proxy::{LARGEST, TARGET, refusal, response};

/// How long AWS thinks about a call.
const LATENCY: Duration = Duration::from_millis(150);

/// What AWS allows an account
/// (docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html, and for Fargate's
/// launches docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html): which calls draw on
/// a bucket, how many it holds, how many it gets each second.
const BUCKETS: [(&[&str], u32, u32); 5] = [
    (&["ecs:RunTask"], 20, 20),
    (&["ecs:StopTask"], 100, 40),
    (&["ecs:DescribeTasks", "ecs:ListTasks", "ecs:DescribeClusters"], 100, 20),
    (&["ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition"], 20, 1),
    (
        &[
            "ecs:DescribeTaskDefinition",
            "ecs:ListTaskDefinitions",
            "ecs:ListTaskDefinitionFamilies",
        ],
        50,
        20,
    ),
];

/// Fargate's launches, counted beside the calls.
const LAUNCHES: (u32, u32) = (100, 20);

/// The AWS of a storm. It ends when it is dropped.
pub struct Simulated {
    address: SocketAddr,
    account: Arc<Mutex<Account>>,
    _server: AbortOnDropHandle<()>,
}

/// A task that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What RunTask gave as `startedBy`.
    pub started_by: String,
    /// When ECS took it.
    pub at: Instant,
}

#[derive(Debug)]
struct Account {
    buckets: Vec<Bucket>,
    launching: Bucket,
    families: HashMap<String, Value>,
    tasks: HashMap<String, Value>,
    stopped: HashSet<String>,
    launches: Vec<Launch>,
    points: HashMap<String, Value>,
    throttled: usize,
}

/// What AWS says: a body, or a code and words.
type Said = Result<Value, (&'static str, String)>;

impl Simulated {
    /// Starts one in this runtime. Also sets this process's environment, as [`crate::Cloud::start`]
    /// does.
    ///
    /// # Panics
    /// Where loopback has no port.
    pub async fn start() -> Self {
        set_environment();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let account = Arc::new(Mutex::new(Account::new()));
        let serving = serve(listener, account.clone());
        let server = AbortOnDropHandle::new(TaskTracker::new().spawn(serving));
        Self { address, account, _server: server }
    }

    /// How a provider reaches it.
    #[must_use]
    pub fn settings(&self) -> AwsSettings {
        settings_at(self.address)
    }

    /// Every task that was asked for, oldest first.
    #[must_use]
    pub fn launches(&self) -> Vec<Launch> {
        lock(&self.account).launches.clone()
    }

    /// How many task definitions there are.
    #[must_use]
    pub fn definitions(&self) -> usize {
        lock(&self.account).families.len()
    }

    /// How many calls were too many.
    #[must_use]
    pub fn throttled(&self) -> usize {
        lock(&self.account).throttled
    }

    /// The least time in which ECS takes so many tasks, of which so many need a definition of their
    /// own first, from when nothing has been asked for a while.
    #[must_use]
    pub fn least_time(tasks: usize, definitions: usize) -> Duration {
        let of = |action: &str, calls: usize| {
            let bucket = BUCKETS.iter().find(|(actions, ..)| actions.contains(&action));
            let (_, burst, per_second) = *bucket.expect("it has a bucket");
            let late = u32::try_from(calls).expect("a count").saturating_sub(burst);
            Duration::from_secs(late.into()) / per_second
        };
        of("ecs:RunTask", tasks).max(of("ecs:RegisterTaskDefinition", definitions))
    }
}

async fn serve(listener: TcpListener, account: Arc<Mutex<Account>>) {
    let tracker = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        stream.set_nodelay(true).expect("it is a socket");
        let account = account.clone();
        tracker.spawn(async move {
            let service = service_fn(|request| answer(&account, request));
            let served = hyper::server::conn::http1::Builder::new();
            // A connection that breaks is the caller's doing.
            let _ = served.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    account: &Mutex<Account>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let target = head.headers.get(TARGET).and_then(|value| value.to_str().ok());
    let action = operation::name(head.method.as_str(), &path, target);
    let body = Limited::new(body, LARGEST).collect().await;
    let asked = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let asked: Value = asked.unwrap_or_default();
    tokio::time::sleep(LATENCY).await;
    let said = lock(account).call(&action.unwrap_or_default(), &path, &asked);
    Ok(match said {
        Ok(said) => response(200, None, said.to_string()),
        Err((code, words)) => refusal(400, code, &words),
    })
}

impl Account {
    fn new() -> Self {
        let bucket = |(burst, per_second): (u32, u32)| Bucket::new(burst, per_second.into());
        Self {
            buckets: BUCKETS.iter().map(|(_, burst, rate)| bucket((*burst, *rate))).collect(),
            launching: bucket(LAUNCHES),
            families: HashMap::new(),
            tasks: HashMap::new(),
            stopped: HashSet::new(),
            launches: Vec::new(),
            points: HashMap::new(),
            throttled: 0,
        }
    }

    fn call(&mut self, action: &str, path: &str, asked: &Value) -> Said {
        let now = Instant::now();
        let counted = BUCKETS.iter().position(|(actions, ..)| actions.contains(&action));
        if counted.is_some_and(|bucket| !self.buckets[bucket].take(now)) {
            self.throttled += 1;
            return Err(("ThrottlingException", "Rate exceeded".to_owned()));
        }
        match action {
            "ecs:DescribeClusters" => Ok(json!({ "clusters": [{
                "clusterArn": arn("cluster", "storm"), "status": "ACTIVE",
                "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            }] })),
            "ecs:DescribeTaskDefinition" => self.definition(&asked["taskDefinition"]),
            "ecs:RegisterTaskDefinition" => {
                let mut definition = asked.clone();
                let family = text(&asked["family"]).to_owned();
                definition["taskDefinitionArn"] = json!(arn("task-definition", &family));
                definition["status"] = json!("ACTIVE");
                self.families.insert(family, definition.clone());
                Ok(json!({ "taskDefinition": definition }))
            }
            "ecs:RunTask" => self.run(asked, now),
            "ecs:ListTasks" => {
                let running = self.tasks.keys().filter(|arn| !self.stopped.contains(*arn));
                Ok(json!({ "taskArns": running.collect::<Vec<_>>() }))
            }
            "ecs:DescribeTasks" => {
                let arns = asked["tasks"].as_array().into_iter().flatten();
                let tasks: Vec<Value> = arns.filter_map(|arn| self.task(text(arn))).collect();
                Ok(json!({ "tasks": tasks, "failures": [] }))
            }
            "ecs:StopTask" => {
                let arn = text(&asked["task"]).to_owned();
                self.stopped.insert(arn.clone());
                Ok(json!({ "task": self.task(&arn) }))
            }
            "elasticfilesystem:CreateAccessPoint" => {
                let token = text(&asked["ClientToken"]).to_owned();
                let id = format!("fsap-{:017x}", self.points.len());
                let mut point = asked.clone();
                point["AccessPointId"] = json!(id);
                point["LifeCycleState"] = json!("available");
                Ok(self.points.entry(token).or_insert(point).clone())
            }
            "elasticfilesystem:DescribeAccessPoints" => {
                let all = self.points.values();
                let wanted = |point: &&Value| path.contains(text(&point["AccessPointId"]));
                Ok(json!({ "AccessPoints": all.filter(wanted).collect::<Vec<_>>() }))
            }
            other => Err(("UnknownOperationException", other.to_owned())),
        }
    }

    fn definition(&self, family: &Value) -> Said {
        let unknown = || ("ClientException", "Unable to describe task definition.".to_owned());
        let definition = self.families.get(text(family)).ok_or_else(unknown)?;
        Ok(json!({ "taskDefinition": definition }))
    }

    fn run(&mut self, asked: &Value, now: Instant) -> Said {
        let definition = self.definition(&asked["taskDefinition"])?;
        if !self.launching.take(now) {
            self.throttled += 1;
            return Err(("ThrottlingException", "Rate exceeded".to_owned()));
        }
        let token = text(&asked["clientToken"]);
        let arn = arn("task", &format!("storm/{token}"));
        let started_by = text(&asked["startedBy"]).to_owned();
        let task = json!({
            "taskArn": arn, "lastStatus": "PROVISIONING", "startedBy": started_by,
            "taskDefinitionArn": definition["taskDefinition"]["taskDefinitionArn"],
        });
        if self.tasks.insert(arn, task.clone()).is_none() {
            self.launches.push(Launch { started_by, at: now });
        }
        Ok(json!({ "tasks": [task], "failures": [] }))
    }

    fn task(&self, arn: &str) -> Option<Value> {
        let mut task = self.tasks.get(arn)?.clone();
        if self.stopped.contains(arn) {
            task["lastStatus"] = json!("STOPPED");
        }
        Some(task)
    }
}

fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:ecs:{REGION}:123456789012:{kind}/{name}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
