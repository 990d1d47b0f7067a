//! What a gateway that was built without AWS says where it is to use it.

use shellgate_infra::compute::any::AnyCompute;
use shellgate_infra::secrets::any::AnySecrets;
use shellgate_infra::volumes::any::AnyVolumes;

use super::ProviderError;
use crate::config::Config;
use crate::kept::Kept;
use crate::store::postgres::Passwords;

/// None.
#[derive(Default)]
pub(super) struct Account;

impl Account {
    pub async fn compute(&self, _: &Config) -> Result<(AnyCompute, String), ProviderError> {
        Err(ProviderError::LeftOut)
    }

    pub async fn volumes(&self, _: &Config) -> Result<AnyVolumes, ProviderError> {
        Err(ProviderError::LeftOut)
    }

    pub async fn secrets(&self, _: &Config) -> Result<AnySecrets, ProviderError> {
        Err(ProviderError::LeftOut)
    }

    pub async fn kept(&self, _: &Config) -> Result<Kept, ProviderError> {
        Err(ProviderError::LeftOut)
    }

    pub async fn database_tokens(&self, _: &Config) -> Result<Passwords, ProviderError> {
        Err(ProviderError::LeftOut)
    }
}
