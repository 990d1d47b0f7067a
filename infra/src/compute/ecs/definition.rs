//! A task definition: everything about one user's tasks of one template, as a pure value, and the
//! family that is named after its content. Calls nobody.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::BuildError;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionFluentBuilder;
use aws_sdk_ecs::types::{
    self, Compatibility, ContainerDefinition, CpuArchitecture, EfsAuthorizationConfig,
    EfsAuthorizationConfigIam, EfsTransitEncryption, EfsVolumeConfiguration, KernelCapabilities,
    KeyValuePair, LinuxParameters, LogConfiguration, LogDriver, MountPoint, NetworkMode, OsFamily,
    RuntimePlatform, Tag, Volume,
};
use serde::Serialize;

use super::config::{Architecture, EcsConfig};
use super::size::{SECRETS_MIB, fargate_size, tmp_mib};
use crate::compute::{ComputeError, DialRoute, Emptying, Limits, TaskSpec};
use crate::volumes::VolumeRef;

/// The one container of a task.
pub(super) const CONTAINER: &str = "bridge";
/// Where a user's files are inside, and what their volume is called.
pub(super) const HOME: &str = "/home/agent";
const HOME_VOLUME: &str = "home";
/// Where secrets are written inside.
const SECRETS: &str = "/run/secrets";
/// How much of its log may wait in memory for CloudWatch. What does not fit is lost: a log that is
/// slow must never stop a bridge.
const LOG_BUFFER: &str = "4m";
/// A definition may have 64 KiB in all; the rest of it needs far less than half.
const AUTHORITIES_MAX: usize = 32 << 10;
/// What a task that empties a volume may use: the smallest of Fargate's sizes. It waits for EFS.
const EMPTYING: Limits = Limits { memory: 512 << 20, cpu_millis: 250, pids: 16, tmp: 1 << 20 };
/// What follows a deployment's prefix in a family's name.
const HASH_LEN: usize = 32;

/// Everything that a registered definition says but its family, in the terms of ECS.
///
/// The family is a hash of this value, and nothing else goes into the request. So whatever is to be
/// otherwise in a definition is otherwise here, and has another family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Definition {
    architecture: &'static str,
    cpu: u32,
    memory: u32,
    execution_role: String,
    task_role: String,
    image: String,
    /// `uid:gid`.
    user: String,
    environment: BTreeMap<&'static str, String>,
    dropped_capabilities: Vec<&'static str>,
    read_only_root: bool,
    tmpfs: Vec<Tmpfs>,
    home: &'static str,
    file_system: String,
    access_point: String,
    log: BTreeMap<&'static str, String>,
    stop_timeout: u64,
    tags: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Tmpfs {
    path: &'static str,
    mib: u64,
    options: Vec<String>,
}

impl Definition {
    /// The definition of a task: the same for every task of a user and template, while the
    /// configuration is.
    pub(super) fn of(
        config: &EcsConfig,
        region: &str,
        spec: &TaskSpec,
    ) -> Result<Self, ComputeError> {
        let wrong = |what: String| Err(ComputeError::BadSpec(what));
        let DialRoute::Network { url, authorities } = &spec.dial else {
            return wrong("a task on ECS dials by a network".to_owned());
        };
        if authorities.len() > AUTHORITIES_MAX {
            return wrong(format!("certificates of more than {AUTHORITIES_MAX} bytes"));
        }
        let environment = BTreeMap::from([
            ("SHELLGATE_CA", authorities.clone()),
            ("SHELLGATE_DIAL", url.clone()),
        ]);
        let template = Some(spec.template.clone());
        Self::new(config, region, (&spec.volume, &spec.user), &spec.limits, environment, template)
    }

    /// The definition of a task that empties a volume.
    pub(super) fn of_emptying(
        config: &EcsConfig,
        region: &str,
        what: &Emptying,
    ) -> Result<Self, ComputeError> {
        let home = (&what.volume, &what.user);
        Self::new(config, region, home, &EMPTYING, BTreeMap::new(), None)
    }

