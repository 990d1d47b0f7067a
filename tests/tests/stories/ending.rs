//! How sessions end, and what those learn who come after.

use std::time::Duration;

use shellgate_client::AttachOptions;
use shellgate_client::api::{CallError, NewSession};
use shellgate_client::session::State;
use shellgate_protocol::client_leg::{EndReason, GapReason, Notice, Resume, Role};
use shellgate_protocol::{CloseCode, Offset, SessionId};
use shellgate_tests::transcript::Transcript;
use shellgate_tests::user::from_the_start;
use shellgate_tests::{World, until, within};

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

/// Those that are of one machine, or that show the same wherever a task runs.
const OF_ONE_MACHINE: [&str; 8] = [
    "a_dial_directory_that_a_crash_has_left",
    "not_given_it_by_its_name",
    "in_which_nobody_works",
    "warn",
    "longest_life",
    "a_gap",
    "a_new_terminal",
    // The Parameter Store's own test has it: what was read a second ago is not read again there.
    "too_large_together",
];

#[test]
fn on_aws() {
    shellgate_tests::again::on_aws(module_path!(), &OF_ONE_MACHINE);
}

#[test]
fn by_another_gateway() {
    shellgate_tests::again::by_another_gateway(module_path!(), &OF_ONE_MACHINE);
}

#[tokio::test]
async fn a_dial_directory_that_a_crash_has_left_is_removed_and_nothing_beside_it() {
    let mut world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    let attached = shell.times_attached();
    world.kills_the_gateway().await;
    let left = world.dial_directory(SessionId::generate());
    std::fs::create_dir(&left).expect("a folder");
    std::fs::write(left.join("dial.sock"), "").expect("a file");
    let other = left.with_file_name("of-nobody");
    std::fs::create_dir(&other).expect("a folder");
    world.starts_the_gateway_again().await;
    until("it is removed", async || !left.exists()).await;
    assert!(other.exists() && world.dial_directory(shell.session()).exists());
    shell.stands_again(attached).await;
    std::fs::remove_dir(other).expect("removed");
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_ends_tells_its_status_to_those_who_watch() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("exit 3\n").await;
    let status = shell.exits().await;
    assert_eq!((status.code, status.signal, status.reason), (Some(3), None, EndReason::Exited));
    shell.closes_with(CloseCode::Normal).await;
    let ended = world.user("ada").sees_the_end_of(shell.session()).await.ended.expect("ended");
    assert_eq!((ended.reason, ended.code), (EndReason::Exited, Some(3)));
    world.stop().await;
}

#[tokio::test]
async fn the_last_megabyte_of_a_program_that_nobody_watched_is_kept_with_its_status() {
    let world = World::builder()
        .template("short", &["bash", "-c", "stty -echo; read -r; sleep 1; seq 1 150000; exit 7"])
        .start()
        .await;
    let ada = world.user("ada");
    let shell = ada.opens_a("short").await;
    shell.types("\n").await;
    let away = shell.hangs_up().await;
    let over = |session: &shellgate_client::session::Session| session.ended.is_some();
    ada.sees_that(away.session(), "its program has ended", over).await;
    let mut shell = away.comes_back().await;
    let status = shell.exits().await;
    assert_eq!((status.code, status.reason), (Some(7), EndReason::Exited));
    let stream: String = (1..=150_000).map(|line| format!("{line}\r\n")).collect();
    assert!(shell.seen().gaps.is_empty(), "{:?}", shell.seen().gaps);
    assert!(shell.seen().output.ends_with(stream.as_bytes()), "{}", shell.seen().tail());
    world.stop().await;
}

#[tokio::test]
async fn who_comes_after_the_end_finds_the_last_screen_and_the_status() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    shell.types("echo the last $((40 + 2)) words; exit 4\n").await;
    shell.exits().await;
    ada.sees_the_end_of(shell.session()).await;
    let mut late = ada.comes_to(shell.session());
    let status = late.exits().await;
    assert_eq!((status.code, status.reason), (Some(4), EndReason::Exited));
    late.closes_with(CloseCode::Ended).await;
    assert_eq!(late.seen().attached[0].resume, Resume::Ended);
    assert_eq!(late.seen().gaps[0].why, GapReason::Lost);
    let screen = late.seen().keyframes[0].bytes.clone();
    let screen = String::from_utf8_lossy(&screen).into_owned();
    assert!(screen.contains("the last 42 words"), "{screen:?}");
    world.stop().await;
}

