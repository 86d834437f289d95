//! The state store: the records of ship in any [`Database`].

mod deployments;
mod held_lease;
mod history;
mod journal;
mod lease;
mod parts;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use self::held_lease::HeldLease;
use self::parts::parts;
use super::service_records::{ServiceRecords, decode};
use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::stack::{Deployment, DeploymentNumber};
use crate::core::time::Time;
use crate::store::contract::Store;
use crate::store::database::{
    CommitResult, Condition, Database, KeyRange, Snapshot, StoredRecord, Transaction, Write,
};
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::keys::{self, ServiceKeys, ServiceRecordKind};
use crate::store::lease::Holder;
use crate::store::records::{
    KnownInventory, NewRevision, Request, RolloutId, Scale, ServiceKey, StoreAccess, StoreFacts,
};
use crate::store::values::{FORMAT, InventoryValue, Meta, RevisionValue, RolloutValue};
use crate::system::random;

/// How often a write is attempted while others change the same records, or while the connection is
/// lost.
const ATTEMPTS: usize = 5;
/// A write without an answer is repeated this often.
const REPETITIONS: usize = 2;
/// The time in which a lost connection is noticed. A database that does not answer takes longer.
const REPEAT_WITHIN: Duration = Duration::from_secs(3);

/// The records of ship in a database.
pub struct RecordStore {
    database: Box<dyn Database>,
    meta: Meta,
    opened_at: Time,
    /// The lease that this process holds, if any.
    held: Option<HeldLease>,
    /// Random numbers, which simulations replace.
    random: fn() -> u64,
    /// The rollouts that this process began.
    rollouts: BTreeMap<RolloutId, RolloutValue>,
}

impl RecordStore {
    /// Opens the store in a database. With [`StoreAccess::Write`], creates it if the database is
    /// empty.
    ///
    /// # Errors
    /// If the database cannot be read or written, was written by a newer version of ship, or is no
    /// longer the place of the state.
    pub fn open(database: Box<dyn Database>, access: StoreAccess) -> Result<Self, StoreError> {
        let store = Self::open_even_if_moved(database, access)?;
        if let Some(moved) = &store.meta.moved {
            return Err(moved_error(store.location(), &moved.to));
        }
        Ok(store)
    }

    /// [`RecordStore::open`], also for a database from which the state was moved.
    ///
    /// # Errors
    /// As for [`RecordStore::open`].
    pub fn open_even_if_moved(
        database: Box<dyn Database>,
        access: StoreAccess,
    ) -> Result<Self, StoreError> {
        let (meta, opened_at) = read_meta(&*database)?;
        let meta = match meta {
            Some(meta) => meta,
            None if access == StoreAccess::Read => new_meta(None),
            None => create_meta(&*database, opened_at)?,
        };
        Ok(Self {
            database,
            meta,
            opened_at,
            held: None,
            random: random::number,
            rollouts: BTreeMap::new(),
        })
    }

    /// Replaces the source of the random numbers in epochs.
    #[must_use]
    pub fn with_random(mut self, random: fn() -> u64) -> Self {
        self.random = random;
        self
    }

