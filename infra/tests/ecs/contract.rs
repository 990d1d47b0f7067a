//! The contract of every kind of compute, held against ECS.

use shellgate_conformance as conformance;

use crate::place::{Place, spec};

#[tokio::test]
async fn a_task_started_twice_is_started_once() {
    let place = Place::obliging().await;
    conformance::starting_twice_is_starting_once(&place.ecs(), &spec("one")).await;
}

#[tokio::test]
async fn a_task_started_at_once_from_two_gateways_is_started_once() {
    let place = Place::obliging().await;
    let (one, other, spec) = (place.ecs(), place.ecs(), spec("one"));
    conformance::starting_at_once_from_two_sides_is_starting_once(&one, &other, &spec).await;
}

#[tokio::test]
async fn a_task_outlives_who_started_it() {
    let place = Place::obliging().await;
    conformance::a_task_outlives_who_started_it(place.ecs(), &place.ecs(), &spec("one")).await;
}

#[tokio::test]
async fn every_task_is_listed() {
    let place = Place::obliging().await;
    let specs = ["one", "two", "three"].map(spec);
    conformance::a_list_names_every_task(&place.ecs(), &specs).await;
}

#[tokio::test]
async fn a_task_that_is_gone_can_be_stopped_awaited_and_forgotten() {
    let place = Place::obliging().await;
    let (ecs, spec) = (place.ecs(), spec("one"));
    conformance::what_is_gone_can_be_stopped_awaited_and_forgotten(&ecs, &spec).await;
}

#[tokio::test]
async fn a_wait_ends_with_its_task() {
    let place = Place::obliging().await;
    conformance::a_wait_ends_with_its_task(&place.ecs(), &spec("one")).await;
}
