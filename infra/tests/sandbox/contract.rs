//! The contract of every kind of compute and volume, held against sandboxes and directories.

use shellgate_conformance as conformance;
use shellgate_infra::secrets::file::FileSecrets;
use shellgate_infra::volumes::{VolumeKey, directory::DirectoryVolumes};

use crate::place::Place;

#[tokio::test]
async fn a_sandbox_started_twice_is_started_once() {
    let place = Place::new().await;
    conformance::starting_twice_is_starting_once(&place.sandbox, &place.spec("one")).await;
    place.closes().await;
}

#[tokio::test]
async fn a_sandbox_started_at_once_from_two_gateways_is_started_once() {
    let place = Place::new().await;
    let other = place.another_sandbox();
    conformance::starting_at_once_from_two_sides_is_starting_once(
        &place.sandbox,
        &other,
        &place.spec("one"),
    )
    .await;
    place.closes().await;
}

#[tokio::test]
async fn a_sandbox_outlives_who_started_it() {
    let place = Place::new().await;
    let starter = place.another_sandbox();
    conformance::a_task_outlives_who_started_it(starter, &place.sandbox, &place.spec("one")).await;
    place.closes().await;
}

#[tokio::test]
async fn every_sandbox_is_listed() {
    let place = Place::new().await;
    let specs = ["one", "two", "three"].map(|name| place.spec(name));
    conformance::a_list_names_every_task(&place.sandbox, &specs).await;
    place.closes().await;
}

#[tokio::test]
async fn a_sandbox_that_is_gone_can_be_stopped_awaited_and_forgotten() {
    let place = Place::new().await;
    let spec = place.spec("one");
    conformance::what_is_gone_can_be_stopped_awaited_and_forgotten(&place.sandbox, &spec).await;
    place.closes().await;
}

#[tokio::test]
async fn a_wait_ends_with_its_sandbox() {
    let place = Place::new().await;
    conformance::a_wait_ends_with_its_task(&place.sandbox, &place.spec("one")).await;
    place.closes().await;
}

#[tokio::test]
async fn directories_keep_the_contract_of_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = DirectoryVolumes::new(directory.path().join("volumes"), None);
    let [one, other] = ["one", "onemore"].map(|key| VolumeKey::new(key).unwrap());
    conformance::ensuring_twice_is_ensuring_once(&volumes, &one, Place::uid()).await;
    conformance::two_keys_never_share_a_volume(&volumes, [&one, &other], Place::uid()).await;
    conformance::what_is_removed_is_gone(&volumes, &one, Place::uid()).await;
}

#[tokio::test]
async fn a_file_keeps_the_contract_of_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    let text = "[shared]\nA = \"a\"\nB = \"b\"\n[users.ada]\nA = \"own\"\n";
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = FileSecrets::new(path.clone());
    conformance::own_secrets_come_before_shared_ones(&secrets, "ada", ["A", "B", "C"]).await;
    conformance::a_change_is_seen_by_the_next_read(&secrets, "ada", "B", async || {
        std::fs::write(&path, text.replace("\"b\"", "\"changed\"")).unwrap();
    })
    .await;
    let value = "v".repeat(44 << 10);
    std::fs::write(&path, format!("[shared]\nA = \"{value}\"\nB = \"{value}\"\nC = \"{value}\"\n"))
        .unwrap();
    let names = ["A", "B", "C"].map(str::to_owned);
    conformance::what_is_too_large_together_is_refused(&secrets, "ada", &names).await;
}
