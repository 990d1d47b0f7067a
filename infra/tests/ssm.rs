//! Secrets in the Parameter Store, against an AWS of each test's own: what is read, for how long it
//! is kept, and what is said where it can't be read.

// The SDK's futures lie many layers deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use std::time::Duration;

use serde_json::json;
use shellgate_cloud::{Cloud, Fault};
use shellgate_conformance as conformance;
use shellgate_infra::aws::{Aws, AwsErrorKind};
use shellgate_infra::secrets::ssm::{SsmConfig, SsmSecrets};
use shellgate_infra::secrets::{SecretError, SecretValue, Secrets};

const READ: &str = "ssm:GetParametersByPath";
const PREFIX: &str = "/shellgate/test";
const AGE: Duration = Duration::from_secs(60);
/// For how long a failure is remembered where nothing was read before, and more.
const MOMENT: Duration = Duration::from_secs(2);
/// For how long AWS is spared where something was, and more.
const WHILE: Duration = Duration::from_secs(16);
/// For how long values are good while AWS can't be asked, and more.
const LONG: Duration = Duration::from_secs(4000);

struct Place {
    cloud: Cloud,
    secrets: SsmSecrets,
}

impl Place {
    async fn new() -> Self {
        Self::with(AGE).await
    }

    async fn with(max_age: Duration) -> Self {
        let cloud = Cloud::start().await;
        let aws = Aws::new(cloud.settings()).await;
        let config = SsmConfig { prefix: PREFIX.to_owned(), max_age };
        Self { secrets: SsmSecrets::new(&aws, config).unwrap(), cloud }
    }

    async fn puts(&self, name: &str, value: &str) {
        self.cloud.parameter(&format!("{PREFIX}/{name}"), value).await;
    }

    async fn reads(&self, name: &str) -> Result<Option<SecretValue>, SecretError> {
        let read = self.secrets.read("ada", &[name.to_owned()]).await?;
        assert!(read.len() <= 1);
        Ok(read.into_iter().next())
    }

    async fn shows(&self, name: &str) -> String {
        let read = self.reads(name).await.unwrap().expect("it is there");
        String::from_utf8(read.value).unwrap()
    }

    fn calls(&self) -> usize {
        self.cloud.faults().calls(READ).len()
    }
}

/// Moves the clock; it must not stand still while AWS is called.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn busy() -> Fault {
    Fault::Error { status: 400, code: "ServiceUnavailable", message: "Busy." }
}

fn kind(error: &SecretError) -> AwsErrorKind {
    let SecretError::Aws(error) = error else { panic!("{error}") };
    error.kind
}

