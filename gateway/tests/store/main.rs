//! The store, in each of its databases: one contract for all, and what each of them adds to it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::Duration;

use shellgate_database::Database;
use shellgate_gateway::auth::UserId;
use shellgate_gateway::session::{Record, State};
use shellgate_gateway::store::sqlite::Sqlite;
use shellgate_gateway::store::{Most, Page, Store};
use shellgate_protocol::TerminalSize;
use shellgate_protocol::client_leg::Mode;

mod contract;
mod losing;
mod postgres;
mod sharing;
mod sqlite;

/// Where a store is.
enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

impl Place {
    async fn open(&self) -> Store {
        match self {
            Self::Sqlite(directory) => open_sqlite(directory.path()).await,
            Self::Postgres(database) => postgres::open(database).await.unwrap(),
        }
    }
}

async fn open_sqlite(directory: &Path) -> Store {
    let opened = Sqlite::open(&directory.join("test.db"), Duration::from_millis(200)).await;
    opened.expect("a store").into()
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

/// More sessions than any test has.
const MANY: Most = Most { of_user: 1000, in_all: 1000 };

/// Every session that has not ended, the oldest first.
async fn unended(store: &Store) -> Vec<Record> {
    let page = Page { limit: MANY.in_all, ..Page::default() };
    let all = store.list(&page).await.expect("a page").into_iter().rev().map(|kept| kept.record);
    all.filter(|record| record.life.state != State::Ended).collect()
}

/// A test of each of the contract's parts in each database.
macro_rules! in_each {
    ($($part:ident,)+) => {
        mod in_sqlite {
            $(#[tokio::test]
            async fn $part() {
                let directory = tempfile::tempdir().expect("a directory");
                crate::contract::$part(&crate::Place::Sqlite(directory)).await;
            })+
        }

        mod in_postgres {
            $(#[tokio::test]
            async fn $part() {
                let database = shellgate_database::Database::start();
                crate::contract::$part(&crate::Place::Postgres(database)).await;
            })+
        }
    };
}

in_each! {
    what_was_stored_is_found_after_a_restart,
    a_name_belongs_to_one_live_session_of_its_user,
    a_launch_has_one_key_and_ever_newer_dials,
    of_two_bridges_with_one_token_exactly_one_gets_in,
    a_ticket_opens_once,
    every_user_keeps_a_uid_and_the_range_ends,
    pages_lead_from_the_youngest_to_the_oldest,
    a_session_that_is_stored_again_is_stored_once,
    a_next_launch_has_no_key_and_no_dial_yet,
    many_new_users_at_once_have_a_uid_each,
    where_files_are_is_decided_once,
    what_is_old_is_forgotten_and_the_rest_is_kept,
    a_user_has_one_removal_at_a_time_and_then_nothing_but_a_uid,
    a_store_that_was_closed_says_so,
}
