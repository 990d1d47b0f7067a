//! Users who are removed: what goes, what stays, and what happens in between.

use std::path::PathBuf;

use shellgate_client::api::NewSession;
use shellgate_client::removal::RemovalState;
use shellgate_client::session::State;
use shellgate_protocol::client_leg::EndReason;
use shellgate_tests::{User, World, until};

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[test]
fn on_aws() {
    shellgate_tests::again::on_aws(module_path!(), &["a_removal_that_fails", "a_start_that"]);
}

/// A home with files, a tree that is locked, and a link to where others' files may be.
const FILLS: &str = "mkdir -p ~/a/b/c; echo kept >~/a/b/c/file; echo kept >~/file; ln -s / ~/link; \
                     chmod 000 ~/a/b; cat ~/file";

async fn sessions_of(user: &User) -> usize {
    user.api().list(shellgate_client::api::Which::default()).await.expect("a list").len()
}

#[tokio::test]
async fn a_user_who_is_removed_loses_sessions_files_and_records_and_nobody_else_does() {
    let world = World::start().await;
    let (ada, eve, operator) = (world.user("ada"), world.user("eve"), world.operator());
    let mut hers = ada.opens_a_shell().await;
    assert_eq!(hers.runs(FILLS).await, "kept");
    let mut others = eve.opens_a_shell().await;
    assert_eq!(others.runs("echo kept >~/file; cat ~/file").await, "kept");
    let removal = operator.removes(&ada).await;
    assert_eq!((removal.state, removal.failure), (RemovalState::Done, None));
    assert_eq!((sessions_of(&ada).await, sessions_of(&eve).await), (0, 1));
    assert_eq!(others.runs("cat ~/file").await, "kept");
    // Who comes back is somebody new, as far as files go.
    let mut again = ada.opens_a_shell().await;
    assert_eq!(again.runs("ls ~/file ~/a 2>/dev/null; echo $((6 * 7))").await, "42");
    let audit = world.audit_of_users().await;
    let actions: Vec<_> = audit.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["user.removal.asked", "user.removed"]);
    assert!(audit.iter().all(|(_, words)| words.starts_with(operator.name())), "{audit:?}");
    assert!(audit.iter().all(|(_, words)| words.contains(": ada of ")), "{audit:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_removal_that_a_gateway_left_is_finished_by_the_next_and_its_user_waits_for_it() {
    let mut world = World::builder()
        .set("limits.stop_grace", "2s")
        .template(
            "stubborn",
            &["bash", "-c", "trap '' HUP TERM; echo up; while :; do sleep 1; done"],
        )
        .start()
        .await;
    let (ada, operator) = (world.user("ada"), world.operator());
    let mut shell = ada.opens_a("stubborn").await;
    shell.shows("up").await;
    let asked = operator.asks_for_the_removal_of(&ada).await;
    ada.sees(shell.session(), State::Stopping).await;
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "user_being_removed"));
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    let ended = operator.sees_the_removal_end(&asked.id).await;
    assert_eq!((ended.state, ended.asked_at), (RemovalState::Done, asked.asked_at));
    assert_eq!(sessions_of(&ada).await, 0);
    let mut again = ada.opens_a_shell().await;
    assert_eq!(again.runs("echo $((6 * 7))").await, "42");
    world.stop().await;
}

#[tokio::test]
async fn a_removal_that_fails_says_why_and_is_tried_again_when_it_is_asked_for_again() {
    let world = World::start().await;
    let (ada, operator) = (world.user("ada"), world.operator());
    let mut shell = ada.opens_a_shell().await;
    assert_eq!(shell.runs(FILLS).await, "kept");
    shell.types("exit\n").await;
    ada.sees_the_end_of(shell.session()).await;
    let (home, aside) = puts_a_link_where_her_files_are(&world);
    let failed = operator.removes(&ada).await;
    assert_eq!(failed.state, RemovalState::Failed);
    assert!(failed.failure.is_some_and(|why| why.contains(home.to_str().expect("UTF-8"))));
    assert_eq!(ada.is_refused(&NewSession::default()).await.code, "user_being_removed");
    assert!(aside.join("file").exists());
    std::fs::remove_file(&home).expect("removed");
    std::fs::rename(&aside, &home).expect("moved back");
    // The one before may be about to leave.
    until("it is done", async || operator.removes(&ada).await.state == RemovalState::Done).await;
    assert!(!home.exists());
    let audit = world.audit_of_users().await;
    let count = |called: &str| audit.iter().filter(|(action, _)| action == called).count();
    assert_eq!((count("user.removal.failed"), count("user.removed")), (1, 1), "{audit:?}");
    world.stop().await;
}

/// Her files are aside then, and no removal gets at them.
fn puts_a_link_where_her_files_are(world: &World) -> (PathBuf, PathBuf) {
    let home = world.home_of("ada");
    let aside = home.with_file_name("aside");
    std::fs::rename(&home, &aside).expect("moved");
    std::os::unix::fs::symlink(&aside, &home).expect("a link");
    (home, aside)
}

#[tokio::test]
async fn a_start_that_the_removal_did_not_find_finds_the_removal() {
    let mut world = World::start().await;
    let (ada, operator) = (world.user("ada"), world.operator());
    let shell = ada.opens_a_shell().await;
    shell.types("exit\n").await;
    ada.sees_the_end_of(shell.session()).await;
    let (home, aside) = puts_a_link_where_her_files_are(&world);
    assert_eq!(operator.removes(&ada).await.state, RemovalState::Failed);
    // As if it had been stored a moment after the removal looked for sessions.
    world.kills_the_gateway().await;
    world.begins_the_session_again(shell.session()).await;
    world.starts_the_gateway_again().await;
    let ended = operator.sees_the_end_of(shell.session()).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert_eq!(ended.evidence.as_deref(), Some("its user is being removed"));
    std::fs::remove_file(&home).expect("removed");
    std::fs::rename(&aside, &home).expect("moved back");
    until("it is done", async || operator.removes(&ada).await.state == RemovalState::Done).await;
    world.stop().await;
}
