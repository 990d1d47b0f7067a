//! One gateway has a store in Postgres: another one waits its turn, and whoever has lost it writes no
//! more.

use shellgate_database::{Database, PASSWORD};
use shellgate_gateway::session::State;
use shellgate_gateway::store::Store;
use shellgate_gateway::store::postgres::{Postgres, PostgresConfig};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::losing::until_it_answers;
use crate::postgres::{PATIENCE, config, does, open, password, superuser};
use crate::{session, user};

const END_HOLDER: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks \
                          WHERE locktype = 'advisory' AND granted";

/// A second gateway, and what it says while it waits.
async fn second(database: &Database, say: &watch::Sender<String>) -> Store {
    let config = PostgresConfig { name: "shellgate-gateway second".into(), ..config(database) };
    Postgres::open(config, password(PASSWORD), say).await.unwrap().into()
}

#[tokio::test]
async fn a_second_gateway_says_who_has_the_store_and_waits_until_it_is_free() {
    let database = Database::start();
    let first = open(&database).await.unwrap();
    let record = session(&user("ada"), None);
    first.insert(&record).await.unwrap();
    let (say, mut said) = watch::channel(String::new());
    let closes = async {
        let words = said.wait_for(|words| words.contains("waits its turn"));
        let words = timeout(PATIENCE, words).await.unwrap().unwrap().clone();
        assert!(words.contains("shellgate-gateway test at 127.0.0.1 since 20"), "{words}");
        first.check().await.unwrap();
        first.close().await;
    };
    let (second, ()) = timeout(PATIENCE, async { tokio::join!(second(&database, &say), closes) })
        .await
        .expect("it gets its turn");
    assert_eq!(second.unended().await.unwrap(), [record]);
    second.close().await;
}

#[tokio::test]
async fn whoever_has_lost_the_store_to_another_writes_no_more_and_hears_it() {
    let database = Database::start();
    let first = open(&database).await.unwrap();
    let mut record = session(&user("ada"), None);
    first.insert(&record).await.unwrap();
    let (say, mut said) = watch::channel(String::new());
    let loses = async {
        let words = said.wait_for(|words| words.contains("waits its turn"));
        timeout(PATIENCE, words).await.unwrap().unwrap();
        // Only the connection that has the lock: those for statements are as good as ever.
        does(&mut superuser(&database).await, END_HOLDER).await;
    };
    let (second, ()) = timeout(PATIENCE, async { tokio::join!(second(&database, &say), loses) })
        .await
        .expect("it gets its turn");
    record.life.state = State::Stopping;
    for _ in 0..3 {
        let refused = first.save(&record).await.unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
    }
    assert!(first.check().await.is_err());
    let stored = second.find(record.id).await.unwrap().unwrap();
    assert_eq!(stored.life.state, State::Starting);
    let words = timeout(PATIENCE, first.lost()).await.expect("it is told");
    assert!(words.contains("another gateway"), "{words}");
    second.save(&record).await.unwrap();
    first.close().await;
    second.check().await.unwrap();
    second.close().await;
}

#[tokio::test]
async fn whoever_lost_it_to_nobody_has_it_back() {
    let mut database = Database::start();
    let first = open(&database).await.unwrap();
    database.stops();
    database.starts_again();
    until_it_answers(&first).await;
    let mut superuser = superuser(&database).await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    let back = async {
        while sqlx::query_scalar::<_, i64>(held).fetch_one(&mut superuser).await.unwrap() != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("the lock is taken again");
    assert!(futures_util::FutureExt::now_or_never(first.lost()).is_none());
    first.check().await.unwrap();
    first.close().await;
}
