//! Several file systems: homes spread over them, and no key has two.

use shellgate_cloud::Fault;

use shellgate_infra::volumes::{Usage, VolumeError, Volumes};

use crate::place::{CREATE, DESCRIBE, Place, UID, file_system, id, key};

#[tokio::test]
async fn new_homes_go_where_there_are_fewest_until_there_is_no_room() {
    let place = Place::with(2).await;
    place.cloud.limits_access_points(3).await;
    let volumes = place.gateway();
    for user in ["ada", "bob", "cyd", "dan", "eve", "fay"] {
        volumes.ensure(&key(user), UID, None).await.unwrap();
    }
    for file_system in &place.file_systems {
        assert_eq!(place.access_points(file_system).await.len(), 3);
    }
    let error = volumes.ensure(&key("gus"), UID, None).await.unwrap_err();
    assert!(matches!(error, VolumeError::Full(_)), "{error}");
    assert!(place.file_systems.iter().all(|id| error.to_string().contains(id)), "{error}");
    // Those who have a home keep it.
    place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
}

#[tokio::test]
async fn a_file_system_that_is_full_in_spite_of_its_count_is_passed_over() {
    let place = Place::with(2).await;
    let full = Fault::Error { status: 403, code: "AccessPointLimitExceeded", message: "Full." };
    place.cloud.faults().next(CREATE, full);
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    let asked = place.cloud.faults().calls(CREATE);
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].body["FileSystemId"], file_system(&home));
}

#[tokio::test]
async fn a_gateway_that_died_before_it_could_tell_has_left_a_home_that_is_found() {
    let place = Place::with(3).await;
    // More often than the SDK tries.
    for _ in 0..3 {
        place.cloud.faults().next(CREATE, Fault::LoseAnswer);
    }
    place.gateway().ensure(&key("ada"), UID, None).await.unwrap_err();
    let made = place.cloud.faults().calls(CREATE)[0].body["FileSystemId"].clone();
    // The others are emptier now.
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(made, file_system(&home));
    assert_eq!(place.count().await, 1);
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 3);
}

#[tokio::test]
async fn a_home_beyond_the_first_page_is_found_and_all_pages_are_counted() {
    let place = Place::with(2).await;
    let crowded = place.file_systems[0].clone();
    for n in 0..105 {
        place.makes(&crowded, &format!("/else/{n}"), UID).await;
    }
    let home = place.makes(&crowded, "/users/ada", UID).await;
    let volumes = place.gateway();
    assert_eq!(volumes.ensure(&key("ada"), UID, None).await.unwrap(), home);
    let bob = volumes.ensure(&key("bob"), UID, None).await.unwrap();
    assert_eq!(file_system(&bob), place.file_systems[1]);
    let count = |index: usize, access_points: usize| Usage {
        file_system: place.file_systems[index].clone(),
        bytes: 0,
        access_points,
    };
    assert_eq!(volumes.usage().await.unwrap(), [count(0, 106), count(1, 1)]);
}

#[tokio::test]
async fn a_home_that_was_listed_and_is_gone_is_made_again() {
    let place = Place::with(2).await;
    let [one, other] = [0, 1].map(|index| place.file_systems[index].clone());
    let old = place.makes(&one, "/users/ada", UID).await;
    place.makes(&one, "/users/bob", UID).await;
    let volumes = place.gateway();
    volumes.ensure(&key("bob"), UID, None).await.unwrap();
    place.deletes(&old).await;
    let new = volumes.ensure(&key("ada"), UID, None).await.unwrap();
    assert_ne!(id(&new), id(&old));
    assert_eq!(file_system(&new), other);
}

#[tokio::test]
async fn nothing_is_made_while_it_is_unknown_whether_there_is_a_home() {
    let place = Place::with(2).await;
    let busy = Fault::Error { status: 400, code: "ServiceUnavailable", message: "Busy." };
    place.cloud.faults().always(DESCRIBE, busy);
    let error = place.gateway().ensure(&key("ada"), UID, None).await.unwrap_err();
    assert!(matches!(&error, VolumeError::Aws(error) if error.is_retryable()), "{error}");
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 0);
}
