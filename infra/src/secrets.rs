//! Secrets: what a user's programs may know. Knows keys and names, not users.

pub mod any;
pub mod file;
#[cfg(feature = "aws")]
pub mod ssm;

use std::fmt;
use std::future::Future;

/// One value, in bytes.
const VALUE_MAX: usize = 64 << 10;
/// All values that one read gives, together, in bytes: a session's bridge is told of them in one
/// message of at most 256 KiB, its program among them, in which a byte takes up to 4/3.
pub const TOGETHER_MAX: usize = 128 << 10;
/// A name's length.
const NAME_MAX: usize = 64;

/// Whether a secret may have this name.
fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.');
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    fits && name.bytes().all(legal)
}

/// One secret with its version. `Debug` shows its name and version only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    /// Letters, digits, `_`, `-`, `.`; not beginning with a dot; at most 64.
    pub name: String,
    /// Changes with the value: what an audit says was read.
    pub version: String,
    /// Its bytes, at most 64 KiB.
    pub value: Vec<u8>,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValue")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why secrets can't be had. No text of it contains a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// What is there is not as it must be: open to others, not to be parsed.
    #[error("{0}")]
    Invalid(String),
    /// Together they are more than one read may give.
    #[error("{0}")]
    TooLarge(String),
    /// AWS said no.
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
}

/// These, if they are not more than one read may give.
fn bounded(values: Vec<SecretValue>) -> Result<Vec<SecretValue>, SecretError> {
    let size: usize = values.iter().map(|secret| secret.value.len()).sum();
    if size <= TOGETHER_MAX {
        return Ok(values);
    }
    let names: Vec<&str> = values.iter().map(|secret| secret.name.as_str()).collect();
    Err(SecretError::TooLarge(format!(
        "the secrets {} have {size} bytes together, and one session takes up to {TOGETHER_MAX} \
         (128 KiB): make them shorter, or let the template ask for fewer",
        names.join(", "),
    )))
}

/// Keeps secrets: some for everybody, some for one user, whose own come before the shared ones.
///
/// A name that is not there is left out, not an error. What was changed is seen within an age that the
/// implementation states, none at best. Values of more than [`TOGETHER_MAX`] together are an error
/// that says so, never some of them. A failure to read is an error, or what was read before for
/// as long as the implementation states, and never a name left out.
pub trait Secrets: Send + Sync {
    /// The secrets of these names for the user with this key.
    fn read(
        &self,
        user: &str,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<SecretValue>, SecretError>> + Send;
}