    fn location(&self) -> String {
        self.database.location()
    }

    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        self.database.read(ranges)
    }

    /// The only record with a key, if it exists.
    fn read_one(&self, key: String) -> Result<Option<StoredRecord>, StoreError> {
        let snapshot = self.read(&[KeyRange::Key(key)])?;
        Ok(snapshot.ranges.into_iter().flatten().next())
    }

    /// Commits a transaction. After a lost connection it is repeated, and counts as committed if
    /// all its writes are found in the database. It is not repeated for a database that does not
    /// answer, because callers have their own deadlines.
    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        let mut is_uncertain = false;
        let began = Instant::now();
        for repetition in 0..=REPETITIONS {
            match self.database.commit(transaction) {
                Err(StoreError::Unavailable { .. })
                    if repetition < REPETITIONS && began.elapsed() < REPEAT_WITHIN =>
                {
                    is_uncertain = true;
                }
                Ok(CommitResult::Refused) if is_uncertain => {
                    return Ok(match self.revision_of(transaction)? {
                        Some(revision) => CommitResult::Committed(revision),
                        None => CommitResult::Refused,
                    });
                }
                other => return other,
            }
        }
        Ok(CommitResult::Refused)
    }

    /// The revision of a transaction, if all its writes are found in the database.
    fn revision_of(&self, transaction: &Transaction) -> Result<Option<u64>, StoreError> {
        let range = |write: &Write| match write {
            Write::Put { key, .. } | Write::PutExpiring { key, .. } => KeyRange::Key(key.clone()),
            Write::Delete(range) => range.clone(),
        };
        let ranges: Vec<_> = transaction.writes.iter().map(range).collect();
        let found = self.read(&ranges)?;
        let mut revision = 0;
        for (write, records) in transaction.writes.iter().zip(&found.ranges) {
            match (write, &records[..]) {
                (Write::Put { value, .. } | Write::PutExpiring { value, .. }, [record])
                    if record.value == *value =>
                {
                    revision = record.modified.max(revision);
                }
                (Write::Delete(_), []) => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(revision))
    }

    /// Commits writes that are permitted only under the lease.
    fn commit_under_lease(
        &self,
        mut conditions: Vec<Condition>,
        writes: Vec<Write>,
    ) -> Result<CommitResult, StoreError> {
        let held = self.held.as_ref().ok_or(StoreError::LeaseLost)?;
        conditions.push(held.condition());
        self.commit(&Transaction { conditions, writes })
    }

    /// Repeats a change that depends on what it has read, until no one else interferes. `attempt`
    /// returns `None` if a condition was not met.
    fn until_committed<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = attempt()? {
                return Ok(done);
            }
        }
        Err(StoreError::Contended {
            location: self.location(),
        })
    }

    /// As [`Self::until_committed`], for a change under the lease: if the lease is lost, the
    /// condition can never be met.
    fn until_committed_under_lease<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        self.until_committed(|| match attempt()? {
            None if !self.is_lease_held()? => Err(StoreError::LeaseLost),
            done => Ok(done),
        })
    }

    fn put<T: Serialize>(&self, key: String, value: &T) -> Result<Write, StoreError> {
        let value = encode(&key, value, &self.location())?;
        Ok(Write::Put { key, value })
    }

    /// The records of all services, except their journals.
    fn read_services(&self) -> Result<Vec<StoredRecord>, StoreError> {
        let found = self.read(&[KeyRange::Prefix(keys::SERVICES.to_owned())])?;
        Ok(found.ranges.into_iter().flatten().collect())
    }
}

pub(super) fn encode<T: Serialize>(
    key: &str,
    value: &T,
    location: &str,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unreadable {
        location: location.to_owned(),
        what: format!("record {key}: {error}"),
    })
}

fn new_meta(created: Option<Time>) -> Meta {
    Meta {
        format: FORMAT,
        history: random::id(),
        created,
        moved: None,
    }
}

/// The first record, if there is one, and the time of the database's clock.
pub(super) fn read_meta(database: &dyn Database) -> Result<(Option<Meta>, Time), StoreError> {
    let snapshot = database.read(&[KeyRange::Key(keys::META.to_owned())])?;
    let at = snapshot.at;
    let Some(record) = snapshot.ranges.into_iter().flatten().next() else {
        return Ok((None, at));
    };
    let meta: Meta = decode(&record, &database.location())?;
    if meta.format > FORMAT {
        return Err(StoreError::Rejected {
            location: database.location(),
            why: format!(
                "its format is {}, but this version of ship supports formats up to {FORMAT}",
                meta.format
            ),
            hint: "use the newer version of ship".to_owned(),
        });
    }
    Ok((Some(meta), at))
}

/// Creates the first record. If another process does so at the same time, returns that record.
fn create_meta(database: &dyn Database, now: Time) -> Result<Meta, StoreError> {
    let (key, location) = (keys::META.to_owned(), database.location());
    let meta = new_meta(Some(now));
    let value = encode(&key, &meta, &location)?;
    let transaction = Transaction {
        conditions: vec![Condition::Absent { key: key.clone() }],
        writes: vec![Write::Put { key, value }],
    };
    match database.commit(&transaction)? {
        CommitResult::Committed(_) => Ok(meta),
        CommitResult::Refused => {
            let (meta, _) = read_meta(database)?;
            meta.ok_or(StoreError::Contended { location })
        }
    }
}

/// The error about a database from which the state was moved.
fn moved_error(location: String, to: &str) -> StoreError {
    let hint = if to.contains("://") {
        format!("set `[state]` in the inventory to `url = \"{to}\"`")
    } else {
        "remove `[state]` from the inventory".to_owned()
    };
    StoreError::Rejected {
        location,
        why: format!("the state was moved to {to}"),
        hint,
    }
}

impl Drop for RecordStore {
    /// Releases the lease of a command that failed. If that fails, the lease expires.
    fn drop(&mut self) {
        drop(self.release_lease());
    }
}

impl Store for RecordStore {
    fn history_id(&self) -> String {
        self.meta.history.clone()
    }

    fn opened_at(&self) -> Time {
        self.opened_at
    }

    fn facts(&self) -> Result<StoreFacts, StoreError> {
        self.read_facts()
    }

