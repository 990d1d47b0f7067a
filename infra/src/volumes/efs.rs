//! Volumes as access points of Amazon EFS, one per key. Knows neither what mounts them nor where the
//! caller keeps whose they are.
//!
//! An access point is a way into one directory of a file system: whoever mounts it sees that
//! directory as the root, and acts as the one uid that it names. EFS makes the directory, empty, when
//! it is first mounted.
//!
//! A key has one home, also after a crash in the middle and with several gateways. On one file system
//! the client token sees to that, which is a function of file system and key. On several, every one
//! of them is looked through before anything is made; what another gateway made in the
//! seconds since is missed. So who keeps volumes keeps the first that is reported for a
//! key, and uses that: the other has never been mounted.

mod access_point;
mod listing;

use std::time::Duration;

use self::access_point::{AccessPoints, Lead, client_token};
use self::listing::FileSystem;
use super::{Removal, Usage, VolumeError, VolumeKey, VolumeRef, Volumes};
use crate::aws::{self, Aws, again};
use crate::slots::Slots;

/// Keys of which is remembered that their access point was looked at.
const REMEMBERED: usize = 20_000;
/// How long a look at an access point that is known anyway may hold up a start.
const LOOK: Duration = Duration::from_secs(5);
/// The longest path that EFS takes, in bytes, and how many directories deep it may be.
const PATH: (usize, usize) = (100, 4);
/// The longest key, as [`VolumeKey`] says.
const KEY: usize = 64;

/// Where the homes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfsConfig {
    /// The file systems (`fs-…`) on which new homes are made. One that is taken out keeps those that
    /// it has.
    pub file_systems: Vec<String>,
    /// The directory below which they are, such as `/users`.
    pub root: String,
    /// How long it is tried to get a home while AWS does not answer as it should.
    pub patience: Duration,
}

/// An access point per key, on one of several file systems.
pub struct EfsVolumes {
    efs: aws_sdk_efs::Client,
    points: AccessPoints,
    root: String,
    patience: Duration,
    file_systems: Vec<FileSystem>,
    /// Those that were looked at, and found to be what they must be.
    homes: Slots<VolumeKey, Option<VolumeRef>>,
}

impl std::fmt::Debug for EfsVolumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.file_systems.iter().map(FileSystem::id).collect();
        f.debug_struct("EfsVolumes").field("file_systems", &ids).finish_non_exhaustive()
    }
}

impl EfsConfig {
    /// What is wrong with it, in words for an operator.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        let hex = |id: &str| id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for (index, id) in self.file_systems.iter().enumerate() {
            if !id.strip_prefix("fs-").is_some_and(|id| (8..=40).contains(&id.len()) && hex(id)) {
                return Err(format!(
                    "{id:?} is not a file system's id: fs- and 8 to 40 hex digits"
                ));
            }
            if self.file_systems[..index].contains(id) {
                return Err(format!("{id} is named twice"));
            }
        }
        if self.file_systems.is_empty() {
            return Err("no file system is named".to_owned());
        }
        let root = &self.root;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let level =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(legal);
        let levels = root.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>());
        let Some(levels) = levels.filter(|levels| levels.iter().all(|part| level(part))) else {
            return Err(format!(
                "{root:?} is not a path such as /users: of letters, digits, `_`, `-`, `.`"
            ));
        };
        let (longest, deepest) = PATH;
        if root.len() + 1 + KEY > longest || levels.len() + 1 > deepest {
            return Err(format!(
                "{root} is too long: at most {} bytes and {} levels",
                longest - 1 - KEY,
                deepest - 1
            ));
        }
        Ok(())
    }
}

impl EfsVolumes {
    /// Volumes on these file systems. Calls nobody yet.
    ///
    /// # Errors
    /// [`VolumeError::Unsafe`] with what [`EfsConfig::check`] says.
    pub fn new(aws: &Aws, config: EfsConfig) -> Result<Self, VolumeError> {
        config.check().map_err(VolumeError::Unsafe)?;
        let efs = aws.efs();
        Ok(Self {
            points: AccessPoints::new(efs.clone()),
            efs,
            root: config.root,
            patience: config.patience,
            file_systems: config.file_systems.into_iter().map(FileSystem::new).collect(),
            homes: Slots::new(REMEMBERED),
        })
    }

    /// How full the file systems are. Warns of one whose access points run out.
    ///
    /// # Errors
    /// [`VolumeError::Aws`].
    pub async fn usage(&self) -> Result<Vec<Usage>, VolumeError> {
        let mut all = Vec::with_capacity(self.file_systems.len());
        for file_system in &self.file_systems {
            let id = file_system.id();
            let asked = self.efs.describe_file_systems().file_system_id(id).send();
            let said = aws::call("elasticfilesystem:DescribeFileSystems", asked).await?;
            let metered = said.file_systems().first().and_then(|found| found.size_in_bytes());
            all.push(Usage {
                file_system: id.to_owned(),
                bytes: metered.map_or(0, |size| u64::try_from(size.value()).unwrap_or_default()),
                access_points: file_system.count(&self.points, &self.root).await?,
            });
        }
        Ok(all)
    }

    fn path(&self, key: &VolumeKey) -> String {
        format!("{}/{key}", self.root)
    }

