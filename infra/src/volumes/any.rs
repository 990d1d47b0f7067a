//! The kinds of volumes as one type, of which a gateway has the one that its configuration names.

use super::directory::DirectoryVolumes;
#[cfg(feature = "aws")]
use super::efs::EfsVolumes;
use super::{Removal, Usage, VolumeError, VolumeKey, VolumeRef, Volumes};

/// One of the kinds.
#[derive(Debug)]
pub enum AnyVolumes {
    /// Directories of this machine.
    Directory(DirectoryVolumes),
    /// Access points of Amazon EFS.
    #[cfg(feature = "aws")]
    Efs(EfsVolumes),
}

/// Does the same with whichever it is.
macro_rules! each {
    ($any:expr, $of:ident => $done:expr) => {
        match $any {
            Self::Directory($of) => $done,
            #[cfg(feature = "aws")]
            Self::Efs($of) => $done,
        }
    };
}

impl AnyVolumes {
    /// How full the file systems are that hold them; none where they are on this machine, whose
    /// operator sees that anyway.
    ///
    /// # Errors
    /// Where their provider can't be asked.
    pub async fn usage(&self) -> Result<Vec<Usage>, VolumeError> {
        match self {
            Self::Directory(_) => Ok(Vec::new()),
            #[cfg(feature = "aws")]
            Self::Efs(of) => of.usage().await,
        }
    }
}

impl Volumes for AnyVolumes {
    async fn ensure(
        &self,
        key: &VolumeKey,
        uid: u32,
        known: Option<&VolumeRef>,
    ) -> Result<VolumeRef, VolumeError> {
        each!(self, of => of.ensure(key, uid, known).await)
    }

    async fn remove(&self, key: &VolumeKey, volume: &VolumeRef) -> Result<Removal, VolumeError> {
        each!(self, of => of.remove(key, volume).await)
    }
}
