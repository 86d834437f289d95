//! Revisions and rollouts.

use std::collections::BTreeSet;

use super::RecordStore;
use super::lease::unchanged;
use crate::core::ids::{Epoch, Revision};
use crate::core::rollout::event::{Entry, Event, RevisionRef, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::store::contract::Store as _;
use crate::store::database::{CommitResult, KeyRange, Write};
use crate::store::error::StoreError;
use crate::store::keys::{self, ServiceKeys};
use crate::store::records::{NewRevision, RolloutId, ServiceKey};
use crate::store::service_records::{ServiceRecords, decode};
use crate::store::values::{RevisionValue, RolloutValue, ServiceCounters, StoreCounters};

/// The number of writes in one transaction. etcd permits 128.
const WRITES_MAX: usize = 90;

impl RecordStore {
    pub(super) fn insert_revision(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        let keys = ServiceKeys::new(service_key);
        let (revision, changed) = self.until_committed_under_lease(|| {
            let records = self.service(service_key)?;
            let (revision, counters) = next_revision(&records);
            let writes = vec![
                self.put(keys.counters(), &counters)?,
                self.put(keys.revision(revision), &RevisionValue::new(new, false))?,
            ];
            let conditions = vec![unchanged(keys.counters(), records.counters_modified)];
            let committed = self.commit_under_lease(conditions, writes)?;
            Ok(committed.revision().map(|changed| (revision, changed)))
        })?;
        self.counters_changed(changed);
        Ok(revision)
    }

    pub(super) fn insert_adopted(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        let keys = ServiceKeys::new(service_key);
        let (revision, changed) = self.until_committed_under_lease(|| {
            let records = self.service(service_key)?;
            let (revision, counters) = next_revision(&records);
            let (rollout, counted, numbers_modified) = self.next_rollout()?;
            let start = RolloutStart {
                verb: new.verb,
                service: service_key.service.clone(),
                fleet: service_key.fleet.clone(),
                target: RevisionRef {
                    revision,
                    release: new.release.clone(),
                    version: new.definition.version.clone(),
                },
                rollback_target: None,
                replicas,
                rollback_replicas: None,
                epoch: Epoch::default(),
                is_proven: proven,
                scaling: None,
                set: Vec::new(),
                hosts_from: None,
            };
            let events = [
                Event::RolloutStarted(start.clone()),
                Event::RolloutFinished {
                    outcome: Outcome::Succeeded,
                },
            ];
            let value = RolloutValue {
                revision,
                epoch: start.epoch,
                began: at,
                is_started: true,
                start: Some(start),
                ended: Some(at),
                outcome: Some(Outcome::Succeeded),
            };
            let key = keys::events(rollout, 1);
            let journal = self.encode_events(&key, &events.map(|event| Entry { at, event }))?;
            let writes = vec![
                self.put(keys::COUNTERS.to_owned(), &counted)?,
                self.put(keys.counters(), &counters)?,
                self.put(keys.revision(revision), &RevisionValue::new(new, proven))?,
                self.put(keys.rollout(rollout), &value)?,
                Write::Put {
                    key,
                    value: journal,
                },
            ];
            let conditions = vec![
                unchanged(keys.counters(), records.counters_modified),
                unchanged(keys::COUNTERS.to_owned(), numbers_modified),
            ];
            let committed = self.commit_under_lease(conditions, writes)?;
            Ok(committed.revision().map(|changed| (revision, changed)))
        })?;
        self.counters_changed(changed);
        Ok(revision)
    }

    pub(super) fn delete_revisions_except(
        &mut self,
        service_key: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        let keys = ServiceKeys::new(service_key);
        let records = self.service(service_key)?;
        let mut deleted = Vec::new();
        for (id, value) in &records.rollouts {
            if !kept.contains(&value.revision) {
                let requests = KeyRange::Key(keys::request(*id));
                deleted.extend([
                    KeyRange::Key(keys.rollout(*id)),
                    keys::journal(*id),
                    requests,
                ]);
            }
        }
        let revisions = records
            .revisions
            .keys()
            .filter(|revision| !kept.contains(revision));
        deleted.extend(revisions.map(|revision| KeyRange::Key(keys.revision(*revision))));
        for part in deleted.chunks(WRITES_MAX) {
            let writes = part.iter().cloned().map(Write::Delete).collect();
            if self.commit_under_lease(Vec::new(), writes)? == CommitResult::Refused {
                return Err(StoreError::LeaseLost);
            }
        }
        Ok(())
    }

    pub(super) fn insert_rollout(
        &mut self,
        service_key: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let keys = ServiceKeys::new(service_key);
        let (id, value, changed) = self.until_committed_under_lease(|| {
            let records = self.service(service_key)?;
            let (id, counted, numbers_modified) = self.next_rollout()?;
            let epoch = self.next_epoch(records.epoch().max(seen));
            let counters = ServiceCounters {
                epoch,
                ..records.counters
            };
            let value = RolloutValue {
                revision,
                epoch,
                began: now,
                is_started: false,
                start: None,
                ended: None,
                outcome: None,
            };
            let writes = vec![
                self.put(keys::COUNTERS.to_owned(), &counted)?,
                self.put(keys.counters(), &counters)?,
                self.put(keys.rollout(id), &value)?,
            ];
            let conditions = vec![
                unchanged(keys.counters(), records.counters_modified),
                unchanged(keys::COUNTERS.to_owned(), numbers_modified),
            ];
            let committed = self.commit_under_lease(conditions, writes)?;
            Ok(committed.revision().map(|changed| (id, value, changed)))
        })?;
        self.counters_changed(changed);
        let epoch = value.epoch;
        self.rollouts.insert(id, value);
        Ok((id, epoch))
    }

    pub(super) fn finish_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let held = self.held.as_ref().ok_or(StoreError::LeaseLost)?;
        let keys = ServiceKeys::new(held.service_key());
        let mut value = self.rollout_value(rollout)?;
        value.ended = Some(now);
        value.outcome = Some(outcome.clone());
        let mut writes = vec![self.put(keys.rollout(rollout), &value)?];
        if proven && let Some(record) = self.read_one(keys.revision(value.revision))? {
            let revision: RevisionValue = decode(&record, &self.location())?;
            if !revision.proven {
                let proven = RevisionValue {
                    proven: true,
                    ..revision
                };
                writes.push(self.put(keys.revision(value.revision), &proven)?);
            }
        }
        if self.commit_under_lease(Vec::new(), writes)? == CommitResult::Refused {
            return Err(StoreError::LeaseLost);
        }
        self.rollouts.insert(rollout, value);
        Ok(())
    }

    /// A rollout of the service whose lease this process holds.
    pub(super) fn rollout_value(&self, rollout: RolloutId) -> Result<RolloutValue, StoreError> {
        if let Some(known) = self.rollouts.get(&rollout) {
            return Ok(known.clone());
        }
        let held = self.held.as_ref().ok_or(StoreError::LeaseLost)?;
        let key = ServiceKeys::new(held.service_key()).rollout(rollout);
        match self.read_one(key.clone())? {
            Some(record) => decode(&record, &self.location()),
            None => Err(StoreError::Unreadable {
                location: self.location(),
                what: format!("record {key} is missing"),
            }),
        }
    }

    /// The number of the next rollout, and the transaction that last changed the counter.
    fn next_rollout(&self) -> Result<(RolloutId, StoreCounters, Option<u64>), StoreError> {
        let found = self.read_one(keys::COUNTERS.to_owned())?;
        let modified = found.as_ref().map(|record| record.modified);
        let counters: StoreCounters = match found {
            Some(record) => decode(&record, &self.location())?,
            None => StoreCounters::default(),
        };
        let next = StoreCounters {
            rollout: counters.rollout.saturating_add(1),
        };
        Ok((RolloutId(next.rollout), next, modified))
    }
}

fn next_revision(records: &ServiceRecords) -> (Revision, ServiceCounters) {
    let counters = ServiceCounters {
        revision: records.counters.revision.saturating_add(1),
        ..records.counters
    };
    (Revision(counters.revision), counters)
}
