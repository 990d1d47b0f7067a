//! Volumes: a user's durable files. Knows keys, not users.

pub mod any;
pub mod directory;
#[cfg(feature = "aws")]
pub mod efs;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whose volume: an injective function of the user, made by the caller. 1 to 64 of `a-z`, `0-9`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeKey(String);

impl VolumeKey {
    /// A key; `None` where it has other characters, none, or too many.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Option<Self> {
        let key = key.into();
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
        ((1..=64).contains(&key.len()) && key.bytes().all(legal)).then_some(Self(key))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A volume, as compute mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "volume", rename_all = "snake_case")]
pub enum VolumeRef {
    /// A directory on this machine.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// Who owns it on the host, and as whom its tasks run there: the user's own uid where the
        /// gateway is root, else the gateway's.
        uid: u32,
        /// Its group, likewise.
        gid: u32,
    },
    /// An access point of Amazon EFS.
    AccessPoint {
        /// `fs-…`.
        file_system: String,
        /// `fsap-…`.
        access_point: String,
        /// As whom its files are kept, and its tasks run.
        uid: u32,
        /// Its group, likewise.
        gid: u32,
    },
}

impl VolumeRef {
    /// Whether there was a choice of where to make it, so that whoever asks for it again must say
    /// where it is.
    #[must_use]
    pub fn was_chosen(&self) -> bool {
        match self {
            Self::Directory { .. } => false,
            Self::AccessPoint { .. } => true,
        }
    }

    /// Whether only a task that mounts it can delete what is in it, by
    /// [`crate::compute::Compute::empty`], before it is removed.
    #[must_use]
    pub fn needs_emptying(&self) -> bool {
        match self {
            Self::Directory { .. } => false,
            Self::AccessPoint { .. } => true,
        }
    }
}

/// Why a volume can't be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What is there is not what it must be (a symlink, somebody else's, open to others).
    #[error("{0}")]
    Unsafe(String),
    /// The one that the caller knew is not there any more.
    #[error("{0}")]
    Gone(String),
    /// There is no room for another one.
    #[error("{0}")]
    Full(String),
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

impl VolumeError {
    /// What the user whose files they are should know, in words that name nothing of the provider's.
    #[must_use]
    pub fn told(&self) -> Option<&'static str> {
        match self {
            Self::Aws(error) => Some(error.told()),
            Self::Full(_) => Some("there is no room for another home; the operator can see why"),
            Self::Unsafe(_) | Self::Gone(_) => {
                Some("your files are not where they should be; the operator can see why")
            }
            Self::Io { .. } => None,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Aws(error) => error.is_retryable(),
            Self::Unsafe(_) | Self::Gone(_) | Self::Full(_) => false,
        }
    }
}

/// What a file system holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// `fs-…`.
    pub file_system: String,
    /// As EFS metered it last, which may be hours ago.
    pub bytes: u64,
    /// All of them, also those that are not homes. EFS takes 10,000 unless it has been asked for more.
    pub access_points: usize,
}

/// How much of a volume a removal could reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The volume and all that was in it.
    Whole,
    /// Only the way to it: its files are where they were, as only what mounts them can empty them.
    Access {
        /// Where they are in their file system.
        files: String,
    },
}

/// Gives users their files.
///
/// `ensure` with a key that has a volume returns that volume, unchanged; a new one is there completely
/// or not at all. Two keys never share a volume. A volume that the caller knows and that is gone,
/// or is not the key's, is an error: nobody finds an empty home in place of their own. `remove` takes
/// away as much as it says, or is an error; what is not there was removed. Until it has returned
/// the key has its volume, whole or in part, and afterwards `ensure` makes a new one.
pub trait Volumes: Send + Sync {
    /// The volume of a key, made where it is not there yet, owned by `uid` (where this process may
    /// give files away). `known` is what an earlier call returned, where the caller has kept it.
    fn ensure(
        &self,
        key: &VolumeKey,
        uid: u32,
        known: Option<&VolumeRef>,
    ) -> impl Future<Output = Result<VolumeRef, VolumeError>> + Send;

    /// Removes the volume of a key, which no task uses any more. What was begun once is finished by
    /// the next call.
    fn remove(
        &self,
        key: &VolumeKey,
        volume: &VolumeRef,
    ) -> impl Future<Output = Result<Removal, VolumeError>> + Send;
}
