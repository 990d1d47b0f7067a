//! Several gateways have one store in Postgres: each writes what is its own, and what is nobody's goes
//! to exactly one.

use shellgate_database::Database;
use shellgate_gateway::removal::{Removal, Step};
use shellgate_gateway::session::{LinkId, Record, State};
use shellgate_gateway::store::{Most, Registration, Store, StoreError};
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch};

use crate::postgres::{does, open, superuser};
use crate::{MANY, session, unended, user};

fn says(instance: &str, address: Option<&str>) -> Registration {
    Registration {
        instance: instance.into(),
        name: format!("machine of {instance}"),
        address: address.map(str::to_owned),
        since_ms: 1_700_000_000_000,
    }
}

/// Two gateways with one store.
async fn two(database: &Database) -> [Store; 2] {
    let both = [open(database).await.unwrap(), open(database).await.unwrap()];
    for (store, name) in both.iter().zip(["one", "other"]) {
        assert!(store.register(&says(name, Some("10.0.0.1:7803"))).await.unwrap());
    }
    both
}

async fn has(store: &Store, owner: &str) -> Record {
    let record = session(&user(owner), None);
    store.insert(&record, MANY).await.unwrap();
    record
}

fn link(dial: u32) -> LinkId {
    LinkId { launch: Launch(1), dial: Dial(dial) }
}

#[tokio::test]
async fn gateways_that_can_be_reached_live_side_by_side_and_one_that_can_not_lives_alone() {
    let database = Database::start();
    let [one, other, alone] = [(); 3].map(|()| open(&database));
    let [one, other, alone] = [one.await.unwrap(), other.await.unwrap(), alone.await.unwrap()];
    assert!(one.register(&says("one", Some("10.0.0.1:7803"))).await.unwrap());
    assert!(other.register(&says("other", Some("10.0.0.2:7803"))).await.unwrap());
    assert!(other.register(&says("other", Some("10.0.0.2:7803"))).await.unwrap(), "once more");
    assert!(!alone.register(&says("alone", None)).await.unwrap());
    let seen = one.gateways().await.unwrap();
    let addresses: Vec<_> = seen.iter().filter_map(|of| of.says.address.as_deref()).collect();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    one.deregister().await.unwrap();
    other.deregister().await.unwrap();
    assert!(alone.register(&says("alone", None)).await.unwrap());
    assert!(!one.register(&says("one", Some("10.0.0.1:7803"))).await.unwrap());
    // The same state directory once more: the gateway that had it is gone.
    let again = open(&database).await.unwrap();
    assert!(again.register(&says("alone", None)).await.unwrap());
    assert!(!alone.beat().await.unwrap());
    assert!(again.beat().await.unwrap());
}

#[tokio::test]
async fn of_two_that_would_live_alone_exactly_one_is_registered() {
    let database = Database::start();
    let [one, other] = [open(&database).await.unwrap(), open(&database).await.unwrap()];
    let (alone, both) = (says("one", None), says("other", None));
    for _ in 0..20 {
        let (first, second) = tokio::join!(one.register(&alone), other.register(&both));
        assert!(first.unwrap() != second.unwrap());
        one.deregister().await.unwrap();
        other.deregister().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_is_declared_dead_by_what_was_seen_of_it_and_not_once_it_has_moved() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let seen = one.gateways().await.unwrap();
    let seen = seen.iter().find(|of| of.id == other.gateway()).unwrap();
    assert!(other.beat().await.unwrap());
    assert!(!one.declare_dead(seen).await.unwrap());
    let seen = one.gateways().await.unwrap();
    let seen = seen.iter().find(|of| of.id == other.gateway()).unwrap();
    assert!(one.declare_dead(seen).await.unwrap());
    assert!(!other.beat().await.unwrap());
}

#[tokio::test]
async fn whoever_does_not_keep_a_session_writes_nothing_of_it() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let mut record = has(&one, "ada").await;
    let key = Bytes32([1; 32]);
    assert_eq!(other.keeper_of(record.id).await.unwrap().as_deref(), Some(one.gateway()));
    record.life.state = State::Stopping;
    assert!(!other.save(&record).await.unwrap());
    assert!(!other.enrol(record.id, link(1), &key).await.unwrap());
    other.save_screen(record.id, b"theirs").await.unwrap();
    other.let_go(record.id).await.unwrap();
    assert_eq!(one.screen(record.id).await.unwrap(), None);
    assert!(one.enrol(record.id, link(1), &key).await.unwrap());
    assert!(one.save(&record).await.unwrap());
    assert_eq!(one.ours().await.unwrap(), [record.id]);
    assert!(other.ours().await.unwrap().is_empty());
    assert_eq!(other.running().await.unwrap(), [(record.id, Launch(1))]);
}

#[tokio::test]
async fn the_newest_link_says_who_keeps_a_session() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let record = has(&one, "ada").await;
    let key = Bytes32([1; 32]);
    assert!(one.enrol(record.id, link(3), &key).await.unwrap());
    for stale in [link(2), link(3), LinkId { launch: Launch(2), dial: Dial(9) }] {
        assert!(other.take_by_link(record.id, stale, false).await.unwrap().is_none(), "{stale:?}");
    }
    let taken = other.take_by_link(record.id, link(4), false).await.unwrap().unwrap();
    assert_eq!((taken.pinned_key, taken.life.link), (Some(key), link(3)));
    assert!(!one.save(&record).await.unwrap());
    assert!(!one.enrol(record.id, link(5), &key).await.unwrap(), "it comes too late");
    assert!(other.enrol(record.id, link(4), &key).await.unwrap());
    // Whoever shows another key is to be dealt with, whatever its number is.
    assert!(one.take_by_link(record.id, link(1), true).await.unwrap().is_some());
    let mut record = one.find(record.id).await.unwrap().unwrap();
    record.life.state = State::Stopping;
    assert!(one.save(&record).await.unwrap());
    assert!(other.take_by_link(record.id, link(9), false).await.unwrap().is_none(), "it stops");
}

