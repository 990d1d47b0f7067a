//! A task as ECS has it, for assertions and for what runs it. Knows no life cycle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// Its ARN.
    pub arn: String,
    /// Its cluster's ARN.
    pub cluster: String,
    /// `PROVISIONING`, `PENDING`, `ACTIVATING`, `RUNNING`, `DEACTIVATING`, `STOPPING`,
    /// `DEPROVISIONING`, `STOPPED`.
    pub status: String,
    /// `RUNNING`; `STOPPED` from when it has been told to stop.
    pub desired_status: String,
    /// What RunTask gave as `startedBy`.
    pub started_by: String,
    /// The address of its network interface, from when it has one.
    pub address: Option<String>,
    /// `FARGATE` or `FARGATE_SPOT`, where RunTask named one.
    pub capacity_provider: Option<String>,
    /// Why it was stopped, in one of ECS's words.
    pub stop_code: Option<String>,
    /// Why it was stopped.
    pub stopped_reason: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// `awsvpcConfiguration`, as RunTask gave it.
    pub network: Value,
    /// `overrides`, as RunTask gave them.
    pub overrides: Value,
    /// Its task definition, as it was registered, with its `status`, `revision` and `tags`.
    pub definition: Value,
}

impl Task {
    /// The environment of its first container: the definition's, overridden by RunTask's.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let container = &self.definition["containerDefinitions"][0];
        let overrides = self.overrides["containerOverrides"].as_array().into_iter().flatten();
        let lists = overrides.filter(|o| o["name"] == container["name"]).map(|o| &o["environment"]);
        std::iter::once(&container["environment"])
            .chain(lists)
            .flat_map(|list| list.as_array().into_iter().flatten())
            .map(|pair| {
                let text = |of: &str| pair[of].as_str().unwrap_or_default().to_owned();
                (text("name"), text("value"))
            })
            .collect()
    }
}

impl Task {
    /// The arguments of its first container, where RunTask gave some.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let container = &self.definition["containerDefinitions"][0];
        let overrides = self.overrides["containerOverrides"].as_array().into_iter().flatten();
        let commands = overrides.filter(|o| o["name"] == container["name"]).map(|o| &o["command"]);
        let words = commands.flat_map(|command| command.as_array().into_iter().flatten());
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    }
}

/// How a task stops; what is `None` is ECS's own: told to by StopTask, or its container has ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stop {
    /// `TaskFailedToStart`, `EssentialContainerExited`, `UserInitiated`, `SpotInterruption`.
    #[serde(rename = "stop_code")]
    pub code: Option<String>,
    /// `stoppedReason`.
    pub reason: Option<String>,
    /// The exit code of its containers; none where they never ran.
    pub exit_code: Option<i32>,
    /// The containers' own reason: `CannotPullContainerError: …`.
    pub container_reason: Option<String>,
}
