//! That the AWS which tests run against does what AWS does where the product relies on it, and fails
//! as it is told to. Told with AWS's own SDK.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::operation::run_task::RunTaskOutput;
use aws_sdk_ecs::operation::run_task::builders::RunTaskFluentBuilder;
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, Compatibility, ContainerDefinition, LaunchType, NetworkConfiguration,
    NetworkMode,
};
use aws_sdk_efs::types::{PosixUser, RootDirectory};
use serde_json::json;
use shellgate_cloud::{Cloud, Fault, Stop};
use shellgate_infra::aws::Aws;

/// A cluster with a definition, as a caller sees it.
struct Caller {
    ecs: Client,
    cluster: String,
}

impl Caller {
    async fn of(cloud: &Cloud) -> Self {
        let ecs = Aws::new(cloud.settings()).await.ecs();
        let container = ContainerDefinition::builder().name("shell").image("image").build();
        ecs.register_task_definition()
            .family("family")
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .container_definitions(container)
            .send()
            .await
            .unwrap();
        Self { ecs, cluster: cloud.cluster().await }
    }

    fn run(&self, token: &str) -> RunTaskFluentBuilder {
        let network = AwsVpcConfiguration::builder().subnets("subnet-1").build().unwrap();
        self.ecs
            .run_task()
            .cluster(&self.cluster)
            .task_definition("family")
            .launch_type(LaunchType::Fargate)
            .network_configuration(
                NetworkConfiguration::builder().awsvpc_configuration(network).build(),
            )
            .client_token(token)
            .started_by(token)
    }

    async fn running(&self) -> Vec<String> {
        let listed = self.ecs.list_tasks().cluster(&self.cluster).send().await.unwrap();
        listed.task_arns.unwrap_or_default()
    }
}

fn arn(output: &RunTaskOutput) -> String {
    output.tasks()[0].task_arn().unwrap().to_owned()
}

fn code<E: ProvideErrorMetadata, R>(failed: Result<impl Sized, SdkError<E, R>>) -> String {
    let Err(error) = failed else { panic!("it is refused") };
    let SdkError::ServiceError(said) = error else { panic!("AWS says so") };
    said.err().code().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_client_token_that_is_repeated_starts_one_task() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    let first = arn(&caller.run("one").send().await.unwrap());
    let again = arn(&caller.run("one").send().await.unwrap());
    assert_eq!(first, again);
    cloud.stops(&first, Stop::default()).await;
    assert_eq!(arn(&caller.run("one").send().await.unwrap()), first, "also when it has stopped");
    assert_ne!(arn(&caller.run("two").send().await.unwrap()), first);
    assert_eq!(cloud.tasks().await.len(), 2);
}

#[tokio::test]
async fn a_client_token_of_another_request_is_a_conflict() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    caller.run("one").send().await.unwrap();
    let other = caller.run("one").started_by("other").send().await;
    assert_eq!(code(other), "ConflictException");
    assert_eq!(cloud.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_took_effect_and_the_sdk_asks_again() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    cloud.faults().next("ecs:RunTask", Fault::LoseAnswer);
    let started = arn(&caller.run("one").send().await.unwrap());
    let calls = cloud.faults().calls("ecs:RunTask");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body, "the same request");
    let tasks = cloud.tasks().await;
    assert_eq!(tasks.len(), 1, "the first call started it");
    assert_eq!(tasks[0].arn, started);
}

#[tokio::test]
async fn a_dropped_call_never_reached_aws() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    cloud.faults().always("ecs:RunTask", Fault::Drop);
    caller.run("one").send().await.unwrap_err();
    let calls = cloud.faults().calls("ecs:RunTask");
    assert!(calls.len() > 1 && calls.iter().all(|call| !call.reached), "{calls:?}");
    assert!(cloud.tasks().await.is_empty());
}

#[tokio::test]
async fn throttling_is_seen_as_such_and_tried_again() {
    let cloud = Cloud::start().await;
    let aws = Aws::new(cloud.settings()).await;
    let caller = Caller::of(&cloud).await;
    cloud.faults().next("ecs:RunTask", Fault::Throttle);
    caller.run("one").send().await.unwrap();
    assert_eq!(cloud.faults().calls("ecs:RunTask").len(), 2);

    cloud.faults().always("ecs:RunTask", Fault::Throttle);
    assert_eq!(code(caller.run("two").send().await), "ThrottlingException");
    cloud.faults().always("elasticfilesystem:DescribeFileSystems", Fault::Throttle);
    assert_eq!(code(aws.efs().describe_file_systems().send().await), "ThrottlingException");

    cloud.faults().clear();
    caller.run("two").send().await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_empty_throttles() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    cloud.faults().bucket("ecs:ListTasks", 2, 0.0);
    caller.running().await;
    caller.running().await;
    let third = caller.ecs.list_tasks().cluster(&caller.cluster).send().await;
    assert_eq!(code(third), "ThrottlingException");
    let reached = cloud.faults().calls("ecs:ListTasks").iter().filter(|call| call.reached).count();
    assert_eq!(reached, 2);
}

