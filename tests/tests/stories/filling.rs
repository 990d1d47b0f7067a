//! A disk that is full: under the gateway's database, and under what a bridge keeps of its
//! program's output. Each story has a small disk of its own, where it may mount one.

use std::time::Duration;

use shellgate_client::AttachOptions;
use shellgate_client::api::NewSession;
use shellgate_client::session::State;
use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::{GapReason, Role};
use shellgate_tests::raw::Knock;
use shellgate_tests::user::from_the_start;
use shellgate_tests::{Raw, Shell, World, until};

const MIB: u64 = 1024 * 1024;

/// A page that may ask for tickets.
const ORIGIN: &str = "https://page.example";

/// A disk with less room than a spill file may take.
const DISK: u64 = 12 * MIB;

/// What a bridge keeps in memory.
const RING: u64 = 8 * MIB;

/// A line of a flood: nine digits and a line end, as a terminal shows it.
const LINE: u64 = 11;

/// The number before the first one of a flood.
const ZEROTH: u64 = 100_000_000;

#[tokio::test]
async fn a_full_disk_is_said_and_costs_nobody_their_shell() {
    let Some(world) = World::builder().on_a_disk_of(DISK) else { return };
    let world = world.set("listen.origins", vec![ORIGIN]).start().await;
    let ada = world.user("ada");
    let (mut shell, ending) = (ada.opens_a_shell().await, ada.opens_a_shell().await);
    let ticket = ada.api().ticket(shell.session(), Role::Observer, ORIGIN).await;
    let ticket = Knock::ticket(&ticket.expect("a ticket").ticket, Some(ORIGIN));
    let ballast = world.fills_its_disk();
    // The database goes on within the room that it has on the disk already.
    until("the database is full", async || {
        ada.api().ticket(shell.session(), Role::Driver, ORIGIN).await.is_err()
    })
    .await;
    let refused = ada.is_refused(&NewSession::default()).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "store_unavailable"));
    assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
    let mut holder = Raw::dials(ada.address(), shell.session(), &ticket).await.expect("upgraded");
    let (code, _) = holder.is_closed().await;
    assert_eq!(
        code,
        CloseCode::Overloaded.number(),
        "a ticket that can't be used up opens nothing"
    );
    let ready = format!("http://{}/readyz", world.admin_address());
    assert_eq!(reqwest::get(&ready).await.expect("an answer").status(), 503);
    shell.types("echo $((6 * 7)) all the same\n").await;
    shell.shows("42 all the same").await;
    ada.watches(shell.session()).await.shows("42 all the same").await;
    ending.types("exit 6\n").await;
    world.hears_the_gateway_say("was not stored").await;
    drop(ballast);
    let ended = ada.sees(ending.session(), State::Ended).await.ended.expect("ended");
    assert_eq!(ended.code, Some(6));
    until("the gateway is ready again", async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let mut new = ada.opens_a_shell().await;
    new.types("echo $((6 * 7)) for a new one\n").await;
    new.shows("42 for a new one").await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_starts_on_a_full_disk_goes_on_once_there_is_room() {
    let Some(world) = World::builder().on_a_disk_of(DISK) else { return };
    let mut world = world.start().await;
    let mut shell = world.user("ada").opens_a_shell().await;
    shell.types("ANSWER=$((6 * 7))\n").await;
    shell.is_taken_in().await;
    let attached = shell.times_attached();
    let ballast = world.fills_its_disk();
    world.kills_the_gateway().await;
    world.starts_the_gateway_again().await;
    world.hears_the_gateway_say("was not stored").await;
    drop(ballast);
    shell.stands_again(attached).await;
    shell.types("echo $ANSWER after all\n").await;
    shell.shows("42 after all").await;
    world.stop().await;
}

#[tokio::test]
async fn what_a_full_disk_cannot_keep_is_announced_and_all_else_is_kept() {
    let Some(world) = World::builder().on_a_disk_of(DISK) else { return };
    let world = world.start().await;
    let shell = world.user("ada").opens_a_shell().await;
    // More than the disk has room for.
    let (shell, kept) = prints_unseen(&world, shell, 2_400_000).await;
    assert!(kept.is_some_and(|kept| kept > RING + DISK - 4 * MIB), "{kept:?} bytes were kept");
    world.hears_the_gateway_say("the spill file fails").await;
    // A disk that the user's own program has filled.
    let mut shell = shell;
    let filled = shell.runs("head -c 100m /dev/zero >fill 2>/dev/null; wc -c <fill").await;
    assert!(filled.parse::<u64>().is_ok_and(|bytes| bytes > DISK - 4 * MIB), "{filled}");
    let (mut shell, kept) = prints_unseen(&world, shell, 1_000_000).await;
    assert!(kept.is_some_and(|kept| (RING..RING + MIB).contains(&kept)), "{kept:?} bytes");
    // And one that has room again.
    assert_eq!(shell.runs("rm fill; echo $((6 * 7))").await, "42");
    let (mut shell, kept) = prints_unseen(&world, shell, 1_000_000).await;
    assert_eq!(kept, None, "nothing is lost");
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    world.stop().await;
}

/// Prints so many numbered lines while their driver is away, who then comes back and looks at every
/// byte that was kept. Gives how much was kept, in bytes, where that was not everything.
async fn prints_unseen(world: &World, mut shell: Shell, lines: u64) -> (Shell, Option<u64>) {
    let (first, last) = (ZEROTH + 1, ZEROTH + lines);
    let numbers = format!("read -r; sleep 1; seq {first} {last}; echo d''one; stty echo");
    // No screen shows what was done before.
    shell.types(&format!("stty -echo; clear; echo be''gin; {numbers}\n")).await;
    let begin = shell.finds("begin\r\n").await.end;
    let at = {
        let seen = shell.seen();
        seen.known.expect("it has shown something").get() - (seen.output.len() - begin) as u64
    };
    let watching = AttachOptions { output: None, ..from_the_start(Role::Observer) };
    let mut observer = world.user("ada").comes_with(shell.session(), watching);
    observer.stands().await;
    shell.types("\n").await;
    let away = shell.hangs_up().await;
    let patience = Duration::from_secs(60);
    observer.draws_within(patience, "done").await;
    let mut shell = away.comes_back().await;
    let end = shell.finds_within(patience, "done\r\n").await.start;
    let (seen, all) = (shell.seen(), lines * LINE);
    let kept = match seen.gaps[..] {
        [] => {
            assert_numbered(&seen.output[begin..end], 0);
            assert_eq!((end - begin) as u64, all, "no byte more and none less");
            None
        }
        [gap] => {
            assert_eq!(gap.why, GapReason::Lost);
            let (from, to) = (gap.from.get() - at, gap.to.get() - at);
            assert_eq!((gap.after - begin) as u64, from);
            assert_numbered(&seen.output[begin..gap.after], 0);
            assert_numbered(&seen.output[gap.after..end], to);
            assert_eq!((end - gap.after) as u64, all - to, "no byte more and none less");
            Some(all - to)
        }
        ref gaps => panic!("more than one gap: {gaps:?}"),
    };
    drop(seen);
    (shell, kept)
}

/// These bytes are the numbered lines from this place of the flood on.
fn assert_numbered(mut bytes: &[u8], mut from: u64) {
    while !bytes.is_empty() {
        let line = format!("{}\r\n", ZEROTH + 1 + from / LINE);
        let (_, line) = line.as_bytes().split_at((from % LINE) as usize);
        let (seen, rest) = bytes.split_at(line.len().min(bytes.len()));
        assert_eq!(seen, &line[..seen.len()], "at {from}");
        bytes = rest;
        from += seen.len() as u64;
    }
}
