//! A gateway's store as a world looks into it, while no gateway uses it: time that passes there, a row
//! that is taken out. Knows of the store's tables only that the names of moments end in `_ms`:
//! milliseconds since the Unix epoch.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use shellgate_protocol::SessionId;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::World;

/// Where a store is.
#[derive(Debug, Clone)]
pub(crate) enum At {
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

/// A connection to it.
pub(crate) enum Store {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Every moment that has a column of its own, of SQLite: its table, and its name.
const COLUMNS: &str = r"
    SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.schema = 'main' AND c.name LIKE '%\_ms' ESCAPE '\'";

/// Likewise, of Postgres.
const COLUMNS_OF_POSTGRES: &str = r"
    SELECT table_name::text, column_name::text FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name LIKE '%\_ms'";

impl Store {
    pub(crate) async fn open(at: &At) -> Self {
        match at {
            At::File(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let options = options.busy_timeout(Duration::from_secs(5));
                Self::Sqlite(options.connect().await.expect("the store opens"))
            }
            At::Server(options) => {
                Self::Postgres(options.connect().await.expect("the store opens"))
            }
        }
    }

    /// The rows that a query gives, of two texts each.
    pub(crate) async fn pairs(&mut self, sql: &str) -> Vec<(String, String)> {
        let query = sqlx::query_as::<_, (String, String)>;
        let rows = match self {
            Self::Sqlite(store) => query(AssertSqlSafe(sql)).fetch_all(store).await,
            Self::Postgres(store) => sqlx::query_as(AssertSqlSafe(sql)).fetch_all(store).await,
        };
        rows.expect("the store is read")
    }

    /// Does a statement: how many rows it has changed.
    pub(crate) async fn run(&mut self, sql: &str, texts: &[&str]) -> u64 {
        macro_rules! run {
            ($store:expr) => {{
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for text in texts {
                    query = query.bind(*text);
                }
                query.execute($store).await.expect("the store is written").rows_affected()
            }};
        }
        match self {
            Self::Sqlite(store) => run!(store),
            Self::Postgres(store) => run!(store),
        }
    }

