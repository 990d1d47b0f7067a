//! What tasks on ECS are made with, and how often ECS is asked. Calls nobody.

use std::time::Duration;

/// What ECS gives a container at most between TERM and KILL on Fargate.
const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// What ECS takes as subnets and as security groups of one task.
const SUBNETS_MAX: usize = 16;
const SECURITY_GROUPS_MAX: usize = 5;
/// A family has at most 255 characters, of which 33 are a hyphen and a hash.
const FAMILY_MAX: usize = 255 - 33;

/// The processor that tasks run on: that of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Arm64,
}

/// What tasks are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsConfig {
    /// The cluster, by name or ARN.
    pub cluster: String,
    /// What the families of this deployment's task definitions begin with. Tasks of other families
    /// in the same cluster are nobody's business here, so two deployments need two of it.
    pub family: String,
    /// The image, whose entry point is the bridge.
    pub image: String,
    /// What it is built for.
    pub architecture: Architecture,
    /// Private subnets, of several zones.
    pub subnets: Vec<String>,
    /// The security groups of every task.
    pub security_groups: Vec<String>,
    /// The role by which ECS pulls the image and writes the log.
    pub execution_role: String,
    /// The role that a task itself has.
    pub task_role: String,
    /// The CloudWatch log group that bridges log to.
    pub log_group: String,
    /// What a task is given between TERM and KILL, at most 120 s. It is part of the definition: ECS
    /// takes no other at a stop.
    pub stop_timeout: Duration,
    /// How much ECS is asked.
    pub rates: Rates,
    /// How often it is asked what became of tasks.
    pub pace: Pace,
}

/// So many calls at once, then so many a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// A second.
    pub per_second: u32,
}

/// How much ECS is asked, by what AWS counts together. All gateways of an account and region share
/// what AWS allows: each draws its part, and one that is told that it is too much waits and tries
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// `RunTask`. Fargate's bucket for launches (100, refilled with 20 a second) is never the
    /// narrower one while each call starts one task.
    pub run: Rate,
    /// `StopTask`.
    pub stop: Rate,
    /// `DescribeTasks`, `ListTasks`.
    pub read: Rate,
    /// `RegisterTaskDefinition`, `DeregisterTaskDefinition`.
    pub register: Rate,
    /// `DescribeTaskDefinition`, `ListTaskDefinitions`, `ListTaskDefinitionFamilies`.
    pub definitions: Rate,
}

impl Default for Rates {
    /// What AWS allows an account
    /// (docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html, and for `RunTask`
    /// docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html).
    fn default() -> Self {
        Self {
            run: Rate { burst: 20, per_second: 20 },
            stop: Rate { burst: 100, per_second: 40 },
            read: Rate { burst: 100, per_second: 20 },
            register: Rate { burst: 20, per_second: 1 },
            definitions: Rate { burst: 50, per_second: 20 },
        }
    }
}

/// How often ECS is asked what became of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// About a task of which news is expected: one that was just started or stopped.
    pub hurried: Duration,
    /// About any other.
    pub steady: Duration,
    /// How long after a task definition was first used by this process the older ones of the same
    /// user and template are taken away: longer than two versions of a gateway run side by side.
    pub retire: Duration,
    /// How long a start is tried again for which there is no room, or which comes to nothing.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            hurried: Duration::from_secs(2),
            steady: Duration::from_secs(10),
            retire: Duration::from_secs(15 * 60),
            patience: Duration::from_secs(60),
        }
    }
}

impl EcsConfig {
    /// What is wrong with it, in words for an operator.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |what: String| Err(what);
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(1..=FAMILY_MAX).contains(&self.family.len()) || !self.family.bytes().all(legal) {
            return wrong(format!(
                "a family's prefix is 1 to {FAMILY_MAX} of letters, digits, _ and -, not {:?}",
                self.family
            ));
        }
        let named = [
            ("a cluster", &self.cluster),
            ("an image", &self.image),
            ("an execution role", &self.execution_role),
            ("a task role", &self.task_role),
            ("a log group", &self.log_group),
        ];
        if let Some((what, _)) = named.iter().find(|(_, value)| value.is_empty()) {
            return wrong(format!("tasks on ECS need {what}"));
        }
        let counted = [
            ("subnets", &self.subnets, SUBNETS_MAX),
            ("security groups", &self.security_groups, SECURITY_GROUPS_MAX),
        ];
        for (what, names, most) in counted {
            if !(1..=most).contains(&names.len()) {
                return wrong(format!("tasks on ECS need 1 to {most} {what}, not {}", names.len()));
            }
        }
        if self.stop_timeout > STOP_TIMEOUT_MAX || self.stop_timeout < Duration::from_secs(1) {
            return wrong(format!("a stop timeout is 1 s to {STOP_TIMEOUT_MAX:?} on Fargate"));
        }
        let Rates { run, stop, read, register, definitions } = self.rates;
        let rates = [run, stop, read, register, definitions];
        if rates.iter().any(|rate| rate.burst == 0 || rate.per_second == 0) {
            return wrong("a rate of none at all".to_owned());
        }
        Ok(())
    }

    /// The cluster's name, where it is given as an ARN.
    pub(super) fn cluster_name(&self) -> &str {
        self.cluster.rsplit('/').next().unwrap_or(&self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::ecs::example_config;

    #[test]
    fn a_configuration_that_no_task_can_be_made_with_is_refused_in_words() {
        let refused = |change: &dyn Fn(&mut EcsConfig)| {
            let mut config = example_config();
            change(&mut config);
            config.check().unwrap_err()
        };
        example_config().check().unwrap();
        assert!(refused(&|config| config.family.clear()).contains("prefix"));
        assert!(refused(&|config| config.family = "a:b".to_owned()).contains("\"a:b\""));
        assert!(refused(&|config| config.family = "a".repeat(223)).contains("222"));
        assert!(refused(&|config| config.image.clear()).contains("an image"));
        assert!(refused(&|config| config.cluster.clear()).contains("a cluster"));
        assert!(refused(&|config| config.subnets.clear()).contains("subnets"));
        assert!(refused(&|config| config.security_groups = vec!["sg".to_owned(); 6]).contains("6"));
        assert!(refused(&|config| config.stop_timeout = Duration::from_secs(121)).contains("120s"));
        assert!(refused(&|config| config.rates.run.burst = 0).contains("rate"));
    }

    #[test]
    fn a_cluster_is_named_by_its_name_or_its_arn() {
        let mut config = example_config();
        assert_eq!(config.cluster_name(), "tasks");
        config.cluster = "arn:aws:ecs:eu-central-1:123456789012:cluster/tasks".to_owned();
        assert_eq!(config.cluster_name(), "tasks");
    }
}
