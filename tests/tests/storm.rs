//! Start storms: hundreds of sessions are asked for at once, of the real gateway, on an ECS that
//! counts as AWS does. In a time of their own, in which no session gets as far as to run: what is
//! told is in which order they are asked for, and how soon.

// The SDK's futures lie many layers deep.
#![recursion_limit = "256"]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use shellgate_client::api::NewSession;
use shellgate_client::session::State;
use shellgate_cloud::{Launch, Simulated};
use shellgate_protocol::SessionId;
use shellgate_tests::here::Here;
use shellgate_tests::still::in_still_time;
use shellgate_tests::{User, World};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// All that is asked for at once.
const SESSIONS: usize = 1000;

/// By how many users, where each asks for as many.
const USERS: usize = 50;

/// How time goes on.
const STEP: Duration = Duration::from_millis(10);

/// How long it may take beside what the buckets alone allow.
const SHARE: f64 = 1.15;

/// A gateway as the deployment on AWS configures it, without limits that a storm of so few users
/// would meet.
async fn gateway(aws: &Simulated) -> Here {
    let world = World::builder()
        .set("limits.parallel_starts", 64)
        .set("limits.start_queue", 2000)
        .set("limits.start_deadline", "5m")
        .set("limits.sessions", 2000)
        .set("limits.sessions_per_user", 2000)
        .set("limits.starts_per_minute_per_user", 2000)
        .set("listen.unauthenticated_per_address", 2000);
    Here::start(world, &aws.settings()).await
}

/// What came of a storm.
struct Storm {
    /// Whose tasks were asked for, in their order.
    order: Vec<usize>,
    took: Duration,
}

/// Asks for as many sessions of each user as it says, all at once.
async fn storm(aws: &Simulated, users: &[(User, usize)]) -> Storm {
    let before = aws.launches().len();
    let began = Instant::now();
    let mut asked = JoinSet::new();
    for (number, (user, sessions)) in users.iter().enumerate() {
        for _ in 0..*sessions {
            let user = user.clone();
            asked.spawn(async move {
                let session = user.asks_for(NewSession::default()).await;
                (session.id.to_string(), number)
            });
        }
    }
    let whose: HashMap<String, usize> = asked.join_all().await.into_iter().collect();
    let wanted = users.iter().map(|(_, sessions)| sessions).sum::<usize>();
    assert_eq!(whose.len(), wanted);
    let launches = all_of(aws, before + wanted).await.split_off(before);
    let took = launches.last().expect("some were wanted").at - began;
    let order = launches.iter().map(|launch| {
        let (session, _) = launch.started_by.rsplit_once('-').expect("session and launch");
        whose[session]
    });
    Storm { order: order.collect(), took }
}

