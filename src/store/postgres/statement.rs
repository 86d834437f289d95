//! Transactions and ranges as parameters of statements.

use crate::store::database::{Condition, KeyRange, Transaction, Write, end_of_prefix};

/// The parameters of the function `commit`.
#[derive(Debug, Default)]
pub(super) struct CommitArrays {
    pub(super) condition_kinds: Vec<&'static str>,
    pub(super) condition_keys: Vec<String>,
    pub(super) condition_revisions: Vec<i64>,
    pub(super) write_kinds: Vec<&'static str>,
    pub(super) write_keys: Vec<String>,
    pub(super) write_values: Vec<String>,
}

impl CommitArrays {
    pub(super) fn new(transaction: &Transaction) -> Self {
        let mut arrays = Self::default();
        for condition in &transaction.conditions {
            let (kind, key, revision) = match condition {
                Condition::Absent { key } => ("absent", key, 0),
                Condition::CreatedBy { key, revision } => ("created", key, signed(*revision)),
                Condition::ModifiedBy { key, revision } => ("modified", key, signed(*revision)),
            };
            arrays.condition_kinds.push(kind);
            arrays.condition_keys.push(key.clone());
            arrays.condition_revisions.push(revision);
        }
        for write in &transaction.writes {
            let (kind, key, value) = match write {
                Write::Put { key, value } | Write::PutExpiring { key, value } => {
                    ("put", key, value.clone())
                }
                Write::Delete(KeyRange::Key(key)) => ("delete", key, String::new()),
                Write::Delete(KeyRange::Prefix(prefix)) => {
                    ("delete_prefix", prefix, end_of_prefix(prefix))
                }
            };
            arrays.write_kinds.push(kind);
            arrays.write_keys.push(key.clone());
            arrays.write_values.push(value);
        }
        arrays
    }

    /// Whether a text contains a zero byte, which `PostgreSQL` cannot store.
    pub(super) fn contains_zero(&self) -> bool {
        let texts = [&self.condition_keys, &self.write_keys, &self.write_values];
        texts.into_iter().flatten().any(|text| text.contains('\0'))
    }
}

/// The first keys of the ranges, and the first keys after them.
#[derive(Debug, Default)]
pub(super) struct RangeBounds {
    pub(super) low: Vec<String>,
    pub(super) high: Vec<String>,
}

impl RangeBounds {
    pub(super) fn new(ranges: &[KeyRange]) -> Self {
        let mut bounds = Self::default();
        for range in ranges {
            let (low, high) = match range {
                // No other text lies between, because PostgreSQL cannot store a zero byte.
                KeyRange::Key(key) => (key, format!("{key}\u{1}")),
                KeyRange::Prefix(prefix) => (prefix, end_of_prefix(prefix)),
            };
            bounds.low.push(low.replace('\0', "\u{1}"));
            bounds.high.push(high.replace('\0', "\u{1}"));
        }
        bounds
    }
}

/// Revisions are positive and come from the database, where they are signed.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_a_range_of_one() {
        let bounds = RangeBounds::new(&[KeyRange::Key("a".to_owned())]);
        assert_eq!(
            (bounds.low[0].as_str(), bounds.high[0].as_str()),
            ("a", "a\u{1}")
        );
    }
}
