//! All records of a service except its journals, as they were at one moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::core::ids::{Epoch, Revision};
use crate::core::policy::history::RolloutRun;
use crate::core::policy::revision::RevisionRecord;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::Contracted;
use crate::core::time::Time;
use crate::store::database::StoredRecord;
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::keys::{self, ServiceRecordKind};
use crate::store::lease::Holder;
use crate::store::records::{RolloutId, RolloutRecord, Scale};
use crate::store::values::{
    LeaseValue, MigrationState, MigrationValue, RevisionValue, RolloutValue, ServiceCounters,
};

/// All records of a service except its journals, as they were at one moment.
#[derive(Clone, Debug, Default)]
pub struct ServiceRecords {
    /// The time of the store's clock.
    pub at: Time,
    /// The number of instances set with `ship scale`, if it still applies.
    pub scale: Option<Scale>,
    /// The latest freeze, if it was not ended with `ship thaw`. It may have expired.
    pub freeze: Option<Freeze>,
    /// The lease, whether its holder is alive or not.
    pub lease: Option<Holder>,
    /// The transaction that created the lease, and the one that last changed it.
    pub(super) lease_revisions: Option<(u64, u64)>,
    pub(super) counters: ServiceCounters,
    /// The transaction that last changed the counters.
    pub(super) counters_modified: Option<u64>,
    pub(super) revisions: BTreeMap<Revision, RevisionValue>,
    pub(super) rollouts: BTreeMap<RolloutId, RolloutValue>,
    pub(super) migrations: BTreeMap<String, MigrationValue>,
}

impl ServiceRecords {
    /// Decodes the records; those of an unknown kind are skipped.
    pub(super) fn decode(
        at: Time,
        records: &[StoredRecord],
        location: &str,
    ) -> Result<Self, StoreError> {
        let mut decoded = Self {
            at,
            ..Self::default()
        };
        for record in records {
            let Some((_, kind)) = keys::parse(&record.key) else {
                continue;
            };
            decoded.add(kind, record, location)?;
        }
        Ok(decoded)
    }

    fn add(
        &mut self,
        kind: ServiceRecordKind,
        record: &StoredRecord,
        location: &str,
    ) -> Result<(), StoreError> {
        match kind {
            ServiceRecordKind::Lease => {
                let value: LeaseValue = decode(record, location)?;
                self.lease_revisions = Some((record.created, record.modified));
                self.lease = Some(value.holder(self.at, record.age));
            }
            ServiceRecordKind::Counters => {
                self.counters = decode(record, location)?;
                self.counters_modified = Some(record.modified);
            }
            ServiceRecordKind::Freeze => self.freeze = Some(decode(record, location)?),
            ServiceRecordKind::Scale => self.scale = Some(decode(record, location)?),
            ServiceRecordKind::Inventory => {}
            ServiceRecordKind::Migration(id) => {
                self.migrations.insert(id, decode(record, location)?);
            }
            ServiceRecordKind::Revision(number) => {
                self.revisions.insert(number, decode(record, location)?);
            }
            ServiceRecordKind::Rollout(id) => {
                self.rollouts.insert(id, decode(record, location)?);
            }
        }
        Ok(())
    }

    /// All revisions with a started rollout, oldest first. A revision does not count if ship died
    /// before the first event was durable.
    pub fn revisions(&self) -> Vec<RevisionRecord> {
        let record = |(number, value): (&Revision, &RevisionValue)| {
            let mut rollouts = self.started().filter(|(_, it)| it.revision == *number);
            let (_, first) = rollouts.next()?;
            let newest = rollouts.last().map_or(first, |(_, newest)| newest);
            Some(RevisionRecord {
                ended: newest.ended,
                outcome: newest.outcome.clone(),
                ..value.record(*number, first.began)
            })
        };
        self.revisions.iter().filter_map(record).collect()
    }

    /// A revision, even if no rollout of it has started.
    pub fn planned(&self, revision: Revision) -> Option<RevisionRecord> {
        let value = self.revisions.get(&revision)?;
        Some(value.record(revision, self.at))
    }

    /// The rollouts of the service, oldest first.
    pub fn rollouts(&self) -> Vec<RolloutRecord> {
        let record = |(id, value): (RolloutId, &RolloutValue)| RolloutRecord {
            id,
            revision: value.revision,
            began: value.began,
            outcome: value.outcome.clone(),
        };
        self.started().map(record).collect()
    }

    /// The start and the outcome of the rollouts, oldest first.
    pub fn runs(&self) -> Vec<RolloutRun> {
        let run = |value: &RolloutValue| {
            Some(RolloutRun {
                start: value.start.clone()?,
                outcome: value.outcome.clone(),
            })
        };
        self.rollouts.values().filter_map(run).collect()
    }

    /// The newest rollout, if there is one.
    pub fn newest_rollout(&self) -> Option<RolloutId> {
        self.started().last().map(|(id, _)| id)
    }

    /// The newest rollout of a revision, if there is one.
    pub fn newest_rollout_of(&self, revision: Revision) -> Option<RolloutId> {
        let of_revision = self.started().filter(|(_, it)| it.revision == revision);
        of_revision.last().map(|(id, _)| id)
    }

    /// The outcome of a rollout, if it has ended.
    pub fn outcome(&self, rollout: RolloutId) -> Option<Outcome> {
        self.rollouts.get(&rollout)?.outcome.clone()
    }

    /// The newest epoch that any rollout had, or had seen when it started.
    pub fn epoch(&self) -> Epoch {
        self.counters.epoch
    }

    /// The ids of the completed migrations.
    pub fn applied_migrations(&self) -> BTreeSet<String> {
        let done = self
            .migrations
            .iter()
            .filter(|(_, value)| value.state == MigrationState::Done);
        done.map(|(id, _)| id.clone()).collect()
    }

    /// The contract migrations that were started or completed, in the order in which they ran.
    pub fn contracted(&self) -> Vec<Contracted> {
        let mut contracts: Vec<_> = self
            .migrations
            .iter()
            .filter(|(_, value)| value.kind == "contract")
            .collect();
        contracts.sort_by_key(|(_, value)| (value.revision, value.began));
        let contracted = contracts.into_iter().map(|(id, value)| Contracted {
            id: id.clone(),
            revision: value.revision,
            version: value.version.clone(),
        });
        contracted.collect()
    }

    /// The holder of the lease, if it is alive. `machine` is the machine of this process.
    pub fn holder(&self, machine: &str) -> Option<&Holder> {
        self.lease
            .as_ref()
            .filter(|holder| !holder.is_dead(machine))
    }

    /// The freeze in effect.
    pub fn active_freeze(&self) -> Option<&Freeze> {
        self.freeze
            .as_ref()
            .filter(|freeze| freeze.is_active(self.at))
    }

    /// The rollouts whose first event is durable, or that have ended.
    fn started(&self) -> impl Iterator<Item = (RolloutId, &RolloutValue)> {
        let rollouts = self.rollouts.iter().map(|(id, value)| (*id, value));
        rollouts.filter(|(_, value)| value.is_started || value.outcome.is_some())
    }
}

/// Decodes the value of a record.
pub(super) fn decode<T: DeserializeOwned>(
    record: &StoredRecord,
    location: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(&record.value).map_err(|error| StoreError::Unreadable {
        location: location.to_owned(),
        what: format!("record {}: {error}", record.key),
    })
}
