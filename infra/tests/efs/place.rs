//! An AWS with file systems, and gateways that make homes on them.

use std::time::Duration;

use aws_sdk_efs::types::{AccessPointDescription, CreationInfo, PosixUser, RootDirectory};
use shellgate_cloud::Cloud;
use shellgate_infra::aws::Aws;
use shellgate_infra::volumes::efs::{EfsConfig, EfsVolumes};
use shellgate_infra::volumes::{VolumeKey, VolumeRef};

pub const CREATE: &str = "elasticfilesystem:CreateAccessPoint";
pub const DESCRIBE: &str = "elasticfilesystem:DescribeAccessPoints";
pub const DELETE: &str = "elasticfilesystem:DeleteAccessPoint";
pub const UID: u32 = 54_321;

pub struct Place {
    pub cloud: Cloud,
    pub file_systems: Vec<String>,
    /// As gateways have it that are started from now on.
    pub patience: Duration,
    aws: Aws,
}

impl Place {
    pub async fn with(file_systems: usize) -> Self {
        let cloud = Cloud::start().await;
        let mut ids = Vec::new();
        for _ in 0..file_systems {
            ids.push(cloud.file_system().await);
        }
        let aws = Aws::new(cloud.settings()).await;
        Self { cloud, file_systems: ids, patience: Duration::ZERO, aws }
    }

    /// What a gateway that has just started has: it knows nothing yet.
    pub fn gateway(&self) -> EfsVolumes {
        let (file_systems, root) = (self.file_systems.clone(), "/users".to_owned());
        let patience = self.patience;
        EfsVolumes::new(&self.aws, EfsConfig { file_systems, root, patience }).unwrap()
    }

    /// Makes an access point behind the gateways' back.
    pub async fn makes(&self, file_system: &str, path: &str, uid: u32) -> VolumeRef {
        let owner = i64::from(uid);
        let info = CreationInfo::builder().owner_uid(owner).owner_gid(owner).permissions("0700");
        let root = RootDirectory::builder().path(path).creation_info(info.build().unwrap());
        let user = PosixUser::builder().uid(owner).gid(owner).build().unwrap();
        let asked = self.aws.efs().create_access_point().file_system_id(file_system);
        let asked = asked.client_token(format!("{file_system}{path}{uid}"));
        let made = asked.posix_user(user).root_directory(root.build()).send().await.unwrap();
        VolumeRef::AccessPoint {
            file_system: file_system.to_owned(),
            access_point: made.access_point_id.unwrap(),
            uid,
            gid: uid,
        }
    }

    /// Deletes one behind the gateways' back.
    pub async fn deletes(&self, volume: &VolumeRef) {
        let asked = self.aws.efs().delete_access_point().access_point_id(id(volume));
        asked.send().await.unwrap();
    }

    /// The first access points of a file system, up to a hundred.
    pub async fn access_points(&self, file_system: &str) -> Vec<AccessPointDescription> {
        let asked = self.aws.efs().describe_access_points().file_system_id(file_system);
        asked.send().await.unwrap().access_points.unwrap()
    }

    /// How many access points there are on all file systems.
    pub async fn count(&self) -> usize {
        let mut count = 0;
        for file_system in &self.file_systems {
            count += self.access_points(file_system).await.len();
        }
        count
    }
}

pub fn key(text: &str) -> VolumeKey {
    VolumeKey::new(text).unwrap()
}

pub fn id(volume: &VolumeRef) -> &str {
    let VolumeRef::AccessPoint { access_point, .. } = volume else { panic!("{volume:?}") };
    access_point
}

pub fn file_system(volume: &VolumeRef) -> &str {
    let VolumeRef::AccessPoint { file_system, .. } = volume else { panic!("{volume:?}") };
    file_system
}
