//! One RunTask: its request, which is a function of the row, and all that ECS may say to it. Knows
//! no definitions.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_sdk_ecs::error::SdkError;
use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::operation::run_task::builders::RunTaskFluentBuilder;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, Failure,
    NetworkConfiguration, PropagateTags, Tag, Task, TaskOverride,
};

use super::config::EcsConfig;
use super::definition::{CONTAINER, Family, HOME, pairs, tag, unbuilt};
use super::{Inner, STOPPED, lock, task_ref};
use crate::aws::{AwsError, AwsErrorKind, plain};
use crate::compute::{Capacity, ComputeError, Emptying, TaskName, TaskRef, TaskSpec};

/// What ECS takes as overrides, in characters of JSON. What is around the values here is less than
/// 512 of them.
const OVERRIDES_MAX: usize = 8192 - 512;

/// What one task is asked for beside its definition.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) name: &'a TaskName,
    environment: BTreeMap<&'static str, String>,
    /// Arguments of its first process, where there are any.
    command: Option<Vec<String>>,
    capacity: Capacity,
    tags: Vec<Tag>,
}

impl<'a> Order<'a> {
    /// A task with a session's bridge.
    pub(super) fn of(spec: &'a TaskSpec) -> Result<Self, ComputeError> {
        let wrong = |what: &str| Err(ComputeError::BadSpec(what.to_owned()));
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(&spec.session) || spec.session.len() > 128 {
            return wrong("a session's id is 1 to 128 printable characters");
        }
        if !printable(&spec.token.0) || spec.token.0.len() > OVERRIDES_MAX {
            return wrong("an enrolment token is printable and shorter than what ECS takes");
        }
        Ok(Self {
            name: &spec.name,
            environment: BTreeMap::from([
                ("SHELLGATE_LAUNCH", spec.launch.to_string()),
                ("SHELLGATE_SESSION", spec.session.clone()),
                ("SHELLGATE_TOKEN", spec.token.0.clone()),
            ]),
            command: None,
            capacity: spec.capacity,
            tags: vec![tag("shellgate:session", &spec.session)],
        })
    }

    /// A task that deletes all that is in the volume that it mounts. It has no link and no token.
    pub(super) fn of_emptying(what: &'a Emptying) -> Self {
        Self {
            name: &what.name,
            environment: BTreeMap::new(),
            command: Some(vec!["empty".to_owned(), HOME.to_owned()]),
            // One that is interrupted begins anew.
            capacity: Capacity::OnDemand,
            tags: vec![tag("shellgate:emptying", what.name.as_str())],
        }
    }
}

/// What came of asking for a task.
#[derive(Debug)]
pub(super) enum Run {
    /// There is one.
    Task(TaskRef),
    /// The family is gone that was there before.
    NoDefinition,
}