#[tokio::test]
async fn the_parameter_store_keeps_the_contract_of_secrets() {
    let place = Place::with(Duration::ZERO).await;
    place.puts("shared/A", "shared").await;
    place.puts("shared/B", "for everybody").await;
    place.puts("users/ada/A", "own").await;
    let secrets = &place.secrets;
    conformance::own_secrets_come_before_shared_ones(secrets, "ada", ["A", "B", "C"]).await;
    conformance::a_change_is_seen_by_the_next_read(secrets, "ada", "B", async || {
        place.puts("shared/B", "changed").await;
    })
    .await;
    let names: Vec<String> = (0..33).map(|n| format!("LARGE{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let of = if n % 2 == 0 { "shared" } else { "users/ada" };
        place.puts(&format!("{of}/{name}"), &"v".repeat(4096)).await;
    }
    conformance::what_is_too_large_together_is_refused(secrets, "ada", &names).await;
}

#[tokio::test]
async fn every_page_of_both_paths_is_read_decrypted_and_nothing_below_them() {
    let place = Place::new().await;
    for n in 0..23 {
        place.puts(&format!("shared/S{n}"), &format!("shared {n}")).await;
        place.puts(&format!("users/ada/U{n}"), &format!("own {n}")).await;
    }
    place.puts("users/ada/deep/DEEP", "below").await;
    place.puts("users/adam/OTHER", "somebody else's").await;
    let names: Vec<String> = (0..23).flat_map(|n| [format!("S{n}"), format!("U{n}")]).collect();
    let read = place.secrets.read("ada", &names).await.unwrap();
    assert_eq!(read.len(), 46);
    for n in 0..23 {
        assert_eq!(read[2 * n].value, format!("shared {n}").into_bytes());
        assert_eq!(read[2 * n + 1].value, format!("own {n}").into_bytes());
        assert!(read[2 * n].version.starts_with("shared:1@"), "{read:?}");
        assert!(read[2 * n + 1].version.starts_with("own:1@"), "{read:?}");
    }
    assert_eq!(place.calls(), 6);
    for name in ["DEEP", "OTHER", "deep/DEEP"] {
        assert_eq!(place.reads(name).await.unwrap(), None);
    }
    let asked = place.cloud.faults().calls(READ);
    assert!(asked.iter().all(|call| call.body["WithDecryption"] == json!(true)));
    assert!(!format!("{:?} {read:?}", place.secrets).contains("own 1"));
}

#[tokio::test]
async fn what_was_read_is_kept_for_its_age_and_then_what_was_changed_is_seen() {
    let place = Place::new().await;
    place.puts("shared/A", "first").await;
    let first = place.reads("A").await.unwrap();
    place.puts("shared/A", "second").await;
    place.puts("users/bob/A", "another's").await;
    pass(AGE - MOMENT).await;
    assert_eq!(place.reads("A").await.unwrap(), first);
    assert_eq!(place.calls(), 2);
    // Another user's own are read, the shared ones are there.
    place.secrets.read("bob", &["A".to_owned()]).await.unwrap();
    assert_eq!(place.calls(), 3);
    pass(MOMENT).await;
    let second = place.reads("A").await.unwrap().unwrap();
    assert_eq!(second.value, b"second");
    assert!(second.version.starts_with("shared:2@"), "{second:?}");
    assert_eq!(place.calls(), 5);
}

#[tokio::test]
async fn many_who_read_at_once_ask_once() {
    let place = Place::new().await;
    place.puts("shared/A", "a").await;
    let (a, b, c, d) = tokio::join!(
        place.reads("A"),
        place.reads("A"),
        place.reads("B"),
        place.secrets.read("ada", &[]),
    );
    assert!(a.unwrap() == b.unwrap() && c.unwrap().is_none() && d.unwrap().is_empty());
    assert_eq!(place.calls(), 2);
}

#[tokio::test]
async fn while_aws_cannot_be_asked_what_was_read_is_good_for_a_while() {
    let place = Place::new().await;
    place.puts("shared/A", "a").await;
    assert_eq!(place.shows("A").await, "a");
    for fault in [busy(), Fault::Throttle, Fault::Drop] {
        place.cloud.faults().always(READ, fault);
        pass(AGE).await;
        let calls = place.calls();
        assert_eq!(place.shows("A").await, "a");
        let asked = place.calls();
        assert!(asked > calls);
        assert_eq!(place.shows("A").await, "a");
        assert_eq!(place.calls(), asked);
    }
    place.cloud.faults().always(READ, Fault::Stall);
    pass(AGE).await;
    // Nobody answers, so that every deadline of the call passes at once.
    tokio::time::pause();
    assert_eq!(place.shows("A").await, "a");
    tokio::time::resume();
    pass(LONG).await;
    place.cloud.faults().always(READ, busy());
    let error = place.reads("A").await.unwrap_err();
    assert_eq!(kind(&error), AwsErrorKind::Unreachable);
    place.puts("shared/A", "b").await;
    place.cloud.faults().clear();
    pass(MOMENT).await;
    assert_eq!(place.shows("A").await, "b");
}

#[tokio::test]
async fn after_a_while_aws_is_asked_again() {
    let place = Place::new().await;
    place.puts("shared/A", "a").await;
    assert_eq!(place.shows("A").await, "a");
    place.puts("shared/A", "b").await;
    pass(AGE).await;
    place.cloud.faults().next(READ, busy());
    place.cloud.faults().next(READ, busy());
    assert_eq!(place.shows("A").await, "a");
    assert_eq!(place.shows("A").await, "a");
    pass(WHILE).await;
    assert_eq!(place.shows("A").await, "b");
}

#[tokio::test]
async fn a_failure_is_the_answer_for_a_moment_and_not_for_longer() {
    let place = Place::new().await;
    place.puts("users/ada/A", "a").await;
    place.cloud.faults().always(READ, busy());
    place.reads("A").await.unwrap_err();
    let calls = place.calls();
    place.cloud.faults().clear();
    place.reads("A").await.unwrap_err();
    assert_eq!(place.calls(), calls);
    pass(MOMENT).await;
    assert_eq!(place.shows("A").await, "a");
}

#[tokio::test]
async fn a_missing_permission_is_named_and_ends_what_was_kept() {
    let place = Place::new().await;
    place.puts("shared/A", "a").await;
    assert_eq!(place.shows("A").await, "a");
    let message = "User: role/gateway is not authorized";
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message };
    place.cloud.faults().always(READ, denied);
    pass(AGE).await;
    let error = place.reads("A").await.unwrap_err();
    assert_eq!(kind(&error), AwsErrorKind::Denied);
    assert!(error.to_string().contains(READ), "{error}");
}

