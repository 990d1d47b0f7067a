//! Each way in which ECS says no to a start.

use std::time::Duration;

use serde_json::json;
use shellgate_cloud::{Fault, Stop};
use shellgate_infra::aws::AwsErrorKind;
use shellgate_infra::compute::{Capacity, Compute, ComputeError, EnrolmentToken, TaskSpec};

use crate::place::{Place, arn, not_started, soon, spec, started};

fn said(code: &'static str, message: &'static str) -> Fault {
    Fault::Error { status: 400, code, message }
}

fn failed(reason: &str) -> Fault {
    Fault::Answer(json!({ "tasks": [], "failures": [{ "arn": "arn", "reason": reason }] }))
}

#[tokio::test]
async fn no_room_is_told_from_everything_else_however_ecs_says_it() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let unavailable = "Capacity is unavailable at this time. Please try again later or in a \
                       different availability zone";
    let vcpus = "You've reached the limit on the number of vCPUs you can run concurrently";
    for fault in [
        failed("RESOURCE:MEMORY"),
        failed(unavailable),
        said("ClientException", unavailable),
        said("ClientException", vcpus),
        said("InvalidParameterException", "Tasks provisioning capacity limit exceeded."),
    ] {
        place.cloud.faults().next("ecs:RunTask", fault.clone());
        let error = not_started(&ecs, &spec("one")).await;
        let ComputeError::NoCapacity(words) = &error else { panic!("{fault:?}: {error:?}") };
        assert!(words.starts_with("ECS has no room for a task: "), "{words}");
    }
    assert!(place.cloud.tasks().await.is_empty());
}