    fn new(
        config: &EcsConfig,
        region: &str,
        (volume, user): (&VolumeRef, &String),
        limits: &Limits,
        environment: BTreeMap<&'static str, String>,
        template: Option<String>,
    ) -> Result<Self, ComputeError> {
        let VolumeRef::AccessPoint { file_system, access_point, uid, gid } = volume else {
            return Err(ComputeError::BadSpec(format!(
                "the files of a task on ECS are on EFS, not {volume:?}"
            )));
        };
        if *uid == 0 || *gid == 0 {
            return Err(ComputeError::BadSpec("a task never runs as root".to_owned()));
        }
        let (cpu, memory) = fargate_size(limits).map_err(ComputeError::BadSpec)?;
        let memory_backed = |path, mib, options: &[&str]| Tmpfs {
            path,
            mib,
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        // Programs may be run from /tmp, as from the user's files, which they could copy them to.
        let tmp =
            memory_backed("/tmp", tmp_mib(limits), &["rw", "nosuid", "nodev", "exec", "mode=1777"]);
        // Two to the bridge alone: what it writes there is for the user's programs, which are of the
        // same uid, and for nobody else.
        let (owner, group) = (format!("uid={uid}"), format!("gid={gid}"));
        let mut tags = BTreeMap::from([
            ("shellgate:deployment", config.family.clone()),
            ("shellgate:user", user.clone()),
        ]);
        tags.extend(template.map(|template| ("shellgate:template", template)));
        let secrets = memory_backed(
            SECRETS,
            SECRETS_MIB,
            &["rw", "nosuid", "nodev", "noexec", "mode=0700", &owner, &group],
        );
        Ok(Self {
            architecture: match config.architecture {
                Architecture::X86_64 => "X86_64",
                Architecture::Arm64 => "ARM64",
            },
            cpu,
            memory,
            execution_role: config.execution_role.clone(),
            task_role: config.task_role.clone(),
            image: config.image.clone(),
            user: format!("{uid}:{gid}"),
            environment,
            dropped_capabilities: vec!["ALL"],
            read_only_root: true,
            tmpfs: vec![tmp, secrets],
            home: HOME,
            file_system: file_system.clone(),
            access_point: access_point.clone(),
            log: BTreeMap::from([
                ("awslogs-group", config.log_group.clone()),
                ("awslogs-region", region.to_owned()),
                ("awslogs-stream-prefix", config.family.clone()),
                ("mode", "non-blocking".to_owned()),
                ("max-buffer-size", LOG_BUFFER.to_owned()),
            ]),
            stop_timeout: config.stop_timeout.as_secs(),
            tags,
        })
    }

    /// Its family's name: a prefix that the user's other definitions by the same template share, and
    /// a hash of all of it.
    pub(super) fn family(&self, config: &EcsConfig) -> Result<Family, ComputeError> {
        let kin = format!("{}-{}", config.family, hash(&self.tags)?);
        Ok(Family { name: format!("{kin}{}", hash(self)?), kin })
    }

    /// Whether a definition that ECS has is for these files and this user. Its family's name says so
    /// already, unless somebody else has registered something by that name.
    pub(super) fn is(&self, registered: &types::TaskDefinition) -> bool {
        let [container] = registered.container_definitions() else { return false };
        let [volume] = registered.volumes() else { return false };
        let efs = volume.efs_volume_configuration();
        let authorization = efs.and_then(|efs| efs.authorization_config());
        container.user() == Some(&self.user)
            && efs.is_some_and(|efs| efs.file_system_id() == self.file_system)
            && authorization.and_then(|config| config.access_point_id()) == Some(&self.access_point)
    }

    /// The request that registers it.
    pub(super) fn request(
        &self,
        client: &Client,
        family: &Family,
    ) -> Result<RegisterTaskDefinitionFluentBuilder, ComputeError> {
        let built = self.container().and_then(|container| Ok((container, self.volume()?)));
        let (container, volume) = built.map_err(unbuilt)?;
        let platform = RuntimePlatform::builder()
            .operating_system_family(OsFamily::Linux)
            .cpu_architecture(CpuArchitecture::from(self.architecture))
            .build();
        Ok(client
            .register_task_definition()
            .family(&family.name)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .runtime_platform(platform)
            .cpu(self.cpu.to_string())
            .memory(self.memory.to_string())
            .execution_role_arn(&self.execution_role)
            .task_role_arn(&self.task_role)
            .container_definitions(container)
            .volumes(volume)
            .set_tags(Some(self.tags.iter().map(|(key, value)| tag(key, value)).collect())))
    }

    fn container(&self) -> Result<ContainerDefinition, BuildError> {
        let mut linux = LinuxParameters::builder().capabilities(
            KernelCapabilities::builder()
                .set_drop(Some(self.dropped_capabilities.iter().map(ToString::to_string).collect()))
                .build(),
        );
        for tmpfs in &self.tmpfs {
            let size = i32::try_from(tmpfs.mib).unwrap_or(i32::MAX);
            linux = linux.tmpfs(
                types::Tmpfs::builder()
                    .container_path(tmpfs.path)
                    .size(size)
                    .set_mount_options(Some(tmpfs.options.clone()))
                    .build()?,
            );
        }
        let mut log = LogConfiguration::builder().log_driver(LogDriver::Awslogs);
        for (name, value) in &self.log {
            log = log.options(*name, value);
        }
        let home = MountPoint::builder().source_volume(HOME_VOLUME).container_path(self.home);
        Ok(ContainerDefinition::builder()
            .name(CONTAINER)
            .image(&self.image)
            .essential(true)
            .memory(i32::try_from(self.memory).unwrap_or(i32::MAX))
            .user(&self.user)
            .readonly_root_filesystem(self.read_only_root)
            .set_environment(Some(pairs(&self.environment)))
            // No `initProcessEnabled`: the bridge itself must be the first process.
            .linux_parameters(linux.build())
            .mount_points(home.read_only(false).build())
            .log_configuration(log.build()?)
            .stop_timeout(i32::try_from(self.stop_timeout).unwrap_or(i32::MAX))
            .build())
    }

    fn volume(&self) -> Result<Volume, BuildError> {
        let authorization = EfsAuthorizationConfig::builder()
            .access_point_id(&self.access_point)
            .iam(EfsAuthorizationConfigIam::Enabled)
            .build();
        let efs = EfsVolumeConfiguration::builder()
            .file_system_id(&self.file_system)
            .transit_encryption(EfsTransitEncryption::Enabled)
            .authorization_config(authorization)
            .build()?;
        Ok(Volume::builder().name(HOME_VOLUME).efs_volume_configuration(efs).build())
    }
}

/// The name under which a definition is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Family {
    pub(super) name: String,
    /// What it shares with the families of the same user and template, and with no others.
    pub(super) kin: String,
}

