//! When there is no home to be had: the error says why, and what is there is left as it is.

use std::path::PathBuf;
use std::time::Duration;

use shellgate_cloud::Fault;
use shellgate_infra::aws::AwsErrorKind;
use shellgate_infra::volumes::efs::EfsConfig;
use shellgate_infra::volumes::{VolumeError, VolumeRef, Volumes};

use crate::place::{CREATE, DELETE, DESCRIBE, Place, UID, id, key};

fn kind(error: &VolumeError) -> AwsErrorKind {
    let VolumeError::Aws(error) = error else { panic!("{error}") };
    error.kind
}

#[tokio::test]
async fn a_home_that_is_gone_is_not_replaced_by_an_empty_one() {
    let place = Place::with(1).await;
    let home = place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    let made = place.cloud.faults().calls(CREATE).len();
    place.cloud.access_point(id(&home), "deleting").await;
    let error = place.gateway().ensure(&key("ada"), UID, Some(&home)).await.unwrap_err();
    assert!(matches!(error, VolumeError::Gone(_)), "{error}");
    place.deletes(&home).await;
    let error = place.gateway().ensure(&key("ada"), UID, Some(&home)).await.unwrap_err();
    assert!(matches!(error, VolumeError::Gone(_)), "{error}");
    assert!(error.to_string().contains(id(&home)), "{error}");
    assert!(error.to_string().contains("/users/ada"), "{error}");
    assert_eq!(place.cloud.faults().calls(CREATE).len(), made);
}

#[tokio::test]
async fn what_leads_elsewhere_or_is_somebody_elses_is_no_home_and_is_not_removed() {
    let place = Place::with(1).await;
    let file_system = &place.file_systems[0];
    let bobs = place.makes(file_system, "/users/bob", UID + 1).await;
    let whole = place.makes(file_system, "/", UID).await;
    let mut moved = place.makes(file_system, "/users/ada", UID).await;
    if let VolumeRef::AccessPoint { file_system, .. } = &mut moved {
        *file_system = "fs-00000000".to_owned();
    }
    let directory = VolumeRef::Directory { path: PathBuf::from("/ada"), uid: UID, gid: UID };
    let volumes = place.gateway();
    for other in [&bobs, &whole, &moved, &directory] {
        let error = volumes.ensure(&key("ada"), UID, Some(other)).await.unwrap_err();
        assert!(matches!(error, VolumeError::Unsafe(_)), "{error}");
        let error = volumes.remove(&key("ada"), other).await.unwrap_err();
        assert!(matches!(error, VolumeError::Unsafe(_)), "{error}");
    }
    assert_eq!(place.count().await, 3);
    assert_eq!(place.cloud.faults().calls(DELETE).len(), 0);
}

#[tokio::test]
async fn a_home_of_another_uid_is_refused() {
    let place = Place::with(1).await;
    let volumes = place.gateway();
    let home = volumes.ensure(&key("ada"), UID, None).await.unwrap();
    for (volumes, known) in [(&volumes, Some(&home)), (&volumes, None), (&place.gateway(), None)] {
        let error = volumes.ensure(&key("ada"), UID + 1, known).await.unwrap_err();
        assert!(matches!(error, VolumeError::Unsafe(_)), "{error}");
    }
    let error = volumes.ensure(&key("root"), 0, None).await.unwrap_err();
    assert!(matches!(error, VolumeError::Unsafe(_)), "{error}");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let denied = || Fault::Error {
        status: 403,
        code: "AccessDeniedException",
        message: "User: role/gateway is not authorized",
    };
    let place = Place::with(1).await;
    let volumes = place.gateway();
    place.cloud.faults().next(CREATE, denied());
    let error = volumes.ensure(&key("ada"), UID, None).await.unwrap_err();
    assert_eq!(kind(&error), AwsErrorKind::Denied);
    assert!(error.to_string().contains(CREATE), "{error}");
    let home = volumes.ensure(&key("ada"), UID, None).await.unwrap();
    place.cloud.faults().next(DESCRIBE, denied());
    let error = place.gateway().ensure(&key("ada"), UID, Some(&home)).await.unwrap_err();
    assert!(error.to_string().contains(DESCRIBE), "{error}");
    place.cloud.faults().next(DELETE, denied());
    let error = volumes.remove(&key("ada"), &home).await.unwrap_err();
    assert!(error.to_string().contains(DELETE), "{error}");
    assert_eq!(volumes.ensure(&key("ada"), UID, Some(&home)).await.unwrap(), home);
}

#[tokio::test]
async fn a_call_that_fails_may_be_made_again_and_leaves_one_home() {
    let place = Place::with(1).await;
    let volumes = place.gateway();
    for (fault, expected) in [
        (Fault::Throttle, AwsErrorKind::Throttled),
        (Fault::Drop, AwsErrorKind::Unreachable),
        (Fault::LoseAnswer, AwsErrorKind::Unreachable),
    ] {
        place.cloud.faults().always(CREATE, fault);
        let error = volumes.ensure(&key("ada"), UID, None).await.unwrap_err();
        assert_eq!(kind(&error), expected, "{error}");
    }
    place.cloud.faults().always(CREATE, Fault::Stall);
    // Nobody answers, so that every deadline of the call passes at once.
    tokio::time::pause();
    let error = volumes.ensure(&key("ada"), UID, None).await.unwrap_err();
    tokio::time::resume();
    assert_eq!(kind(&error), AwsErrorKind::Unreachable, "{error}");
    place.cloud.faults().clear();
    volumes.ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(place.count().await, 1);
}

#[tokio::test]
async fn what_aws_does_not_answer_for_a_while_is_asked_until_it_does() {
    let mut place = Place::with(1).await;
    place.patience = Duration::from_secs(60);
    // More than what the SDK itself tries.
    for _ in 0..5 {
        place.cloud.faults().next(CREATE, Fault::Throttle);
    }
    place.gateway().ensure(&key("ada"), UID, None).await.unwrap();
    assert_eq!(place.cloud.faults().calls(CREATE).len(), 6);
}

#[tokio::test]
async fn a_file_system_that_is_not_there_is_named() {
    let mut place = Place::with(1).await;
    place.file_systems = vec!["fs-00000000".to_owned()];
    let error = place.gateway().ensure(&key("ada"), UID, None).await.unwrap_err();
    assert_eq!(kind(&error), AwsErrorKind::Refused);
    assert!(error.to_string().contains("fs-00000000"), "{error}");
}

#[test]
fn a_configuration_is_checked_before_anything_is_called() {
    let check = |file_systems: &[&str], root: &str| {
        let file_systems = file_systems.iter().map(|&id| id.to_owned()).collect();
        let patience = Duration::ZERO;
        EfsConfig { file_systems, root: root.to_owned(), patience }.check()
    };
    let id = "fs-0123456789abcdef0";
    check(&[id], "/users").unwrap();
    check(&[id, "fs-01234567"], "/shellgate/production/users").unwrap();
    for file_systems in [&[][..], &["users"], &["fs-xyz45678"], &["fs-1"], &[id, id]] {
        check(file_systems, "/users").unwrap_err();
    }
    let long = format!("/{}", "a".repeat(35));
    for root in ["", "/", "users", "/users/", "//users", "/a/../b", "/a/b/c/d", "/a b", &long] {
        check(&[id], root).unwrap_err();
    }
}
