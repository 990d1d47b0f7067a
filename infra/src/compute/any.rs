//! The kinds of compute as one type, of which a gateway has the one that its configuration names.

use std::net::IpAddr;
use std::time::Duration;

#[cfg(feature = "aws")]
use super::ecs::Ecs;
use super::sandbox::Sandbox;
use super::{Compute, ComputeError, Emptying, TaskEnd, TaskName, TaskRef, TaskSpec};

/// One of the kinds.
#[derive(Debug, Clone)]
pub enum AnyCompute {
    /// Sandboxes on this machine.
    Sandbox(Sandbox),
    /// Tasks of Amazon ECS.
    #[cfg(feature = "aws")]
    Ecs(Ecs),
}

/// Does the same with whichever it is.
macro_rules! each {
    ($any:expr, $of:ident => $done:expr) => {
        match $any {
            Self::Sandbox($of) => $done,
            #[cfg(feature = "aws")]
            Self::Ecs($of) => $done,
        }
    };
}

impl Compute for AnyCompute {
    async fn start(&self, spec: &TaskSpec) -> Result<TaskRef, ComputeError> {
        each!(self, of => of.start(spec).await)
    }

    async fn stop(&self, task: &TaskRef, grace: Duration) -> Result<(), ComputeError> {
        each!(self, of => of.stop(task, grace).await)
    }

    async fn list(&self) -> Result<Vec<TaskRef>, ComputeError> {
        each!(self, of => of.list().await)
    }

    async fn wait(&self, task: &TaskRef) -> Result<TaskEnd, ComputeError> {
        each!(self, of => of.wait(task).await)
    }

    async fn address(&self, task: &TaskRef) -> Result<Option<IpAddr>, ComputeError> {
        each!(self, of => of.address(task).await)
    }

    async fn empty(&self, what: &Emptying) -> Result<(), ComputeError> {
        each!(self, of => of.empty(what).await)
    }

    fn share(&self, among: u32) {
        each!(self, of => of.share(among));
    }

    async fn forget(&self, name: &TaskName) -> Result<(), ComputeError> {
        each!(self, of => of.forget(name).await)
    }
}
