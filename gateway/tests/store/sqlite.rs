//! What is SQLite's alone: a lock, and a file that is deleted, moved or replaced.

use std::path::Path;

use shellgate_gateway::store::{Store, StoreError};

use crate::{MANY, open_sqlite, session, unended, user};

async fn open(directory: &tempfile::TempDir) -> Store {
    let directory: &Path = directory.path();
    open_sqlite(directory).await
}

#[tokio::test]
async fn a_locked_database_is_an_answer_and_not_a_wait_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let record = session(&user("ada"), None);
    let path = directory.path().join("test.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = store.insert(&record, MANY).await;
    assert!(refused.is_err_and(|error| error.is_retryable()));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.insert(&record, MANY).await.unwrap();
}

#[tokio::test]
async fn a_deleted_file_is_written_anew_with_all_that_was_stored() {
    for beside in [vec![], vec!["-wal", "-shm"]] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        let (first, second) = (session(&user("ada"), None), session(&user("ada"), None));
        store.insert(&first, MANY).await.unwrap();
        let path = directory.path().join("test.db");
        for end in [vec![""], beside].concat() {
            std::fs::remove_file(format!("{}{end}", path.display())).unwrap();
        }
        assert_eq!(store.find(first.id).await.unwrap().unwrap(), first);
        store.insert(&second, MANY).await.unwrap();
        assert_eq!(store.find(second.id).await.unwrap().unwrap(), second);
        // As after a crash: nothing is closed in good order.
        let found = open(&directory).await;
        assert_eq!(unended(&found).await, [first, second]);
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_deleted_takes_nothing_that_was_stored_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let path = directory.path().join("test.db");
    let log = directory.path().join("test.db-wal");
    let mut records = vec![session(&user("ada"), Some("before"))];
    store.insert(&records[0], MANY).await.unwrap();
    // Twice: the second log is another file, which is watched as well.
    for name in ["after", "again"] {
        std::fs::remove_file(&log).unwrap();
        let record = session(&user("ada"), Some(name));
        store.insert(&record, MANY).await.unwrap();
        records.insert(0, record);
    }
    assert_eq!(unended(&store).await.len(), 3);
    // What a gateway finds after a crash: the files as they are, unclosed.
    let left = tempfile::tempdir().unwrap();
    std::fs::copy(&path, left.path().join("test.db")).unwrap();
    std::fs::copy(&log, left.path().join("test.db-wal")).unwrap();
    let found = unended(&open(&left).await).await;
    for record in records {
        assert!(found.contains(&record), "{:?} is lost", record.name);
    }
}

#[tokio::test]
async fn a_file_that_is_not_in_its_place_takes_nothing_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let (first, second) = (session(&user("ada"), None), session(&user("ada"), None));
    store.insert(&first, MANY).await.unwrap();
    let (path, aside) = (directory.path().join("test.db"), directory.path().join("aside.db"));
    std::fs::rename(&path, &aside).unwrap();
    for put_there in [None, Some("another file")] {
        if let Some(text) = put_there {
            std::fs::write(&path, text).unwrap();
        }
        let refused = store.insert(&second, MANY).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotInPlace(_)) && refused.is_retryable());
        assert!(store.check().await.is_err());
        assert_eq!(store.find(first.id).await.unwrap().unwrap(), first, "it can be read");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another file", "it is not touched");
    std::fs::rename(&aside, &path).unwrap();
    store.insert(&second, MANY).await.unwrap();
    store.close().await;
    assert_eq!(unended(&open(&directory).await).await, [first, second]);
}