#[tokio::test]
async fn one_of_the_calls_that_fails_is_made_again() {
    let place = Place::new().await;
    place.puts("shared/A", "a").await;
    place.cloud.faults().next(READ, Fault::Drop);
    place.cloud.faults().next(READ, Fault::Throttle);
    assert_eq!(place.shows("A").await, "a");
    assert_eq!(place.calls(), 4);
}

#[tokio::test]
async fn more_than_a_bridge_takes_is_refused_without_showing_any_of_it() {
    let place = Place::new().await;
    let many: Vec<_> = (0..33)
        .map(|n| {
            let (name, value) = (format!("{PREFIX}/shared/S{n}"), "v".repeat(8 << 10));
            json!({ "Name": name, "Type": "SecureString", "Value": value, "Version": 1 })
        })
        .collect();
    place.cloud.faults().always(READ, Fault::Answer(json!({ "Parameters": many })));
    let error = place.reads("S0").await.unwrap_err();
    assert!(matches!(error, SecretError::Invalid(_)), "{error}");
    assert!(error.to_string().contains(PREFIX) && !error.to_string().contains("vvv"), "{error}");
}

#[tokio::test]
async fn a_path_whose_pages_never_end_is_refused() {
    let place = Place::new().await;
    let page = json!({ "Parameters": [], "NextToken": "more" });
    place.cloud.faults().always(READ, Fault::Answer(page));
    let error = place.reads("A").await.unwrap_err();
    assert!(matches!(error, SecretError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_key_that_would_lead_elsewhere_asks_nobody() {
    let place = Place::new().await;
    for user in ["", "..", "../shared", "a/b", "ada/"] {
        let error = place.secrets.read(user, &["A".to_owned()]).await.unwrap_err();
        assert!(matches!(error, SecretError::Invalid(_)), "{user}: {error}");
    }
    assert_eq!(place.calls(), 0);
}

#[tokio::test]
async fn a_parameter_of_the_gateways_own_is_read_anew_each_time() {
    let place = Place::new().await;
    let name = "/shellgate/test/gateway/authority";
    let error = place.secrets.parameter(name).await.unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    place.cloud.parameter(name, "first").await;
    let first = place.secrets.parameter(name).await.unwrap();
    assert_eq!((first.name.as_str(), first.value.as_slice()), (name, &b"first"[..]));
    place.cloud.parameter(name, "second").await;
    let second = place.secrets.parameter(name).await.unwrap();
    assert_eq!(second.value, b"second");
    assert_ne!(first.version, second.version);
    place.cloud.faults().next(
        "ssm:GetParameter",
        Fault::Error {
            status: 400,
            code: "AccessDeniedException",
            message: "User: role/gateway is not authorized",
        },
    );
    let error = place.secrets.parameter(name).await.unwrap_err();
    assert!(error.to_string().contains("allowed ssm:GetParameter:"), "{error}");
}

#[test]
fn a_prefix_is_checked_before_anything_is_called() {
    let check = |prefix: &str| SsmConfig { prefix: prefix.to_owned(), max_age: AGE }.check();
    for prefix in ["/shellgate", "/shellgate/production", "/a.b/c_d-e"] {
        check(prefix).unwrap();
    }
    let (long, deep) = (format!("/{}", "a".repeat(512)), "/a".repeat(11));
    for prefix in ["", "/", "shellgate", "/a/", "//a", "/a b", "/aws/x", "/ssm", &long, &deep] {
        check(prefix).unwrap_err();
    }
}
