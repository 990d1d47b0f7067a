//! A place of its own for each test: an AWS with a cluster, and what asks it for tasks.

use std::time::Duration;

use serde_json::Value;
use shellgate_cloud::Cloud;
use shellgate_infra::aws::Aws;
use shellgate_infra::compute::ecs::{Architecture, Ecs, EcsConfig, Pace, Rates};
use shellgate_infra::compute::{
    Capacity, Compute, ComputeError, DialRoute, EnrolmentToken, Limits, TaskName, TaskRef, TaskSpec,
};
use shellgate_infra::volumes::VolumeRef;

/// No step takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// What each launch gets to introduce itself.
pub const TOKEN: &str = "only-once-0123456789";

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this took too long")
}

pub struct Place {
    pub cloud: Cloud,
    pub cluster: String,
    aws: Aws,
}

impl Place {
    pub async fn new() -> Self {
        let cloud = Cloud::start().await;
        let cluster = cloud.cluster().await;
        let aws = Aws::new(cloud.settings()).await;
        Self { cloud, cluster, aws }
    }

    /// One whose tasks run and stop by themselves.
    pub async fn obliging() -> Self {
        let place = Self::new().await;
        place.cloud.obliges().await;
        place
    }

    pub fn config(&self) -> EcsConfig {
        EcsConfig {
            cluster: self.cluster.clone(),
            family: "shellgate".to_owned(),
            image: "registry.example/bridge:1".to_owned(),
            architecture: Architecture::X86_64,
            subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
            security_groups: vec!["sg-tasks".to_owned()],
            execution_role: "arn:aws:iam::123456789012:role/execution".to_owned(),
            task_role: "arn:aws:iam::123456789012:role/task".to_owned(),
            log_group: "/shellgate/tasks".to_owned(),
            stop_timeout: Duration::from_secs(110),
            rates: Rates::default(),
            pace: Pace {
                hurried: Duration::from_millis(40),
                steady: Duration::from_millis(80),
                patience: Duration::ZERO,
                ..Pace::default()
            },
        }
    }

    /// A gateway's view of it: what one process knows.
    pub fn ecs(&self) -> Ecs {
        self.ecs_with(|_| {})
    }

    pub fn ecs_with(&self, change: impl FnOnce(&mut EcsConfig)) -> Ecs {
        let mut config = self.config();
        change(&mut config);
        Ecs::new(&self.aws, config).unwrap()
    }

    /// The bodies of the calls that reached AWS.
    pub fn asked(&self, action: &str) -> Vec<Value> {
        let calls = self.cloud.faults().calls(action).into_iter();
        calls.filter(|call| call.reached).map(|call| call.body).collect()
    }
}

pub fn spec(name: &str) -> TaskSpec {
    TaskSpec {
        name: TaskName::new(name).unwrap(),
        session: format!("ses_{name}"),
        launch: 1,
        token: EnrolmentToken(TOKEN.to_owned()),
        volume: VolumeRef::AccessPoint {
            file_system: "fs-0123".to_owned(),
            access_point: "fsap-0123".to_owned(),
            uid: 10_007,
            gid: 10_007,
        },
        user: "ada".to_owned(),
        template: "default".to_owned(),
        dial: DialRoute::Network {
            url: "wss://gateway.internal:7443".to_owned(),
            authorities: "-----BEGIN CERTIFICATE-----".to_owned(),
        },
        capacity: Capacity::OnDemand,
        limits: Limits { memory: 1 << 30, cpu_millis: 500, pids: 256, tmp: 64 << 20 },
    }
}

pub async fn started(ecs: &Ecs, spec: &TaskSpec) -> TaskRef {
    soon(ecs.start(spec)).await.unwrap()
}

pub async fn not_started(ecs: &Ecs, spec: &TaskSpec) -> ComputeError {
    soon(ecs.start(spec)).await.unwrap_err()
}

pub fn arn(task: &TaskRef) -> &str {
    let TaskRef::Ecs { arn, .. } = task else { panic!("{task:?}") };
    arn
}
