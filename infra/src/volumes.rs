//! Volumes: a user's durable files. Knows keys, not users.

pub mod directory;

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
}

/// Why a volume can't be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What is there is not what it must be (a symlink, somebody else's, open to others).
    #[error("{0}")]
    Unsafe(String),
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
}

/// Gives users their files.
///
/// `ensure` with a key that has a volume returns that volume, unchanged; a new one is filled from
/// the skeleton, once, and is there completely or not at all. Two keys never share a volume.
pub trait Volumes: Send + Sync {
    /// The volume of a key, made where it is not there yet, owned by `uid` (where this process may
    /// give files away).
    fn ensure(
        &self,
        key: &VolumeKey,
        uid: u32,
    ) -> impl Future<Output = Result<VolumeRef, VolumeError>> + Send;
}