/// Whether a task definition's ARN is of a family of this deployment.
pub(super) fn is_of(config: &EcsConfig, definition_arn: &str) -> bool {
    let name = definition_arn.rsplit('/').next().unwrap_or_default();
    let family = name.split(':').next().unwrap_or_default();
    let hash = family.strip_prefix(&config.family).and_then(|rest| rest.strip_prefix('-'));
    let legal = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    hash.is_some_and(|hash| hash.len() == HASH_LEN && hash.bytes().all(legal))
}

/// A tag of ECS.
pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// An environment of ECS.
pub(super) fn pairs(environment: &BTreeMap<&'static str, String>) -> Vec<KeyValuePair> {
    let pair =
        |(name, value): (&&str, &String)| KeyValuePair::builder().name(*name).value(value).build();
    environment.iter().map(pair).collect()
}

/// Half of a family's hash: 64 bits. JSON keeps apart what differs, and orders nothing anew.
fn hash(value: &impl Serialize) -> Result<String, ComputeError> {
    let text = serde_json::to_vec(value)
        .map_err(|error| ComputeError::BadSpec(format!("no text of a definition: {error}")))?;
    let digest = digest(&SHA256, &text);
    Ok(digest.as_ref()[..HASH_LEN / 4].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A request that the SDK does not build.
pub(super) fn unbuilt(error: BuildError) -> ComputeError {
    ComputeError::BadSpec(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use crate::compute::ecs::{example_config, example_spec};

    fn family(config: &EcsConfig, spec: &TaskSpec) -> Family {
        Definition::of(config, "us-east-1", spec).unwrap().family(config).unwrap()
    }

    #[test]
    fn a_definition_says_all_that_a_task_is_made_of() {
        let definition = Definition::of(&example_config(), "us-east-1", &example_spec()).unwrap();
        let expected = json!({
            "architecture": "X86_64",
            "cpu": 512,
            "memory": 1024,
            "execution_role": "arn:aws:iam::123456789012:role/execution",
            "task_role": "arn:aws:iam::123456789012:role/task",
            "image": "registry.example/bridge:1",
            "user": "10007:10007",
            "environment": {
                "SHELLGATE_CA": "-----BEGIN CERTIFICATE-----",
                "SHELLGATE_DIAL": "wss://gateway.internal:7443",
            },
            "dropped_capabilities": ["ALL"],
            "read_only_root": true,
            "tmpfs": [
                {
                    "path": "/tmp",
                    "mib": 64,
                    "options": ["rw", "nosuid", "nodev", "exec", "mode=1777"],
                },
                {
                    "path": "/run/secrets",
                    "mib": 4,
                    "options": [
                        "rw", "nosuid", "nodev", "noexec", "mode=0700", "uid=10007", "gid=10007",
                    ],
                },
            ],
            "home": "/home/agent",
            "file_system": "fs-0123",
            "access_point": "fsap-0123",
            "log": {
                "awslogs-group": "/shellgate/tasks",
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "shellgate",
                "max-buffer-size": "4m",
                "mode": "non-blocking",
            },
            "stop_timeout": 110,
            "tags": {
                "shellgate:deployment": "shellgate",
                "shellgate:template": "default",
                "shellgate:user": "ada",
            },
        });
        assert_eq!(serde_json::to_value(&definition).unwrap(), expected);
    }

    #[test]
    fn the_same_content_has_the_same_family_in_every_process_and_version() {
        let family = family(&example_config(), &example_spec());
        assert_eq!(family.name, "shellgate-1a974506e4e633a9d8c1009d1c0d4a67");
        assert!(family.name.starts_with(&family.kin));
    }

    #[test]
    fn whatever_differs_in_a_definition_has_another_family() {
        let config = example_config();
        let (mut specs, mut configs) = (Vec::new(), Vec::new());
        let mut other_spec = |change: &dyn Fn(&mut TaskSpec)| {
            let mut spec = example_spec();
            change(&mut spec);
            specs.push(spec);
        };
        let volume = |file_system: &str, access_point: &str, uid, gid| VolumeRef::AccessPoint {
            file_system: file_system.to_owned(),
            access_point: access_point.to_owned(),
            uid,
            gid,
        };
        let dial = |url: &str, authorities: &str| DialRoute::Network {
            url: url.to_owned(),
            authorities: authorities.to_owned(),
        };
        other_spec(&|_| {});
        other_spec(&|spec| spec.user = "bob".to_owned());
        other_spec(&|spec| spec.template = "other".to_owned());
        // What follows in the text is moved by a letter: the fields stay apart.
        other_spec(&|spec| (spec.template, spec.user) = ("defaul".to_owned(), "tada".to_owned()));
        other_spec(&|spec| spec.volume = volume("fs-0124", "fsap-0123", 10_007, 10_007));
        other_spec(&|spec| spec.volume = volume("fs-0123", "fsap-0124", 10_007, 10_007));
        other_spec(&|spec| spec.volume = volume("fs-0123", "fsap-0123", 10_008, 10_007));
        other_spec(&|spec| spec.volume = volume("fs-0123", "fsap-0123", 10_007, 10_008));
        other_spec(&|spec| spec.dial = dial("wss://other:1", "-----BEGIN CERTIFICATE-----"));
        other_spec(&|spec| spec.dial = dial("wss://gateway.internal:7443", "another"));
        other_spec(&|spec| spec.limits.tmp += 1 << 20);
        other_spec(&|spec| spec.limits.memory += 1 << 30);
        other_spec(&|spec| spec.limits.cpu_millis = 1000);
        let mut other_config = |change: &dyn Fn(&mut EcsConfig)| {
            let mut config = example_config();
            change(&mut config);
            configs.push(config);
        };
        other_config(&|config| config.image.push('2'));
        other_config(&|config| config.architecture = Architecture::Arm64);
        other_config(&|config| config.execution_role.push('2'));
        other_config(&|config| config.task_role.push('2'));
        other_config(&|config| config.log_group.push('2'));
        other_config(&|config| config.stop_timeout += std::time::Duration::from_secs(1));
        other_config(&|config| config.family.push('2'));
        let of_specs = specs.iter().map(|spec| family(&config, spec));
        let of_configs = configs.iter().map(|config| family(config, &example_spec()));
        let families: Vec<Family> = of_specs.chain(of_configs).collect();
        let names: HashSet<&str> = families.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names.len(), specs.len() + configs.len());
        // Those of other users, templates and deployments are no kin.
        let kin = families.iter().filter(|family| family.kin == families[0].kin).count();
        assert_eq!(kin, families.len() - 4);
    }

    #[test]
    fn what_is_about_one_launch_is_not_in_a_definition() {
        let first = example_spec();
        let mut second = example_spec();
        second.name = crate::compute::TaskName::new("ses_2-7").unwrap();
        second.session = "ses_2".to_owned();
        second.launch = 7;
        second.token = crate::compute::EnrolmentToken("another".to_owned());
        second.capacity = crate::compute::Capacity::Spot;
        let config = example_config();
        assert_eq!(family(&config, &first), family(&config, &second));
    }

    #[test]
    fn a_family_of_this_deployment_is_known_by_its_name() {
        let config = example_config();
        let family = family(&config, &example_spec()).name;
        let arn = |name: &str| format!("arn:aws:ecs:us-east-1:1:task-definition/{name}:3");
        assert!(is_of(&config, &arn(&family)));
        let others = ["shellgate", "shellgate-", "shellgate-api", "other", "shellgate-2", ""];
        for other in others.map(str::to_owned).into_iter().chain([
            format!("{family}0"),
            format!("shellgate-staging-{}", "0".repeat(32)),
            format!("shellgate-{}", "G".repeat(32)),
        ]) {
            assert!(!is_of(&config, &arn(&other)), "{other}");
        }
    }

    #[test]
    fn what_no_task_can_be_made_of_is_refused_in_words() {
        let refused = |change: &dyn Fn(&mut TaskSpec)| {
            let mut spec = example_spec();
            change(&mut spec);
            Definition::of(&example_config(), "us-east-1", &spec).unwrap_err().to_string()
        };
        let root = VolumeRef::AccessPoint {
            file_system: "fs-0123".to_owned(),
            access_point: "fsap-0123".to_owned(),
            uid: 0,
            gid: 10_007,
        };
        let directory = VolumeRef::Directory { path: "/home".into(), uid: 1, gid: 1 };
        assert!(refused(&|spec| spec.volume = root.clone()).contains("root"));
        assert!(refused(&|spec| spec.volume = directory.clone()).contains("EFS"));
        assert!(refused(&|spec| spec.dial = DialRoute::Socket("/run".into())).contains("network"));
        assert!(refused(&|spec| spec.limits.cpu_millis = 20_000).contains("Fargate"));
    }
}
