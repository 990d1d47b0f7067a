//! Secrets in AWS Systems Manager's Parameter Store: `/PREFIX/shared/NAME` for everybody,
//! `/PREFIX/users/KEY/NAME` for one. Knows keys and names, not users.
//!
//! What is read is kept for a while, path by path, so that a thousand starts are no thousand calls;
//! and while AWS can't be reached it is good for longer.

mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ssm::types::Parameter;
use tokio::time::Instant;

use self::kept::{Fault, Kept, Next};
use super::{SecretError, SecretValue, Secrets, VALUE_MAX, bounded, is_name};
use crate::aws::{self, Aws, AwsError};
use crate::slots::Slots;

/// Paths whose secrets are kept: the shared one, and those of as many users.
const PATHS: usize = 1024;
/// The values of one path together, in bytes: more than one read may give.
const PATH_MAX: usize = 256 << 10;
/// Secrets of one answer, the most that SSM gives.
const PAGE: i32 = 10;
/// Answers that make up a path.
const PAGES: usize = 100;
/// How long a path may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may where what was read before is good in its place.
const HURRY: Duration = Duration::from_secs(5);
/// The longest prefix, in bytes, and how many levels it may have: a parameter's name has 15 at most.
const PREFIX: (usize, usize) = (512, 10);

/// Where the secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsmConfig {
    /// What their names begin with, such as `/shellgate/production`.
    pub prefix: String,
    /// For how long what was read is not read again.
    pub max_age: Duration,
}

/// Secrets in the Parameter Store. What was changed is seen within [`SsmConfig::max_age`].
#[derive(Clone)]
pub struct SsmSecrets {
    ssm: aws_sdk_ssm::Client,
    config: SsmConfig,
    paths: Arc<Slots<String, Kept>>,
}

/// The secrets of one path, by name.
type Values = BTreeMap<String, SecretValue>;

impl std::fmt::Debug for SsmSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SsmSecrets").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SsmConfig {
    /// What is wrong with it, in words for an operator.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        let prefix = &self.prefix;
        let levels: Vec<&str> =
            prefix.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/')).collect();
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let level = |part: &&str| !part.is_empty() && part.bytes().all(legal);
        let (longest, deepest) = PREFIX;
        if levels.is_empty() || !levels.iter().all(level) {
            return Err(format!(
                "{prefix:?} is not a path such as /shellgate: of letters, digits, `_`, `-`, `.`"
            ));
        }
        if prefix.len() > longest || levels.len() > deepest {
            return Err(format!("{prefix} is over {longest} bytes or {deepest} levels"));
        }
        let first = levels[0].to_ascii_lowercase();
        if first.starts_with("aws") || first.starts_with("ssm") {
            return Err(format!("{prefix}: no parameter's name may begin with aws or ssm"));
        }
        Ok(())
    }
}

impl SsmSecrets {
    /// Secrets below this prefix. Calls nobody yet.
    ///
    /// # Errors
    /// [`SecretError::Invalid`] with what [`SsmConfig::check`] says.
    pub fn new(aws: &Aws, config: SsmConfig) -> Result<Self, SecretError> {
        config.check().map_err(SecretError::Invalid)?;
        Ok(Self { ssm: aws.ssm(), config, paths: Arc::new(Slots::new(PATHS)) })
    }

    /// One parameter by its whole name, which is not kept: for the gateway's own secrets. Its version
    /// changes with its value.
    ///
    /// # Errors
    /// [`SecretError::Invalid`] where there is none, else [`SecretError::Aws`].
    pub async fn parameter(&self, name: &str) -> Result<SecretValue, SecretError> {
        let asked = self.ssm.get_parameter().name(name).with_decryption(true).send();
        let said = match aws::call("ssm:GetParameter", asked).await {
            Err(error) if error.code == "ParameterNotFound" => {
                return Err(SecretError::Invalid(format!("there is no parameter {name}")));
            }
            said => said?,
        };
        let found = said.parameter().and_then(|found| secret(found, name.to_owned(), ""));
        found.ok_or_else(|| SecretError::Invalid(format!("the parameter {name} has no value")))
    }

    /// All secrets of a path: those that are kept, or new ones. One caller asks, the others wait.
    async fn values(&self, path: String, of: &'static str) -> Result<Arc<Values>, SecretError> {
        let slot = self.paths.slot(&path);
        let mut kept = slot.lock().await;
        match kept.next(Instant::now(), self.config.max_age) {
            Next::Use(values) => Ok(values),
            Next::Fail(fault) => Err(fault.into()),
            Next::Ask { spare } => {
                let patience = if spare { HURRY } else { PATIENCE };
                let asked = tokio::time::timeout(patience, self.ask(&path, of)).await;
                let answer = asked.unwrap_or_else(|_| {
                    let late = format!("{path} took over {} s", patience.as_secs());
                    Err(Fault::Aws(AwsError::late("ssm:GetParametersByPath", late)))
                });
                let fault = answer.as_ref().err().cloned();
                let settled = kept.settle(Instant::now(), self.config.max_age, answer)?;
                if let Some(error) = fault {
                    tracing::warn!(%path, %error, "secrets are as they were read before");
                }
                Ok(settled)
            }
        }
    }

    async fn ask(&self, path: &str, of: &str) -> Result<Values, Fault> {
        let mut values = Values::new();
        let mut size = 0;
        let mut next = None;
        for _ in 0..PAGES {
            let asked = self.ssm.get_parameters_by_path().path(path).with_decryption(true);
            let asked = asked.max_results(PAGE).set_next_token(next).send();
            let said = aws::call("ssm:GetParametersByPath", asked).await?;
            for parameter in said.parameters() {
                let name = parameter.name().and_then(|name| name.rsplit('/').next());
                // By no other name can it be asked for.
                let Some(name) = name.filter(|name| is_name(name)) else { continue };
                let Some(value) = secret(parameter, name.to_owned(), of) else { continue };
                size += value.value.len();
                if size > PATH_MAX || value.value.len() > VALUE_MAX {
                    return Err(Fault::Invalid(format!(
                        "the parameters below {path} are over {} KiB",
                        PATH_MAX >> 10
                    )));
                }
                values.insert(value.name.clone(), value);
            }
            next = said.next_token;
            if next.is_none() {
                return Ok(values);
            }
        }
        Err(Fault::Invalid(format!("there are over {PAGES} pages of parameters below {path}")))
    }
}

/// A parameter that is deleted and made again counts its versions from 1 again: only with the time
/// do they tell editions apart.
fn secret(parameter: &Parameter, name: String, of: &str) -> Option<SecretValue> {
    let changed = parameter.last_modified_date().map_or(0, |at| at.secs());
    let version = format!("{of}{}@{changed}", parameter.version());
    Some(SecretValue { name, version, value: parameter.value()?.as_bytes().to_vec() })
}

impl Secrets for SsmSecrets {
    async fn read(&self, user: &str, names: &[String]) -> Result<Vec<SecretValue>, SecretError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // Anything else might lead out of the users' path.
        if user.is_empty() || !user.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(SecretError::Invalid(format!("{user:?} is not the key of a user")));
        }
        let prefix = &self.config.prefix;
        let (own, shared) = tokio::try_join!(
            self.values(format!("{prefix}/users/{user}"), "own:"),
            self.values(format!("{prefix}/shared"), "shared:"),
        )?;
        bounded(
            names.iter().filter_map(|name| own.get(name).or(shared.get(name)).cloned()).collect(),
        )
    }
}