    pub(crate) async fn close(self) {
        let closed = match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        };
        closed.expect("the store is closed");
    }
}

/// Makes everything in a store so much older.
pub(crate) async fn age(at: &At, by: Duration) {
    let by = i64::try_from(by.as_millis()).expect("no age");
    let mut store = Store::open(at).await;
    let columns = match store {
        Store::Sqlite(_) => COLUMNS,
        Store::Postgres(_) => COLUMNS_OF_POSTGRES,
    };
    for (table, column) in store.pairs(columns).await {
        let older =
            format!("UPDATE {table} SET {column} = {column} - {by} WHERE {column} IS NOT NULL");
        store.run(&older, &[]).await;
    }
    for (id, detail) in store.pairs("SELECT id, detail FROM sessions").await {
        let mut detail: Value = serde_json::from_str(&detail).expect("a detail is JSON");
        make_older(&mut detail, by);
        let older = "UPDATE sessions SET detail = $1 WHERE id = $2";
        store.run(older, &[&detail.to_string(), &id]).await;
    }
    store.close().await;
}

/// Likewise, every moment in a value.
fn make_older(value: &mut Value, by: i64) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_i64() {
                    Some(at) if name.ends_with("_ms") => *member = Value::from(at - by),
                    Some(_) | None => make_older(member, by),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| make_older(item, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The actions of the audit that are called so, with their words, oldest first.
pub(crate) async fn audit(at: &At, called: &str) -> Vec<(String, String)> {
    let mut store = Store::open(at).await;
    let place = match store {
        Store::Sqlite(_) => "rowid",
        Store::Postgres(_) => "ctid",
    };
    let rows = format!(
        "SELECT action, actor || ': ' || detail FROM audit WHERE action LIKE '{called}'
         ORDER BY {place}"
    );
    let rows = store.pairs(&rows).await;
    store.close().await;
    rows
}

/// Has a session that ended be one that is about to start, in a store that no gateway uses.
pub(crate) async fn begin_again(at: &At, session: SessionId) {
    let mut store = Store::open(at).await;
    let of = format!("SELECT id, detail FROM sessions WHERE id = '{session}'");
    let (id, detail) = store.pairs(&of).await.pop().expect("it is stored");
    let mut detail: Value = serde_json::from_str(&detail).expect("a detail is JSON");
    for settled in ["task", "exit", "reason"] {
        detail[settled] = Value::Null;
    }
    let row = "UPDATE sessions SET state = 'starting', ended_ms = NULL, launch = launch + 1,
                   detail = $1 WHERE id = $2";
    store.run(row, &[&detail.to_string(), &id]).await;
    store.close().await;
}

/// Takes a session's row out of a store that no gateway uses.
pub(crate) async fn forget(at: &At, session: SessionId) {
    let mut store = Store::open(at).await;
    let gone = store.run("DELETE FROM sessions WHERE id = $1", &[&session.to_string()]).await;
    assert_eq!(gone, 1, "{session} is stored");
    store.close().await;
}

impl World {
    /// Takes a session out of the gateway's store, while no gateway runs.
    pub async fn forgets_the_session(&self, session: SessionId) {
        assert!(self.gateway.is_none(), "the store is somebody's");
        forget(&self.shared.store_at(), session).await;
    }

    /// Has a session that ended be one that is about to start, while no gateway runs.
    pub async fn begins_the_session_again(&self, session: SessionId) {
        assert!(self.gateway.is_none(), "the store is somebody's");
        begin_again(&self.shared.store_at(), session).await;
    }

    /// What the audit has about users, oldest first: who did what.
    pub async fn audit_of_users(&self) -> Vec<(String, String)> {
        audit(&self.shared.store_at(), "user.%").await
    }

    /// Lets time pass for the gateway's store, while no gateway runs.
    pub async fn lets_pass(&mut self, time: Duration) {
        assert!(self.gateway.is_none(), "time passes for a store that nobody uses");
        age(&self.shared.store_at(), time).await;
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_moment_grows_old_and_nothing_else_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut store = options.connect().await.unwrap();
        let made = r#"
            CREATE TABLE sessions (id TEXT, new_ms INTEGER, none_ms INTEGER, items INTEGER,
                                   detail TEXT);
            CREATE TABLE others (at_ms INTEGER NOT NULL);
            INSERT INTO others VALUES (70000);
            INSERT INTO sessions VALUES ('1', 70000, NULL, 70000,
                '{"ends_ms":70000,"none_ms":null,"of":{"new_ms":80000},"cols":80}');
            INSERT INTO sessions VALUES ('2', 90000, NULL, 70000, '{"cols":80}');
        "#;
        sqlx::raw_sql(made).execute(&mut store).await.unwrap();
        store.close().await.unwrap();

        let at = At::File(path);
        age(&at, Duration::from_secs(60)).await;

        let Store::Sqlite(mut store) = Store::open(&at).await else { panic!("it is a file") };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let rows: Vec<(i64, Option<i64>, i64, String)> =
            sqlx::query_as("SELECT new_ms, none_ms, items, detail FROM sessions ORDER BY id")
                .fetch_all(&mut store)
                .await
                .unwrap();
        let rows =
            rows.iter().map(|(new, none, items, detail)| (*new, *none, *items, json(detail)));
        let first = json(r#"{"ends_ms":10000,"none_ms":null,"of":{"new_ms":20000},"cols":80}"#);
        let second = json(r#"{"cols":80}"#);
        let expected = [(10_000, None, 70_000, first), (30_000, None, 70_000, second)];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
        let (at,): (i64,) =
            sqlx::query_as("SELECT at_ms FROM others").fetch_one(&mut store).await.unwrap();
        assert_eq!(at, 10_000);
    }
}
