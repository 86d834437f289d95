//! The interface of a database: keys with values, read in ranges and changed in transactions.
//!
//! [`RecordStore`](super::RecordStore) keeps all records of ship this way, so that it behaves the
//! same with every database. The model is that of etcd: every transaction has a revision, and every
//! record knows the revision that created it and the one that last changed it.

use std::time::Duration;

use tokio::sync::watch;

use crate::core::time::Time;
use crate::store::error::StoreError;

/// Stores records. Every write is durable when the method returns. No method waits for more than a
/// few seconds.
pub trait Database: Send {
    /// Reads several ranges at one moment. Repeats the attempt if the connection is lost.
    ///
    /// # Errors
    /// If the database cannot be reached or read.
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError>;

    /// Makes all writes of a transaction, or none if a condition is not met.
    ///
    /// # Errors
    /// If the database cannot be reached or written. Unless it has answered, the transaction may
    /// nevertheless have been committed. The method does not repeat the attempt.
    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError>;

    /// Renews a lease, that is a record that was written with [`Write::PutExpiring`] by this
    /// process. Returns whether the record still exists and was created by the transaction
    /// `created`.
    ///
    /// # Errors
    /// If the database cannot be reached or written.
    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError>;

    /// Reports changes of a record: the number changes after each of them. Changes may be missed,
    /// so the record must also be read from time to time. `None` if the database cannot report
    /// changes.
    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>>;

    /// Where the records are, without a password: a path or a URL.
    fn location(&self) -> String;

    /// The space that the records need on disk, in bytes.
    ///
    /// # Errors
    /// If the database cannot be reached or read.
    fn size_bytes(&self) -> Result<u64, StoreError>;
}

/// Keys to read or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    Key(String),
    /// All keys that begin with this text, which is not empty. Their order is that of their bytes.
    Prefix(String),
}

/// A record with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub key: String,
    pub value: String,
    /// The transaction that created the record. A record that was deleted and written again has a
    /// new one.
    pub created: u64,
    /// The transaction that last changed the record.
    pub modified: u64,
    /// The time since the record was last written or renewed, by the database's clock. Only
    /// meaningful for leases.
    pub age: Duration,
}

/// Records as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The time of the database's clock.
    pub at: Time,
    /// The records of each range, in the order of their keys.
    pub ranges: Vec<Vec<StoredRecord>>,
}

/// Writes that take effect together, under conditions. No key occurs in two writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
}

/// A condition on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Absent { key: String },
    CreatedBy { key: String, revision: u64 },
    ModifiedBy { key: String, revision: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: String,
        value: String,
    },
    /// Writes a lease. A database with such a function deletes the record if it is not renewed for
    /// [`LEASE_EXPIRES_AFTER`](super::LEASE_EXPIRES_AFTER); in others it stays, and its age says that it has expired.
    PutExpiring {
        key: String,
        value: String,
    },
    Delete(KeyRange),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// The revision of the transaction.
    Committed(u64),
    /// A condition was not met; nothing was written.
    Refused,
}

impl CommitResult {
    /// The revision of the transaction; `None` if it was refused.
    pub fn revision(self) -> Option<u64> {
        match self {
            Self::Committed(revision) => Some(revision),
            Self::Refused => None,
        }
    }
}

/// The smallest text that is larger than every text with this prefix, in the order of bytes.
pub(super) fn end_of_prefix(prefix: &str) -> String {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // Skips the surrogates, which are no characters.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            end.push(next);
            return end.into_iter().collect();
        }
    }
    // Only a prefix of the last characters of Unicode has no such text. ship has no such keys.
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_before_the_next_text() {
        assert_eq!(end_of_prefix("a/"), "a0");
        assert_eq!(end_of_prefix("\u{d7ff}"), "\u{e000}");
        assert_eq!(end_of_prefix("a\u{10ffff}"), "b");
        for prefix in ["a", "a/", "\u{7f}", "\u{7ff}", "\u{d7ff}", "\u{ffff}"] {
            let end = end_of_prefix(prefix);
            assert!(prefix < end.as_str());
            assert!(!end.starts_with(prefix));
            assert!(format!("{prefix}\u{10ffff}").as_str() < end.as_str());
        }
    }
}
