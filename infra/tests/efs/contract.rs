//! One file system: one home for a key, and what it is.

use serde_json::json;
use shellgate_cloud::Fault;
use shellgate_conformance as conformance;
use shellgate_infra::volumes::{Removal, VolumeError, VolumeRef, Volumes};

use crate::place::{CREATE, DELETE, DESCRIBE, Place, UID, id, key};

#[tokio::test]
async fn efs_keeps_the_contract_of_volumes() {
    let place = Place::with(1).await;
    let volumes = place.gateway();
    let [one, other] = ["one", "onemore"].map(key);
    conformance::ensuring_twice_is_ensuring_once(&volumes, &one, UID).await;
    conformance::two_keys_never_share_a_volume(&volumes, [&one, &other], UID).await;
    conformance::what_is_removed_is_gone(&volumes, &one, UID).await;
    assert_eq!(place.count().await, 2);
}

#[tokio::test]
async fn a_home_is_a_directory_of_its_users_own() {
    let place = Place::with(1).await;
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    let VolumeRef::AccessPoint { file_system, uid, gid, .. } = &home else { panic!("{home:?}") };
    assert_eq!((file_system, *uid, *gid), (&place.file_systems[0], UID, UID));
    let asked = &place.cloud.faults().calls(CREATE)[0].body;
    assert_eq!(asked["PosixUser"], json!({ "Uid": UID, "Gid": UID }));
    let directory = json!({
        "Path": "/users/ada",
        "CreationInfo": { "OwnerUid": UID, "OwnerGid": UID, "Permissions": "0700" },
    });
    assert_eq!(asked["RootDirectory"], directory);
    assert!(asked["Tags"].as_array().unwrap().contains(&json!({
        "Key": "shellgate:user", "Value": "ada",
    })));
}

#[tokio::test]
async fn two_gateways_that_ask_at_once_get_the_same_home() {
    let place = Place::with(1).await;
    let (one, other) = (place.gateway(), place.gateway());
    let ada = key("ada");
    let homes = tokio::try_join!(
        one.ensure(&ada, UID, None),
        other.ensure(&ada, UID, None),
        one.ensure(&ada, UID, None),
        other.ensure(&ada, UID, None),
    );
    let (a, b, c, d) = homes.unwrap();
    assert!(a == b && b == c && c == d, "{a:?}, {b:?}, {c:?} and {d:?}");
    assert_eq!(place.count().await, 1);
    // On one gateway only the first asked AWS.
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 2);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_home() {
    let place = Place::with(1).await;
    place.cloud.faults().next(CREATE, Fault::LoseAnswer);
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 2);
    assert_eq!(place.count().await, 1);
    assert_eq!(
        place.access_points(&place.file_systems[0]).await[0].access_point_id(),
        Some(id(&home))
    );
}

#[tokio::test]
async fn a_home_is_given_out_when_it_can_be_used() {
    let place = Place::with(1).await;
    let point = |state: &str| {
        json!({ "AccessPoints": [{
            "AccessPointId": "fsap-0", "FileSystemId": "fs-0", "LifeCycleState": state,
        }] })
    };
    for answer in [json!({ "AccessPoints": [] }), point("creating"), point("updating")] {
        place.cloud.faults().next(DESCRIBE, Fault::Answer(answer));
    }
    place
        .cloud
        .faults()
        .next(DESCRIBE, Fault::Error { status: 503, code: "ServiceUnavailable", message: "Busy." });
    place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(place.cloud.faults().calls(DESCRIBE).len(), 5);
    place.cloud.faults().next(DESCRIBE, Fault::Answer(point("error")));
    let error = place.gateway().ensure(&key("bob"), UID, None).await.unwrap_err();
    assert!(error.to_string().contains("could not make the access point fsap-"), "{error}");
}

#[tokio::test]
async fn a_home_that_is_known_is_looked_at_once() {
    let place = Place::with(1).await;
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    let looks = place.cloud.faults().calls(DESCRIBE).len();
    let volumes = place.gateway();
    for known in [Some(&home), None, Some(&home)] {
        assert_eq!(volumes.ensure(&key("ada"), UID, known).await.unwrap(), home);
    }
    // Once more for who did not know it: it might have been removed since.
    assert_eq!(place.cloud.faults().calls(DESCRIBE).len(), looks + 2);
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 1);
}

#[tokio::test]
async fn a_home_that_another_gateway_has_removed_is_not_given_again() {
    let place = Place::with(1).await;
    let (one, other) = (place.gateway(), place.gateway());
    let home = one.ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(other.ensure(&key("ada"), UID, Some(&home)).await.unwrap(), home);
    one.remove(&key("ada"), &home).await.unwrap();
    let new = other.ensure(&key("ada"), UID, None).await.unwrap();
    assert_ne!(new, home);
    assert_eq!(one.ensure(&key("ada"), UID, None).await.unwrap(), new);
}

#[tokio::test]
async fn a_home_is_believed_in_while_aws_cannot_be_asked() {
    let place = Place::with(1).await;
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    let volumes = place.gateway();
    let busy = Fault::Error { status: 400, code: "ServiceUnavailable", message: "Busy." };
    for fault in [busy, Fault::Throttle, Fault::Drop] {
        place.cloud.faults().always(DESCRIBE, fault);
        assert_eq!(volumes.ensure(&key("ada"), UID, Some(&home)).await.unwrap(), home);
    }
    // Nobody answers, so that every deadline of the call passes at once.
    place.cloud.faults().always(DESCRIBE, Fault::Stall);
    tokio::time::pause();
    assert_eq!(volumes.ensure(&key("ada"), UID, Some(&home)).await.unwrap(), home);
    tokio::time::resume();
    // It is looked at when that can be done again.
    place.cloud.faults().clear();
    place.deletes(&home).await;
    let error = volumes.ensure(&key("ada"), UID, Some(&home)).await.unwrap_err();
    assert!(matches!(error, VolumeError::Gone(_)), "{error}");
}

#[tokio::test]
async fn a_removed_home_is_deleted_once_and_its_files_stay_where_it_says() {
    let place = Place::with(1).await;
    let volumes = place.gateway();
    let home = volumes.ensure(&key("ada"), UID, None).await.unwrap();
    place.cloud.faults().next(DELETE, Fault::LoseAnswer);
    let removal = volumes.remove(&key("ada"), &home).await.unwrap();
    assert_eq!(removal, Removal::Access { files: "/users/ada".to_owned() });
    assert_eq!(place.count().await, 0);
    let deletions = place.cloud.faults().calls(DELETE).len();
    assert_eq!(volumes.remove(&key("ada"), &home).await.unwrap(), removal);
    assert_eq!(place.cloud.faults().calls(DELETE).len(), deletions);
    // Whatever this gateway remembered of it is forgotten.
    let new = volumes.ensure(&key("ada"), UID, None).await.unwrap();
    assert_ne!(id(&new), id(&home));
}
