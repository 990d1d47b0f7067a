//! The store in a real SQLite file: what must be one write is one write, and what was stored is
//! found again.

use std::time::{Duration, SystemTime};

use shellgate_gateway::auth::ticket::{Ticket, TicketGrant};
use shellgate_gateway::auth::{Identity, Scopes, UserId};
use shellgate_gateway::removal::{Removal, Step};
use shellgate_gateway::session::{LinkId, Record, State};
use shellgate_gateway::store::{Page, Sqlite, StoreError};
use shellgate_protocol::client_leg::{EndReason, Mode, Role};
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, SessionId, TerminalSize};

struct Place {
    store: Sqlite,
    directory: tempfile::TempDir,
}

async fn place() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory).await;
    Place { store, directory }
}

async fn open(directory: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(&directory.path().join("test.db"), Duration::from_millis(200))
        .await
        .expect("a store")
}

fn user(name: &str) -> UserId {
    UserId::new("https://issuer.example", name).expect("a user")
}

fn session(owner: &UserId, name: Option<&str>) -> Record {
    let (size, created_ms) = (TerminalSize::DEFAULT, 1_700_000_000_000);
    let mut record = Record::new(owner.clone(), "default", Mode::Terminal, size, created_ms);
    record.name = name.map(str::to_owned);
    record
}

fn link(dial: u32) -> LinkId {
    LinkId { launch: Launch(1), dial: Dial(dial) }
}

#[tokio::test]
async fn what_was_stored_is_found_after_a_restart() {
    let Place { store, directory } = place().await;
    let mut record = session(&user("ada"), Some("main"));
    store.insert(&record).await.unwrap();
    record.life.state = State::Stopping;
    record.life.reason = Some(EndReason::Idle);
    record.detail.reason = record.life.reason;
    record.detail.evidence = Some("nobody typed".into());
    store.save(&record).await.unwrap();
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.find(record.id).await.unwrap().unwrap(), record);
    assert_eq!(store.unended().await.unwrap(), [record]);
}

#[tokio::test]
async fn a_name_belongs_to_one_live_session_of_its_user() {
    let Place { store, directory: _held } = place().await;
    let mut first = session(&user("ada"), Some("main"));
    store.insert(&first).await.unwrap();
    let again = store.insert(&session(&user("ada"), Some("main"))).await;
    assert!(matches!(again, Err(StoreError::NameTaken(id)) if id == first.id));
    store.insert(&session(&user("grace"), Some("main"))).await.unwrap();
    first.life.state = State::Ended;
    first.ended_ms = Some(1_700_000_001_000);
    store.save(&first).await.unwrap();
    store.insert(&session(&user("ada"), Some("main"))).await.unwrap();
    store.insert(&session(&user("ada"), None)).await.unwrap();
    store.insert(&session(&user("ada"), None)).await.unwrap();
}

#[tokio::test]
async fn a_launch_has_one_key_and_ever_newer_dials() {
    let Place { store, directory: _held } = place().await;
    let record = session(&user("ada"), None);
    store.insert(&record).await.unwrap();
    let [ours, theirs] = [Bytes32([1; 32]), Bytes32([2; 32])];
    assert!(store.enrol(record.id, link(1), &ours).await.unwrap());
    assert!(!store.enrol(record.id, link(2), &theirs).await.unwrap(), "another key");
    assert!(!store.enrol(record.id, link(1), &ours).await.unwrap(), "an old dial");
    let other_launch = LinkId { launch: Launch(2), dial: Dial(3) };
    assert!(!store.enrol(record.id, other_launch, &ours).await.unwrap(), "another launch");
    assert!(store.enrol(record.id, link(2), &ours).await.unwrap());
    let stored = store.find(record.id).await.unwrap().unwrap();
    assert_eq!((stored.pinned_key, stored.life.link), (Some(ours), link(2)));
}

#[tokio::test]
async fn of_two_bridges_with_one_token_exactly_one_gets_in() {
    let Place { store, directory: _held } = place().await;
    let record = session(&user("ada"), None);
    store.insert(&record).await.unwrap();
    let keys = [1, 2].map(|n| Bytes32([n; 32]));
    let (first, second) = tokio::join!(
        store.enrol(record.id, link(1), &keys[0]),
        store.enrol(record.id, link(1), &keys[1])
    );
    assert!(first.unwrap() != second.unwrap());
}

