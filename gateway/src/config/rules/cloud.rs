//! What must hold where something is on AWS. Knows no call to it.

#[cfg(feature = "aws")]
use shellgate_infra::compute::ecs::fargate_size;

use super::Broken;
use crate::config::{Config, SecretKind, TaskCompute, VolumeKind};

/// Every rule that a configuration breaks.
pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Config { aws, ecs, efs, tasks, volumes, secrets, .. } = config;
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
        #[cfg(feature = "aws")]
        for (name, template) in &config.templates {
            if let Err(why) = fargate_size(&(&template.limits).into()) {
                broken.push(Broken {
                    key: "templates",
                    others: &["tasks.compute"],
                    wrong: format!("{name}: no task on Fargate has such limits: {why}"),
                    allowed: "limits that fit into a size of Fargate's",
                });
            }
        }
    }
    if volumes.kind == VolumeKind::Efs && efs.file_systems.is_empty() {
        broken.push(Broken {
            key: "efs.file_systems",
            others: &["volumes.kind"],
            wrong: "it is empty, and volumes.kind is \"efs\"".into(),
            allowed: "at least one file system",
        });
    }
    let is_file_system = |id: &String| {
        let hex = id.strip_prefix("fs-").unwrap_or_default();
        (8..=40).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit())
    };
    if let Some(other) = efs.file_systems.iter().find(|id| !is_file_system(id)) {
        broken.push(Broken {
            key: "efs.file_systems",
            others: &[],
            wrong: format!("{other:?} is no file system's id"),
            allowed: "ids such as \"fs-0123456789abcdef0\"",
        });
    }
    // EFS makes at most four levels of an access point's path, of 100 characters in all; the last
    // one is the user's, of up to 64.
    if !is_path(&efs.root, 3) || efs.root.len() > 35 {
        broken.push(Broken {
            key: "efs.root",
            others: &[],
            wrong: format!("{:?} can't be had on every file system", efs.root),
            allowed: "a path of up to three names of letters, digits, _ and -, up to 35 characters",
        });
    }
    if secrets.kind == SecretKind::Ssm && !is_path(&secrets.prefix, 8) {
        broken.push(Broken {
            key: "secrets.prefix",
            others: &["secrets.kind"],
            wrong: format!("{:?} begins no parameter's name", secrets.prefix),
            allowed: "a path of up to eight names of letters, digits, _ and -",
        });
    }
    broken
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<axum::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    })
}

/// `/name/name`, of so many names at most.
fn is_path(text: &str, names: usize) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let good = |name: &str| !name.is_empty() && name.bytes().all(legal);
    text.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(good) && rest.split('/').count() <= names)
}