    fn service(&self, service_key: &ServiceKey) -> Result<ServiceRecords, StoreError> {
        let found = self.read(&[ServiceKeys::new(service_key).all()])?;
        let records: Vec<_> = found.ranges.into_iter().flatten().collect();
        ServiceRecords::decode(found.at, &records, &self.location())
    }

    fn journals(&self, rollouts: &[RolloutId]) -> Result<Vec<Vec<Entry>>, StoreError> {
        self.read_journals(rollouts)
    }

    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        let mut definitions = Vec::new();
        for record in self.read_services()? {
            if let Some((_, ServiceRecordKind::Revision(_))) = keys::parse(&record.key) {
                let value: RevisionValue = decode(&record, &self.location())?;
                definitions.push((value.release, value.definition));
            }
        }
        Ok(definitions)
    }

    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        let records = self.read_services()?;
        let rollout = |record: &StoredRecord| match keys::parse(&record.key)? {
            (_, ServiceRecordKind::Rollout(id)) => Some(id),
            _ => None,
        };
        Ok(records.iter().filter_map(rollout).collect())
    }

    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        let mut inventories = Vec::new();
        for record in self.read_services()? {
            if let Some((service_key, ServiceRecordKind::Inventory)) = keys::parse(&record.key) {
                let value: InventoryValue = decode(&record, &self.location())?;
                inventories.push(KnownInventory {
                    service_key,
                    inventory: PathBuf::from(value.path),
                });
            }
        }
        inventories.sort_by(|one, other| one.inventory.cmp(&other.inventory));
        Ok(inventories)
    }

    fn acquire_lease(
        &mut self,
        service_key: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        self.take_lease(service_key, &holder, token)
    }

    fn renew_lease(&mut self) -> Result<(), StoreError> {
        self.prolong_lease()
    }

    fn release_lease(&mut self) -> Result<(), StoreError> {
        self.give_up_lease()
    }

    fn break_lease(&mut self, service_key: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
        self.remove_lease(service_key, seen)
    }

    fn lease_token(&self) -> Option<&str> {
        self.held.as_ref().map(HeldLease::token)
    }

    fn add_revision(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        self.insert_revision(service_key, new)
    }

    fn adopt(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        self.insert_adopted(service_key, new, proven, replicas, at)
    }

    fn retain_revisions(
        &mut self,
        service_key: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        self.delete_revisions_except(service_key, kept)
    }

    fn begin_rollout(
        &mut self,
        service_key: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        self.insert_rollout(service_key, revision, seen, now)
    }

    fn append(
        &mut self,
        rollout: RolloutId,
        first: u64,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let mut first = first;
        for part in parts(entries) {
            match self.insert_events(rollout, first, part) {
                Err(StoreError::LeaseLost) if self.acquire_again()? => {
                    self.insert_events(rollout, first, part)?;
                }
                appended => appended?,
            }
            first += part.len() as u64;
        }
        Ok(())
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        match self.finish_rollout(rollout, outcome, proven, now) {
            Err(StoreError::LeaseLost) if self.acquire_again()? => {
                self.finish_rollout(rollout, outcome, proven, now)
            }
            ended => ended,
        }
    }

    fn deployments(&self, fleet: &str) -> Result<Vec<Deployment>, StoreError> {
        self.read_deployments(fleet)
    }

    fn add_deployment(
        &mut self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<DeploymentNumber, StoreError> {
        self.insert_deployment(fleet, deployment)
    }

    fn update_deployment(
        &mut self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<(), StoreError> {
        self.put_deployment(fleet, deployment)
    }

    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        self.put_request(rollout, request)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        let record = self.read_one(keys::request(rollout))?;
        record
            .map(|record| decode(&record, &self.location()))
            .transpose()
    }

    fn journal_and_request(
        &self,
        rollout: RolloutId,
    ) -> Result<(Vec<Entry>, Option<Request>), StoreError> {
        self.read_journal_and_request(rollout)
    }

    fn watch_requests(&self, rollout: RolloutId) -> Option<watch::Receiver<u64>> {
        self.database.watch(&keys::request(rollout))
    }

    fn set_scale(
        &mut self,
        service_key: &ServiceKey,
        scale: Option<&Scale>,
    ) -> Result<(), StoreError> {
        self.put_scale(service_key, scale)
    }

    fn set_freeze(
        &mut self,
        service_key: &ServiceKey,
        freeze: Option<&Freeze>,
    ) -> Result<bool, StoreError> {
        self.put_freeze(service_key, freeze)
    }

    fn record_inventory(
        &mut self,
        service_key: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError> {
        self.put_inventory(service_key, inventory)
    }
}
