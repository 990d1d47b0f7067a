//! Reads what is kept outside of the configuration, where a [`SecretRef`] says: from files, and from
//! whoever holds parameters. Knows not what it is for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{SecretRef, file};

/// How long whoever holds parameters may take to give one.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often what is kept is looked at again.
const LOOK: Duration = Duration::from_secs(300);

/// Has somebody look again and again, until the gateway stops.
pub async fn keep_up<F>(stopping: CancellationToken, look: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stopping.cancelled() => return,
        }
        look().await;
    }
}

/// What comes of asking for a parameter: its text, or why there is none.
pub type Given = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Gives parameters by their names.
type Parameters = Arc<dyn Fn(&str) -> Given + Send + Sync>;

/// Where things are read from. Cheap to clone.
#[derive(Clone)]
pub struct Kept {
    parameters: Option<Parameters>,
}

/// Why something could not be read. Never holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// The file is not there, or not as it must be.
    #[error("{0}")]
    File(String),
    /// Nobody here gives parameters.
    #[error("ssm:{0}: this gateway reads no parameters")]
    NoParameters(String),
    /// The parameter could not be had.
    #[error("ssm:{name}: {why}")]
    Parameter {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
    /// It is no text.
    #[error("{0} is not UTF-8")]
    NotText(SecretRef),
}

impl KeptError {
    /// Whether the same may be readable a moment later, with nothing changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Parameter { .. } => true,
            Self::File(_) | Self::NoParameters(_) | Self::NotText(_) => false,
        }
    }
}

impl Kept {
    /// Reads files, and no parameters.
    #[must_use]
    pub fn in_files() -> Self {
        Self { parameters: None }
    }

    /// Reads files, and asks `give` for parameters.
    pub fn with_parameters(give: impl Fn(&str) -> Given + Send + Sync + 'static) -> Self {
        Self { parameters: Some(Arc::new(give)) }
    }

    /// Reads a text. A `secret` one in a file must be closed to others.
    ///
    /// # Errors
    /// [`KeptError`].
    pub async fn read(&self, from: &SecretRef, secret: bool) -> Result<String, KeptError> {
        match from {
            SecretRef::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || file::read(&path, secret)).await;
                let bytes = read
                    .map_err(|error| KeptError::File(error.to_string()))?
                    .map_err(KeptError::File)?;
                String::from_utf8(bytes).map_err(|_| KeptError::NotText(from.clone()))
            }
            SecretRef::Parameter(name) => {
                let Some(parameters) = &self.parameters else {
                    return Err(KeptError::NoParameters(name.clone()));
                };
                let failed = |why| KeptError::Parameter { name: name.clone(), why };
                timeout(PATIENCE, parameters(name))
                    .await
                    .map_err(|_| failed(format!("no answer within {PATIENCE:?}")))?
                    .map_err(failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_read_from_a_file_that_is_closed_to_others_only() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        std::fs::write(&path, "text").unwrap();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).unwrap();
        let from = SecretRef::File(path.clone());
        let kept = Kept::in_files();
        assert_eq!(kept.read(&from, false).await.as_deref(), Ok("text"));
        let refused = kept.read(&from, true).await.unwrap_err();
        assert!(refused.to_string().contains("open to others"), "{refused}");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(kept.read(&from, false).await, Err(KeptError::NotText(from)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_parameter_is_asked_for_by_its_name_and_not_waited_for_without_end() {
        let from = |name: &str| SecretRef::Parameter(name.into());
        let nobody = Kept::in_files().read(&from("/a"), true).await.unwrap_err();
        assert_eq!(nobody, KeptError::NoParameters("/a".into()));
        assert!(!nobody.is_retryable());
        let kept = Kept::with_parameters(|name| match name {
            "/never" => Box::pin(std::future::pending()),
            "/none" => Box::pin(async { Err("there is no such parameter".into()) }),
            name => Box::pin(std::future::ready(Ok(format!("value of {name}")))),
        });
        assert_eq!(kept.read(&from("/a"), true).await.as_deref(), Ok("value of /a"));
        for name in ["/none", "/never"] {
            let failed = kept.read(&from(name), true).await.unwrap_err();
            assert!(failed.is_retryable() && failed.to_string().contains(name), "{failed}");
        }
    }
}