#[tokio::test]
async fn who_has_typed_and_was_cut_off_at_the_end_learns_how_it_ended() {
    let world = World::start().await;
    let cable = world.cable().await;
    let ada = world.user("ada");
    let mut shell = ada.through(&cable).opens_a_shell().await;
    shell.types("echo $((6 * 7)) typed\n").await;
    shell.shows("42 typed").await;
    shell.is_taken_in().await;
    cable.unplug();
    let takeover = AttachOptions { takeover: true, ..from_the_start(Role::Driver) };
    let mut other = ada.comes_with(shell.session(), takeover);
    other.stands().await;
    other.types("exit 6\n").await;
    other.exits().await;
    ada.sees_the_end_of(shell.session()).await;
    cable.heal();
    let status = shell.exits().await;
    assert_eq!((status.code, status.reason), (Some(6), EndReason::Exited));
    assert_eq!(shell.seen().attached.last().map(|last| last.resume), Some(Resume::Ended));
    world.stop().await;
}

#[tokio::test]
async fn a_shell_that_kills_everything_leaves_its_bridge_to_tell() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    // It spares the one who asks.
    shell.types("kill -9 -1; echo $((6 * 7)) alive\n").await;
    shell.shows("42 alive").await;
    // And now the shell is not the one who asks.
    shell.types("bash -c 'kill -9 -1'\n").await;
    let status = shell.exits().await;
    assert_eq!((status.signal.as_deref(), status.reason), (Some("KILL"), EndReason::Exited));
    world.stop().await;
}

#[tokio::test]
async fn everything_that_a_program_started_ends_with_it() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("(trap '' HUP TERM; sleep 1000 & setsid sleep 1000 & disown -a); exit\n").await;
    assert_eq!(shell.exits().await.code, Some(0));
    world.user("ada").sees_the_end_of(shell.session()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_is_stopped_ends_for_everybody() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let mut observer = ada.watches(shell.session()).await;
    shell.types("trap '' TERM HUP; echo rea''dy\n").await;
    shell.shows("ready\r\n").await;
    ada.stops(shell.session()).await;
    ada.sees(shell.session(), State::Stopping).await;
    for shell in [&mut shell, &mut observer] {
        assert_eq!(shell.exits().await.reason, EndReason::Stopped);
        shell.closes_with(CloseCode::Ended).await;
    }
    let ended = ada.sees_the_end_of(shell.session()).await.ended.expect("ended");
    assert_eq!(ended.reason, EndReason::Stopped);
    assert!(ada.api().stop(shell.session()).await.expect("again"), "it had ended already");
    world.stop().await;
}

