//! A gateway within the test's own process, which shares its runtime and its time. Knows no
//! sandbox.

use std::sync::Arc;

use shellgate_gateway::gateway::{Gateway, Sessions};
use shellgate_infra::aws::AwsSettings;
use toml::Value;

use crate::world::Shared;
use crate::{User, WorldBuilder};

/// A gateway that runs here.
pub struct Here {
    shared: Arc<Shared>,
    gateway: Gateway,
}

impl Here {
    /// Starts what was configured, with its tasks on this AWS.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(world: WorldBuilder, aws: &AwsSettings) -> Self {
        let (shared, config) = world.with_tasks_on(aws).configured();
        let gateway = Gateway::start(config).await.unwrap_or_else(|error| panic!("{error}"));
        shared.is_at(gateway.client_address());
        Self { shared, gateway }
    }

    /// Stops it and leaves its sessions, and starts another one in its place, with some keys of its
    /// configuration changed.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub async fn starts_again_with(self, changes: &[(&str, Value)]) -> Self {
        self.gateway.stop(Sessions::Leave).await;
        for (key, value) in changes {
            self.shared.set(key, value.clone());
        }
        let gateway = Gateway::start(self.shared.configured()).await;
        let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
        self.shared.is_at(gateway.client_address());
        Self { shared: self.shared, gateway }
    }

    /// A user of this gateway.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        User::new(self.shared.clone(), name, "")
    }

    /// Stops it, and leaves its sessions.
    pub async fn stop(self) {
        self.gateway.stop(Sessions::Leave).await;
    }
}
