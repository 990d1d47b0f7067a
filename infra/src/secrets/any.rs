//! The kinds of secrets as one type, of which a gateway has the one that its configuration names.

use super::file::FileSecrets;
#[cfg(feature = "aws")]
use super::ssm::SsmSecrets;
use super::{SecretError, SecretValue, Secrets};

/// One of the kinds.
#[derive(Debug)]
pub enum AnySecrets {
    /// A file on this machine.
    File(FileSecrets),
    /// The Parameter Store of AWS Systems Manager.
    #[cfg(feature = "aws")]
    Ssm(SsmSecrets),
}

/// Does the same with whichever it is.
macro_rules! each {
    ($any:expr, $of:ident => $done:expr) => {
        match $any {
            Self::File($of) => $done,
            #[cfg(feature = "aws")]
            Self::Ssm($of) => $done,
        }
    };
}

impl Secrets for AnySecrets {
    async fn read(&self, user: &str, names: &[String]) -> Result<Vec<SecretValue>, SecretError> {
        each!(self, of => of.read(user, names).await)
    }
}