#[tokio::test]
async fn an_answer_that_is_scripted_is_the_answer() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    let failures = json!({ "tasks": [], "failures": [{ "reason": "RESOURCE:ENI" }] });
    cloud.faults().next("ecs:RunTask", Fault::Answer(failures));
    let answer = caller.run("one").send().await.unwrap();
    assert!(answer.tasks().is_empty());
    assert_eq!(answer.failures()[0].reason(), Some("RESOURCE:ENI"));
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
    cloud.faults().next("ecs:RunTask", denied);
    assert_eq!(code(caller.run("one").send().await), "AccessDeniedException");
}

#[tokio::test]
async fn a_tasks_life_is_what_the_test_says() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    let arn = arn(&caller.run("one").send().await.unwrap());
    let task = cloud.next_task().await;
    assert_eq!((task.arn.as_str(), task.status.as_str()), (arn.as_str(), "PROVISIONING"));
    let seen = async || {
        let ecs = &caller.ecs;
        let answer =
            ecs.describe_tasks().cluster(&caller.cluster).tasks(&arn).send().await.unwrap();
        (answer.tasks().first().cloned(), answer.failures().first().cloned())
    };

    for _ in 0..10 {
        let status = seen().await.0.unwrap().last_status;
        assert_eq!(status.as_deref(), Some("PROVISIONING"), "asking does not age it");
    }
    cloud.runs(&arn, "10.0.0.7").await;
    let task = seen().await.0.unwrap();
    assert_eq!(task.last_status(), Some("RUNNING"));
    assert!(task.started_at().is_some());
    let details = task.attachments()[0].details();
    let address = details.iter().find(|pair| pair.name() == Some("privateIPv4Address")).unwrap();
    assert_eq!(address.value(), Some("10.0.0.7"));
    assert_eq!(caller.running().await, [arn.as_str()]);

    caller.ecs.stop_task().cluster(&caller.cluster).task(&arn).reason("why").send().await.unwrap();
    assert_eq!(cloud.told_to_stop(&arn).await.stopped_reason.as_deref(), Some("why"));
    assert!(caller.running().await.is_empty(), "one that is to be stopped is not listed");
    cloud.stops(&arn, Stop { exit_code: Some(143), ..Stop::default() }).await;
    let task = seen().await.0.unwrap();
    assert_eq!(task.last_status(), Some("STOPPED"));
    assert_eq!(task.stop_code().map(|code| code.as_str()), Some("UserInitiated"));
    assert_eq!(task.containers()[0].exit_code(), Some(143));
    assert!(task.stopped_at().is_some());

    cloud.forgets(&arn).await;
    let (task, failure) = seen().await;
    assert!(task.is_none());
    let failure = failure.unwrap();
    assert_eq!((failure.arn(), failure.reason()), (Some(arn.as_str()), Some("MISSING")));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let cloud = Cloud::start().await;
    let caller = Caller::of(&cloud).await;
    for n in 0..101 {
        caller.run(&format!("task-{n}")).send().await.unwrap();
    }
    let first = caller.ecs.list_tasks().cluster(&caller.cluster).send().await.unwrap();
    assert_eq!(first.task_arns().len(), 100);
    let rest = caller.ecs.list_tasks().cluster(&caller.cluster);
    let rest = rest.set_next_token(first.next_token).send().await.unwrap();
    assert_eq!((rest.task_arns().len(), rest.next_token), (1, None));
    let one = caller.ecs.list_tasks().cluster(&caller.cluster).started_by("task-7");
    assert_eq!(one.send().await.unwrap().task_arns().len(), 1);
}

#[tokio::test]
async fn an_access_point_is_made_once_for_its_client_token() {
    let cloud = Cloud::start().await;
    let efs = Aws::new(cloud.settings()).await.efs();
    let files = cloud.file_system().await;
    let create = || {
        efs.create_access_point()
            .client_token("ada")
            .file_system_id(&files)
            .posix_user(PosixUser::builder().uid(70_000).gid(70_000).build().unwrap())
            .root_directory(RootDirectory::builder().path("/users/ada").build())
            .send()
    };
    let made = create().await.unwrap();
    let again = create().await.unwrap_err().into_service_error();
    let aws_sdk_efs::operation::create_access_point::CreateAccessPointError::AccessPointAlreadyExists(again) =
        again
    else {
        panic!("it is there already")
    };
    assert_eq!(Some(again.access_point_id()), made.access_point_id());
}

#[tokio::test]
async fn moto_ends_with_its_cloud() {
    let cloud = Cloud::start().await;
    let process = format!("/proc/{}", cloud.pid().unwrap());
    assert!(std::path::Path::new(&process).exists());
    drop(cloud);
    assert!(!std::path::Path::new(&process).exists());
}
