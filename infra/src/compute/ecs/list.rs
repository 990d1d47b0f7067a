//! Which tasks of this deployment ECS has. Knows no sessions.

use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::types::DesiredStatus;

use super::definition::is_of;
use super::roster::BATCH;
use super::{Inner, STOPPED, task_ref};
use crate::aws::{AwsError, AwsErrorKind};
use crate::compute::{TaskName, TaskRef};

/// How many pages a list has at most; each has a hundred tasks. A list that goes on for longer does
/// not end.
const PAGES_MAX: usize = 1000;

impl Inner {
    /// Every task of this deployment that is to run.
    pub(super) async fn list_tasks(&self) -> Result<Vec<TaskRef>, AwsError> {
        let arns = self.list_arns(None).await?;
        let mut tasks = Vec::new();
        for batch in arns.chunks(BATCH) {
            // One that is missing has ended since.
            for task in self.describe(batch).await?.tasks() {
                let ours = is_of(&self.config, task.task_definition_arn().unwrap_or_default());
                if !ours || task.last_status() == Some(STOPPED) {
                    continue;
                }
                // One without a name was run by hand.
                let name = task.started_by().and_then(TaskName::new);
                tasks.extend(name.and_then(|name| task_ref(&name, task)));
            }
        }
        Ok(tasks)
    }

    /// The ARNs of tasks that are to run: those of this name, or all of the cluster.
    pub(super) async fn list_arns(&self, name: Option<&TaskName>) -> Result<Vec<String>, AwsError> {
        let mut request = self.calls.client.list_tasks().cluster(&self.config.cluster);
        request = match name {
            // ECS takes no other filter beside this one, and by itself means those that are to run.
            Some(name) => request.started_by(name.as_str()),
            None => request.desired_status(DesiredStatus::Running),
        };
        let (mut arns, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = request.clone().set_next_token(next);
            let page = self
                .calls
                .ask(&self.calls.read, "ecs:ListTasks", || request.clone().send())
                .await?;
            arns.extend_from_slice(page.task_arns());
            next = page.next_token().map(str::to_owned);
            if next.is_none() {
                return Ok(arns);
            }
        }
        Err(AwsError {
            action: "ecs:ListTasks",
            kind: AwsErrorKind::Refused,
            code: String::new(),
            message: format!("more than {PAGES_MAX} pages"),
            request_id: None,
        })
    }

    /// At most a hundred of them.
    pub(super) async fn describe(&self, arns: &[String]) -> Result<DescribeTasksOutput, AwsError> {
        let request = self.calls.client.describe_tasks().cluster(&self.config.cluster);
        let request = request.set_tasks(Some(arns.to_vec()));
        self.calls.ask(&self.calls.read, "ecs:DescribeTasks", || request.clone().send()).await
    }
}
