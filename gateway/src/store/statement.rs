//! One statement with its values, and one row that comes of it, whichever database it is for.
//! Placeholders are `$1`, `$2`: both databases take them. Knows no table.

use std::borrow::Cow;

use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{Decode, Row as _, Type};

/// A value in a placeholder's place. There are no unsigned ones: Postgres has none.
#[derive(Debug, Clone)]
enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Whole(Option<i64>),
    Yes(bool),
    Bytes(&'a [u8]),
}

/// A statement. Each of them is whole by itself: no transaction has more than one that writes.
#[derive(Debug, Clone)]
pub(super) struct Statement<'a> {
    sql: &'static str,
    values: Vec<Value<'a>>,
    /// After the others with this number. In SQLite every write is after the others.
    pub turn: Option<i64>,
}

/// The statement as the driver has it.
macro_rules! query {
    ($statement:expr) => {{
        let mut query = sqlx::query($statement.sql);
        for value in &$statement.values {
            query = match value {
                Value::Text(text) => query.bind(text.as_deref()),
                Value::Whole(whole) => query.bind(*whole),
                Value::Yes(yes) => query.bind(*yes),
                Value::Bytes(bytes) => query.bind(*bytes),
            };
        }
        query
    }};
}

impl<'a> Statement<'a> {
    /// A statement whose values are still to come, in the order of their placeholders.
    pub fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new(), turn: None }
    }

    pub fn text(self, text: impl Into<Cow<'a, str>>) -> Self {
        self.maybe_text(Some(text))
    }

    pub fn maybe_text(mut self, text: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.values.push(Value::Text(text.map(Into::into)));
        self
    }

    pub fn whole(self, whole: impl Into<i64>) -> Self {
        self.maybe_whole(Some(whole))
    }

    pub fn maybe_whole(mut self, whole: Option<impl Into<i64>>) -> Self {
        self.values.push(Value::Whole(whole.map(Into::into)));
        self
    }

    pub fn yes(mut self, yes: bool) -> Self {
        self.values.push(Value::Yes(yes));
        self
    }

    pub fn bytes(mut self, bytes: &'a [u8]) -> Self {
        self.values.push(Value::Bytes(bytes));
        self
    }

    /// Has it done after every other one with this number, so that it sees what they have written.
    pub fn in_turn(mut self, number: i64) -> Self {
        self.turn = Some(number);
        self
    }

    /// Does it in SQLite: how many rows it has changed.
    pub async fn run_in_sqlite(self, at: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        Ok(query!(self).execute(at).await?.rows_affected())
    }

    /// Likewise, for its rows. To the end of the statement, where it is committed: whoever stops at
    /// its first row is not told that it could not be.
    pub async fn rows_of_sqlite(self, at: &mut SqliteConnection) -> Result<Vec<Row>, sqlx::Error> {
        Ok(query!(self).fetch_all(at).await?.into_iter().map(Row::Sqlite).collect())
    }

    /// Does it in Postgres: how many rows it has changed.
    pub async fn run_in_postgres(self, at: &mut PgConnection) -> Result<u64, sqlx::Error> {
        Ok(query!(self).execute(at).await?.rows_affected())
    }

    /// Likewise, for its rows.
    pub async fn rows_of_postgres(self, at: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
        Ok(query!(self).fetch_all(at).await?.into_iter().map(Row::Postgres).collect())
    }
}

/// A row.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// What is in a column.
    pub fn get<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}