#[tokio::test]
async fn whoever_stops_what_they_have_just_asked_for_is_obeyed() {
    let world = World::start().await;
    // Each is new to the store, which is written in the midst of their starts.
    let users: Vec<_> = (0..24).map(|n| world.user(&format!("user-{n}"))).collect();
    let stopped = users.iter().map(async |user| {
        let session = user.asks_for_a("default").await.id;
        user.stops(session).await;
        user.sees_the_end_of(session).await
    });
    for session in futures_util::future::join_all(stopped).await {
        assert_eq!(session.ended.expect("ended").reason, EndReason::Stopped);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_says_so_in_its_exit() {
    let world = World::builder().template("nothing", &["no-such-program"]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("nothing").await.id;
    let mut shell = ada.comes_to(session);
    let status = shell.exits().await;
    assert_eq!((status.code, status.reason), (Some(127), EndReason::Exited));
    assert!(status.detail.as_ref().is_some_and(|detail| detail.contains("no-such-program")));
    let ended = world.operator().sees_the_end_of(session).await.ended.expect("ended");
    assert_eq!(ended.detail, status.detail, "who comes later can read it, too");
    assert_eq!(ended.evidence, None, "the exit says it all");
    world.stop().await;
}

#[tokio::test]
async fn a_session_in_which_nobody_works_is_stopped() {
    let world = World::builder().set("templates.short.idle", "2s").start().await;
    let mut shell = world.user("ada").opens_a("short").await;
    assert_eq!(shell.exits().await.reason, EndReason::Idle);
    shell.closes_with(CloseCode::Idle).await;
    world.stop().await;
}

#[tokio::test]
async fn who_is_warned_that_a_session_will_stop_can_put_that_off() {
    let world = World::builder().set("templates.short.idle", "63s").start().await;
    let mut shell = world.user("ada").opens_a("short").await;
    let left = shell
        .sees("a warning", |seen| {
            seen.notices.iter().find_map(|notice| match notice {
                Notice::IdleWarning { seconds } => Some(*seconds),
                _ => None,
            })
        })
        .await;
    assert!((40..=60).contains(&left), "{left} s");
    let id = shell.input.extend().expect("taken");
    let left = shell
        .sees("an answer", |seen| {
            seen.notices.iter().find_map(|notice| match notice {
                Notice::Extended { id: answered, seconds } if *answered == id => Some(*seconds),
                _ => None,
            })
        })
        .await;
    assert!((61..=63).contains(&left), "{left} s");
    world.stop().await;
}

#[tokio::test]
async fn who_comes_after_a_warning_is_warned_too() {
    let world = World::builder().set("templates.short.idle", "63s").start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a("short").await;
    let warned = |notice: &Notice| matches!(notice, Notice::IdleWarning { .. });
    let is_warned = |seen: &Transcript| seen.notices.iter().any(warned).then_some(());
    shell.sees("a warning", is_warned).await;
    let mut watching = ada.comes_with(shell.session(), from_the_start(Role::Observer));
    watching.sees("a warning", is_warned).await;
    let mut shell = shell.hangs_up().await.comes_back().await;
    shell.sees("a warning", is_warned).await;
    world.stop().await;
}

#[tokio::test]
async fn a_life_goes_on_counting_while_no_gateway_runs() {
    let mut world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    let attached = shell.times_attached();
    world.stops_the_gateway().await;
    world.lets_pass(Duration::from_secs(12 * 3600 - 50)).await;
    world.starts_the_gateway_again().await;
    shell.stands_again(attached).await;
    shell
        .sees("a warning", |seen| {
            let warned = |notice: &Notice| matches!(notice, Notice::LifetimeWarning { .. });
            seen.notices.iter().any(warned).then_some(())
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_has_a_longest_life_however_busy_it_is() {
    let world = World::builder()
        .set("templates.short.idle", "2s")
        .set("templates.short.lifetime", "3s")
        .set("templates.short.lifetime_limit", "3s")
        .start()
        .await;
    let mut shell = world.user("ada").opens_a("short").await;
    shell.types("while :; do :; done\n").await;
    assert_eq!(shell.exits().await.reason, EndReason::Lifetime);
    shell.closes_with(CloseCode::Ended).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_printed_beyond_what_is_kept_is_announced_as_a_gap() {
    let world = World::start().await;
    let shell = world.user("ada").opens_a_shell().await;
    shell.types("read -r; sleep 1; yes a line to be lost | head -c 100000000; echo d''one\n").await;
    let watching = AttachOptions { output: None, ..from_the_start(Role::Observer) };
    let mut observer = world.user("ada").comes_with(shell.session(), watching);
    observer.stands().await;
    shell.types("\n").await;
    let known = shell.seen().known.expect("it has shown something");
    let away = shell.hangs_up().await;
    observer.draws_within(Duration::from_secs(60), "done").await;
    let mut shell = away.comes_back().await;
    shell.shows_within(Duration::from_secs(60), "done\r\n").await;
    let gaps = shell.seen().gaps.clone();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].why, GapReason::Lost);
    assert!(gaps[0].from >= known);
    let end = shell.seen().known.expect("it has shown something");
    let kept = end.since(gaps[0].to);
    assert!((64 << 20..80 << 20).contains(&kept), "{kept} bytes were kept");
    assert_eq!(shell.seen().keyframes.last().map(|screen| screen.at), Some(gaps[0].to));
    world.stop().await;
}

#[tokio::test]
async fn a_new_terminal_is_shown_the_screen_and_nothing_before() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    shell.types("seq 1 100000; clear; echo on the $((40 + 2)) screen\n").await;
    shell.shows("on the 42 screen").await;
    let away = shell.hangs_up().await;
    let fresh = AttachOptions { output: None, ..from_the_start(Role::Driver) };
    let mut fresh = ada.comes_with(away.session(), fresh);
    let screen = fresh.sees("a keyframe", |seen| {
        (seen.live > 0).then(|| seen.keyframes.first().cloned()).flatten()
    });
    let screen = screen.await;
    assert!(String::from_utf8_lossy(&screen.bytes).contains("on the 42 screen"));
    assert!(screen.at > Offset::new(500_000).expect("an offset"));
    assert!(screen.bytes.len() < 20_000, "{} bytes", screen.bytes.len());
    fresh.types("echo and $((6 * 7)) more\n").await;
    fresh.shows("and 42 more").await;
    world.stop().await;
}

#[tokio::test]
async fn a_name_finds_its_session_until_that_stops() {
    let world = World::start().await;
    let ada = world.user("ada");
    let named = || NewSession { name: Some("main".into()), ..NewSession::default() };
    let (first, is_new) = ada.api().create(&named()).await.expect("made");
    assert!(is_new);
    let mut shell = ada.attaches_to(first.id).await;
    let (second, is_new) = ada.api().create(&named()).await.expect("found");
    assert_eq!((second.id, is_new), (first.id, false));
    let (other, _) = world.user("eve").api().create(&named()).await.expect("made");
    assert_ne!(other.id, first.id, "a name is its user's");
    // It takes its time to stop.
    shell.types("trap '' TERM HUP; echo rea''dy\n").await;
    shell.shows("ready\r\n").await;
    ada.stops(first.id).await;
    ada.sees(first.id, State::Stopping).await;
    let refused = ada.is_refused(&named()).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "session_stopping"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    ada.sees_the_end_of(first.id).await;
    let (third, is_new) = ada.api().create(&named()).await.expect("made");
    assert!(is_new && third.id != first.id);
    world.stop().await;
}

#[tokio::test]
async fn whoever_has_stopped_a_session_is_not_given_it_by_its_name() {
    let world = World::start().await;
    let ada = world.user("ada");
    let named = || NewSession { name: Some("again".into()), ..NewSession::default() };
    for _ in 0..20 {
        let session = ada.asks_for(named()).await.id;
        let url = format!("http://{}/v1/sessions/{session}", ada.address());
        let asked = reqwest::Client::new().delete(url).bearer_auth(ada.token().0).send();
        let answer = within("an answer", asked).await.expect("an answer");
        assert_eq!(answer.status(), 202);
        let shown: serde_json::Value = answer.json().await.expect("a session");
        assert!(["stopping", "ended"].contains(&shown["state"].as_str().unwrap_or("")), "{shown}");
        match within("an answer", ada.api().create(&named())).await {
            Ok((next, is_new)) => assert!(is_new && next.id != session, "it has ended"),
            Err(CallError::Refused(refused)) => {
                assert_eq!((refused.status, refused.code.as_str()), (409, "session_stopping"));
                assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
            }
            Err(error) => panic!("{error}"),
        }
        ada.sees_the_end_of(session).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn secrets_that_are_too_large_together_fail_a_start_in_words_and_leave_one_that_runs_alone() {
    let names = ["first", "second", "third"];
    let secrets = toml::Value::Array(names.iter().map(|name| (*name).into()).collect());
    let builder = World::builder().set("templates.agent.secrets", secrets);
    let world = builder.set("secrets.max_age", "1s").start().await;
    let ada = world.user("ada");
    world.keeps_a_secret("ada", "first", "small").await;
    let mut runs = ada.opens_a("agent").await;
    let attached = runs.times_attached();
    // Only with the last of them is it too much.
    for name in ["second", "third", "first"] {
        world.keeps_a_secret("ada", name, &"v".repeat(44 << 10)).await;
    }
    let session = ada.asks_for_a("agent").await.id;
    let ended = ada.sees_the_end_of(session).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert!(ended.detail.is_some_and(|told| told.contains("too large together")));
    let evidence = world.operator().looks_at(session).await.ended.expect("ended").evidence;
    let evidence = evidence.unwrap_or_default();
    assert!(
        evidence.contains("128 KiB") && evidence.contains("first, second, third"),
        "{evidence}"
    );
    world.hears_the_gateway_say("its secrets were not read again").await;
    assert_eq!(runs.runs("cat /run/secrets/first").await, "small");
    assert_eq!(runs.times_attached(), attached, "no link was cut");
    world.stop().await;
}
