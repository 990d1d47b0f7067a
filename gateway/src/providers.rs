//! Which providers a gateway has: chosen once, by its configuration. The one place above them that
//! knows which kinds there are.

#[cfg_attr(not(feature = "aws"), path = "providers/without_aws.rs")]
mod aws;

use std::path::Path;
use std::sync::Arc;

use shellgate_infra::compute::ComputeError;
use shellgate_infra::compute::any::AnyCompute;
use shellgate_infra::compute::sandbox::{Sandbox, SandboxConfig};
use shellgate_infra::secrets::SecretError;
use shellgate_infra::secrets::any::AnySecrets;
use shellgate_infra::secrets::file::FileSecrets;
use shellgate_infra::volumes::VolumeError;
use shellgate_infra::volumes::any::AnyVolumes;
use shellgate_infra::volumes::directory::DirectoryVolumes;

use crate::config::{Config, SecretKind, StoreAuth, StoreKind, TaskCompute, VolumeKind};
use crate::kept::{Kept, KeptError};
use crate::store::postgres::Passwords;

/// Where tasks run and what they get.
pub struct Providers {
    /// Where tasks run.
    pub compute: AnyCompute,
    /// Where users' files are.
    pub volumes: AnyVolumes,
    /// Where users' secrets are.
    pub secrets: AnySecrets,
    /// Where the gateway's own secrets are read from.
    pub kept: Kept,
    /// Where the passwords of a database come from that asks for any.
    pub passwords: Option<Passwords>,
    /// What was found when they were looked at, in words for an operator.
    pub preflight: String,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Where tasks run.
    #[error("no tasks can be run: {0}")]
    Compute(#[from] ComputeError),
    /// Where users' files are.
    #[error("there is no place for users' files: {0}")]
    Volumes(#[from] VolumeError),
    /// Where users' secrets are.
    #[error("secrets can't be had: {0}")]
    Secrets(#[from] SecretError),
    /// The database's password.
    #[error("store.password: {0}")]
    Password(KeptError),
    /// The configuration names AWS.
    #[error("this gateway was built without AWS (the feature `aws`)")]
    LeftOut,
}

impl Providers {
    /// Chooses them, and looks whether tasks can run.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn choose(config: &Config, state: &Path) -> Result<Self, ProviderError> {
        let aws = aws::Account::default();
        let (compute, preflight) = match config.tasks.compute {
            TaskCompute::Sandbox => sandboxes(config, state).await?,
            TaskCompute::Ecs => aws.compute(config).await?,
        };
        let volumes = match config.volumes.kind {
            VolumeKind::Directory => {
                let of = &config.volumes;
                let directories = DirectoryVolumes::new(of.root.clone(), of.skeleton.clone());
                AnyVolumes::Directory(directories)
            }
            VolumeKind::Efs => aws.volumes(config).await?,
        };
        let secrets = match config.secrets.kind {
            SecretKind::File => AnySecrets::File(FileSecrets::new(config.secrets.file.clone())),
            SecretKind::Ssm => aws.secrets(config).await?,
        };
        let kept = match config.tasks.has_parameters() || config.store.has_parameters() {
            true => aws.kept(config).await?,
            false => Kept::in_files(),
        };
        let passwords = match (config.store.kind, config.store.auth) {
            (StoreKind::Sqlite, _) => None,
            (StoreKind::Postgres, StoreAuth::Iam) => Some(aws.database_tokens(config).await?),
            (StoreKind::Postgres, StoreAuth::Password) => password(config, &kept).await?,
        };
        Ok(Self { compute, volumes, secrets, kept, passwords, preflight })
    }
}

async fn sandboxes(config: &Config, state: &Path) -> Result<(AnyCompute, String), ProviderError> {
    let sandbox = Sandbox::new(SandboxConfig {
        state: state.join("sandbox"),
        bridge: config.sandbox.bridge.clone(),
        bwrap: Some(config.sandbox.bwrap.clone()),
    })?;
    let preflight = sandbox.preflight().await?.to_string();
    Ok((AnyCompute::Sandbox(sandbox), preflight))
}

/// The database's password, read again for each connection.
async fn password(config: &Config, kept: &Kept) -> Result<Option<Passwords>, ProviderError> {
    let Some(from) = config.store.password.clone() else { return Ok(None) };
    match kept.read(&from, true).await {
        Err(error) if !error.is_retryable() => return Err(ProviderError::Password(error)),
        // Whoever waits for the database waits for its password, too.
        Ok(_) | Err(_) => {}
    }
    let kept = kept.clone();
    Ok(Some(Arc::new(move || {
        let (kept, from) = (kept.clone(), from.clone());
        Box::pin(async move {
            let text = kept.read(&from, true).await.map_err(|error| error.to_string())?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        })
    })))
}