    /// The access point of a volume, and where it must lead.
    fn known(&self, key: &VolumeKey, volume: &VolumeRef) -> Result<(String, Lead), VolumeError> {
        match volume {
            VolumeRef::AccessPoint { file_system, access_point, uid, gid } => {
                let (file_system, path) = (file_system.clone(), self.path(key));
                let (uid, gid) = ((*uid).into(), (*gid).into());
                Ok((access_point.clone(), Lead { file_system, path, uid, gid }))
            }
            VolumeRef::Directory { path, .. } => Err(VolumeError::Unsafe(format!(
                "the files of {key} are in the directory {}, not on EFS",
                path.display()
            ))),
        }
    }

    /// Whether what the caller knows is there and is what it must be. `false`: AWS could not say.
    async fn look_at(&self, key: &VolumeKey, known: &VolumeRef) -> Result<bool, VolumeError> {
        let (id, lead) = self.known(key, known)?;
        let found = match tokio::time::timeout(LOOK, self.points.describe(&id)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if !error.is_retryable() => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::warn!(%key, %error, "its known volume is believed to be there");
                return Ok(false);
            }
            Err(_) => {
                tracing::warn!(%key, "EFS is slow: its known volume is believed to be there");
                return Ok(false);
            }
        };
        match found.filter(|found| !found.is_leaving()) {
            Some(found) => found.must_lead(&lead).map(|()| true),
            None => Err(VolumeError::Gone(format!(
                "the access point {id} of {key} is gone; the files should still be there: make \
                 another one that leads to {lead}, and have it remembered"
            ))),
        }
    }

    /// Whether what was seen before is there, where the caller knows none: it may have been removed
    /// since by somebody else.
    async fn is_still_there(&self, key: &VolumeKey, seen: &VolumeRef) -> Result<bool, VolumeError> {
        match self.look_at(key, seen).await {
            Ok(_) => Ok(true),
            Err(VolumeError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The home of a key of which the caller knows none: one that was made before, else a new one.
    async fn find_or_make(&self, key: &VolumeKey, uid: u32) -> Result<VolumeRef, VolumeError> {
        let mut order = Vec::with_capacity(self.file_systems.len());
        for file_system in &self.file_systems {
            let lead = Lead {
                file_system: file_system.id().to_owned(),
                path: self.path(key),
                uid: uid.into(),
                gid: uid.into(),
            };
            let token = client_token(file_system.id(), key);
            if self.file_systems.len() == 1 {
                // Its client token finds what was made before.
                order.push((0, token, file_system, lead));
                continue;
            }
            let (count, home) = file_system.look_up(&self.points, &self.root, key).await?;
            if let Some(id) = home {
                match self.points.describe(&id).await?.filter(|found| !found.is_leaving()) {
                    Some(found) => {
                        found.must_lead(&lead)?;
                        return Ok(volume(lead.file_system, id, uid));
                    }
                    None => file_system.lost(key).await,
                }
            }
            order.push((count, token, file_system, lead));
        }
        // Of those that are as full as each other, gateways that see the same choose the same.
        order.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (_, _, file_system, lead) in order {
            let Some(id) = self.points.make(key, &lead).await? else {
                tracing::warn!(file_system = file_system.id(), "it takes no more access points");
                continue;
            };
            self.points.available(&id).await?.must_lead(&lead)?;
            file_system.has(key, id.clone()).await;
            return Ok(volume(lead.file_system, id, uid));
        }
        Err(VolumeError::Full(format!(
            "no file system takes another access point: {}. Add one, or have AWS raise the quota",
            self.file_systems.iter().map(FileSystem::id).collect::<Vec<_>>().join(", ")
        )))
    }
}

impl Volumes for EfsVolumes {
    async fn ensure(
        &self,
        key: &VolumeKey,
        uid: u32,
        known: Option<&VolumeRef>,
    ) -> Result<VolumeRef, VolumeError> {
        if uid == 0 {
            return Err(VolumeError::Unsafe("no volume is root's".to_owned()));
        }
        let slot = self.homes.slot(key);
        let mut seen = slot.lock().await;
        let home = match (known, seen.as_ref()) {
            (None, Some(home)) if self.is_still_there(key, home).await? => home.clone(),
            (None, _) => {
                // What was made before an answer was lost is found by its client token.
                let home =
                    again(self.patience, || self.find_or_make(key, uid), VolumeError::is_retryable)
                        .await?;
                *seen = Some(home.clone());
                home
            }
            (Some(known), Some(seen)) if known == seen => known.clone(),
            (Some(known), _) => {
                if self.look_at(key, known).await? {
                    *seen = Some(known.clone());
                }
                known.clone()
            }
        };
        match home {
            VolumeRef::AccessPoint { uid: of, gid, .. } if (of, gid) != (uid, uid) => {
                Err(VolumeError::Unsafe(format!(
                    "the volume of {key} belongs to {of}:{gid}, not {uid}:{uid}"
                )))
            }
            home => Ok(home),
        }
    }

    async fn remove(&self, key: &VolumeKey, volume: &VolumeRef) -> Result<Removal, VolumeError> {
        let (id, lead) = self.known(key, volume)?;
        let slot = self.homes.slot(key);
        let mut seen = slot.lock().await;
        if let Some(found) = self.points.describe(&id).await? {
            found.must_lead(&lead)?;
            self.points.delete(&id).await?;
        }
        *seen = None;
        for file_system in &self.file_systems {
            file_system.lost(key).await;
        }
        Ok(Removal::Access { files: lead.path })
    }
}

fn volume(file_system: String, access_point: String, uid: u32) -> VolumeRef {
    VolumeRef::AccessPoint { file_system, access_point, uid, gid: uid }
}
