//! What holds of a store, whichever database it is in: what must be one write is one write, and what
//! was stored is found again.

use std::time::{Duration, SystemTime};

use shellgate_gateway::audit::Entry;
use shellgate_gateway::auth::ticket::{Ticket, TicketGrant};
use shellgate_gateway::auth::{Identity, Scopes};
use shellgate_gateway::removal::{Removal, Step};
use shellgate_gateway::session::{LinkId, State};
use shellgate_gateway::store::{Page, StoreError};
use shellgate_infra::volumes::VolumeRef;
use shellgate_protocol::client_leg::{EndReason, Role};
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, SessionId};

use crate::{MANY, Place, session, unended, user};

fn link(dial: u32) -> LinkId {
    LinkId { launch: Launch(1), dial: Dial(dial) }
}

pub async fn what_was_stored_is_found_after_a_restart(place: &Place) {
    let store = place.open().await;
    let mut record = session(&user("ada"), Some("main"));
    store.insert(&record, MANY).await.unwrap();
    record.life.state = State::Stopping;
    record.life.reason = Some(EndReason::Idle);
    record.detail.reason = record.life.reason;
    record.detail.evidence = Some("nobody typed".into());
    store.save(&record).await.unwrap();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.find(record.id).await.unwrap().unwrap(), record);
    assert_eq!(unended(&store).await, [record]);
}

pub async fn a_name_belongs_to_one_live_session_of_its_user(place: &Place) {
    let store = place.open().await;
    let mut first = session(&user("ada"), Some("main"));
    store.insert(&first, MANY).await.unwrap();
    let again = store.insert(&session(&user("ada"), Some("main")), MANY).await;
    assert!(matches!(again, Err(StoreError::NameTaken(id)) if id == first.id));
    store.insert(&session(&user("grace"), Some("main")), MANY).await.unwrap();
    first.life.state = State::Ended;
    first.ended_ms = Some(1_700_000_001_000);
    store.save(&first).await.unwrap();
    store.insert(&session(&user("ada"), Some("main")), MANY).await.unwrap();
    store.insert(&session(&user("ada"), None), MANY).await.unwrap();
    store.insert(&session(&user("ada"), None), MANY).await.unwrap();
}

pub async fn a_launch_has_one_key_and_ever_newer_dials(place: &Place) {
    let store = place.open().await;
    let record = session(&user("ada"), None);
    store.insert(&record, MANY).await.unwrap();
    let [ours, theirs] = [Bytes32([1; 32]), Bytes32([2; 32])];
    assert!(store.enrol(record.id, link(1), &ours).await.unwrap());
    assert!(!store.enrol(record.id, link(2), &theirs).await.unwrap(), "another key");
    assert!(store.enrol(record.id, link(1), &ours).await.unwrap(), "its answer may have been lost");
    let other_launch = LinkId { launch: Launch(2), dial: Dial(3) };
    assert!(!store.enrol(record.id, other_launch, &ours).await.unwrap(), "another launch");
    assert!(store.enrol(record.id, link(2), &ours).await.unwrap());
    assert!(!store.enrol(record.id, link(1), &ours).await.unwrap(), "an old dial");
    let stored = store.find(record.id).await.unwrap().unwrap();
    assert_eq!((stored.pinned_key, stored.life.link), (Some(ours), link(2)));
}

pub async fn of_two_bridges_with_one_token_exactly_one_gets_in(place: &Place) {
    let store = place.open().await;
    let record = session(&user("ada"), None);
    store.insert(&record, MANY).await.unwrap();
    let keys = [1, 2].map(|n| Bytes32([n; 32]));
    let (first, second) = tokio::join!(
        store.enrol(record.id, link(1), &keys[0]),
        store.enrol(record.id, link(1), &keys[1])
    );
    assert!(first.unwrap() != second.unwrap());
}

