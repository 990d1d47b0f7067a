//! The providers on AWS, made of the configuration. Knows no others.

use std::sync::Arc;

use shellgate_infra::aws::{Aws, AwsSettings};
use shellgate_infra::compute::any::AnyCompute;
use shellgate_infra::compute::ecs::Ecs;
use shellgate_infra::secrets::SecretError;
use shellgate_infra::secrets::any::AnySecrets;
use shellgate_infra::secrets::ssm::SsmSecrets;
use shellgate_infra::volumes::any::AnyVolumes;
use shellgate_infra::volumes::efs::EfsVolumes;
use tokio::sync::OnceCell;

use super::ProviderError;
use crate::config::Config;
use crate::kept::{Given, Kept};
use crate::store::postgres::Passwords;

/// One AWS for all that is on it, and none where nothing is.
#[derive(Default)]
pub(super) struct Account(OnceCell<Aws>);

impl Account {
    async fn get(&self, config: &Config) -> &Aws {
        let settings = || AwsSettings {
            region: config.aws.region.clone(),
            ecs_endpoint: config.aws.ecs_endpoint.clone(),
            efs_endpoint: config.aws.efs_endpoint.clone(),
            ssm_endpoint: config.aws.ssm_endpoint.clone(),
        };
        self.0.get_or_init(|| Aws::new(settings())).await
    }

    /// Tasks on ECS, and what was found there.
    pub async fn compute(&self, config: &Config) -> Result<(AnyCompute, String), ProviderError> {
        let ecs = Ecs::new(self.get(config).await, config.ecs.provider())?;
        let found = ecs.preflight().await?;
        let spot = if found.spot { ", also on Spot" } else { ", not on Spot" };
        let found = format!("Tasks run on Fargate in the cluster {}{spot}.", found.cluster);
        Ok((AnyCompute::Ecs(ecs), found))
    }

    /// Files on EFS.
    pub async fn volumes(&self, config: &Config) -> Result<AnyVolumes, ProviderError> {
        let aws = self.get(config).await;
        Ok(AnyVolumes::Efs(EfsVolumes::new(aws, config.efs.provider())?))
    }

    /// Secrets in the Parameter Store.
    pub async fn secrets(&self, config: &Config) -> Result<AnySecrets, ProviderError> {
        Ok(AnySecrets::Ssm(self.ssm(config).await?))
    }

    /// The gateway's own secrets, of which some are parameters.
    pub async fn kept(&self, config: &Config) -> Result<Kept, ProviderError> {
        let ssm = self.ssm(config).await?;
        Ok(Kept::with_parameters(move |name| -> Given {
            let (ssm, name) = (ssm.clone(), name.to_owned());
            Box::pin(async move {
                let read = ssm.parameter(&name).await.map_err(|error| error.to_string())?;
                String::from_utf8(read.value).map_err(|_| "it is not UTF-8".to_owned())
            })
        }))
    }

    /// Tokens by which the gateway's role signs in to the database.
    pub async fn database_tokens(&self, config: &Config) -> Result<Passwords, ProviderError> {
        let aws = self.get(config).await.clone();
        let store = &config.store;
        let (host, user) = (store.host.clone().unwrap_or_default(), store.user.clone());
        let port = store.port;
        Ok(Arc::new(move || -> Given {
            let (aws, host, user) = (aws.clone(), host.clone(), user.clone());
            Box::pin(async move {
                let token = aws.database_token(&host, port, &user).await;
                token.map_err(|error| error.to_string())
            })
        }))
    }

    async fn ssm(&self, config: &Config) -> Result<SsmSecrets, SecretError> {
        SsmSecrets::new(self.get(config).await, config.secrets.parameters())
    }
}
