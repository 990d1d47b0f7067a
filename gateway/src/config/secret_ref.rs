//! Where something is kept that is not for a configuration file. Knows no content.

use std::fmt;
use std::path::PathBuf;

use super::setting::{Setting, quoted, text};
use super::source::Entry;

/// Longest name of a parameter, as its service has it.
const PARAMETER_MAX: usize = 1011;

/// Where something is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// In a file.
    File(PathBuf),
    /// In the parameter of this name of SSM Parameter Store.
    Parameter(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Parameter(name) => write!(f, "ssm:{name}"),
        }
    }
}

impl Setting for SecretRef {
    fn allowed() -> String {
        "\"file:\" and a path (a relative one counts from the file it is written in), or \"ssm:\" and \
         a parameter's name"
            .into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let text = text(entry)?;
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() || path.contains('\0') {
                return Err(format!("{text:?} names no file"));
            }
            return std::path::absolute(entry.origin.directory().join(path))
                .map(Self::File)
                .map_err(|error| error.to_string());
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
        match text.strip_prefix("ssm:") {
            Some(name) if (1..=PARAMETER_MAX).contains(&name.len()) && name.bytes().all(legal) => {
                Ok(Self::Parameter(name.to_owned()))
            }
            Some(name) => Err(format!("{name:?} is no parameter's name")),
            // It may be the secret itself: it is not shown.
            None => Err("it begins with neither \"file:\" nor \"ssm:\"".into()),
        }
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}
