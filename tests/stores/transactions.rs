//! Short forms of conditions, writes and reads, for tests.

use std::thread;
use std::time::{Duration, Instant};

use ship::store::{CommitResult, Condition, Database, KeyRange, StoredRecord, Transaction, Write};

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn put(key: &str, value: &str) -> Write {
    Write::Put {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

pub(crate) fn put_expiring(key: &str, value: &str) -> Write {
    Write::PutExpiring {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

pub(crate) fn delete(key: &str) -> Write {
    Write::Delete(KeyRange::Key(key.to_owned()))
}

pub(crate) fn delete_prefix(prefix: &str) -> Write {
    Write::Delete(KeyRange::Prefix(prefix.to_owned()))
}

pub(crate) fn absent(key: &str) -> Condition {
    let key = key.to_owned();
    Condition::Absent { key }
}

pub(crate) fn created_by(key: &str, revision: u64) -> Condition {
    let key = key.to_owned();
    Condition::CreatedBy { key, revision }
}

pub(crate) fn modified_by(key: &str, revision: u64) -> Condition {
    let key = key.to_owned();
    Condition::ModifiedBy { key, revision }
}

/// Commits a transaction; returns its revision.
#[track_caller]
pub(crate) fn commit(database: &dyn Database, conditions: &[Condition], writes: Vec<Write>) -> u64 {
    match try_commit(database, conditions, writes) {
        CommitResult::Committed(revision) => revision,
        CommitResult::Refused => panic!("the transaction was refused"),
    }
}

/// Commits a transaction whose conditions are not met.
#[track_caller]
pub(crate) fn refuse(database: &dyn Database, conditions: &[Condition], writes: Vec<Write>) {
    let result = try_commit(database, conditions, writes);
    assert_eq!(result, CommitResult::Refused);
}

#[track_caller]
fn try_commit(
    database: &dyn Database,
    conditions: &[Condition],
    writes: Vec<Write>,
) -> CommitResult {
    let transaction = Transaction {
        conditions: conditions.to_vec(),
        writes,
    };
    match database.commit(&transaction) {
        Ok(result) => result,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
pub(crate) fn renew(database: &dyn Database, key: &str, created: u64) -> bool {
    match database.renew(key, created) {
        Ok(renewed) => renewed,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
pub(crate) fn record(database: &dyn Database, key: &str) -> Option<StoredRecord> {
    let mut records = range(database, KeyRange::Key(key.to_owned()));
    assert!(records.len() < 2, "{records:?}");
    records.pop()
}

#[track_caller]
pub(crate) fn value(database: &dyn Database, key: &str) -> Option<String> {
    record(database, key).map(|record| record.value)
}

#[track_caller]
pub(crate) fn prefix(database: &dyn Database, prefix: &str) -> Vec<StoredRecord> {
    range(database, KeyRange::Prefix(prefix.to_owned()))
}

#[track_caller]
fn range(database: &dyn Database, range: KeyRange) -> Vec<StoredRecord> {
    match database.read(&[range]) {
        Ok(mut snapshot) => {
            assert_eq!(snapshot.ranges.len(), 1);
            snapshot.ranges.remove(0)
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn keys_of(records: &[StoredRecord]) -> Vec<&str> {
    records.iter().map(|record| record.key.as_str()).collect()
}

/// Waits until a condition is met.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(
            since.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