#[tokio::test]
async fn success_without_a_task_is_none() {
    let place = Place::new().await;
    let ecs = place.ecs();
    place.cloud.faults().next("ecs:RunTask", failed("AGENT"));
    let error = not_started(&ecs, &spec("one")).await;
    assert_eq!(error.to_string(), "the task could not be started: ECS has started nothing: AGENT");
    let nothing = json!({ "tasks": [], "failures": [] });
    place.cloud.faults().next("ecs:RunTask", Fault::Answer(nothing));
    let error = not_started(&ecs, &spec("one")).await;
    assert!(error.to_string().contains("does not say why"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_waited_for_and_spot_is_not() {
    let place = Place::new().await;
    let ecs = place.ecs_with(|config| config.pace.patience = Duration::from_secs(60));
    let throttled = "Error retrieving security group information for [sg-tasks]: Request limit \
                     exceeded. (ErrorCode: RequestLimitExceeded)";
    for fault in [
        failed("RESOURCE:ENI"),
        failed("AGENT"),
        said("ClientException", "You've reached the limit on the number of vCPUs"),
        said("InvalidParameterException", throttled),
    ] {
        place.cloud.faults().next("ecs:RunTask", fault);
    }
    started(&ecs, &spec("one")).await;
    assert_eq!(place.cloud.faults().calls("ecs:RunTask").len(), 5);
    place.cloud.faults().next("ecs:RunTask", failed("RESOURCE:ENI"));
    let spot = TaskSpec { capacity: Capacity::Spot, ..spec("two") };
    let error = not_started(&ecs, &spot).await;
    assert!(matches!(error, ComputeError::NoCapacity(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_denied_is_told_by_its_name_and_not_tried_again() {
    let place = Place::new().await;
    let words = "User: arn:aws:sts::1:assumed-role/gateway/1 is not authorized to perform: \
                 iam:PassRole on resource: arn:aws:iam::1:role/task";
    for action in ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ecs:RunTask"] {
        place.cloud.faults().next(action, said("AccessDeniedException", words));
        let error = not_started(&place.ecs(), &spec("one")).await;
        let ComputeError::Aws(denied) = &error else { panic!("{error:?}") };
        assert_eq!((denied.kind, denied.action), (AwsErrorKind::Denied, action));
        let missing = format!("{action}: the gateway's role must be allowed iam:PassRole: ");
        assert!(error.to_string().starts_with(&missing), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(place.cloud.faults().calls("ecs:RunTask").len(), 1);
}

#[tokio::test]
async fn what_ecs_does_not_like_is_told_in_its_own_words() {
    let place = Place::new().await;
    let words = "The security group 'sg-tasks' does not exist";
    place.cloud.faults().next("ecs:RunTask", said("InvalidParameterException", words));
    let error = not_started(&place.ecs(), &spec("one")).await;
    assert!(matches!(&error, ComputeError::Aws(error) if error.kind == AwsErrorKind::Refused));
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_start_that_is_throttled_waits_and_is_made() {
    let place = Place::new().await;
    for action in ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ecs:RunTask"] {
        place.cloud.faults().next(action, Fault::Throttle);
    }
    for _ in 0..3 {
        place.cloud.faults().next("ecs:RunTask", Fault::Throttle);
    }
    started(&place.ecs(), &spec("one")).await;
    assert_eq!(place.cloud.faults().calls("ecs:RunTask").len(), 5);
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_that_task_when_it_is_repeated() {
    let place = Place::new().await;
    for fault in [Fault::LoseAnswer, Fault::Drop, Fault::LoseAnswer] {
        place.cloud.faults().next("ecs:RunTask", fault);
    }
    let task = started(&place.ecs(), &spec("one")).await;
    assert_eq!(place.cloud.faults().calls("ecs:RunTask").len(), 4);
    let tasks = place.cloud.tasks().await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].arn, arn(&task));
}

#[tokio::test]
async fn a_start_that_is_given_up_after_its_task_was_made_is_that_task_when_it_is_repeated() {
    let place = Place::new().await;
    let ecs = place.ecs();
    place.cloud.faults().next("ecs:RunTask", Fault::StallAnswer);
    {
        let spec = spec("one");
        let start = ecs.start(&spec);
        tokio::pin!(start);
        tokio::select! {
            made = &mut start => panic!("{made:?}"),
            first = place.cloud.next_task() => assert_eq!(first.started_by, "one"),
        }
    }
    let task = started(&place.ecs(), &spec("one")).await;
    assert_eq!(place.cloud.tasks().await.len(), 1);
    assert_eq!(soon(ecs.list()).await.unwrap(), [task]);
}

#[tokio::test]
async fn a_start_is_one_task_wherever_the_one_before_it_was_cut_off() {
    let place = Place::new().await;
    let steps = ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ecs:RunTask"];
    for (number, action) in steps.into_iter().enumerate() {
        for (cut, fault) in [Fault::Stall, Fault::StallAnswer].into_iter().enumerate() {
            let mut spec = spec(&format!("one-{number}-{cut}"));
            spec.template = format!("{number}-{cut}");
            let before = place.cloud.faults().calls(action).len();
            place.cloud.faults().next(action, fault);
            let ecs = place.ecs();
            tokio::select! {
                made = ecs.start(&spec) => panic!("{made:?}"),
                _ = place.cloud.faults().until_called(action, before + 1) => {}
            }
            drop(ecs);
            let task = started(&place.ecs(), &spec).await;
            let tasks = place.cloud.tasks().await;
            let made = tasks.iter().filter(|task| task.started_by == spec.name.as_str());
            assert_eq!(made.map(|task| task.arn.as_str()).collect::<Vec<_>>(), [arn(&task)]);
        }
    }
}

#[tokio::test]
async fn a_name_that_was_started_with_another_request_is_its_running_task() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let first = started(&ecs, &spec("one")).await;
    let mut changed = spec("one");
    changed.token = EnrolmentToken("another".to_owned());
    assert_eq!(started(&ecs, &changed).await, first);
    // Where ECS does not say which task it is, it is found by its name.
    let conflict = said("ConflictException", "The provided clientToken is already in use.");
    place.cloud.faults().next("ecs:RunTask", conflict);
    assert_eq!(started(&ecs, &changed).await, first);
    assert_eq!(place.cloud.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_name_whose_task_has_ended_takes_no_other_request() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let first = started(&ecs, &spec("one")).await;
    place.cloud.stops(arn(&first), Stop::default()).await;
    let mut changed = spec("one");
    changed.capacity = Capacity::Spot;
    let error = not_started(&ecs, &changed).await;
    assert!(matches!(error, ComputeError::Changed(_)), "{error:?}");
    assert!(!error.is_retryable());
    let conflict = said("ConflictException", "The provided clientToken is already in use.");
    place.cloud.faults().next("ecs:RunTask", conflict);
    let error = not_started(&ecs, &changed).await;
    assert!(matches!(error, ComputeError::Changed(_)), "{error:?}");
    assert_eq!(place.cloud.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_repeat_of_a_start_whose_task_has_ended_is_that_task_and_its_end() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let first = started(&ecs, &spec("one")).await;
    let stop = Stop { exit_code: Some(64), ..Stop::default() };
    place.cloud.stops(arn(&first), stop).await;
    let again = started(&ecs, &spec("one")).await;
    assert_eq!(arn(&again), arn(&first));
    assert_eq!(soon(ecs.wait(&again)).await.unwrap().evidence, "exit code 64");
}
