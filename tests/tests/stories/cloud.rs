//! A gateway whose tasks, files and secrets are on AWS, and what goes wrong there.

use shellgate_client::api::NewSession;
use shellgate_client::removal::RemovalState;
use shellgate_client::session::Session;
use shellgate_cloud::{Fault, Stop};
use shellgate_protocol::client_leg::EndReason;
use shellgate_tests::{World, until};

/// What only an operator may read: AWS's own names for things.
const IMAGE: &str = "registry.invalid/shellgate-task";

#[tokio::test]
async fn a_start_that_is_cut_off_at_any_step_comes_to_one_task() {
    let steps = [
        ("elasticfilesystem:CreateAccessPoint", Fault::Stall),
        ("elasticfilesystem:CreateAccessPoint", Fault::StallAnswer),
        ("ecs:RegisterTaskDefinition", Fault::Stall),
        ("ecs:RegisterTaskDefinition", Fault::StallAnswer),
        ("ecs:RunTask", Fault::Stall),
        ("ecs:RunTask", Fault::StallAnswer),
    ];
    let mut world = World::builder().on_aws().set("limits.sessions_per_user", 1).start().await;
    for (number, (action, fault)) in steps.into_iter().enumerate() {
        // Somebody new each time, who has neither a home nor a task definition yet.
        let user = world.user(&format!("user-{number}"));
        let faults = world.aws().cloud().faults();
        let calls = faults.calls(action).len();
        faults.next(action, fault);
        let session = user.asks_for_a("default").await.id;
        faults.until_called(action, calls + 1).await;
        world.kills_the_gateway().await;
        world.starts_the_gateway_again().await;
        let mut shell = user.comes_to(session);
        assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
        let tasks = world.aws().tasks_of(&session.to_string()).await;
        assert_eq!(tasks.len(), 1, "cut off in {action}");
        // Its place is its user's again, and there is one.
        shell.types("exit\n").await;
        shell.exits().await;
        user.sees_the_end_of(session).await;
        let next = user.asks_for_a("default").await.id;
        let refused = user.is_refused(&NewSession::default()).await;
        assert_eq!(refused.code, "too_many_sessions", "cut off in {action}");
        user.stops(next).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_ended_while_there_was_no_gateway_leaves_no_task() {
    let mut world = World::builder().on_aws().start().await;
    let shell = world.user("ada").opens_a_shell().await;
    let session = shell.session().to_string();
    world.kills_the_gateway().await;
    world.forgets_the_session(shell.session()).await;
    world.starts_the_gateway_again().await;
    until("its task is stopped", async || {
        let tasks = world.aws().tasks_of(&session).await;
        tasks.len() == 1 && tasks[0].status == "STOPPED"
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_task_that_is_lost_ends_its_session() {
    let world = World::builder().on_aws().start().await;
    let ada = world.user("ada");
    let shell = ada.opens_a_shell().await;
    world.aws().loses_the_task_of(&shell.session().to_string()).await;
    let ended = ada.sees_the_end_of(shell.session()).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::Lost);
    world.stop().await;
}

#[tokio::test]
async fn sessions_that_run_outlive_a_gateway_that_comes_back_while_ecs_does_not_answer() {
    let mut world = World::builder().on_aws().start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    world.kills_the_gateway().await;
    let denied = Fault::Error { status: 400, code: "AccessDeniedException", message: "no" };
    world.aws().cloud().faults().always("ecs:DescribeTasks", denied);
    world.starts_the_gateway_again().await;
    assert_eq!(shell.runs("echo $((6 * 8))").await, "48");
    world.aws().cloud().faults().clear();
    // Or says nothing at all: a bridge does not wait for ever.
    world.kills_the_gateway().await;
    world.aws().cloud().faults().always("ecs:DescribeTasks", Fault::Stall);
    world.starts_the_gateway_again().await;
    assert_eq!(shell.runs("echo $((6 * 9))").await, "54");
    world.aws().cloud().faults().clear();
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_does_not_call_from_its_tasks_address_is_not_let_in() {
    let world = World::builder().on_aws().set("limits.start_deadline", "5s").start().await;
    world.aws().says_that_tasks_are_at("10.0.0.9");
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let ended = ada.sees_the_end_of(session).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert!(world.log().contains("this is not the task's address"));
    world.stop().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_in_words() {
    let world = World::builder().on_aws().start().await;
    world.aws().fails_the_next_task(Stop {
        code: Some("TaskFailedToStart".to_owned()),
        reason: Some(format!("CannotPullContainerError: pull image manifest {IMAGE}:story")),
        ..Stop::default()
    });
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let ended = ada.sees_the_end_of(session).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert_eq!(ended.detail.as_deref(), Some("the image could not be pulled"));
    let evidence = evidence(&world.operator().looks_at(session).await);
    assert!(evidence.contains(IMAGE), "{evidence}");
    world.stop().await;
}

#[tokio::test]
async fn where_spot_has_no_room_the_task_runs_on_demand() {
    let world = World::builder().on_aws().set("ecs.spot", true).start().await;
    // Once it says so at once, and once after it has taken the task.
    let none = serde_json::json!({
        "tasks": [],
        "failures": [{ "reason": "Capacity is unavailable at this time." }],
    });
    world.aws().cloud().faults().next("ecs:RunTask", Fault::Answer(none));
    let mut shell = world.user("ada").opens_a_shell().await;
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    assert_eq!(world.aws().capacities_of(&shell.session().to_string()).await, ["FARGATE"]);
    world.aws().fails_the_next_task(Stop {
        code: Some("TaskFailedToStart".to_owned()),
        reason: Some("Capacity is unavailable at this time. Please try again later".to_owned()),
        ..Stop::default()
    });
    let mut shell = world.user("eve").opens_a_shell().await;
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    let capacities = world.aws().capacities_of(&shell.session().to_string()).await;
    assert_eq!(capacities, ["FARGATE_SPOT", "FARGATE"]);
    world.stop().await;
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_to_the_operator() {
    let world = World::builder().on_aws().start().await;
    world.aws().cloud().faults().next(
        "ecs:RunTask",
        Fault::Error {
            status: 400,
            code: "AccessDeniedException",
            message: "User: arn:aws:sts::123456789012:assumed-role/gateway is not authorized",
        },
    );
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let ended = ada.sees_the_end_of(session).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert!(ended.detail.is_some_and(|told| told.contains("not set up right")));
    let evidence = evidence(&world.operator().looks_at(session).await);
    assert!(evidence.contains("ecs:RunTask"), "{evidence}");
    world.stop().await;
}

#[tokio::test]
async fn a_newer_secret_reaches_a_program_that_runs() {
    let secrets = toml::Value::Array(vec!["api-key".into()]);
    let builder = World::builder().on_aws().set("templates.agent.secrets", secrets);
    let world = builder.start().await;
    world.keeps_a_secret("ada", "api-key", "the-first-key").await;
    let mut shell = world.user("ada").opens_a("agent").await;
    assert_eq!(shell.runs("cat /run/secrets/api-key").await, "the-first-key");
    world.keeps_a_secret("ada", "api-key", "the-second-key").await;
    let waits =
        "until grep -q second /run/secrets/api-key; do sleep 0.1; done; cat /run/secrets/api-key";
    assert_eq!(shell.runs(waits).await, "the-second-key");
    world.stop().await;
}

#[tokio::test]
async fn a_removal_that_is_cut_off_at_any_step_leaves_no_file_and_no_way_to_one() {
    let steps = [
        ("ecs:RegisterTaskDefinition", Fault::Stall),
        ("ecs:RunTask", Fault::Stall),
        ("ecs:RunTask", Fault::StallAnswer),
        ("elasticfilesystem:DeleteAccessPoint", Fault::Stall),
        ("elasticfilesystem:DeleteAccessPoint", Fault::StallAnswer),
    ];
    let mut world = World::builder().on_aws().start().await;
    for (number, (action, fault)) in steps.into_iter().enumerate() {
        let (user, operator) = (world.user(&format!("user-{number}")), world.operator());
        let mut shell = user.opens_a_shell().await;
        let fills = "mkdir -p ~/a/b; echo >~/a/b/file; chmod 000 ~/a; ln -s / ~/l; ls ~ | wc -l";
        assert_eq!(shell.runs(fills).await, "2");
        assert_eq!(world.aws().homes().len(), number + 1);
        let faults = world.aws().cloud().faults();
        let calls = faults.calls(action).len();
        faults.next(action, fault);
        let asked = operator.asks_for_the_removal_of(&user).await;
        faults.until_called(action, calls + 1).await;
        world.kills_the_gateway().await;
        world.starts_the_gateway_again().await;
        let removal = operator.sees_the_removal_end(&asked.id).await;
        assert_eq!((removal.state, removal.failure), (RemovalState::Done, None), "{action}");
        let homes = world.aws().homes();
        assert!(homes.len() == number + 1 && homes.values().all(|left| *left == 0), "{homes:?}");
        let emptying = world.aws().tasks_of("removal-").await;
        assert_eq!(emptying.len(), number + 1, "cut off in {action}");
        assert_eq!(emptying[number].command(), ["empty", "/home/agent"]);
        // It knows no session, and no gateway.
        assert_eq!(emptying[number].environment().len(), 0);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_task_that_could_not_empty_a_home_is_followed_by_another() {
    let world = World::builder().on_aws().start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    assert_eq!(shell.runs("echo kept >~/file; cat ~/file").await, "kept");
    shell.types("exit\n").await;
    ada.sees_the_end_of(shell.session()).await;
    world.aws().fails_the_next_task(Stop {
        code: Some("TaskFailedToStart".to_owned()),
        reason: Some(format!("CannotPullContainerError: pull image manifest {IMAGE}:story")),
        ..Stop::default()
    });
    let asked = world.operator().asks_for_the_removal_of(&ada).await;
    let mut told = None;
    until("it says why it is tried again", async || {
        told = world.operator().api().removal(&asked.id).await.expect("a removal").failure;
        told.is_some()
    })
    .await;
    assert!(told.as_ref().is_some_and(|told| told.contains(IMAGE)), "{told:?}");
    let removal = world.operator().sees_the_removal_end(&asked.id).await;
    assert_eq!((removal.state, removal.failure), (RemovalState::Done, None));
    assert!(world.aws().homes().values().all(|left| *left == 0));
    assert_eq!(world.aws().tasks_of("removal-").await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_user_who_has_come_back_is_removed_again() {
    let world = World::builder().on_aws().start().await;
    let ada = world.user("ada");
    for times in 1..=2 {
        let mut shell = ada.opens_a_shell().await;
        assert_eq!(shell.runs("ls ~; echo kept >~/file; cat ~/file").await, "kept");
        let removal = world.operator().removes(&ada).await;
        assert_eq!((removal.state, removal.failure), (RemovalState::Done, None), "{times}");
        assert!(world.aws().homes().values().all(|left| *left == 0));
    }
    world.stop().await;
}

#[tokio::test]
async fn how_full_the_file_systems_are_is_among_the_metrics() {
    let mut world = World::builder().on_aws().start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    // The first look comes with the start.
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    let metrics = format!("http://{}/metrics", world.admin_address());
    until("a gateway has looked", async || {
        let answer = reqwest::get(&metrics).await.expect("metrics");
        let text = answer.text().await.expect("text");
        let named = |name: &str, value: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with(name));
            lines.any(|line| line.contains("{file_system=\"fs-") && line.ends_with(value))
        };
        named("shellgate_access_points", "} 1") && named("shellgate_file_system_bytes", "")
    })
    .await;
    world.stop().await;
}

/// What the API says to an operator of how a session ended.
fn evidence(session: &Session) -> String {
    session.ended.as_ref().and_then(|ended| ended.evidence.clone()).unwrap_or_default()
}
