//! Who drives a session, and who watches it.

use shellgate_client::AttachOptions;
use shellgate_client::attach::Event;
use shellgate_protocol::client_leg::{GapReason, Notice, Role, Signal};
use shellgate_protocol::limits::WINDOW_MIN;
use shellgate_protocol::{CloseCode, TerminalSize};
use shellgate_tests::user::from_the_start;
use shellgate_tests::{World, within};

#[test]
fn as_an_ordinary_user() {
    shellgate_tests::again::as_an_ordinary_user(module_path!(), &[]);
}

#[test]
fn on_aws() {
    shellgate_tests::again::on_aws(module_path!(), &[]);
}

#[test]
fn by_another_gateway() {
    shellgate_tests::again::by_another_gateway(module_path!(), &[]);
}

#[tokio::test]
async fn another_driver_is_refused_while_one_is_there() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let mut other = ada.comes_to(shell.session());
    other.closes_with(CloseCode::AnotherDriver).await;
    shell.types("echo $((6 * 7)) is still mine\n").await;
    shell.shows("42 is still mine").await;
    world.stop().await;
}

#[tokio::test]
async fn who_takes_over_drives_and_the_old_driver_is_told_what_was_applied() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut old = ada.opens_a_shell().await;
    old.types("read -r answer\n").await;
    old.is_taken_in().await;
    let typed = old.input.position().1;
    let taking = AttachOptions { takeover: true, ..from_the_start(Role::Driver) };
    let mut new = ada.comes_with(old.session(), taking);
    new.stands().await;
    let applied = old
        .sees("a notice of the takeover", |seen| {
            seen.notices.iter().find_map(|notice| match notice {
                Notice::TakenOver { applied } => Some(*applied),
                _ => None,
            })
        })
        .await;
    assert_eq!(applied, typed);
    old.closes_with(CloseCode::AnotherDriver).await;
    new.types("forty-two\necho now $((6 * 7)) is $answer\n").await;
    new.shows("now 42 is forty-two").await;
    world.stop().await;
}

#[tokio::test]
async fn an_observer_sees_what_the_driver_sees_and_types_nothing() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let mut observer = ada.watches(shell.session()).await;
    assert!(observer.input.send("echo from the observer\n").await.is_err());
    shell.types("echo $((6 * 7)) for everybody\n").await;
    shell.shows("42 for everybody").await;
    observer.shows("42 for everybody").await;
    let count = |count| {
        move |seen: &shellgate_tests::transcript::Transcript| {
            seen.notices.contains(&Notice::Observers { count }).then_some(())
        }
    };
    shell.sees("an observer that has come", count(1)).await;
    observer.hangs_up().await;
    shell.sees("an observer that has gone", count(0)).await;
    world.stop().await;
}

#[tokio::test]
async fn an_observer_that_stalls_slows_nobody_and_is_moved_on_to_a_keyframe() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let watching = AttachOptions { window: WINDOW_MIN, ..from_the_start(Role::Observer) };
    let (_input, mut events) = ada.api().attach(shell.session(), watching);
    within("an observer stands", async {
        while !matches!(events.next().await, Some(Event::Live)) {}
    })
    .await;
    // From here on the observer reads nothing: for a second after its last acknowledgement, which
    // may come a second late, and later on a busy machine.
    shell.types("echo be''gin; seq 1 200000; sleep 7; seq 200001 400000; echo d''one\n").await;
    let begin = shell.finds("begin\r\n").await.end;
    let end = shell.finds("done\r\n").await.start;
    let whole: usize = (1..=400_000_u32).map(|line| line.to_string().len() + 2).sum();
    assert_eq!(end - begin, whole);
    let end = shell.seen().known.expect("it has shown something");
    // Now it reads again, and is soon where the driver is.
    let (skipped, known) = within("the observer catches up", async {
        let (mut skipped, mut known) = (None, None);
        while known < Some(end) {
            match events.next().await.expect("it still stands") {
                Event::Gap { from, to, why } => {
                    assert_eq!(why, GapReason::Skipped);
                    skipped = Some((from, to));
                }
                Event::Keyframe { at, .. } => {
                    assert_eq!(skipped.map(|(_, to)| to), Some(at), "its gap comes first");
                    known = Some(at);
                }
                Event::Output { from, bytes, .. } => known = Some(from.plus(bytes.len() as u64)),
                _ => {}
            }
        }
        (skipped.expect("it was too slow for all of it"), known)
    })
    .await;
    assert!(skipped.1.since(skipped.0) > 1_000_000, "{skipped:?}");
    assert!(known >= Some(end));
    world.stop().await;
}

#[tokio::test]
async fn a_resize_reaches_the_program_and_everybody_is_told() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let mut observer = ada.watches(shell.session()).await;
    let size = TerminalSize::new(101, 37).expect("a size");
    shell.input.resize(size);
    observer.sees("the new size", |seen| seen.sizes.contains(&size).then_some(())).await;
    assert_eq!(shell.runs("stty size").await, "37 101");
    world.stop().await;
}

#[tokio::test]
async fn a_signal_reaches_the_foreground_once() {
    let world = World::start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("bash -c 'trap \"echo caught $((6 * 7))\" USR1; echo rea''dy; while :; do read -rt 1; done'\n").await;
    shell.shows("ready\r\n").await;
    let id = shell.input.signal(Signal::Usr1).expect("taken");
    shell
        .sees("an answer", |seen| seen.notices.contains(&Notice::Signalled { id }).then_some(()))
        .await;
    shell.shows("caught 42").await;
    shell.types("\x03").await;
    shell.shows("$ ").await;
    shell.types("echo o''ver\n").await;
    let over = shell.finds("over\r\n").await.start;
    assert_eq!(shell.seen().text()[..over].matches("caught 42").count(), 1);
    world.stop().await;
}