pub async fn a_ticket_opens_once(place: &Place) {
    let store = place.open().await;
    let now = SystemTime::now();
    let holder = Identity {
        user: user("ada"),
        scopes: Scopes { read: true, observe: false, admin: false },
        expires_at: now + Duration::from_secs(600),
    };
    let ticket = Ticket::mint().unwrap();
    let session = SessionId::generate();
    let grant = TicketGrant::new(&holder, session, Role::Observer, None, now);
    store.keep_ticket(&ticket.hash(), &grant).await.unwrap();
    let hash = ticket.hash();
    let (first, second) = tokio::join!(store.use_ticket(&hash), store.use_ticket(&hash));
    let used = [first.unwrap(), second.unwrap()];
    let used: Vec<_> = used.into_iter().flatten().collect();
    let [used] = used.as_slice() else { panic!("used {} times", used.len()) };
    assert_eq!((used.session, used.role, &used.user), (session, Role::Observer, &holder.user));
    assert_eq!(used.scopes, holder.scopes);
}

pub async fn every_user_keeps_a_uid_and_the_range_ends(place: &Place) {
    let store = place.open().await;
    let range = 70_000..=70_001;
    let ada = store.uid("ada", &range).await.unwrap();
    let grace = store.uid("grace", &range).await.unwrap();
    assert_eq!([ada, grace], [70_000, 70_001]);
    assert!(matches!(store.uid("joan", &range).await, Err(StoreError::NoUidLeft)));
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.uid("ada", &range).await.unwrap(), ada);
}

pub async fn pages_lead_from_the_youngest_to_the_oldest(place: &Place) {
    let store = place.open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let record = session(&user("ada"), None);
        store.insert(&record, MANY).await.unwrap();
        ids.push(record.id);
    }
    store.insert(&session(&user("grace"), None), MANY).await.unwrap();
    ids.reverse();
    let mut page = Page { owner: Some(user("ada")), limit: 2, ..Page::default() };
    let mut seen = Vec::new();
    loop {
        let records = store.list(&page).await.unwrap();
        let Some(last) = records.last() else { break };
        page.before = Some(last.record.id);
        seen.extend(records.iter().map(|kept| kept.record.id));
    }
    assert_eq!(seen, ids);
}

pub async fn a_session_that_is_stored_again_is_stored_once(place: &Place) {
    let store = place.open().await;
    let mut record = session(&user("ada"), Some("main"));
    store.insert(&record, MANY).await.unwrap();
    store.insert(&record, MANY).await.unwrap();
    record.life.state = State::Live;
    store.save(&record).await.unwrap();
    // Whoever repeats it late takes nothing back.
    store.insert(&session_like(&record), MANY).await.unwrap();
    assert_eq!(unended(&store).await, [record]);
}

fn session_like(record: &shellgate_gateway::session::Record) -> shellgate_gateway::session::Record {
    let mut again = record.clone();
    again.life.state = State::Starting;
    again
}

pub async fn a_next_launch_has_no_key_and_no_dial_yet(place: &Place) {
    let store = place.open().await;
    let mut record = session(&user("ada"), None);
    store.insert(&record, MANY).await.unwrap();
    assert!(store.enrol(record.id, link(7), &Bytes32([1; 32])).await.unwrap());
    store.save(&record).await.unwrap();
    let kept = store.find(record.id).await.unwrap().unwrap();
    assert_eq!((kept.pinned_key, kept.life.link), (Some(Bytes32([1; 32])), link(7)));
    record.life.link = LinkId { launch: Launch(2), dial: Dial(0) };
    store.save(&record).await.unwrap();
    let next = store.find(record.id).await.unwrap().unwrap();
    assert_eq!((next.pinned_key, next.life.link), (None, record.life.link));
}

pub async fn many_new_users_at_once_have_a_uid_each(place: &Place) {
    let store = place.open().await;
    let range = 70_000..=70_029;
    let names: Vec<_> = (0..30).map(|n| format!("user-{n}")).collect();
    let uids = names.iter().map(|name| store.uid(name, &range));
    let mut uids: Vec<_> =
        futures_util::future::join_all(uids).await.into_iter().map(Result::unwrap).collect();
    uids.sort_unstable();
    assert_eq!(uids, range.collect::<Vec<_>>());
}

