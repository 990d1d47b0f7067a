//! Connections to Postgres that are lost, answers that are, and callers who give up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use shellgate_database::{Database, PASSWORD};
use shellgate_gateway::auth::ticket::{Ticket, TicketGrant};
use shellgate_gateway::auth::{Identity, Scopes};
use shellgate_gateway::session::LinkId;
use shellgate_gateway::store::postgres::{Postgres, PostgresConfig};
use shellgate_gateway::store::{Store, StoreError};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::postgres::{PATIENCE, config, does, open, password, superuser};
use crate::{MANY, session, unended, user};

/// Waits until a store answers again. Until then it says that it may.
pub async fn until_it_answers(store: &Store) {
    let answers = async {
        while let Err(error) = store.check().await {
            assert!(error.is_retryable(), "{error}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, answers).await.expect("it answers again");
}

/// Between a gateway and its database: takes an answer away, and the connection with it.
struct Between {
    address: SocketAddr,
    takes: Arc<AtomicBool>,
    _passing: JoinSet<()>,
}

impl Between {
    async fn start(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let takes = Arc::new(AtomicBool::new(false));
        let (port, taking) = (database.port(), takes.clone());
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, port, taking.clone()));
            }
        });
        Self { address, takes, _passing: passing }
    }

    /// The next answer is lost.
    fn takes_the_next_answer(&self) {
        self.takes.store(true, Ordering::SeqCst);
    }

    fn has_taken_it(&self) -> bool {
        !self.takes.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, port: u16, takes: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => server.write_all(&asked[..n]).await.unwrap(),
            },
            read = server.read(&mut answered) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if takes.swap(false, Ordering::SeqCst) => return,
                Ok(n) => {
                    if client.write_all(&answered[..n]).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}

/// A store by one connection for statements, and what stands between.
async fn behind(database: &Database) -> (Store, Between) {
    let between = Between::start(database).await;
    let config =
        PostgresConfig { port: between.address.port(), connections: 1, ..config(database) };
    let (say, _said) = watch::channel(String::new());
    let opened = Postgres::open(config, password(PASSWORD), &say).await;
    (opened.unwrap().into(), between)
}

fn lost<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let error = answer.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn what_was_committed_and_not_heard_of_is_done_again_and_done_once() {
    let database = Database::start();
    let (store, between) = behind(&database).await;
    // The server knows each statement by now: it takes one question and one answer.
    let [known, record] = ["known", "new"].map(|name| session(&user("ada"), Some(name)));
    let link = |dial| LinkId { launch: Launch(1), dial: Dial(dial) };
    let key = Bytes32([1; 32]);
    let now = SystemTime::now();
    let holder = Identity {
        user: user("ada"),
        scopes: Scopes { read: true, observe: false, admin: false },
        expires_at: now + Duration::from_secs(600),
    };
    let grant = TicketGrant::new(&holder, SessionId::generate(), Role::Driver, None, now);
    let [used, ticket] = [(); 2].map(|()| Ticket::mint().unwrap().hash());
    store.insert(&known, MANY).await.unwrap();
    store.keep_ticket(&ticket, &grant).await.unwrap();

    between.takes_the_next_answer();
    lost(store.insert(&record, MANY).await);
    assert!(between.has_taken_it());
    store.insert(&record, MANY).await.unwrap();
    assert_eq!(unended(&store).await.len(), 2);

    store.enrol(known.id, link(1), &key).await.unwrap();
    between.takes_the_next_answer();
    lost(store.enrol(record.id, link(1), &key).await);
    assert!(between.has_taken_it());
    let stored = store.find(record.id).await.unwrap().unwrap();
    assert_eq!(stored.pinned_key, Some(key), "it was committed");
    assert!(store.enrol(record.id, link(1), &key).await.unwrap(), "by the same bridge");
    assert!(!store.enrol(record.id, link(1), &Bytes32([2; 32])).await.unwrap(), "by another");

    assert!(store.use_ticket(&used).await.unwrap().is_none());
    between.takes_the_next_answer();
    lost(store.use_ticket(&ticket).await);
    assert!(between.has_taken_it());
    assert!(store.use_ticket(&ticket).await.unwrap().is_none(), "it is used up");
    store.close().await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again_and_nothing_is_lost() {
    let mut database = Database::start();
    let store = open(&database).await.unwrap();
    let record = session(&user("ada"), Some("main"));
    store.insert(&record, MANY).await.unwrap();
    database.stops();
    let asked = Instant::now();
    lost(store.find(record.id).await);
    lost(store.save(&record).await);
    lost(store.check().await);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    database.starts_again();
    until_it_answers(&store).await;
    assert_eq!(unended(&store).await, [record]);
    store.close().await;
}

#[tokio::test]
async fn an_idle_connection_that_the_server_has_ended_costs_nobody_a_statement() {
    let database = Database::start();
    let store = open(&database).await.unwrap();
    store.check().await.unwrap();
    let mut superuser = superuser(&database).await;
    let age = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shellgate-gateway test' \
               AND state = 'idle' AND clock_timestamp() - state_change > interval '1.2 s'";
    let idle = async {
        while sqlx::query_scalar::<_, i64>(age).fetch_one(&mut superuser).await.unwrap() < 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, idle).await.expect("it is idle");
    does(
        &mut superuser,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                          WHERE application_name = 'shellgate-gateway test'",
    )
    .await;
    store.check().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn whoever_gives_up_leaves_nobody_waiting_and_no_connection_spoilt() {
    let database = Database::start();
    let config = PostgresConfig { connections: 1, ..config(&database) };
    let (say, _said) = watch::channel(String::new());
    let store: Store = Postgres::open(config, password(PASSWORD), &say).await.unwrap().into();
    let record = session(&user("ada"), None);
    store.insert(&record, MANY).await.unwrap();
    let mut superuser = superuser(&database).await;
    does(&mut superuser, "BEGIN; LOCK TABLE sessions").await;
    let short = Duration::from_millis(300);
    // One in the middle of its statement, and others in the line behind it.
    let give_up = (0..5).map(|_| timeout(short, store.save(&record)));
    for gave_up in futures_util::future::join_all(give_up).await {
        assert!(gave_up.is_err());
    }
    let waits = store.find(record.id);
    let unlocks = does(&mut superuser, "ROLLBACK");
    let (found, ()) = tokio::join!(waits, unlocks);
    assert_eq!(found.unwrap(), Some(record.clone()));
    does(&mut superuser, "BEGIN; LOCK TABLE sessions").await;
    // However long the others wait, it can say that it lives.
    let (late, lives) = tokio::join!(timeout(short, store.save(&record)), store.beat());
    assert!(late.is_err() && !lives.unwrap(), "nobody has registered it");
    let asked = Instant::now();
    let late = store.save(&record).await.unwrap_err();
    assert!(late.is_retryable() && asked.elapsed() < Duration::from_secs(15), "{late}");
    does(&mut superuser, "ROLLBACK").await;
    store.save(&record).await.unwrap();
    store.close().await;
}
