//! Signing in by the CLI: what is stored, for whom, and what is not.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::commands::{run, says, shellgate, told};
use crate::scripted::Gateway;

/// `{}`, `{"sub":"ada"}` and a signature.
const WEB_TOKEN: &str = "e30.eyJzdWIiOiJhZGEifQ.c2ln";

#[tokio::test]
async fn signing_in_stores_a_token_for_this_gateway_and_this_user_alone() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let signed_in = json!({ "token": "dev.token", "expires_in": 3600, "user": "ada" });
    gateway.state().answers.push(("/dev/sign-in", 200, signed_in));
    let mut command = shellgate(&gateway, home.path());
    command.args(["login", "--code", "-7Q2K"]);
    let (status, said, error) = told(run(command, "").await);
    assert_eq!((status, said.as_str()), (0, ""), "{error}");
    assert!(error.contains("Signed in as ada") && !error.contains("dev.token"), "{error}");
    assert_eq!(gateway.state().requests[0].2, r#"{"code":"-7Q2K"}"#);
    let file = home.path().join(".config/shellgate/token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut command = shellgate(&gateway, home.path());
    command.arg("ls");
    assert_eq!(run(command, "").await.status.code(), Some(0));
    assert_eq!(gateway.state().bearers, ["Bearer dev.token"]);

    let other = Gateway::start().await;
    let mut command = shellgate(&other, home.path());
    command.arg("ls");
    let (status, _, error) = told(run(command, "").await);
    assert!(status == 1 && error.contains("signed in at") && other.state().bearers.is_empty());

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = shellgate(&gateway, home.path());
    command.arg("ls");
    let (status, _, error) = told(run(command, "").await);
    assert!(status == 1 && error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_token_from_standard_input_is_renewed_when_it_is_refused() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let old = WEB_TOKEN;
    let mut command = shellgate(&gateway, home.path());
    command.args(["login", "--token-stdin"]);
    assert_eq!(run(command, &format!("{old}\n")).await.status.code(), Some(0));
    gateway.state().bearers.clear();
    let refused = json!({ "title": "Unauthorized", "detail": "The token has run out." });
    gateway.state().answers.push(("/v1/sessions?", 401, refused));
    let renewed = json!({ "token": "new", "expires_in": 3600, "user": "ada" });
    gateway.state().answers.push(("/dev/renew", 200, renewed));
    let mut command = shellgate(&gateway, home.path());
    command.arg("ls");
    let (status, _, error) = told(run(command, "").await);
    assert!(status == 1 && error.contains("The token has run out.") && error.contains("login"));
    assert_eq!(
        gateway.state().bearers,
        [format!("Bearer {old}"), format!("Bearer {old}"), "Bearer new".to_owned()]
    );
    let stored = std::fs::read_to_string(home.path().join(".config/shellgate/token")).unwrap();
    assert_eq!(stored, format!("new\n{}\n", gateway.url));
}

#[tokio::test]
async fn a_token_that_is_none_or_is_refused_is_not_stored() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let logs_in = |text: &'static str| {
        let mut command = shellgate(&gateway, home.path());
        command.args(["login", "--token-stdin"]);
        async move { told(run(command, text).await) }
    };
    let (status, _, error) = logs_in("nonsense\n").await;
    assert!(status == 64 && error.contains("not a JSON Web Token"), "{error}");
    assert!(gateway.state().bearers.is_empty(), "nobody is asked about nonsense");
    let refused = json!({ "title": "Unauthorized", "detail": "Sign in again." });
    gateway.state().answers.push(("/v1/sessions?limit=1", 401, refused));
    let (status, _, error) = logs_in(WEB_TOKEN).await;
    assert!(status == 1 && error.contains("Sign in again."), "{error}");
    assert_eq!(error.to_lowercase().matches("sign in").count(), 1, "{error}");
    assert!(!home.path().join(".config").exists());
}

#[tokio::test]
async fn the_whole_address_that_was_printed_signs_in() {
    let gateway = Gateway::start().await;
    let signed_in = json!({ "token": "dev.token", "expires_in": 3600, "user": "ada" });
    gateway.state().answers.push(("/dev/sign-in", 200, signed_in));
    let printed = format!("{}/#code=-7Q2K", gateway.url);
    for login in [&["login", &printed][..], &["login", "--code", &printed]] {
        let (status, _, error) = says(&gateway, login).await;
        assert_eq!(status, 0, "{error}");
        assert_eq!(gateway.state().requests.last().unwrap().2, r#"{"code":"-7Q2K"}"#);
    }
    let (status, _, error) = says(&gateway, &["login", "http://127.0.0.1:1/#code=x"]).await;
    assert!(status == 64 && error.contains("--url"), "{error}");
    assert_eq!(gateway.state().requests.len(), 2);
}

#[tokio::test]
async fn a_used_code_says_where_a_new_one_comes_from() {
    let gateway = Gateway::start().await;
    let problem = json!({ "title": "Unauthorized", "status": 401, "code": "sign_in_code" });
    gateway.state().answers.push(("/dev/sign-in", 401, problem));
    let (status, _, error) = says(&gateway, &["login", "--code", "used"]).await;
    assert!(status == 1 && error.contains("prints a new one"), "{error}");
}
