//! What becomes of tasks, as ECS tells it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use shellgate_cloud::{Fault, Stop};
use shellgate_infra::aws::AwsErrorKind;
use shellgate_infra::compute::{Compute, ComputeError, TaskName, TaskRef};

use crate::place::{Place, arn, soon, spec, started};

const GRACE: Duration = Duration::from_secs(5);

/// As ECS's clock has it a while ago.
fn older(task: &TaskRef) -> TaskRef {
    let TaskRef::Ecs { name, arn, asked_ms } = task.clone() else { panic!("{task:?}") };
    TaskRef::Ecs { name, arn, asked_ms: asked_ms - 61_000 }
}

#[tokio::test]
async fn why_a_task_has_ended_is_told_in_words() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let text = |text: &str| Some(text.to_owned());
    let stops = [
        (
            Stop {
                code: text("TaskFailedToStart"),
                reason: text("CannotPullContainerError: bridge:1: not found"),
                ..Stop::default()
            },
            "the image could not be pulled: bridge:1: not found",
        ),
        (
            Stop {
                code: text("SpotInterruption"),
                reason: text("Your Spot Task was interrupted."),
                ..Stop::default()
            },
            "Spot took the capacity back",
        ),
        (
            Stop {
                exit_code: Some(137),
                container_reason: text("OutOfMemoryError: Container killed due to memory usage"),
                ..Stop::default()
            },
            "out of memory: Container killed due to memory usage; exit code 137 (as after signal 9)",
        ),
        (Stop { exit_code: Some(64), ..Stop::default() }, "exit code 64"),
    ];
    for (number, (stop, told)) in stops.into_iter().enumerate() {
        let task = started(&ecs, &spec(&format!("one-{number}"))).await;
        let waiting = ecs.wait(&task);
        tokio::pin!(waiting);
        place.cloud.runs(arn(&task), "10.0.0.7").await;
        place.cloud.stops(arn(&task), stop).await;
        assert_eq!(soon(waiting).await.unwrap().evidence, told);
    }
}

#[tokio::test]
async fn a_task_that_ecs_does_not_know_yet_is_waited_for() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    let missing = json!({
        "tasks": [], "failures": [{ "arn": arn(&task), "reason": "MISSING" }],
    });
    place.cloud.faults().always("ecs:DescribeTasks", Fault::Answer(missing));
    tokio::select! {
        end = ecs.wait(&task) => panic!("{end:?}"),
        _ = place.cloud.faults().until_called("ecs:DescribeTasks", 3) => {}
    }
    assert_eq!(soon(ecs.address(&task)).await.unwrap(), None);
    // The same a minute later means that it is gone.
    assert!(soon(ecs.wait(&older(&task))).await.is_ok_and(|end| end.evidence.contains("gone")));
}

#[tokio::test]
async fn a_task_that_ecs_has_forgotten_is_gone() {
    let place = Place::obliging().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    soon(ecs.stop(&task, GRACE)).await.unwrap();
    place.cloud.forgets(arn(&task)).await;
    let task = older(&task);
    let end = soon(ecs.wait(&task)).await.unwrap();
    assert_eq!(end.evidence, "gone (ECS does not know it any more)");
    soon(ecs.stop(&task, GRACE)).await.unwrap();
    assert_eq!(soon(ecs.address(&task)).await.unwrap(), None);
}

#[tokio::test]
async fn a_stop_returns_when_the_task_has_stopped_and_not_when_it_was_told_to() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    place.cloud.runs(arn(&task), "10.0.0.7").await;
    let stopping = ecs.stop(&task, GRACE);
    tokio::pin!(stopping);
    let seen = place.cloud.faults().calls("ecs:DescribeTasks").len();
    tokio::select! {
        early = &mut stopping => panic!("{early:?}"),
        told = place.cloud.told_to_stop(arn(&task)) => {
            assert_eq!(told.stopped_reason.as_deref(), Some("stopped by its gateway"));
        }
    }
    tokio::select! {
        early = &mut stopping => panic!("{early:?}"),
        _ = place.cloud.faults().until_called("ecs:DescribeTasks", seen + 2) => {}
    }
    place.cloud.stops(arn(&task), Stop { exit_code: Some(143), ..Stop::default() }).await;
    soon(stopping).await.unwrap();
    let end = soon(ecs.wait(&task)).await.unwrap();
    assert_eq!(end.evidence, "stopped by its gateway; exit code 143 (as after signal 15)");
}

#[tokio::test]
async fn a_stop_that_may_not_be_is_told_by_its_name() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
    place.cloud.faults().next("ecs:StopTask", denied);
    let error = soon(ecs.stop(&task, GRACE)).await.unwrap_err();
    assert!(error.to_string().contains("ecs:StopTask"), "{error}");
}

#[tokio::test]
async fn a_tasks_address_is_that_of_its_network_interface_once_it_has_one() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    assert_eq!(soon(ecs.address(&task)).await.unwrap(), None);
    place.cloud.runs(arn(&task), "10.0.0.7").await;
    let address = soon(ecs.address(&task)).await.unwrap();
    assert_eq!(address, Some("10.0.0.7".parse().unwrap()));
}