impl Inner {
    /// Asks for a task until there is one or an answer that another try would not change.
    pub(super) async fn run(
        &self,
        family: &Family,
        order: &Order<'_>,
    ) -> Result<Run, ComputeError> {
        let request = request(&self.calls.client, &self.config, family, order)?;
        let taken = Mutex::new(Vec::new());
        let asked = self
            .calls
            .ask(&self.calls.run, "ecs:RunTask", || async {
                let sent = request.clone().send().await;
                if let Err(SdkError::ServiceError(said)) = &sent
                    && let RunTaskError::ConflictException(conflict) = said.err()
                {
                    *lock(&taken) = conflict.resource_ids().to_vec();
                }
                sent
            })
            .await;
        match asked {
            Ok(answer) => started(order.name, answer.tasks(), answer.failures()).map(Run::Task),
            Err(error) if is_conflict(&error) => {
                let arns = std::mem::take(&mut *lock(&taken));
                self.taken(order.name, arns).await.map(Run::Task)
            }
            Err(error) if names_no_definition(&error) => Ok(Run::NoDefinition),
            Err(error) if is_capacity(&error.message) && error.kind == AwsErrorKind::Refused => {
                Err(no_room(&error.message))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Another request with this name was taken before this one: its task, if it runs.
    async fn taken(&self, name: &TaskName, mut arns: Vec<String>) -> Result<TaskRef, ComputeError> {
        if arns.is_empty() {
            arns = self.list_arns(Some(name)).await?;
        }
        if arns.is_empty() {
            return Err(changed(name));
        }
        let found = self.describe(&arns).await?;
        let running = found.tasks().iter().find(|task| task.last_status() != Some(STOPPED));
        match running.and_then(|task| task_ref(name, task)) {
            Some(task) => Ok(task),
            None if found.tasks().is_empty() => {
                Err(ComputeError::Failed(format!("ECS has a task {name} and does not show it yet")))
            }
            None => Err(changed(name)),
        }
    }
}

fn changed(name: &TaskName) -> ComputeError {
    ComputeError::Changed(format!(
        "{name} was started before with another request, and its task is gone"
    ))
}

fn no_room(words: &str) -> ComputeError {
    ComputeError::NoCapacity(format!("ECS has no room for a task: {words}"))
}

/// The request. A repeat is the same to the byte, so that ECS takes it for a repeat.
fn request(
    client: &aws_sdk_ecs::Client,
    config: &EcsConfig,
    family: &Family,
    order: &Order<'_>,
) -> Result<RunTaskFluentBuilder, ComputeError> {
    let container = ContainerOverride::builder()
        .name(CONTAINER)
        .set_command(order.command.clone())
        .set_environment(Some(pairs(&order.environment)).filter(|pairs| !pairs.is_empty()))
        .build();
    let network = AwsVpcConfiguration::builder()
        .set_subnets(Some(config.subnets.clone()))
        .set_security_groups(Some(config.security_groups.clone()))
        .assign_public_ip(AssignPublicIp::Disabled)
        .build()
        .map_err(unbuilt)?;
    let capacity = CapacityProviderStrategyItem::builder()
        .capacity_provider(match order.capacity {
            Capacity::OnDemand => "FARGATE",
            Capacity::Spot => "FARGATE_SPOT",
        })
        .weight(1)
        .build()
        .map_err(unbuilt)?;
    Ok(client
        .run_task()
        .cluster(&config.cluster)
        // Without its revision: which one is the newest may differ between two repeats.
        .task_definition(&family.name)
        .count(1)
        .client_token(order.name.as_str())
        .started_by(order.name.as_str())
        .capacity_provider_strategy(capacity)
        .network_configuration(
            NetworkConfiguration::builder().awsvpc_configuration(network).build(),
        )
        .overrides(TaskOverride::builder().container_overrides(container).build())
        .enable_execute_command(false)
        .propagate_tags(PropagateTags::TaskDefinition)
        .set_tags(Some(order.tags.clone())))
}

/// What ECS answered with success. There may be no task in it all the same.
fn started(name: &TaskName, tasks: &[Task], failures: &[Failure]) -> Result<TaskRef, ComputeError> {
    // One that has stopped already is a task like any other: whoever waits for it learns why.
    if let Some(task) = tasks.iter().find_map(|task| task_ref(name, task)) {
        return Ok(task);
    }
    let words = |failure: &Failure| {
        let said = [failure.reason(), failure.detail()];
        said.into_iter().flatten().map(plain).collect::<Vec<_>>().join(": ")
    };
    let mut reasons: Vec<String> = failures.iter().map(words).collect();
    reasons.dedup();
    let reasons = reasons.join("; ");
    if is_capacity(&reasons) {
        return Err(no_room(&reasons));
    }
    if reasons.is_empty() {
        return Err(ComputeError::Failed(
            "ECS has started nothing and does not say why".to_owned(),
        ));
    }
    Err(ComputeError::Failed(format!("ECS has started nothing: {reasons}")))
}

/// The client token came with another request before.
fn is_conflict(error: &AwsError) -> bool {
    error.kind == AwsErrorKind::Refused && error.code == "ConflictException"
}

/// The family has no active revision.
fn names_no_definition(error: &AwsError) -> bool {
    let words = error.message.to_ascii_lowercase();
    error.kind == AwsErrorKind::Refused
        && words.contains("taskdefinition")
        && (words.contains("not found") || words.contains("inactive"))
}

/// Whether ECS speaks of room and not of the request: what Fargate has in these zones at this time,
/// and how many processors the account may use at once, for each capacity apart.
fn is_capacity(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let signs = [
        "resource:",
        "capacity is unavailable",
        "capacity limit exceeded",
        "insufficient capacity",
        "limit on the number of vcpus",
        "limit on the number of tasks",
    ];
    signs.iter().any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_room_is_told_from_what_is_said_of_the_request() {
        for words in [
            "RESOURCE:MEMORY",
            "RESOURCE:ENI",
            "Capacity is unavailable at this time. Please try again later or in a different \
             availability zone",
            "You\u{2019}ve reached the limit on the number of vCPUs you can run concurrently",
            "You've reached the limit on the number of tasks you can run concurrently",
            "Tasks provisioning capacity limit exceeded.",
        ] {
            assert!(is_capacity(words), "{words}");
        }
        for words in [
            "AGENT",
            "MISSING",
            "The specified capacity provider FARGATE_SPOT was not found.",
            "The security group 'sg-1' does not exist",
            "",
        ] {
            assert!(!is_capacity(words), "{words}");
        }
    }
}
