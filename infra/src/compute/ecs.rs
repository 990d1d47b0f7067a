//! Tasks of Amazon ECS on Fargate, each with one bridge. Knows neither sessions nor the wire.
//!
//! A start is one RunTask whose client token is the task's name and whose every byte is a function
//! of the request and the configuration. ECS answers a repeat with the first task: while that task
//! runs, at most 24 hours, and for an hour after its end. So nothing is looked up before a start, and
//! two gateways, a lost answer and a crash come to one task. What a name means must not change: a
//! request that differs is another launch and has another name.
//!
//! Everything else about a user's tasks is in a task definition, of which there is one per user,
//! template and configuration; see [`EcsConfig`].

mod bucket;
mod calls;
mod config;
mod definition;
mod families;
mod list;
mod preflight;
mod roster;
mod run;
mod size;
mod watch;
mod words;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ecs::types::Task;

use self::calls::Calls;
use self::definition::Definition;
use self::families::Families;
use self::run::{Order, Run};
use self::watch::{Sight, Waiting, Watch};
use crate::aws::{Aws, AwsError, AwsErrorKind, again};
use crate::compute::{
    Capacity, Compute, ComputeError, Emptying, TaskEnd, TaskName, TaskRef, TaskSpec,
};

pub use self::config::{Architecture, EcsConfig, Pace, Rate, Rates};
pub use self::preflight::Preflight;
pub use self::size::fargate_size;

/// The status of a task that has ended.
const STOPPED: &str = "STOPPED";
/// How often a start registers a definition that somebody else takes away meanwhile.
const DEFINITIONS_MAX: usize = 3;
/// How long ECS may take beyond the stop timeout to give back what a task had.
const CLEARING: Duration = Duration::from_secs(120);
/// How long ECS may take to say what address a task has.
const ADDRESS: Duration = Duration::from_secs(30);
/// How long a task may take to empty a volume: EFS deletes some hundred files a second.
const EMPTIED: Duration = Duration::from_secs(6 * 3600);
/// What a task says it was stopped by.
const REASON: &str = "stopped by its gateway";

/// Runs tasks on ECS. Needs a Tokio runtime with I/O and time.
///
/// `stop` can't pass its `grace` on: ECS takes the definition's stop timeout, always. `forget` has
/// nothing to do: ECS forgets by itself, an hour after a task's end.
#[derive(Debug, Clone)]
pub struct Ecs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: EcsConfig,
    region: String,
    calls: Arc<Calls>,
    families: Arc<Families>,
    watch: Arc<Watch>,
}

impl Ecs {
    /// Checks the configuration. Calls nobody yet.
    ///
    /// # Errors
    /// Where no task can be made with it, in words.
    pub fn new(aws: &Aws, config: EcsConfig) -> Result<Self, ComputeError> {
        config.check().map_err(ComputeError::BadSpec)?;
        let region = aws.region().ok_or_else(|| {
            ComputeError::Unavailable("no AWS region is set, and none is found".to_owned())
        })?;
        let calls = Arc::new(Calls::new(aws, config.rates));
        Ok(Self(Arc::new(Inner {
            region: region.to_owned(),
            families: Arc::new(Families::new(calls.clone(), config.pace.retire)),
            watch: Arc::new(Watch::new(calls.clone(), &config)),
            calls,
            config,
        })))
    }

    /// Asks ECS for what every start needs.
    ///
    /// # Errors
    /// [`ComputeError::Unavailable`] where there is no such cluster or it lacks Fargate, and
    /// [`ComputeError::Aws`] where ECS can't be asked; its text names the permission that is missing.
    pub async fn preflight(&self) -> Result<Preflight, ComputeError> {
        preflight::preflight(&self.0).await
    }

    fn waiting(&self, task: &TaskRef) -> Result<Waiting, ComputeError> {
        let (arn, asked_ms) = self.arn(task)?;
        Ok(self.0.watch.join(arn, asked_ms))
    }

    /// The task's ARN, and when it was asked for. One bad ARN in a batch would keep ECS from
    /// answering for the others.
    fn arn<'a>(&self, task: &'a TaskRef) -> Result<(&'a str, i64), ComputeError> {
        let TaskRef::Ecs { name, arn, asked_ms } = task else {
            return Err(ComputeError::BadSpec(format!("{} is no task of ECS", task.name())));
        };
        let cluster = self.0.config.cluster_name();
        let ours = arn.strip_prefix("arn:").and_then(|rest| rest.rsplit_once(":task/"));
        if ours.and_then(|(_, path)| path.split_once('/')).is_none_or(|(of, _)| of != cluster) {
            return Err(ComputeError::BadSpec(format!(
                "{name} is no task of the cluster {cluster}"
            )));
        }
        Ok((arn, *asked_ms))
    }
}

impl Compute for Ecs {
    async fn start(&self, spec: &TaskSpec) -> Result<TaskRef, ComputeError> {
        let definition = Definition::of(&self.0.config, &self.0.region, spec)?;
        let order = Order::of(spec)?;
        let may_pass = |error: &ComputeError| match error {
            ComputeError::Failed(_) => true,
            // What Spot has not now it may not have for hours.
            ComputeError::NoCapacity(_) => spec.capacity == Capacity::OnDemand,
            ComputeError::Unavailable(_)
            | ComputeError::BadSpec(_)
            | ComputeError::Changed(_)
            | ComputeError::NotEmptied(_)
            // Tried again where that can help, call by call.
            | ComputeError::Aws(_)
            | ComputeError::Io { .. } => false,
        };
        let patience = self.0.config.pace.patience;
        again(patience, || self.0.begin(&definition, &order), may_pass).await
    }

