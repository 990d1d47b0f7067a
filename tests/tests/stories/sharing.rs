//! Several gateways with one store: whichever a client comes to, and whichever a bridge dials.

use shellgate_client::AttachOptions;
use shellgate_client::api::{NewSession, Which};
use shellgate_client::removal::RemovalState;
use shellgate_client::session::State;
use shellgate_cloud::Fault;
use shellgate_protocol::client_leg::{EndReason, Role};
use shellgate_protocol::{Dial, SessionId};
use shellgate_tests::another::Another;
use shellgate_tests::bridge::{Played, TurnedAway};
use shellgate_tests::raw::Knock;
use shellgate_tests::user::from_the_start;
use shellgate_tests::{Cable, Raw, Shell, User, World, WorldBuilder, until, within};

/// A page that may ask for tickets.
const ORIGIN: &str = "https://shell.example";

/// A world on AWS whose bridges dial what its balancer leads to: its own gateway, at first.
async fn world_of(builder: WorldBuilder) -> (World, Cable) {
    let (builder, balancer) = builder.with_a_balancer().await;
    let world = builder.start().await;
    balancer.leads_to(world.task_address());
    (world, balancer)
}

/// Ada's shell, whose bridge and whose client are both at another gateway, by a cable.
async fn shell_at(other: &Another, world: &World, balancer: &Cable) -> (Cable, Shell) {
    balancer.leads_to(other.task_address());
    let cable = world.cable().await;
    cable.leads_to(other.address());
    let shell = world.user("ada").through(&cable).opens_a_shell().await;
    (cable, shell)
}

/// From now on clients and bridges come to the world's own gateway.
fn all_lead_to(world: &World, balancer: &Cable, cable: &Cable) {
    balancer.leads_to(world.task_address());
    cable.leads_to(world.address());
}

async fn attached(user: &User) -> bool {
    let all = user.api().list(Which::default()).await.expect("a list");
    all.iter().any(|session| session.attached)
}

