//! Clients that go away and come back, and cables that break under them.

use shellgate_client::AttachOptions;
use shellgate_client::api::NewSession;
use shellgate_client::attach::Why;
use shellgate_protocol::ClientId;
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::limits::INPUT_STREAMS_KEPT;
use shellgate_tests::World;
use shellgate_tests::checksum::checksum;
use shellgate_tests::user::from_the_start;

/// Lines of a stream that has to be counted to know that it is whole, and what they come to.
const LINES: u32 = 150_000;

/// `1\r\n` to `LINES\r\n`, as a terminal shows them.
fn numbered(lines: u32) -> String {
    (1..=lines).map(|line| format!("{line}\r\n")).collect()
}

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
async fn a_shell_survives_its_client_hanging_up() {
    let world = World::start().await;
    let shell = world.user("ada").opens_a_shell().await;
    shell.types("export ANSWER=$((6 * 7))\n").await;
    let mut shell = shell.hangs_up().await.comes_back().await;
    shell.types("echo the answer is $ANSWER\n").await;
    shell.shows("the answer is 42").await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_printed_while_nobody_is_there_is_shown_to_who_comes_back() {
    let world = World::start().await;
    let shell = world.user("ada").opens_a_shell().await;
    shell.types("read -r; seq 1 1000; echo all $((500 + 500))\n").await;
    let away = shell.hangs_up().await;
    // The gateway may not have seen yet that the one before has hung up.
    let takeover = AttachOptions { takeover: true, ..from_the_start(Role::Driver) };
    let mut other = world.user("ada").comes_with(away.session(), takeover);
    other.types("\n").await;
    other.shows("all 1000").await;
    other.hangs_up().await;
    let mut shell = away.comes_back().await;
    shell.shows(&numbered(1000)).await;
    shell.shows("all 1000").await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_again_replaces_its_own_older_socket() {
    let world = World::start().await;
    let ada = world.user("ada");
    let client = ClientId::random();
    let options = || AttachOptions { client, ..from_the_start(Role::Driver) };
    let session = ada.asks_for_a("default").await.id;
    let mut old = ada.comes_with(session, options());
    old.stands().await;
    let mut new = ada.comes_with(session, options());
    new.stands().await;
    let closed = old.closes().await;
    assert_eq!((closed.why, closed.last.and_then(|last| last.code())), (Why::Stopped, Some(1000)));
    new.types("echo $((6 * 7)) is mine\n").await;
    new.shows("42 is mine").await;
    world.stop().await;
}

#[tokio::test]
async fn a_cable_cut_in_the_middle_of_a_megabyte_costs_no_byte_and_repeats_none() {
    let world = World::start().await;
    let cable = world.cable().await;
    let mut shell = world.user("ada").through(&cable).opens_a_shell().await;
    let cuts = cable.cuts();
    cable.cut_after(500_000);
    shell.types(&format!("echo be''gin; seq 1 {LINES}; echo d''one\n")).await;
    let begin = shell.finds("begin\r\n").await.end;
    cable.is_cut(cuts).await;
    let end = shell.finds("done\r\n").await.start;
    assert!(shell.times_attached() > 1, "the cut was felt");
    assert!(shell.seen().gaps.is_empty(), "{:?}", shell.seen().gaps);
    assert_eq!(end - begin, numbered(LINES).len(), "no byte more and none less");
    assert!(shell.seen().output[begin..end] == *numbered(LINES).as_bytes());
    world.stop().await;
}

#[tokio::test]
async fn a_paste_into_a_cable_that_breaks_arrives_once() {
    let world = World::start().await;
    let cable = world.cable().await;
    let mut shell = world.user("ada").through(&cable).opens_a_shell().await;
    shell.types("stty -echo; echo rea''dy; cat >pasted; stty echo\n").await;
    shell.shows("ready\r\n").await;
    let text: String = (0..40_000).map(|line| format!("line {line}\n")).collect();
    let cuts = cable.cuts();
    cable.cut_after_sending(200_000);
    shell.pastes(text.as_bytes()).await;
    cable.is_cut(cuts).await;
    shell.pastes(b"\x04").await;
    let pasted = shell.runs("cksum <pasted").await;
    assert_eq!(pasted, checksum(&text));
    assert!(shell.times_attached() > 1, "the cut was felt");
    world.stop().await;
}

#[tokio::test]
async fn who_comes_back_after_too_many_others_goes_on_with_another_stream() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for(NewSession::default()).await.id;
    // The gateway may not have seen yet that the one before has hung up.
    let anybody = || AttachOptions { takeover: true, ..from_the_start(Role::Driver) };
    let options = anybody();
    let mut shell = ada.comes_with(session, options.clone());
    shell.types("echo $((6 * 7)) typed\n").await;
    shell.shows("42 typed").await;
    shell.hangs_up().await;
    for _ in 0..INPUT_STREAMS_KEPT {
        let mut other = ada.comes_with(session, anybody());
        other.stands().await;
        other.hangs_up().await;
    }
    let mut shell = ada.comes_with(session, options);
    // On a stream that nobody knows any more: it is given up, and that is told.
    shell.types("lost").await;
    shell.stands().await;
    assert_eq!(shell.seen().attached[0].dropped_input, 4);
    shell.types("echo $((6 * 8)) again\n").await;
    shell.shows("48 again").await;
    world.stop().await;
}