/// Waits until so many tasks have been asked for, and then for a second one of any session.
async fn all_of(aws: &Simulated, wanted: usize) -> Vec<Launch> {
    let patience = Instant::now() + Duration::from_secs(3600);
    while aws.launches().len() < wanted {
        assert!(Instant::now() < patience, "{} of {wanted} tasks", aws.launches().len());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let launches = aws.launches();
    assert_eq!(launches.len(), wanted, "a session has two tasks");
    launches
}

fn assert_soon(storm: &Storm, definitions: usize) {
    let least = Simulated::least_time(storm.order.len(), definitions);
    let ratio = storm.took.as_secs_f64() / least.as_secs_f64();
    println!("{} sessions in {:?}: {ratio:.3} x the buckets alone", storm.order.len(), storm.took);
    assert!(ratio <= SHARE, "{:?} for {least:?}", storm.took);
}

#[test]
fn a_thousand_sessions_of_users_who_were_here_before_start_as_soon_as_ecs_takes_them() {
    in_still_time(STEP, async {
        let aws = Simulated::start().await;
        let gateway = gateway(&aws).await;
        let users: Vec<User> = (0..USERS).map(|n| gateway.user(&format!("user-{n}"))).collect();
        let each =
            |sessions| users.iter().cloned().map(|user| (user, sessions)).collect::<Vec<_>>();
        storm(&aws, &each(1)).await;
        assert_eq!(aws.definitions(), USERS);
        let storm = storm(&aws, &each(SESSIONS / USERS)).await;
        assert_soon(&storm, 0);
        // In turn: between two of one user each other user has one, but for what is under way.
        for user in 0..users.len() {
            let own = (0..storm.order.len()).filter(|at| storm.order[*at] == user);
            let own: Vec<usize> = own.collect();
            let longest = own.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(longest <= Some(users.len() + 64), "user {user} waits for {longest:?}");
        }
        gateway.stop().await;
    });
}

#[test]
fn hundreds_of_new_users_start_as_soon_as_ecs_takes_their_definitions() {
    const NEW: usize = 300;
    in_still_time(STEP * 5, async {
        let aws = Simulated::start().await;
        let gateway = gateway(&aws).await;
        let users = (0..NEW).map(|n| (gateway.user(&format!("user-{n}")), 1));
        let storm = storm(&aws, &users.collect::<Vec<_>>()).await;
        assert_eq!(aws.definitions(), NEW);
        assert_soon(&storm, NEW);
        gateway.stop().await;
    });
}

#[test]
fn users_who_are_new_keep_nobody_waiting_who_was_here_before() {
    in_still_time(STEP, async {
        let aws = Simulated::start().await;
        let gateway = gateway(&aws).await;
        let users = (0..USERS).map(|n| (gateway.user(&format!("user-{n}")), SESSIONS / USERS));
        let storm = storm(&aws, &users.collect::<Vec<_>>()).await;
        assert_eq!(aws.definitions(), USERS);
        assert_soon(&storm, USERS);
        gateway.stop().await;
    });
}

#[test]
fn one_who_asks_for_hundreds_keeps_nobody_waiting() {
    in_still_time(STEP, async {
        let aws = Simulated::start().await;
        let gateway = gateway(&aws).await;
        let modest: Vec<_> = (1..=20).map(|n| gateway.user(&format!("user-{n}"))).collect();
        let users = |greedy| {
            let modest = modest.iter().map(|user| (user.clone(), 1));
            std::iter::once((gateway.user("greedy"), greedy)).chain(modest).collect::<Vec<_>>()
        };
        storm(&aws, &users(1)).await;
        let storm = storm(&aws, &users(300)).await;
        assert_soon(&storm, 0);
        // Before the greedy one has had more than the turns that were free.
        let last = storm.order.iter().rposition(|user| *user != 0).expect("they are there");
        assert!(last < 64 + 20, "the last of the others came after {last}");
        gateway.stop().await;
    });
}

#[test]
fn a_gateway_that_comes_back_in_the_midst_of_a_storm_starts_the_rest_and_loses_nobody() {
    in_still_time(STEP, async {
        let aws = Simulated::start().await;
        let world = World::builder()
            .set("limits.parallel_starts", 8)
            .set("limits.start_queue", 300)
            .set("limits.start_deadline", "5m")
            .set("listen.unauthenticated_per_address", 2000);
        let gateway = Here::start(world, &aws.settings()).await;
        let user = gateway.user("ada");
        let mut asked = JoinSet::new();
        for _ in 0..100 {
            let user = user.clone();
            asked.spawn(async move { user.asks_for(NewSession::default()).await.id });
        }
        let ids: HashSet<SessionId> = asked.join_all().await.into_iter().collect();
        while aws.launches().len() < 50 {
            tokio::time::sleep(STEP).await;
        }
        // Fewer may wait than there are: those who were let in are not refused now.
        let fewer = [("limits.start_queue", 10.into())];
        let gateway = gateway.starts_again_with(&fewer).await;
        let launches = all_of(&aws, 100).await;
        let names: HashSet<&str> = launches.iter().map(|of| of.started_by.as_str()).collect();
        let wanted: Vec<String> = ids.iter().map(|id| format!("{id}-1")).collect();
        assert_eq!(names, wanted.iter().map(String::as_str).collect());
        for id in &ids {
            let state = gateway.user("ada").api().get(*id).await.expect("it is there").state;
            assert_eq!(state, State::Starting);
        }
        gateway.stop().await;
    });
}

#[test]
fn a_session_whose_task_is_not_where_tasks_run_now_ends_and_says_so() {
    in_still_time(STEP, async {
        let aws = Simulated::start().await;
        let world = World::builder().set("limits.start_deadline", "5m");
        let gateway = Here::start(world, &aws.settings()).await;
        let id = gateway.user("ada").asks_for(NewSession::default()).await.id;
        all_of(&aws, 1).await;
        let elsewhere = [("ecs.cluster", "elsewhere".into())];
        let gateway = gateway.starts_again_with(&elsewhere).await;
        let operator = gateway.user("op").with_scopes("sessions:read sessions:admin");
        let mut session = operator.api().get(id).await.expect("it is there");
        while session.state != State::Ended {
            tokio::time::sleep(STEP).await;
            session = operator.api().get(id).await.expect("it is there");
        }
        let evidence = session.ended.and_then(|ended| ended.evidence).unwrap_or_default();
        assert!(evidence.contains("is no task of the cluster elsewhere"), "{evidence}");
        gateway.stop().await;
    });
}
