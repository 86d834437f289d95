//! Copies the state from one database to another.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::record_store::{encode, read_meta};
use crate::core::time::Time;
use crate::store::database::{
    CommitResult, Database, KeyRange, Snapshot, StoredRecord, Transaction, Write,
};
use crate::store::error::StoreError;
use crate::store::keys::{self, ServiceRecordKind};
use crate::store::records::ServiceKey;
use crate::store::values::{FORMAT, Meta, Moved};

/// The writes and bytes of one transaction. etcd permits 128 and 1.5 MiB.
const WRITES_MAX: usize = 60;
const BYTES_MAX: usize = 512 * 1024;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedRecords {
    pub services: usize,
    pub revisions: usize,
    pub rollouts: usize,
    pub events: usize,
}

/// The services of a database.
///
/// # Errors
/// If the database cannot be read.
pub fn services_of(database: &dyn Database) -> Result<Vec<ServiceKey>, StoreError> {
    let found = database.read(&[KeyRange::Prefix(keys::SERVICES.to_owned())])?;
    let mut services: Vec<_> = found
        .ranges
        .iter()
        .flatten()
        .filter_map(|record| Some(keys::parse(&record.key)?.0))
        .collect();
    services.sort();
    services.dedup();
    Ok(services)
}

/// Copies all records except leases and verifies the copy. Then marks the source, so that no
/// process continues there, and lastly opens the target for use. The leases of all services must be
/// held; `keep_alive` is called between transactions to renew them.
///
/// A target that has a history is refused, unless it is the same history, which was moved away from
/// there before, or an earlier copy was not finished.
///
/// # Errors
/// If a database cannot be read or written, or the target is not empty.
pub fn relocate(
    source: &dyn Database,
    target: &dyn Database,
    mut keep_alive: impl FnMut() -> Result<(), StoreError>,
) -> Result<CopiedRecords, StoreError> {
    let everything = read_all(source)?;
    let meta = read_meta(source)?.0.unwrap_or(Meta {
        format: FORMAT,
        history: String::new(),
        created: None,
        moved: None,
    });
    let at = everything.at;
    let records: Vec<StoredRecord> = everything
        .ranges
        .into_iter()
        .flatten()
        .filter(is_copied)
        .collect();
    prepare((source, &meta), target, at)?;
    for part in parts(&records) {
        let put = |record: &StoredRecord| Write::Put {
            key: record.key.clone(),
            value: record.value.clone(),
        };
        commit(target, part.iter().map(put).collect())?;
        keep_alive()?;
    }
    verify(target, &records)?;
    keep_alive()?;
    let moved = Meta {
        moved: Some(Moved {
            to: target.location(),
            at,
        }),
        ..meta.clone()
    };
    put_meta(source, &moved)?;
    let arrived = Meta {
        created: Some(target.read(&[])?.at),
        moved: None,
        ..meta
    };
    put_meta(target, &arrived)?;
    Ok(count(&records))
}

/// Empties the target and marks it as unfinished, so that no process uses it yet.
fn prepare(
    (source, meta): (&dyn Database, &Meta),
    target: &dyn Database,
    at: Time,
) -> Result<(), StoreError> {
    let location = target.location();
    let (present, _) = read_meta(target)?;
    let is_replaceable = |present: &Meta| {
        present.moved.is_some() && (present.history == meta.history || present.history.is_empty())
    };
    if present.is_some_and(|present| !is_replaceable(&present)) && has_history(target)? {
        return Err(StoreError::Rejected {
            location,
            why: "it already contains state".to_owned(),
            hint:
                "name an empty database, or another schema (`?schema=NAME`) or etcd prefix of this \
                   one; or use that state with `[state]` in the inventory"
                    .to_owned(),
        });
    }
    let unfinished = Meta {
        format: FORMAT,
        history: String::new(),
        created: None,
        moved: Some(Moved {
            to: source.location(),
            at,
        }),
    };
    put_meta(target, &unfinished)?;
    for prefix in [keys::SERVICES, keys::EVENTS, keys::REQUESTS] {
        let all = Write::Delete(KeyRange::Prefix(prefix.to_owned()));
        commit(target, vec![all])?;
    }
    let counters = Write::Delete(KeyRange::Key(keys::COUNTERS.to_owned()));
    commit(target, vec![counters])
}