#[tokio::test]
async fn many_waits_are_few_calls() {
    let place = Place::new().await;
    let ecs = place.ecs_with(|config| {
        config.pace.hurried = Duration::from_secs(3600);
        config.pace.steady = Duration::from_secs(3600);
        config.rates.run.burst = 1000;
    });
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..250 {
        let ecs = ecs.clone();
        starts.spawn(async move { started(&ecs, &spec(&format!("one-{number}"))).await });
    }
    let tasks = soon(starts.join_all()).await;
    let mut waits = tokio::task::JoinSet::new();
    for task in &tasks {
        let (ecs, task) = (ecs.clone(), task.clone());
        waits.spawn(async move { ecs.wait(&task).await });
    }
    let calls = place.cloud.faults().until_called("ecs:DescribeTasks", 3).await;
    let asked: Vec<_> = calls.iter().map(|call| call.body["tasks"].as_array().unwrap()).collect();
    assert!(asked.iter().all(|tasks| tasks.len() <= 100));
    let all: HashSet<_> = asked.iter().copied().flatten().filter_map(|arn| arn.as_str()).collect();
    assert_eq!(all, tasks.iter().map(arn).collect());
    assert_eq!(asked.iter().map(|tasks| tasks.len()).sum::<usize>(), 250, "each of them once");
    // The list pages through all of them.
    let listed = soon(ecs.list()).await.unwrap();
    assert_eq!(listed.iter().map(arn).collect::<HashSet<_>>(), all);
    waits.shutdown().await;
}

#[tokio::test]
async fn news_that_fail_to_come_for_a_while_come_later() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    for fault in [Fault::Throttle, Fault::Drop, Fault::LoseAnswer, Fault::Throttle] {
        place.cloud.faults().next("ecs:DescribeTasks", fault);
    }
    place.cloud.stops(arn(&task), Stop::default()).await;
    soon(ecs.wait(&task)).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_what_may_not_be_seen_is_told_so() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let task = started(&ecs, &spec("one")).await;
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
    // Also the next time: who is slow to hear of it would hear the answer after it instead.
    place.cloud.faults().always("ecs:DescribeTasks", denied);
    let error = soon(ecs.wait(&task)).await.unwrap_err();
    assert!(error.to_string().contains("ecs:DescribeTasks"), "{error}");
    place.cloud.faults().clear();
    place.cloud.stops(arn(&task), Stop::default()).await;
    soon(ecs.wait(&task)).await.unwrap();
}

#[tokio::test]
async fn the_tasks_of_others_in_the_same_cluster_are_not_listed() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let ours = started(&ecs, &spec("one")).await;
    let others = place.ecs_with(|config| config.family = "shellgate-staging".to_owned());
    let theirs = started(&others, &spec("two")).await;
    assert_eq!(soon(ecs.list()).await.unwrap(), [ours]);
    assert_eq!(soon(others.list()).await.unwrap(), [theirs]);
}

#[tokio::test]
async fn a_task_of_another_cluster_or_provider_is_refused() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let name = TaskName::new("one").unwrap();
    let elsewhere = TaskRef::Ecs {
        name: name.clone(),
        arn: "arn:aws:ecs:us-east-1:123456789012:task/elsewhere/0123".to_owned(),
        asked_ms: 0,
    };
    let sandbox = TaskRef::Sandbox { name, boot_id: String::new(), pid: 1, start_time: 1 };
    for task in [elsewhere, sandbox] {
        for refused in [
            soon(ecs.wait(&task)).await.unwrap_err(),
            soon(ecs.stop(&task, GRACE)).await.unwrap_err(),
            soon(ecs.address(&task)).await.unwrap_err(),
        ] {
            assert!(matches!(refused, ComputeError::BadSpec(_)), "{refused:?}");
        }
    }
    assert!(place.cloud.faults().calls("ecs:DescribeTasks").is_empty());
}

#[tokio::test]
async fn a_preflight_says_what_is_there_and_what_is_missing() {
    let place = Place::new().await;
    let found = soon(place.ecs().preflight()).await.unwrap();
    assert!(found.cluster.ends_with(&format!(":cluster/{}", place.cluster)), "{found:?}");
    assert!(found.spot);
    let elsewhere = place.ecs_with(|config| config.cluster = "elsewhere".to_owned());
    let error = soon(elsewhere.preflight()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no ECS cluster \"elsewhere\" in us-east-1");
    let bare = json!({ "clusters": [{ "status": "ACTIVE", "capacityProviders": [] }] });
    place.cloud.faults().next("ecs:DescribeClusters", Fault::Answer(bare));
    let error = soon(place.ecs().preflight()).await.unwrap_err();
    assert!(error.to_string().contains("capacity provider FARGATE"), "{error}");
    for action in ["ecs:DescribeClusters", "ecs:ListTasks"] {
        let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
        place.cloud.faults().next(action, denied);
        let error = soon(place.ecs().preflight()).await.unwrap_err();
        let ComputeError::Aws(denied) = &error else { panic!("{error:?}") };
        assert_eq!((denied.kind, denied.action), (AwsErrorKind::Denied, action));
    }
}