#[tokio::test]
async fn whichever_gateway_a_client_comes_to_it_is_at_its_session() {
    let (world, _balancer) = world_of(World::builder().set("listen.origins", vec![ORIGIN])).await;
    let other = world.has_another_gateway().await;
    let (here, there) = (world.user("ada"), other.has(&world.user("ada")));
    // Asked for there, where its bridge does not call.
    let new = NewSession { name: Some("main".into()), ..NewSession::default() };
    let session = there.asks_for(new.clone()).await.id;
    let mut shell = there.comes_to(session);
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    shell.types("seq 1 200000 | tail -c 1000000; echo end of it\n").await;
    shell.shows("200000\r\nend of it").await;
    shell.types("echo $((6 * 8)) waits; cat >~/file; wc -c <~/file\n").await;
    shell.shows("48 waits").await;
    shell.pastes(&[b'y'; 2000]).await;
    shell.types("\n\x04").await;
    shell.shows("2001").await;
    for user in [&here, &there] {
        assert!(attached(user).await, "a list says who drives it");
        assert!(user.looks_at(session).await.attached);
        assert_eq!(user.asks_for(new.clone()).await.id, session, "it is there already");
    }
    assert_eq!(other.figure("shellgate_other_gateways").await, 1);
    assert_eq!(other.figure("shellgate_passed_on").await, 1);
    // By a ticket, as a browser comes: the gateway that gives it is not the one that takes it.
    let ticket = here.api().ticket(session, Role::Observer, ORIGIN).await.expect("a ticket");
    let knock = Knock::ticket(&ticket.ticket, Some(ORIGIN));
    let mut watcher = Raw::dials(there.address(), session, &knock).await.expect("it is let in");
    watcher.says(&shellgate_tests::raw::attach(Role::Observer)).await;
    watcher.stands().await;
    // And who may not is told so, and nothing else.
    let eve = other.has(&world.user("eve"));
    assert!(eve.api().get(session).await.is_err());
    let mut stranger = Raw::knocks(&eve, session).await;
    stranger.says(&shellgate_tests::raw::attach(Role::Driver)).await;
    assert_eq!(stranger.is_closed().await.0, 4404);
    // Stopped there, it is seen to end at both.
    there.stops(session).await;
    here.sees_the_end_of(session).await;
    there.sees_the_end_of(session).await;
    other.is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn a_deployment_costs_nobody_a_byte_and_types_nothing_twice() {
    let (world, balancer) = world_of(World::builder()).await;
    let old = world.has_another_gateway().await;
    let (cable, mut shell) = shell_at(&old, &world, &balancer).await;
    shell
        .types("for i in $(seq 1 400); do echo line $i; sleep 0.01; done; echo all $((2 * 200))\n")
        .await;
    shell.shows("line 40\r\n").await;
    let attached = shell.times_attached();
    // New connections go to the new gateway; the old one is told to leave.
    all_lead_to(&world, &balancer, &cable);
    old.is_stopped().await;
    shell.stands_again(attached).await;
    shell.types("echo typed $((6 * 7))\n").await;
    shell.shows("all 400").await;
    shell.shows("typed 42").await;
    let shown = shell.seen().text();
    let lines: Vec<_> = shown.lines().filter_map(|line| line.split_once("line ")).collect();
    let numbers: Vec<u32> = lines.iter().filter_map(|(_, number)| number.parse().ok()).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
    assert_eq!(shown.matches("typed 42").count(), 1);
    let tasks = world.aws().tasks_of(&shell.session().to_string()).await;
    assert_eq!(tasks.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_start_whose_gateway_leaves_or_dies_is_gone_on_with_by_another_and_comes_to_one_task() {
    let (world, _balancer) = world_of(World::builder()).await;
    let faults = world.aws().cloud().faults();
    for (number, fault) in [Fault::Stall, Fault::StallAnswer, Fault::Stall].into_iter().enumerate()
    {
        let other = world.has_another_gateway().await;
        let calls = faults.calls("ecs:RunTask").len();
        faults.next("ecs:RunTask", fault);
        let ada = world.user(&format!("user-{number}"));
        let session = other.has(&ada).asks_for_a("default").await.id;
        faults.until_called("ecs:RunTask", calls + 1).await;
        match number {
            2 => other.is_stopped().await,
            _ => other.is_killed().await,
        }
        let mut shell = ada.comes_to(session);
        assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
        let tasks = world.aws().tasks_of(&session.to_string()).await;
        assert_eq!(tasks.len(), 1, "{number}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_stood_still_takes_nothing_back_and_leaves() {
    let (world, balancer) = world_of(World::builder()).await;
    let other = world.has_another_gateway().await;
    let (cable, mut shell) = shell_at(&other, &world, &balancer).await;
    shell.types("ANSWER=$((6 * 7)); echo $ANSWER so far\n").await;
    shell.shows("42 so far").await;
    let attached = shell.times_attached();
    other.stands_still();
    world.hears_the_gateway_say("a gateway is declared dead").await;
    all_lead_to(&world, &balancer, &cable);
    balancer.cut();
    cable.cut();
    shell.stands_again(attached).await;
    shell.types("echo $ANSWER after all\n").await;
    shell.shows("42 after all").await;
    other.goes_on();
    other.is_seen_to_leave().await;
    assert!(other.log().contains("this gateway was declared dead"));
    shell.types("echo $ANSWER and on\n").await;
    shell.shows("42 and on").await;
    assert_eq!(shell.times_attached(), attached + 1, "nobody broke it");
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_alone_has_lost_the_database_hears_so_leaves_and_ends_nothing() {
    let (world, balancer) = world_of(World::builder().set("limits.severed_deadline", "30s")).await;
    let to_database = world.cable_to_its_database().await;
    let port = i64::from(to_database.address().port());
    let other = world.has_another_gateway_with(&[("store.port", port.into())]).await;
    let (cable, mut shell) = shell_at(&other, &world, &balancer).await;
    shell.types("ANSWER=$((6 * 7)); echo $ANSWER so far\n").await;
    shell.shows("42 so far").await;
    let attached = shell.times_attached();
    all_lead_to(&world, &balancer, &cable);
    to_database.unplug();
    other.is_heard_to_say("this gateway was declared dead").await;
    other.is_seen_to_leave().await;
    shell.stands_again(attached).await;
    shell.types("echo $ANSWER after all\n").await;
    shell.shows("42 after all").await;
    let tasks = world.aws().tasks_of(&shell.session().to_string()).await;
    assert!(tasks.len() == 1 && tasks[0].status == "RUNNING", "{tasks:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_dials_another_gateway_takes_its_session_there_and_its_clients_follow() {
    let (world, balancer) = world_of(World::builder()).await;
    let other = world.has_another_gateway().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut shell = ada.comes_to(session);
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    // Who follows its events follows it, too.
    let (followed, ()) = tokio::join!(ada.sees_the_end_of(session), async {
        for (round, to) in [other.task_address(), world.task_address()].into_iter().enumerate() {
            let attached = shell.times_attached();
            balancer.leads_to(to);
            balancer.cut();
            shell.stands_again(attached).await;
            assert_eq!(
                shell.runs(&format!("echo $((100 + {round}))")).await,
                format!("{}", 100 + round)
            );
        }
        assert!(other.log().contains("taken over: its bridge calls here"));
        assert!(other.log().contains("another gateway keeps it"));
        // It lets nobody in for it any more, and passes them on.
        let options = AttachOptions { takeover: true, ..from_the_start(Role::Driver) };
        let mut again = other.has(&ada).comes_with(session, options);
        again.shows("101").await;
        again.types("exit 7\n").await;
        assert_eq!(again.exits().await.code, Some(7));
    });
    assert_eq!(followed.ended.and_then(|ended| ended.code), Some(7));
    other.is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn sessions_are_counted_and_users_removed_wherever_they_are() {
    let (world, _balancer) =
        world_of(World::builder().set("limits.sessions_per_user", 2).set("peers.deadline", "5s"))
            .await;
    let other = world.has_another_gateway().await;
    let (ada, there) = (world.user("ada"), other.has(&world.user("ada")));
    let shell = ada.opens_a_shell().await;
    let second = there.asks_for_a("default").await.id;
    for user in [&ada, &there] {
        let refused = user.is_refused(&NewSession::default()).await;
        assert_eq!((refused.status, refused.code.as_str()), (429, "too_many_sessions"));
    }
    // Removed by the gateway that keeps none of them.
    let operator = other.has(&world.operator());
    let removal = operator.removes(&ada).await;
    assert_eq!((removal.state, removal.failure), (RemovalState::Done, None));
    for session in [shell.session(), second] {
        until("nothing is left of it", async || {
            !matches!(ada.api().get(session).await, Ok(shown) if shown.state != State::Ended)
        })
        .await;
    }
    other.is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn who_is_no_gateway_of_the_deployment_is_not_heard_where_gateways_talk() {
    let (world, _balancer) = world_of(World::builder()).await;
    let other = world.has_another_gateway().await;
    let at = other.peer_address();
    let anybody =
        reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().expect("a client");
    for url in [format!("https://{at}/peer/live"), format!("http://{at}/v1/sessions")] {
        let asked = within("an answer or none", anybody.post(&url).body("[]").send()).await;
        assert!(asked.is_err(), "{url}: {asked:?}");
    }
    other.is_heard_to_say("is no gateway of this deployment").await;
    other.is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn a_stranger_moves_no_session() {
    let (world, _balancer) = world_of(World::builder()).await;
    let other = world.has_another_gateway().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    let dials = |session| Played::on_aws(&world, session, other.task_address());
    let mut stranger = dials(shell.session());
    stranger.dial = Dial(9);
    stranger.token = None;
    let refused = stranger.enrols().await.err();
    assert!(matches!(refused, Some(TurnedAway::Closed(4403, _))), "{refused:?}");
    let mut guess = dials(SessionId::generate());
    guess.token = None;
    assert_eq!(guess.enrols().await.err(), Some(TurnedAway::Refused(404)));
    stranger.token = Some("A".repeat(43));
    assert_eq!(stranger.enrols().await.err(), Some(TurnedAway::Refused(404)));
    assert_eq!(shell.runs("echo $((6 * 8))").await, "48");
    assert_eq!(shell.times_attached(), 1);
    assert!(!other.log().contains("taken over"));
    // Nor does it take others' places: a session has few of them.
    let path = format!("/internal/task/{}", shell.session());
    let mut held = Vec::new();
    stranger.token = None;
    let refused = loop {
        match stranger.dials(&path).await {
            Ok(link) => held.push(link),
            Err(refused) => break refused,
        }
    };
    assert_eq!((held.len(), refused), (4, TurnedAway::Refused(503)));
    drop(held);
    // Somebody who has the token, too, is dealt with wherever they call.
    let thief = dials(shell.session());
    let refused = thief.enrols().await.err();
    assert!(matches!(refused, Some(TurnedAway::Closed(4403, _))), "{refused:?}");
    let ended = ada.sees_the_end_of(shell.session()).await.ended.expect("it has ended");
    assert_eq!(ended.reason, EndReason::Compromised);
    other.is_stopped().await;
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_whose_token_is_by_a_key_that_its_gateway_has_not_read_yet_is_let_in() {
    let (world, balancer) = world_of(World::builder()).await;
    world.aws().has_another_enrolment_key().await;
    // It reads the key as it starts; the world's own has the one before.
    let other = world.has_another_gateway().await;
    balancer.leads_to(world.task_address());
    let session = other.has(&world.user("ada")).asks_for_a("default").await.id;
    let mut shell = world.user("ada").comes_to(session);
    assert_eq!(shell.runs("echo $((6 * 7))").await, "42");
    other.is_stopped().await;
    world.stop().await;
}
