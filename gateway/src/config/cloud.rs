//! The sections of a gateway whose tasks, files or secrets are on AWS. Knows no call to it.

#[cfg(feature = "aws")]
use shellgate_infra::{compute::ecs, secrets::ssm, volumes::efs};

#[cfg(feature = "aws")]
use super::Secrets;
use super::reader::section;
use super::setting::choice;
use super::uids::UidRange;
use super::units::Period;

choice! {
    /// Where users' files are.
    pub enum VolumeKind {
        /// In directories on this machine.
        Directory = "directory",
        /// On Amazon EFS, an access point a user.
        Efs = "efs",
    }
}

choice! {
    /// Where users' secrets are.
    pub enum SecretKind {
        /// In a file on this machine.
        File = "file",
        /// In the Parameter Store of AWS Systems Manager.
        Ssm = "ssm",
    }
}

choice! {
    /// What processor a task's image is made for.
    pub enum Architecture {
        /// Intel's and AMD's.
        X86_64 = "x86_64",
        /// ARM's: Graviton.
        Arm64 = "arm64",
    }
}

section! {
    |context|
    /// Which AWS this is, where tasks, files or secrets are there. Credentials come from where AWS's SDKs
    /// look for them: the role of the gateway's own task, the environment, a profile.
    pub struct Aws {
        /// The region. The environment's (`AWS_REGION`) or the profile's unless set.
        region: Option<String> = None;
        /// Where ECS answers, if not at its public address: `http://…` or `https://…`.
        ecs_endpoint: Option<String> = None;
        /// Likewise for EFS.
        efs_endpoint: Option<String> = None;
        /// Likewise for SSM.
        ssm_endpoint: Option<String> = None;
    }
}

section! {
    |context|
    /// Tasks on Amazon ECS, where `tasks.compute` says so.
    pub struct Ecs {
        /// The cluster's name or ARN.
        cluster: String = "shellgate".into();
        /// What the names of the gateway's task definitions begin with. The gateway's role may run these
        /// and no others.
        family: String = "shellgate-task".into();
        /// The task image, best by digest: `…/shellgate-task@sha256:…`.
        image: Option<String> = None;
        /// What processor it is made for.
        architecture: Architecture = Architecture::X86_64;
        /// Private subnets, in several zones: each task takes an address of one.
        subnets: Vec<String> = Vec::new();
        /// The tasks' security groups.
        security_groups: Vec<String> = Vec::new();
        /// The ARN of the role by which ECS fetches the image and writes the log.
        execution_role: Option<String> = None;
        /// The ARN of the role that tasks have: may mount through an access point, and nothing else.
        task_role: Option<String> = None;
        /// The CloudWatch log group of the tasks.
        log_group: String = "/shellgate/tasks".into();
        /// Whether tasks run on Spot capacity unless their template says otherwise: cheaper, and taken away
        /// with two minutes' notice. Where there is none they run on demand.
        spot: bool = false;
        /// From asking a task to end to killing it. Fargate allows two minutes.
        stop_timeout: Period = Period::secs(120), in Period::secs(2)..=Period::secs(120);
    }
}

section! {
    |context|
    /// Users' files on Amazon EFS, where `volumes.kind` says so.
    pub struct Efs {
        /// The file systems, `fs-…`. Each holds 10,000 users; add one when the log warns.
        file_systems: Vec<String> = Vec::new();
        /// The directory on them below which users' directories are.
        root: String = "/users".into();
        /// The uids that own users' files, one each. They are never given to somebody else.
        uid_range: UidRange = UidRange::default();
    }
}

#[cfg(feature = "aws")]
impl Ecs {
    /// What tasks are made with. What is missing is empty, which the provider's own check refuses.
    #[must_use]
    pub fn provider(&self) -> ecs::EcsConfig {
        ecs::EcsConfig {
            cluster: self.cluster.clone(),
            family: self.family.clone(),
            image: self.image.clone().unwrap_or_default(),
            architecture: match self.architecture {
                Architecture::X86_64 => ecs::Architecture::X86_64,
                Architecture::Arm64 => ecs::Architecture::Arm64,
            },
            subnets: self.subnets.clone(),
            security_groups: self.security_groups.clone(),
            execution_role: self.execution_role.clone().unwrap_or_default(),
            task_role: self.task_role.clone().unwrap_or_default(),
            log_group: self.log_group.clone(),
            stop_timeout: self.stop_timeout.get(),
            rates: ecs::Rates::default(),
            pace: ecs::Pace::default(),
        }
    }
}

#[cfg(feature = "aws")]
impl Efs {
    /// Where homes are made.
    #[must_use]
    pub fn provider(&self) -> efs::EfsConfig {
        let (file_systems, root) = (self.file_systems.clone(), self.root.clone());
        efs::EfsConfig { file_systems, root, patience: ecs::Pace::default().patience }
    }
}

#[cfg(feature = "aws")]
impl Secrets {
    /// Where parameters are.
    #[must_use]
    pub fn parameters(&self) -> ssm::SsmConfig {
        ssm::SsmConfig { prefix: self.prefix.clone(), max_age: self.max_age.get() }
    }
}
