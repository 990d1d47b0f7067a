//! The test's clock: time that passes for a gateway's store while no gateway runs. Knows of the
//! store's tables only that the names of moments end in `_ms`: milliseconds since the Unix epoch.

use std::path::Path;
use std::time::Duration;

use shellgate_protocol::SessionId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Every moment that has a column of its own: its table, and its name.
const COLUMNS: &str = r"
    SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.schema = 'main' AND c.name LIKE '%\_ms' ESCAPE '\'";

/// Every moment in a session's `detail`, by its path.
const DETAILS: &str = r"
    SELECT DISTINCT j.fullkey FROM sessions, json_tree(sessions.detail) j
    WHERE j.key LIKE '%\_ms' ESCAPE '\' AND j.type = 'integer'";

pub(crate) async fn open(store: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(store).busy_timeout(Duration::from_secs(5));
    options.connect().await.expect("the store opens")
}

/// Makes everything in a store so much older.
pub(crate) async fn age(store: &Path, by: Duration) {
    let by = i64::try_from(by.as_millis()).expect("no age");
    let mut store = open(store).await;
    let columns: Vec<(String, String)> =
        sqlx::query_as(COLUMNS).fetch_all(&mut store).await.expect("a store has tables");
    let details: Vec<(String,)> =
        sqlx::query_as(DETAILS).fetch_all(&mut store).await.expect("a detail is JSON");
    let columns = columns.iter().map(|(table, column)| {
        format!("UPDATE {table} SET {column} = {column} - {by} WHERE {column} IS NOT NULL")
    });
    let details = details.iter().map(|(path,)| {
        let at = format!("json_extract(detail, '{path}')");
        format!(
            "UPDATE sessions SET detail = json_set(detail, '{path}', {at} - {by}) \
             WHERE {at} IS NOT NULL"
        )
    });
    for statement in columns.chain(details) {
        let statement = AssertSqlSafe(statement);
        sqlx::query(statement).execute(&mut store).await.expect("the store is written");
    }
    store.close().await.expect("the store is closed");
}

/// The actions of the audit that are called so, with their words, oldest first.
pub(crate) async fn audit(path: &Path, called: &str) -> Vec<(String, String)> {
    let mut store = open(path).await;
    let rows =
        "SELECT action, actor || ': ' || detail FROM audit WHERE action LIKE ? ORDER BY rowid";
    let rows = sqlx::query_as(rows).bind(called).fetch_all(&mut store).await.expect("an audit");
    store.close().await.expect("the store is closed");
    rows
}

/// Has a session that ended be one that is about to start, in a store that no gateway uses.
pub(crate) async fn begin_again(path: &Path, session: SessionId) {
    let mut store = open(path).await;
    let row = "UPDATE sessions SET state = 'starting', ended_ms = NULL, launch = launch + 1,
                   detail = json_remove(detail, '$.task', '$.exit', '$.reason') WHERE id = ?";
    let row = sqlx::query(row).bind(session.to_string());
    let done = row.execute(&mut store).await.expect("the store is written");
    assert_eq!(done.rows_affected(), 1, "{session} is stored");
    store.close().await.expect("the store is closed");
}

/// Takes a session's row out of a store that no gateway uses.
pub(crate) async fn forget(path: &Path, session: SessionId) {
    let mut store = open(path).await;
    let row = sqlx::query("DELETE FROM sessions WHERE id = ?").bind(session.to_string());
    let done = row.execute(&mut store).await.expect("the store is written");
    assert_eq!(done.rows_affected(), 1, "{session} is stored");
    store.close().await.expect("the store is closed");
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
            CREATE TABLE sessions (id INTEGER, new_ms INTEGER, none_ms INTEGER, items INTEGER,
                                   detail TEXT);
            CREATE TABLE others (at_ms INTEGER NOT NULL);
            INSERT INTO others VALUES (70000);
            INSERT INTO sessions VALUES (1, 70000, NULL, 70000,
                '{"ends_ms":70000,"none_ms":null,"of":{"new_ms":80000},"cols":80}');
            INSERT INTO sessions VALUES (2, 90000, NULL, 70000, '{"cols":80}');
        "#;
        sqlx::raw_sql(made).execute(&mut store).await.unwrap();
        store.close().await.unwrap();

        age(&path, Duration::from_secs(60)).await;

        let mut store = open(&path).await;
        let rows: Vec<(i64, Option<i64>, i64, String)> =
            sqlx::query_as("SELECT new_ms, none_ms, items, detail FROM sessions ORDER BY id")
                .fetch_all(&mut store)
                .await
                .unwrap();
        let first = r#"{"ends_ms":10000,"none_ms":null,"of":{"new_ms":20000},"cols":80}"#;
        let second = r#"{"cols":80}"#;
        let expected =
            [(10_000, None, 70_000, first.into()), (30_000, None, 70_000, second.into())];
        assert_eq!(rows, expected);
        let (at,): (i64,) =
            sqlx::query_as("SELECT at_ms FROM others").fetch_one(&mut store).await.unwrap();
        assert_eq!(at, 10_000);
    }
}