#[tokio::test]
async fn what_is_nobodys_goes_to_exactly_one_and_what_is_somebodys_stays_theirs() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let gone = open(&database).await.unwrap();
    let kept = has(&one, "ada").await;
    for _ in 0..40 {
        has(&gone, "ada").await;
    }
    let mut ended = has(&gone, "ada").await;
    ended.life.state = State::Ended;
    assert!(gone.save(&ended).await.unwrap());
    let mut taken = Vec::new();
    loop {
        let (first, second) = tokio::join!(one.take_unkept(3), other.take_unkept(3));
        let both = [first.unwrap(), second.unwrap()].concat();
        if both.is_empty() {
            break;
        }
        taken.extend(both.into_iter().map(|record| record.id));
    }
    let all = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!((all, taken.len()), (40, 40));
    assert!(!taken.contains(&kept.id) && !taken.contains(&ended.id));
    one.let_go(kept.id).await.unwrap();
    assert_eq!(other.take_unkept(3).await.unwrap(), std::slice::from_ref(&kept));
    other.deregister().await.unwrap();
    assert!(one.take_unkept(100).await.unwrap().contains(&kept));
}

#[tokio::test]
async fn there_are_no_more_sessions_than_there_may_be_however_many_gateways_are_asked_at_once() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let five = Most { of_user: 5, in_all: 7 };
    let mut results = Vec::new();
    for _ in 0..6 {
        let records = [(); 4].map(|()| session(&user("ada"), None));
        let (a, b, c, d) = tokio::join!(
            one.insert(&records[0], five),
            other.insert(&records[1], five),
            one.insert(&records[2], five),
            other.insert(&records[3], five),
        );
        results.extend([a, b, c, d]);
    }
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(made, 5);
    let refused = results.into_iter().filter_map(Result::err);
    assert!(refused.into_iter().all(|error| matches!(error, StoreError::TooManySessions)));
    other.insert(&session(&user("grace"), None), five).await.unwrap();
    let mut first = unended(&one).await.remove(0);
    first.life.state = State::Ended;
    let keeper = one.kept(first.id).await.unwrap().unwrap().gateway;
    let keeper = if keeper.as_deref() == Some(one.gateway()) { &one } else { &other };
    assert!(keeper.save(&first).await.unwrap());
    one.insert(&session(&user("ada"), None), five).await.unwrap();
    // Six there are, and one more may be, whoever asks.
    let [first, second] = ["joan", "eve"].map(|name| session(&user(name), None));
    let (a, b) = tokio::join!(one.insert(&first, five), other.insert(&second, five));
    assert!(a.is_ok() != b.is_ok());
    assert!(matches!(a.and(b), Err(StoreError::Full)));
}

#[tokio::test]
async fn one_gateway_works_at_a_removal_until_it_is_gone_or_somebody_asks_again() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let removal = Removal {
        user: user("ada"),
        asked_by: user("operator"),
        asked_ms: 1,
        step: Step::Sessions,
        attempt: 1,
        failure: None,
        given_up: false,
        ended_ms: None,
    };
    let key = user("ada").key();
    assert!(one.begin_removal(&removal).await.unwrap());
    assert!(!other.begin_removal(&removal).await.unwrap());
    assert!(one.take_removal(&key, false).await.unwrap(), "it is its own");
    assert!(!other.take_removal(&key, false).await.unwrap());
    assert!(!other.save_removal(&removal).await.unwrap());
    assert!(other.take_removal(&key, true).await.unwrap());
    assert!(!one.save_removal(&removal).await.unwrap());
    other.deregister().await.unwrap();
    assert!(one.take_removal(&key, false).await.unwrap());
    assert!(one.save_removal(&Removal { ended_ms: Some(2), ..removal }).await.unwrap());
    assert!(!one.take_removal(&key, true).await.unwrap(), "it is over");
}

#[tokio::test]
async fn a_row_that_nobody_can_read_keeps_no_other_from_its_keeper() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let (damaged, fine) = (has(&one, "ada").await, has(&one, "ada").await);
    let damage = format!("UPDATE sessions SET detail = '{{}}' WHERE id = '{}'", damaged.id);
    does(&mut superuser(&database).await, &damage).await;
    one.deregister().await.unwrap();
    assert_eq!(other.take_unkept(10).await.unwrap(), [fine]);
    assert!(other.take_unkept(10).await.unwrap().is_empty(), "it is not taken again and again");
    assert_eq!(other.ours().await.unwrap().len(), 2);
}

#[tokio::test]
async fn new_users_of_two_gateways_have_a_uid_each() {
    let database = Database::start();
    let [one, other] = two(&database).await;
    let range = 70_000..=70_059;
    let names: Vec<_> = (0..60).map(|n| format!("user-{n}")).collect();
    let stores = [&one, &other].into_iter().cycle();
    let uids = names.iter().zip(stores).map(|(name, store)| store.uid(name, &range));
    let mut uids: Vec<_> =
        futures_util::future::join_all(uids).await.into_iter().map(Result::unwrap).collect();
    uids.sort_unstable();
    assert_eq!(uids, range.collect::<Vec<_>>());
}