pub async fn where_files_are_is_decided_once(place: &Place) {
    let store = place.open().await;
    let [first, second] =
        ["/a", "/b"].map(|path| VolumeRef::Directory { path: path.into(), uid: 1, gid: 1 });
    assert_eq!(store.volume("ada").await.unwrap(), None);
    assert_eq!(store.keep_volume("ada", &first).await.unwrap(), first);
    assert_eq!(store.keep_volume("ada", &second).await.unwrap(), first);
    assert_eq!(store.volume("ada").await.unwrap(), Some(first));
}

pub async fn what_is_old_is_forgotten_and_the_rest_is_kept(place: &Place) {
    let store = place.open().await;
    let mut records = Vec::new();
    for (state, ended_ms) in
        [(State::Ended, Some(1_000)), (State::Ended, Some(2_000)), (State::Live, None)]
    {
        let mut record = session(&user("ada"), None);
        store.insert(&record, MANY).await.unwrap();
        (record.life.state, record.ended_ms) = (state, ended_ms);
        store.save(&record).await.unwrap();
        store.save_screen(record.id, b"\x1b[1mlast\0").await.unwrap();
        records.push(record);
    }
    let id = records[1].id;
    let detail = "said\0so".into();
    let entry = Entry { at_ms: 1, session: Some(id), actor: None, action: "test", detail };
    store.audit(&entry).await.unwrap();
    store.sweep(5_000, 2_000).await.unwrap();
    assert_eq!(store.find(records[0].id).await.unwrap(), None);
    assert!(store.find(id).await.unwrap().is_some());
    assert_eq!(store.screen(id).await.unwrap().as_deref(), Some(&b"\x1b[1mlast\0"[..]));
    assert_eq!(unended(&store).await.len(), 1);
    store.check().await.unwrap();
}

pub async fn a_user_has_one_removal_at_a_time_and_then_nothing_but_a_uid(place: &Place) {
    let store = place.open().await;
    let (ada, root, range) = (user("ada"), user("root"), 10_000..=10_010);
    let removal = |asked_ms| Removal {
        user: ada.clone(),
        asked_by: root.clone(),
        asked_ms,
        step: Step::Sessions,
        attempt: 1,
        failure: None,
        given_up: false,
        ended_ms: None,
    };
    assert!(!store.knows(&ada).await.unwrap());
    let uid = store.uid(&ada.key(), &range).await.unwrap();
    let mut ended = session(&ada, None);
    (ended.life.state, ended.ended_ms) = (State::Ended, Some(1));
    let others = session(&user("grace"), None);
    for record in [&ended, &others] {
        store.insert(record, MANY).await.unwrap();
        store.save(record).await.unwrap();
    }
    assert!(store.knows(&ada).await.unwrap());
    assert!(store.begin_removal(&removal(1)).await.unwrap());
    assert!(!store.begin_removal(&removal(2)).await.unwrap(), "one is under way");
    let mut under_way = store.unended_removals().await.unwrap().remove(0);
    assert_eq!(under_way, removal(1));
    store.forget(&ada).await.unwrap();
    assert!(!store.knows(&ada).await.unwrap());
    assert!(store.find(others.id).await.unwrap().is_some());
    (under_way.step, under_way.ended_ms) = (Step::Done, Some(3));
    assert!(store.save_removal(&under_way).await.unwrap());
    assert!(!store.save_removal(&removal(1)).await.unwrap(), "it is over");
    assert_eq!(store.unended_removals().await.unwrap(), []);
    assert_eq!(store.removal(&ada.key()).await.unwrap(), Some(under_way));
    assert_eq!(store.uid(&ada.key(), &range).await.unwrap(), uid);
    assert_ne!(store.uid("somebody else", &range).await.unwrap(), uid);
    assert!(store.begin_removal(&removal(4)).await.unwrap(), "the user has come back");
    store.sweep(5, 5).await.unwrap();
    assert_eq!(store.removal(&ada.key()).await.unwrap(), Some(removal(4)), "it is not over");
}

pub async fn a_store_that_was_closed_says_so(place: &Place) {
    let store = place.open().await;
    store.close().await;
    let refused = store.insert(&session(&user("ada"), None), MANY).await.unwrap_err();
    assert!(matches!(refused, StoreError::Closed), "{refused}");
}
