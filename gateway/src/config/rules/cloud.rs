//! What must hold where something is on AWS. Knows no call to it.

#[cfg(feature = "aws")]
use shellgate_infra::compute::ecs::fargate_size;

use super::Broken;
#[cfg(feature = "aws")]
use crate::config::SecretKind;
use crate::config::{Config, TaskCompute, VolumeKind};

/// Every rule that a configuration breaks.
pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Config { aws, ecs, tasks, volumes, .. } = config;
    for (key, endpoint) in [
        ("aws.ecs_endpoint", &aws.ecs_endpoint),
        ("aws.efs_endpoint", &aws.efs_endpoint),
        ("aws.ssm_endpoint", &aws.ssm_endpoint),
    ] {
        let Some(endpoint) = endpoint else { continue };
        if !is_endpoint(endpoint) {
            let wrong = format!("{endpoint:?} is no address of a service");
            broken.push(Broken { key, others: &[], wrong, allowed: "http://… or https://…" });
        }
    }
    let on_ecs = tasks.compute == TaskCompute::Ecs;
    if on_ecs != (volumes.kind == VolumeKind::Efs) {
        broken.push(Broken {
            key: "volumes.kind",
            others: &["tasks.compute"],
            wrong: format!("it is \"{}\", and tasks.compute \"{}\"", volumes.kind, tasks.compute),
            allowed: "\"efs\" for tasks on ECS, \"directory\" for sandboxes",
        });
    }
    if on_ecs {
        for (key, is_missing) in [
            ("ecs.image", ecs.image.is_none()),
            ("ecs.subnets", ecs.subnets.is_empty()),
            ("ecs.security_groups", ecs.security_groups.is_empty()),
            ("ecs.execution_role", ecs.execution_role.is_none()),
            ("ecs.task_role", ecs.task_role.is_none()),
        ] {
            if is_missing {
                let wrong = "it is missing, and tasks.compute is \"ecs\"".into();
                let allowed = "what the deployment made for tasks";
                broken.push(Broken { key, others: &["tasks.compute"], wrong, allowed });
            }
        }
    }
    #[cfg(feature = "aws")]
    broken.extend(said_by_providers(config, broken.is_empty()));
    broken
}

/// What the providers themselves say of what they are configured with; `is_whole`: nothing is missing.
#[cfg(feature = "aws")]
fn said_by_providers(config: &Config, is_whole: bool) -> Vec<Broken> {
    let Config { ecs, efs, tasks, volumes, secrets, templates, .. } = config;
    let mut broken = Vec::new();
    let mut say = |key, others, said: Result<(), String>, allowed| {
        broken.extend(said.err().map(|wrong| Broken { key, others, wrong, allowed }));
    };
    if tasks.compute == TaskCompute::Ecs {
        if is_whole {
            let allowed = "what the deployment made for tasks";
            say("ecs", &["tasks.compute"], ecs.provider().check(), allowed);
        }
        for (name, template) in templates {
            let size = fargate_size(&(&template.limits).into()).map(drop);
            let said =
                size.map_err(|why| format!("{name}: no task on Fargate has such limits: {why}"));
            say("templates", &["tasks.compute"], said, "limits that fit into a size of Fargate's");
        }
    }
    if volumes.kind == VolumeKind::Efs {
        let allowed = "file systems, and a directory on them";
        say("efs", &["volumes.kind"], efs.provider().check(), allowed);
    }
    if secrets.kind == SecretKind::Ssm {
        let allowed = "a path such as \"/shellgate/production\"";
        say("secrets.prefix", &["secrets.kind"], secrets.parameters().check(), allowed);
    }
    broken
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<axum::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    })
}
