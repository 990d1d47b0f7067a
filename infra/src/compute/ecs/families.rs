//! Which task definitions ECS has: found before they are registered, and the outdated ones taken away
//! later. Knows no tasks.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aws_sdk_ecs::types::{SortOrder, TaskDefinitionFamilyStatus, TaskDefinitionStatus};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::calls::Calls;
use super::definition::{Definition, Family};
use super::lock;
use crate::aws::{AwsError, AwsErrorKind, call};
use crate::compute::ComputeError;

/// How many families are remembered as being there. One that is forgotten is looked up again.
const KNOWN_MAX: usize = 10_000;
/// How many wait to have their outdated kin taken away. Whose turn is lost keeps it until a next time.
const RETIRING_MAX: usize = 10_000;

/// The task definitions of this deployment, as this process knows them.
#[derive(Debug)]
pub(super) struct Families {
    calls: Arc<Calls>,
    retire_after: Duration,
    known: Mutex<Known>,
    retiring: Mutex<Retiring>,
    tracker: TaskTracker,
}

/// A cell that has no value yet belongs to a start that makes sure of its family: others who need the
/// same wait for that one.
#[derive(Debug, Default)]
struct Known {
    cells: HashMap<String, Arc<OnceCell<()>>>,
    /// In the order in which they came.
    order: VecDeque<String>,
}

impl Known {
    fn cell(&mut self, name: &str) -> Arc<OnceCell<()>> {
        if let Some(cell) = self.cells.get(name) {
            return cell.clone();
        }
        if self.order.len() >= KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.cells.remove(&oldest);
        }
        self.order.push_back(name.to_owned());
        self.cells.entry(name.to_owned()).or_default().clone()
    }

    fn forget(&mut self, name: &str) {
        if self.cells.remove(name).is_some() {
            self.order.retain(|known| known != name);
        }
    }
}

#[derive(Debug, Default)]
struct Retiring {
    /// The earliest first.
    due: VecDeque<(Instant, Family)>,
    /// Whether somebody is at it.
    worked: bool,
}

impl Families {
    pub(super) fn new(calls: Arc<Calls>, retire_after: Duration) -> Self {
        Self {
            calls,
            retire_after,
            known: Mutex::default(),
            retiring: Mutex::default(),
            tracker: TaskTracker::new(),
        }
    }

    /// Makes sure that ECS has this definition. Two processes that do so at once register it twice,
    /// which is the same definition under two revisions.
    pub(super) async fn ensure(
        self: &Arc<Self>,
        definition: &Definition,
        family: &Family,
    ) -> Result<(), ComputeError> {
        let cell = lock(&self.known).cell(&family.name);
        cell.get_or_try_init(|| async {
            if !self.has(definition, family).await? {
                self.register(definition, family).await?;
            }
            self.retire_later(family);
            Ok(())
        })
        .await
        .copied()
    }

    /// ECS says that it has no such family: another gateway has taken it away.
    pub(super) fn forget(&self, family: &Family) {
        lock(&self.known).forget(&family.name);
    }

    async fn has(&self, definition: &Definition, family: &Family) -> Result<bool, AwsError> {
        let request = self.calls.client.describe_task_definition().task_definition(&family.name);
        let described = self
            .calls
            .ask(&self.calls.definitions, "ecs:DescribeTaskDefinition", || request.clone().send())
            .await;
        match described {
            Ok(answer) => Ok(answer.task_definition().is_some_and(|found| definition.is(found))),
            // ECS has no code of its own for a family that is not there.
            Err(error)
                if error.kind == AwsErrorKind::Refused && error.code == "ClientException" =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn register(&self, definition: &Definition, family: &Family) -> Result<(), ComputeError> {
        let request = definition.request(&self.calls.client, family)?;
        self.calls
            .ask(&self.calls.register, "ecs:RegisterTaskDefinition", || request.clone().send())
            .await?;
        tracing::info!(family = %family.name, "a task definition was registered");
        Ok(())
    }

    fn retire_later(self: &Arc<Self>, family: &Family) {
        let mut retiring = lock(&self.retiring);
        if retiring.due.len() >= RETIRING_MAX {
            tracing::debug!(family = %family.name, "outdated task definitions stay for now");
            return;
        }
        retiring.due.push_back((Instant::now() + self.retire_after, family.clone()));
        if !std::mem::replace(&mut retiring.worked, true) {
            self.tracker.spawn(retire(Arc::downgrade(self)));
        }
    }

    fn next_to_retire(&self) -> Option<(Instant, Family)> {
        let mut retiring = lock(&self.retiring);
        let next = retiring.due.pop_front();
        retiring.worked = next.is_some();
        next
    }

    /// Takes away the user's other definitions by the same template, and all but the newest revision
    /// of this one. Tasks that run are not touched by it.
    async fn retire_kin_of(&self, family: &Family) -> Result<(), AwsError> {
        let client = &self.calls.client;
        let request = client
            .list_task_definition_families()
            .family_prefix(&family.kin)
            .status(TaskDefinitionFamilyStatus::Active);
        self.calls.definitions.take_spare().await;
        let kin = call("ecs:ListTaskDefinitionFamilies", request.send()).await?;
        for name in kin.families() {
            let request = client
                .list_task_definitions()
                .family_prefix(name)
                .status(TaskDefinitionStatus::Active)
                .sort(SortOrder::Desc);
            self.calls.definitions.take_spare().await;
            let listed = call("ecs:ListTaskDefinitions", request.send()).await?;
            let kept = usize::from(*name == family.name);
            for arn in listed.task_definition_arns().iter().skip(kept) {
                let request = client.deregister_task_definition().task_definition(arn);
                self.calls.register.take_spare().await;
                call("ecs:DeregisterTaskDefinition", request.send()).await?;
                tracing::info!(arn, "an outdated task definition was taken away");
            }
        }
        Ok(())
    }
}

/// Takes away what is outdated, as long as there is something to wait for and somebody to do it for.
async fn retire(families: Weak<Families>) {
    loop {
        let next = families.upgrade().and_then(|families| families.next_to_retire());
        let Some((due, family)) = next else { return };
        tokio::time::sleep_until(due).await;
        let Some(families) = families.upgrade() else { return };
        if let Err(error) = families.retire_kin_of(&family).await {
            tracing::warn!(%error, family = %family.name, "outdated task definitions stay for now");
            // After the others, and after as long again.
            families.retire_later(&family);
        }
    }
}