#[tokio::test]
async fn a_ticket_opens_once() {
    let Place { store, directory: _held } = place().await;
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

#[tokio::test]
async fn every_user_keeps_a_uid_and_the_range_ends() {
    let Place { store, directory } = place().await;
    let range = 70_000..=70_001;
    let ada = store.uid("ada", &range).await.unwrap();
    let grace = store.uid("grace", &range).await.unwrap();
    assert_eq!([ada, grace], [70_000, 70_001]);
    assert!(matches!(store.uid("joan", &range).await, Err(StoreError::NoUidLeft)));
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.uid("ada", &range).await.unwrap(), ada);
}

#[tokio::test]
async fn pages_lead_from_the_youngest_to_the_oldest() {
    let Place { store, directory: _held } = place().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let record = session(&user("ada"), None);
        store.insert(&record).await.unwrap();
        ids.push(record.id);
    }
    store.insert(&session(&user("grace"), None)).await.unwrap();
    ids.reverse();
    let mut page = Page { owner: Some(user("ada")), limit: 2, ..Page::default() };
    let mut seen = Vec::new();
    loop {
        let records = store.list(&page).await.unwrap();
        let Some(last) = records.last() else { break };
        page.before = Some(last.id);
        seen.extend(records.iter().map(|record| record.id));
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_locked_database_is_an_answer_and_not_a_wait_for_ever() {
    let Place { store, directory } = place().await;
    let record = session(&user("ada"), None);
    let path = directory.path().join("test.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = store.insert(&record).await;
    assert!(refused.is_err_and(|error| error.is_retryable()));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.insert(&record).await.unwrap();
}

#[tokio::test]
async fn a_deleted_file_is_written_anew_with_all_that_was_stored() {
    for beside in [vec![], vec!["-wal", "-shm"]] {
        let Place { store, directory } = place().await;
        let (first, second) = (session(&user("ada"), None), session(&user("ada"), None));
        store.insert(&first).await.unwrap();
        let path = directory.path().join("test.db");
        for end in [vec![""], beside].concat() {
            std::fs::remove_file(format!("{}{end}", path.display())).unwrap();
        }
        assert_eq!(store.find(first.id).await.unwrap().unwrap(), first);
        store.insert(&second).await.unwrap();
        assert_eq!(store.find(second.id).await.unwrap().unwrap(), second);
        // As after a crash: nothing is closed in good order.
        let found = open(&directory).await;
        assert_eq!(found.unended().await.unwrap(), [first, second]);
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_deleted_takes_nothing_that_was_stored_with_it() {
    let Place { store, directory } = place().await;
    let path = directory.path().join("test.db");
    let log = directory.path().join("test.db-wal");
    let mut records = vec![session(&user("ada"), Some("before"))];
    store.insert(&records[0]).await.unwrap();
    // Twice: the second log is another file, which is watched as well.
    for name in ["after", "again"] {
        std::fs::remove_file(&log).unwrap();
        let record = session(&user("ada"), Some(name));
        store.insert(&record).await.unwrap();
        records.insert(0, record);
    }
    assert_eq!(store.unended().await.unwrap().len(), 3);
    // What a gateway finds after a crash: the files as they are, unclosed.
    let left = tempfile::tempdir().unwrap();
    std::fs::copy(&path, left.path().join("test.db")).unwrap();
    std::fs::copy(&log, left.path().join("test.db-wal")).unwrap();
    let found = open(&left).await.unended().await.unwrap();
    for record in records {
        assert!(found.contains(&record), "{:?} is lost", record.name);
    }
}

#[tokio::test]
async fn a_file_that_is_not_in_its_place_takes_nothing_until_it_is_back() {
    let Place { store, directory } = place().await;
    let (first, second) = (session(&user("ada"), None), session(&user("ada"), None));
    store.insert(&first).await.unwrap();
    let (path, aside) = (directory.path().join("test.db"), directory.path().join("aside.db"));
    std::fs::rename(&path, &aside).unwrap();
    for put_there in [None, Some("another file")] {
        if let Some(text) = put_there {
            std::fs::write(&path, text).unwrap();
        }
        let refused = store.insert(&second).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotInPlace(_)) && refused.is_retryable());
        assert!(store.check().await.is_err());
        assert_eq!(store.find(first.id).await.unwrap().unwrap(), first, "it can be read");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another file", "it is not touched");
    std::fs::rename(&aside, &path).unwrap();
    store.insert(&second).await.unwrap();
    store.close().await;
    assert_eq!(open(&directory).await.unended().await.unwrap(), [first, second]);
}

#[tokio::test]
async fn a_user_has_one_removal_at_a_time_and_then_nothing_but_a_uid() {
    let Place { store, directory: _held } = place().await;
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
        store.insert(record).await.unwrap();
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
