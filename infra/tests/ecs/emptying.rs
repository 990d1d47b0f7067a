//! A volume that a task of its own empties.

use serde_json::json;
use shellgate_cloud::Stop;
use shellgate_infra::compute::{Compute, ComputeError, Emptying, TaskName};
use shellgate_infra::volumes::VolumeRef;

use crate::place::{Place, soon, spec};

fn emptying(name: &str) -> Emptying {
    let name = TaskName::new(name).unwrap();
    Emptying { name, user: "ada".to_owned(), volume: spec("one").volume }
}

/// Empties a volume by a task that ends so.
async fn emptied(place: &Place, name: &str, stop: Stop) -> Result<(), ComputeError> {
    let (ecs, what) = (place.ecs(), emptying(name));
    let ends = async {
        let task = place.cloud.next_task().await;
        place.cloud.runs(&task.arn, "10.0.0.7").await;
        place.cloud.stops(&task.arn, stop).await;
    };
    soon(async { tokio::join!(ecs.empty(&what), ends).0 }).await
}

#[tokio::test]
async fn only_a_task_that_says_so_has_emptied_its_volume() {
    let place = Place::new().await;
    let code = |exit_code| Stop { exit_code, ..Stop::default() };
    emptied(&place, "one", code(Some(0))).await.unwrap();
    let lost = Stop { code: Some("SpotInterruption".to_owned()), ..code(None) };
    for (name, stop, told) in
        [("two", code(Some(70)), "exit code 70"), ("three", lost, "Spot took the capacity back")]
    {
        let error = emptied(&place, name, stop).await.unwrap_err();
        assert!(matches!(error, ComputeError::NotEmptied(_)) && error.is_retryable(), "{error}");
        assert!(error.to_string().contains(told) && error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn its_task_mounts_the_volume_and_knows_neither_session_nor_gateway() {
    let place = Place::new().await;
    emptied(&place, "one", Stop { exit_code: Some(0), ..Stop::default() }).await.unwrap();
    let [definition] = &place.asked("ecs:RegisterTaskDefinition")[..] else { panic!("one") };
    let container = &definition["containerDefinitions"][0];
    assert_eq!(container["user"], "10007:10007");
    assert!(container["environment"].as_array().is_none_or(Vec::is_empty), "{container}");
    let volume = &definition["volumes"][0]["efsVolumeConfiguration"];
    assert_eq!(volume["authorizationConfig"]["accessPointId"], "fsap-0123");
    let [request] = &place.asked("ecs:RunTask")[..] else { panic!("one") };
    let overrides = json!({ "containerOverrides": [
        { "name": "bridge", "command": ["empty", "/home/agent"] },
    ]});
    assert_eq!((&request["overrides"], &request["clientToken"]), (&overrides, &json!("one")));
}

#[tokio::test]
async fn a_repeat_waits_for_the_task_that_runs() {
    let place = Place::new().await;
    let (one, other, what) = (place.ecs(), place.ecs(), emptying("one"));
    let ends = async {
        place.cloud.faults().until_called("ecs:RunTask", 2).await;
        let task = place.cloud.next_task().await;
        place.cloud.runs(&task.arn, "10.0.0.7").await;
        place.cloud.stops(&task.arn, Stop { exit_code: Some(0), ..Stop::default() }).await;
    };
    let (first, second, ()) =
        soon(async { tokio::join!(one.empty(&what), other.empty(&what), ends) }).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(place.cloud.tasks().await.len(), 1);
}

#[tokio::test]
async fn what_no_task_can_mount_is_not_asked_for() {
    let place = Place::new().await;
    let path = "/somewhere".into();
    let volume = VolumeRef::Directory { path, uid: 10_007, gid: 10_007 };
    let error = soon(place.ecs().empty(&Emptying { volume, ..emptying("one") })).await.unwrap_err();
    assert!(matches!(error, ComputeError::BadSpec(_)), "{error}");
    assert!(place.asked("ecs:RunTask").is_empty());
}
