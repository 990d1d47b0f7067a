//! The test's clock: time that passes for a gateway's store while no gateway runs. Knows the
//! store's tables.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// Every moment in the tables, in milliseconds since the Unix epoch.
const COLUMNS: [(&str, &str); 5] = [
    ("sessions", "created_ms"),
    ("sessions", "ended_ms"),
    ("tickets", "expires_ms"),
    ("tickets", "token_expires_ms"),
    ("audit", "at_ms"),
];

/// Every moment in a session's `detail`.
const DETAILS: [&str; 2] = ["live_ms", "ends_ms"];

pub(crate) async fn open(store: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(store).busy_timeout(Duration::from_secs(5));
    options.connect().await.expect("the store opens")
}

/// Makes everything in a store so much older.
pub(crate) async fn age(store: &Path, by: Duration) {
    let by = i64::try_from(by.as_millis()).expect("no age");
    let mut store = open(store).await;
    let columns = COLUMNS.iter().map(|(table, column)| {
        format!("UPDATE {table} SET {column} = {column} - {by} WHERE {column} IS NOT NULL")
    });
    let details = DETAILS.iter().map(|name| {
        let at = format!("json_extract(detail, '$.{name}')");
        format!(
            "UPDATE sessions SET detail = json_set(detail, '$.{name}', {at} - {by}) \
             WHERE {at} IS NOT NULL"
        )
    });
    for statement in columns.chain(details) {
        let statement = sqlx::AssertSqlSafe(statement);
        sqlx::query(statement).execute(&mut store).await.expect("the store is written");
    }
    store.close().await.expect("the store is closed");
}
