//! A database in memory, with the time of the simulated world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ship::core::time::Time;
use ship::engine::Clock;
use ship::store::{
    CommitResult, Condition, Database, KeyRange, Snapshot, StoreError, StoredRecord, Transaction,
    Write,
};
use tokio::sync::watch;

/// The records, which outlive the processes that use them.
#[derive(Debug, Default)]
pub(crate) struct MemoryRecords {
    records: BTreeMap<String, MemoryRecord>,
    revision: u64,
}

#[derive(Debug)]
struct MemoryRecord {
    value: String,
    created: u64,
    modified: u64,
    written: Time,
}

/// The database as one process uses it.
pub(crate) struct MemoryDatabase {
    pub(crate) records: Arc<Mutex<MemoryRecords>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl MemoryDatabase {
    fn with<T>(&self, act: impl FnOnce(&mut MemoryRecords) -> T) -> T {
        act(&mut self.records.lock().expect("the lock is not poisoned"))
    }
}

fn contains(range: &KeyRange, key: &str) -> bool {
    match range {
        KeyRange::Key(wanted) => key == wanted,
        KeyRange::Prefix(prefix) => key.starts_with(prefix),
    }
}

impl MemoryRecords {
    fn is_met(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Absent { key } => !self.records.contains_key(key),
            Condition::CreatedBy { key, revision } => {
                self.records.get(key).map(|record| record.created) == Some(*revision)
            }
            Condition::ModifiedBy { key, revision } => {
                self.records.get(key).map(|record| record.modified) == Some(*revision)
            }
        }
    }

    fn apply(&mut self, write: &Write, now: Time) {
        match write {
            Write::Put { key, value } | Write::PutExpiring { key, value } => {
                let present = self.records.get(key);
                let created = present.map_or(self.revision, |record| record.created);
                let record = MemoryRecord {
                    value: value.clone(),
                    created,
                    modified: self.revision,
                    written: now,
                };
                self.records.insert(key.clone(), record);
            }
            Write::Delete(range) => self.records.retain(|key, _| !contains(range, key)),
        }
    }
}

impl Database for MemoryDatabase {
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        let at = self.clock.wall();
        let ranges = self.with(|database| {
            let read = |range: &KeyRange| {
                let found = database.records.iter();
                let found = found.filter(|(key, _)| contains(range, key));
                let record = |(key, record): (&String, &MemoryRecord)| StoredRecord {
                    key: key.clone(),
                    value: record.value.clone(),
                    created: record.created,
                    modified: record.modified,
                    age: at.since(record.written),
                };
                found.map(record).collect()
            };
            ranges.iter().map(read).collect()
        });
        Ok(Snapshot { at, ranges })
    }

    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        let now = self.clock.wall();
        self.with(|database| {
            if !transaction.conditions.iter().all(|it| database.is_met(it)) {
                return Ok(CommitResult::Refused);
            }
            database.revision += 1;
            for write in &transaction.writes {
                database.apply(write, now);
            }
            Ok(CommitResult::Committed(database.revision))
        })
    }

    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
        let now = self.clock.wall();
        self.with(|database| {
            let found = database.records.get_mut(key);
            let found = found.filter(|record| record.created == created);
            Ok(found.map(|record| record.written = now).is_some())
        })
    }

    fn watch(&self, _: &str) -> Option<watch::Receiver<u64>> {
        None
    }

    fn location(&self) -> String {
        "memory".into()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}
