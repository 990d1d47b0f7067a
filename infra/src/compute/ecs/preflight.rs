//! Whether tasks can run here at all, asked once and told plainly. Starts nothing.

use aws_sdk_ecs::types::Cluster;

use super::Inner;
use crate::compute::ComputeError;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// The cluster's ARN.
    pub cluster: String,
    /// Whether tasks can run on Spot there.
    pub spot: bool,
}

/// Looks for the cluster, and at what it may run; also whether this gateway may see its tasks.
pub(super) async fn preflight(inner: &Inner) -> Result<Preflight, ComputeError> {
    let name = &inner.config.cluster;
    let request = inner.calls.client.describe_clusters().clusters(name);
    let answer = inner
        .calls
        .ask(&inner.calls.read, "ecs:DescribeClusters", || request.clone().send())
        .await?;
    let active = |cluster: &&Cluster| cluster.status() == Some("ACTIVE");
    let Some(cluster) = answer.clusters().iter().find(active) else {
        return Err(ComputeError::Unavailable(format!(
            "there is no ECS cluster {name:?} in {}",
            inner.region
        )));
    };
    let has = |provider: &str| cluster.capacity_providers().iter().any(|has| has == provider);
    if !has("FARGATE") {
        return Err(ComputeError::Unavailable(format!(
            "the ECS cluster {name:?} in {} has no capacity provider FARGATE: add it to the cluster",
            inner.region
        )));
    }
    inner.list_arns(None).await?;
    Ok(Preflight {
        cluster: cluster.cluster_arn().unwrap_or_default().to_owned(),
        spot: has("FARGATE_SPOT"),
    })
}
