//! Which task definitions are there: one for each user and template, found again, and outdated ones
//! taken away.

use std::time::Duration;

use serde_json::json;
use shellgate_cloud::Fault;
use shellgate_infra::compute::{Compute, ComputeError};

use crate::place::{Place, not_started, soon, spec, started};

#[tokio::test]
async fn many_starts_at_once_of_one_user_register_one_definition() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let starts = (0..8).map(|number| {
        let ecs = ecs.clone();
        async move { started(&ecs, &spec(&format!("one-{number}"))).await }
    });
    let starts: tokio::task::JoinSet<_> = starts.collect();
    assert_eq!(soon(starts.join_all()).await.len(), 8);
    assert_eq!(place.asked("ecs:DescribeTaskDefinition").len(), 1);
    assert_eq!(place.asked("ecs:RegisterTaskDefinition").len(), 1);
}

#[tokio::test]
async fn another_gateway_finds_what_is_registered() {
    let place = Place::new().await;
    started(&place.ecs(), &spec("one")).await;
    started(&place.ecs(), &spec("two")).await;
    assert_eq!(place.asked("ecs:RegisterTaskDefinition").len(), 1);
}

#[tokio::test]
async fn another_user_and_another_template_have_definitions_of_their_own() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let (mut other_user, mut other_template) = (spec("two"), spec("three"));
    other_user.user = "bob".to_owned();
    other_template.template = "large".to_owned();
    for spec in [spec("one"), other_user, other_template] {
        started(&ecs, &spec).await;
    }
    let registered = place.asked("ecs:RegisterTaskDefinition");
    let mut families: Vec<_> = registered.iter().map(|request| &request["family"]).collect();
    families.dedup();
    assert_eq!(families.len(), 3);
}

#[tokio::test]
async fn what_is_registered_by_the_name_for_other_files_is_not_taken() {
    let place = Place::new().await;
    let foreign = json!({ "taskDefinition": {
        "containerDefinitions": [{ "name": "bridge", "user": "10007:10007" }],
        "volumes": [{ "name": "home", "efsVolumeConfiguration": {
            "fileSystemId": "fs-0123",
            "authorizationConfig": { "accessPointId": "fsap-9999" },
        }}],
    }});
    place.cloud.faults().next("ecs:DescribeTaskDefinition", Fault::Answer(foreign));
    started(&place.ecs(), &spec("one")).await;
    assert_eq!(place.asked("ecs:RegisterTaskDefinition").len(), 1);
}

#[tokio::test]
async fn a_definition_that_another_gateway_took_away_is_registered_again() {
    let place = Place::new().await;
    let ecs = place.ecs();
    started(&ecs, &spec("one")).await;
    let gone = || Fault::Error {
        status: 400,
        code: "ClientException",
        message: "TaskDefinition not found.",
    };
    place.cloud.faults().next("ecs:RunTask", gone());
    started(&ecs, &spec("two")).await;
    assert_eq!(place.asked("ecs:DescribeTaskDefinition").len(), 2);
    assert_eq!(place.cloud.tasks().await.len(), 2);
    // Somebody who goes on doing so is an error, and no loop.
    place.cloud.faults().always("ecs:RunTask", gone());
    let error = not_started(&ecs, &spec("three")).await;
    assert!(matches!(error, ComputeError::Failed(_)), "{error}");
}

#[tokio::test]
async fn the_outdated_definitions_of_a_user_are_taken_away_and_no_other() {
    let place = Place::new().await;
    let ecs_of = |image: &str, retire| {
        place.ecs_with(|config| {
            config.image = image.to_owned();
            config.pace.retire = retire;
        })
    };
    let never = Duration::from_secs(3600);
    let mut bob = spec("bob");
    bob.user = "bob".to_owned();
    for spec in [spec("one"), bob] {
        started(&ecs_of("old", never), &spec).await;
    }
    let running = started(&ecs_of("older", never), &spec("two")).await;
    let new = ecs_of("new", Duration::ZERO);
    started(&new, &spec("three")).await;
    place.cloud.faults().until_called("ecs:DeregisterTaskDefinition", 2).await;
    let status = async |name: &str| {
        let task = place.cloud.tasks().await.into_iter().find(|task| task.started_by == name);
        task.unwrap().definition["status"].as_str().unwrap().to_owned()
    };
    soon(async {
        while status("one").await == "ACTIVE" || status("two").await == "ACTIVE" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    started(&new, &spec("four")).await;
    for kept in ["bob", "three", "four"] {
        assert_eq!(status(kept).await, "ACTIVE", "{kept}");
    }
    assert!(soon(new.list()).await.unwrap().contains(&running), "what runs is not touched");
}

#[tokio::test]
async fn what_keeps_outdated_definitions_from_being_taken_away_keeps_nobody_from_starting() {
    let place = Place::new().await;
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
    place.cloud.faults().always("ecs:ListTaskDefinitionFamilies", denied);
    let ecs = place.ecs_with(|config| config.pace.retire = Duration::ZERO);
    started(&ecs, &spec("one")).await;
    place.cloud.faults().until_called("ecs:ListTaskDefinitionFamilies", 1).await;
    started(&ecs, &spec("two")).await;
}
