//! What is Postgres' alone: how a connection is made, and what is said where it is not.

use std::sync::Arc;
use std::time::Duration;

use shellgate_database::{Database, NAME, PASSWORD, SUPERUSER};
use shellgate_gateway::store::postgres::{NoConnection, Passwords, Postgres, PostgresConfig};
use shellgate_gateway::store::{Store, StoreError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{MANY, session, unended, user};

/// Long enough for whatever is to come.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub fn config(database: &Database) -> PostgresConfig {
    PostgresConfig {
        host: "127.0.0.1".into(),
        port: database.port(),
        database: NAME.into(),
        user: NAME.into(),
        tls: false,
        authorities: None,
        connections: 4,
        start_wait: Duration::ZERO,
        name: "shellgate-gateway test".into(),
    }
}

pub fn password(text: &str) -> Option<Passwords> {
    let text = text.to_owned();
    Some(Arc::new(move || Box::pin(std::future::ready(Ok(text.clone())))))
}

async fn open_with(
    config: PostgresConfig,
    passwords: Option<Passwords>,
) -> Result<Store, StoreError> {
    let (say, _said) = watch::channel(String::new());
    Postgres::open(config, passwords, &say).await.map(Store::from)
}

pub async fn open(database: &Database) -> Result<Store, StoreError> {
    open_with(config(database), password(PASSWORD)).await
}

/// The hand of somebody else in the database.
pub async fn superuser(database: &Database) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(database.port())
        .username(SUPERUSER)
        .password(PASSWORD)
        .database(NAME);
    options.connect().await.expect("it is let in")
}

pub async fn does(superuser: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(superuser).await.expect("it may do all");
}

/// Why a store with this configuration does not open.
async fn refused(config: PostgresConfig, text: &str) -> (NoConnection, String) {
    match open_with(config, password(text)).await {
        Err(StoreError::NoConnection(why)) => {
            let words = why.to_string();
            assert!(!words.contains(text), "a password is in {words:?}");
            (why, words)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_what_to_look_at() {
    let database = Database::start();
    let (why, words) = refused(config(&database), "another password").await;
    assert!(matches!(why, NoConnection::SignIn { .. }), "{words}");
    assert!(words.contains("store.password") && !why.may_pass(), "{words}");
    let nowhere = PostgresConfig { database: "nowhere".into(), ..config(&database) };
    let (why, words) = refused(nowhere, PASSWORD).await;
    assert!(matches!(why, NoConnection::NoDatabase { .. }), "{words}");
    assert!(words.contains("\"nowhere\"") && words.contains("store.database"), "{words}");
    let mut superuser = superuser(&database).await;
    does(&mut superuser, "CREATE ROLE other LOGIN PASSWORD 'of the other'").await;
    let other = PostgresConfig { user: "other".into(), ..config(&database) };
    let refused = open_with(other.clone(), password("of the other")).await.unwrap_err();
    assert!(matches!(refused, StoreError::MayNotMakeTables(_)), "{refused}");
    assert!(refused.to_string().contains("GRANT CREATE ON SCHEMA public"), "{refused}");
    does(&mut superuser, "REVOKE CONNECT ON DATABASE shellgate FROM PUBLIC").await;
    let refused = open_with(other, password("of the other")).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::NoConnection(NoConnection::NotAllowed { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_for_its_name_alone() {
    let database = Database::start();
    let authorities = Some(database.authority());
    let by_name = PostgresConfig {
        host: database.host().into(),
        tls: true,
        authorities: authorities.clone(),
        ..config(&database)
    };
    let store = open_with(by_name.clone(), password(PASSWORD)).await.unwrap();
    let mut superuser = superuser(&database).await;
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE usename = 'shellgate' AND NOT ssl";
    store.check().await.unwrap();
    let plain: i64 = sqlx::query_scalar(plain).fetch_one(&mut superuser).await.unwrap();
    assert_eq!(plain, 0, "connections without TLS");
    store.close().await;
    let other = Database::start().authority();
    for untrusted in [
        PostgresConfig { authorities: None, ..by_name.clone() },
        PostgresConfig { authorities: Some(other), ..by_name.clone() },
        PostgresConfig { host: "127.0.0.1".into(), ..by_name },
    ] {
        let (why, words) = refused(untrusted, PASSWORD).await;
        assert!(matches!(why, NoConnection::NotTrusted { .. }), "{words}");
        assert!(words.contains("store.ca") && !why.may_pass(), "{words}");
    }
}

#[tokio::test]
async fn a_password_is_asked_for_with_each_connection() {
    let database = Database::start();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    let passwords: Passwords = Arc::new(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(PASSWORD.to_owned())))
    });
    let store = open_with(config(&database), Some(passwords)).await.unwrap();
    store.check().await.unwrap();
    let mut superuser = superuser(&database).await;
    let before = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(before >= 2, "one for the tables, one for statements");
    does(
        &mut superuser,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                          WHERE application_name = 'shellgate-gateway test'",
    )
    .await;
    crate::losing::until_it_answers(&store).await;
    assert!(asked.load(std::sync::atomic::Ordering::Relaxed) > before);
    store.close().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for_and_not_without_end() {
    let mut database = Database::start();
    database.stops();
    let short = PostgresConfig { start_wait: Duration::from_millis(100), ..config(&database) };
    let (why, words) = refused(short, PASSWORD).await;
    assert!(matches!(why, NoConnection::Unreachable { .. }), "{words}");
    assert!(words.contains(&format!("127.0.0.1:{}", database.port())), "{words}");
    let patient = PostgresConfig { start_wait: PATIENCE, ..config(&database) };
    let (say, mut said) = watch::channel(String::new());
    let open = Postgres::open(patient, password(PASSWORD), &say);
    let starts = async {
        let words = said.wait_for(|words| words.contains("can't be reached"));
        timeout(PATIENCE, words).await.expect("it is said").expect("it waits");
        database.starts_again();
    };
    let (opened, ()) = tokio::join!(open, starts);
    let store = Store::from(opened.unwrap());
    store.insert(&session(&user("ada"), None), MANY).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_waited_for_likewise() {
    let database = Database::start();
    let mut superuser = superuser(&database).await;
    let standby = "ALTER DATABASE shellgate SET default_transaction_read_only = on";
    does(&mut superuser, standby).await;
    let (why, words) = refused(config(&database), PASSWORD).await;
    assert!(matches!(why, NoConnection::ReadOnly(_)) && why.may_pass(), "{words}");
    does(&mut superuser, "ALTER DATABASE shellgate RESET default_transaction_read_only").await;
    open(&database).await.unwrap().close().await;
}

#[tokio::test]
async fn what_a_newer_version_has_added_keeps_no_older_one_out() {
    let database = Database::start();
    open(&database).await.unwrap().close().await;
    let mut superuser = superuser(&database).await;
    does(&mut superuser, "ALTER TABLE sessions ADD COLUMN newer TEXT; INSERT INTO _sqlx_migrations \
         (version, description, success, checksum, execution_time) VALUES (99, 'newer', true, '', 0)")
        .await;
    let store = open(&database).await.unwrap();
    store.insert(&session(&user("ada"), None), MANY).await.unwrap();
    assert_eq!(unended(&store).await.len(), 1);
    store.close().await;
}