    async fn stop(&self, task: &TaskRef, grace: Duration) -> Result<(), ComputeError> {
        let (arn, _) = self.arn(task)?;
        // Joined before it is told to end, so that its end is not missed.
        let mut waiting = self.waiting(task)?;
        let calls = &self.0.calls;
        let request = calls.client.stop_task().cluster(&self.0.config.cluster).task(arn);
        let request = request.reason(REASON);
        match calls.ask(&calls.stop, "ecs:StopTask", || request.clone().send()).await {
            Ok(_) => {}
            Err(error) if is_unknown(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        waiting.hurry();
        let most = grace.max(self.0.config.stop_timeout) + CLEARING;
        match tokio::time::timeout(most, waiting.end()).await {
            Ok(end) => Ok(end.map(drop)?),
            Err(_) => Err(ComputeError::Failed(format!(
                "{} was told to end and is not gone after {most:?}",
                task.name()
            ))),
        }
    }

    async fn list(&self) -> Result<Vec<TaskRef>, ComputeError> {
        Ok(self.0.list_tasks().await?)
    }

    async fn wait(&self, task: &TaskRef) -> Result<TaskEnd, ComputeError> {
        Ok(self.waiting(task)?.end().await?)
    }

    async fn address(&self, task: &TaskRef) -> Result<Option<IpAddr>, ComputeError> {
        let mut waiting = self.waiting(task)?;
        let known = waiting.sight.borrow_and_update().clone();
        let sight = match known {
            // A task keeps its address as long as it lives.
            Sight::Here(Some(_)) | Sight::Gone(_) => known,
            Sight::Unseen | Sight::Here(None) | Sight::Refused(_) => {
                waiting.hurry();
                tokio::time::timeout(ADDRESS, waiting.next()).await.map_err(|_| {
                    ComputeError::Failed(format!("ECS does not say where {} is", task.name()))
                })?
            }
        };
        match sight {
            Sight::Here(address) => Ok(address),
            Sight::Unseen | Sight::Gone(_) => Ok(None),
            Sight::Refused(error) => Err(error.into()),
        }
    }

    async fn empty(&self, what: &Emptying) -> Result<(), ComputeError> {
        let definition = Definition::of_emptying(&self.0.config, &self.0.region, what)?;
        let task = self.0.begin(&definition, &Order::of_emptying(what)).await?;
        let failed = |why: &str| {
            ComputeError::NotEmptied(format!("the task {} has not emptied it: {why}", task.name()))
        };
        let Ok(end) = tokio::time::timeout(EMPTIED, self.waiting(&task)?.end()).await else {
            self.stop(&task, Duration::ZERO).await?;
            return Err(failed("it has taken too long and was stopped"));
        };
        let end = end?;
        match end.exit_code {
            Some(0) => Ok(()),
            Some(_) | None => Err(failed(&end.evidence)),
        }
    }

    fn share(&self, among: u32) {
        self.0.calls.share(among);
    }

    async fn forget(&self, _: &TaskName) -> Result<(), ComputeError> {
        Ok(())
    }
}

impl Inner {
    /// Asks for a task, and sees to its definition before.
    async fn begin(
        &self,
        definition: &Definition,
        order: &Order<'_>,
    ) -> Result<TaskRef, ComputeError> {
        let family = definition.family(&self.config)?;
        for _ in 0..DEFINITIONS_MAX {
            self.families.ensure(definition, &family).await?;
            match self.run(&family, order).await? {
                Run::Task(task) => return Ok(task),
                Run::NoDefinition => self.families.forget(&family),
            }
        }
        Err(ComputeError::Failed(format!(
            "somebody takes away the task definition {} again and again",
            family.name
        )))
    }
}

/// A task as ECS shows it; `None` where it shows no ARN.
fn task_ref(name: &TaskName, task: &Task) -> Option<TaskRef> {
    let asked_ms = match task.created_at() {
        // What ECS says does not depend on who was told, and when.
        Some(created) => created.to_millis().unwrap_or_default(),
        // Of a task that stopped a while ago ECS says hardly more than that: it is settled.
        None if task.last_status() == Some(STOPPED) => 0,
        None => unix_millis(),
    };
    Some(TaskRef::Ecs { name: name.clone(), arn: task.task_arn()?.to_owned(), asked_ms })
}

/// StopTask of a task that ECS has forgotten.
fn is_unknown(error: &AwsError) -> bool {
    error.kind == AwsErrorKind::Refused
        && ["InvalidParameterException", "ClientException"].contains(&error.code.as_str())
        && error.message.to_ascii_lowercase().contains("task was not found")
}

fn unix_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
fn example_config() -> EcsConfig {
    EcsConfig {
        cluster: "tasks".to_owned(),
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
        pace: Pace::default(),
    }
}

#[cfg(test)]
fn example_spec() -> TaskSpec {
    use crate::compute::{Capacity, DialRoute, EnrolmentToken, Limits};
    TaskSpec {
        name: TaskName::new("ses_1-1").expect("a legal name"),
        session: "ses_1".to_owned(),
        launch: 1,
        token: EnrolmentToken("once".to_owned()),
        volume: crate::volumes::VolumeRef::AccessPoint {
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