/// Whether a database has more than the inventories that a machine knows, for example a lease.
fn has_history(database: &dyn Database) -> Result<bool, StoreError> {
    let is_inventory = |record: &StoredRecord| {
        matches!(
            keys::parse(&record.key),
            Some((_, ServiceRecordKind::Inventory))
        )
    };
    let everything = read_all(database)?;
    let mut records = everything.ranges.iter().flatten();
    Ok(records.any(|record| !is_inventory(record)))
}

/// Compares the copy with the original: the number of records, the digest of each journal, and
/// every other value.
fn verify(target: &dyn Database, original: &[StoredRecord]) -> Result<(), StoreError> {
    let copy = read_all(target)?;
    let copy: Vec<StoredRecord> = copy.ranges.into_iter().flatten().collect();
    let (expected, found) = (digests(original), digests(&copy));
    let differing = expected
        .iter()
        .find(|(name, digest)| found.get(*name) != Some(digest))
        .map(|(name, _)| name)
        .or_else(|| found.keys().find(|name| !expected.contains_key(*name)));
    match differing {
        None => Ok(()),
        Some(name) => Err(StoreError::Unreadable {
            location: target.location(),
            what: format!("the copy of {name} differs from the original"),
        }),
    }
}

/// The digest of each journal and of each other record.
fn digests(records: &[StoredRecord]) -> BTreeMap<String, [u8; 32]> {
    let mut hashes: BTreeMap<String, Sha256> = BTreeMap::new();
    for record in records.iter().filter(|record| is_copied(record)) {
        let name = match record.key.strip_prefix(keys::EVENTS) {
            Some(rest) => format!("journal {}", rest.split('/').next().unwrap_or_default()),
            None => record.key.clone(),
        };
        let hash = hashes.entry(name).or_default();
        hash.update(record.key.as_bytes());
        hash.update([0]);
        hash.update(record.value.as_bytes());
        hash.update([0]);
    }
    let digests = hashes.into_iter();
    digests
        .map(|(name, hash)| (name, hash.finalize().into()))
        .collect()
}

fn count(records: &[StoredRecord]) -> CopiedRecords {
    let mut copied = CopiedRecords::default();
    let mut services = Vec::new();
    for record in records {
        if record.key.starts_with(keys::EVENTS) {
            copied.events += record.value.lines().count();
        }
        let Some((service_key, kind)) = keys::parse(&record.key) else {
            continue;
        };
        match kind {
            ServiceRecordKind::Revision(_) => copied.revisions += 1,
            ServiceRecordKind::Rollout(_) => copied.rollouts += 1,
            _ => {}
        }
        services.push(service_key);
    }
    services.sort();
    services.dedup();
    copied.services = services.len();
    copied
}

/// Whether a record belongs to the copy: leases hold processes to one place.
fn is_copied(record: &StoredRecord) -> bool {
    let is_lease = matches!(
        keys::parse(&record.key),
        Some((_, ServiceRecordKind::Lease))
    );
    !is_lease && record.key != keys::META
}

fn read_all(database: &dyn Database) -> Result<Snapshot, StoreError> {
    let prefixes = [
        keys::SERVICES,
        keys::DEPLOYMENTS,
        keys::EVENTS,
        keys::REQUESTS,
    ];
    let mut ranges: Vec<_> = prefixes
        .iter()
        .map(|prefix| KeyRange::Prefix((*prefix).to_owned()))
        .collect();
    ranges.push(KeyRange::Key(keys::COUNTERS.to_owned()));
    database.read(&ranges)
}

fn put_meta(database: &dyn Database, meta: &Meta) -> Result<(), StoreError> {
    let key = keys::META.to_owned();
    let value = encode(&key, meta, &database.location())?;
    commit(database, vec![Write::Put { key, value }])
}

fn commit(database: &dyn Database, writes: Vec<Write>) -> Result<(), StoreError> {
    let conditions = Vec::new();
    match database.commit(&Transaction { conditions, writes })? {
        CommitResult::Committed(_) => Ok(()),
        CommitResult::Refused => Err(StoreError::Contended {
            location: database.location(),
        }),
    }
}

/// Splits records into parts that fit into one transaction each.
fn parts(records: &[StoredRecord]) -> Vec<&[StoredRecord]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, record) in records.iter().enumerate() {
        let is_full = at - start == WRITES_MAX || bytes + record.value.len() > BYTES_MAX;
        if is_full && at > start {
            parts.push(&records[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += record.value.len();
    }
    if start < records.len() {
        parts.push(&records[start..]);
    }
    parts
}
