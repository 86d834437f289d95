//! The journals of rollouts, and the migrations that they contain.

use super::RecordStore;
use super::lease::unchanged;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::task::TaskOutcome;
use crate::store::contract::Store as _;
use crate::store::database::{CommitResult, Condition, KeyRange, StoredRecord, Write};
use crate::store::error::StoreError;
use crate::store::keys::{self, ServiceKeys};
use crate::store::records::{Request, RolloutId};
use crate::store::service_records::{ServiceRecords, decode};
use crate::store::values::{MigrationState, MigrationValue};

impl RecordStore {
    pub(super) fn read_journals(
        &self,
        rollouts: &[RolloutId],
    ) -> Result<Vec<Vec<Entry>>, StoreError> {
        let ranges: Vec<_> = rollouts.iter().map(|id| keys::journal(*id)).collect();
        let found = self.read(&ranges)?;
        let journals = found.ranges.iter();
        journals
            .map(|records| self.decode_events(records))
            .collect()
    }

    pub(super) fn read_journal_and_request(
        &self,
        rollout: RolloutId,
    ) -> Result<(Vec<Entry>, Option<Request>), StoreError> {
        let request = KeyRange::Key(keys::request(rollout));
        let found = self.read(&[keys::journal(rollout), request])?;
        let mut ranges = found.ranges.into_iter();
        let journal = self.decode_events(&ranges.next().unwrap_or_default())?;
        let request = ranges.flatten().next();
        let request = request.map(|record| decode(&record, &self.location()));
        Ok((journal, request.transpose()?))
    }

    fn decode_events(&self, records: &[StoredRecord]) -> Result<Vec<Entry>, StoreError> {
        let mut journal = Vec::new();
        for record in records {
            for line in record.value.lines() {
                let entry = serde_json::from_str(line);
                journal.push(entry.map_err(|error| StoreError::Unreadable {
                    location: self.location(),
                    what: format!("record {}, an event: {error}", record.key),
                })?);
            }
        }
        Ok(journal)
    }

    pub(super) fn insert_events(
        &mut self,
        rollout: RolloutId,
        first: u64,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let held = self.held.as_ref().ok_or(StoreError::LeaseLost)?;
        let keys = ServiceKeys::new(held.service_key());
        let key = keys::events(rollout, first);
        let value = self.encode_events(&key, entries)?;
        let mut conditions = vec![Condition::Absent { key: key.clone() }];
        let mut writes = vec![Write::Put {
            key: key.clone(),
            value: value.clone(),
        }];
        let mut rollout_value = self.rollout_value(rollout)?;
        if !rollout_value.is_started {
            rollout_value.is_started = true;
            if let Some(Event::RolloutStarted(start)) = entries.first().map(|entry| &entry.event) {
                rollout_value.start = Some(start.clone());
            }
            writes.push(self.put(keys.rollout(rollout), &rollout_value)?);
        }
        if entries.iter().any(|entry| migration_id(entry).is_some()) {
            let records = self.service(held.service_key())?;
            let changed = changed_migrations(&records, rollout, entries);
            for (id, value) in changed {
                writes.push(self.put(keys.migration(&id), &value)?);
            }
            conditions.push(unchanged(keys.counters(), records.counters_modified));
        }
        if self.commit_under_lease(conditions, writes)? == CommitResult::Refused {
            // An earlier attempt may have succeeded without an answer.
            let present = self.read_one(key)?;
            if present.is_none_or(|present| present.value != value) || !self.is_lease_held()? {
                return Err(StoreError::LeaseLost);
            }
        }
        self.rollouts.insert(rollout, rollout_value);
        Ok(())
    }

    /// Encodes events, one per line.
    pub(super) fn encode_events(&self, key: &str, entries: &[Entry]) -> Result<String, StoreError> {
        let location = self.location();
        let lines: Result<Vec<_>, _> = entries
            .iter()
            .map(|entry| super::encode(key, entry, &location))
            .collect();
        Ok(lines?.join("\n"))
    }
}

fn migration_id(entry: &Entry) -> Option<&str> {
    match &entry.event {
        Event::TaskStarted {
            migration: Some((_, id)),
            ..
        }
        | Event::TaskEnded {
            migration: Some((_, id)),
            ..
        } => Some(id),
        _ => None,
    }
}

/// The migrations whose state changes with these events. A completed migration keeps its state.
fn changed_migrations(
    records: &ServiceRecords,
    rollout: RolloutId,
    entries: &[Entry],
) -> Vec<(String, MigrationValue)> {
    let mut known = records.migrations.clone();
    let mut changed = Vec::new();
    let Some(revision) = records.rollouts.get(&rollout).map(|it| it.revision) else {
        return Vec::new();
    };
    let version = records
        .revisions
        .get(&revision)
        .map(|value| value.definition.version.clone())
        .unwrap_or_default();
    for entry in entries {
        let Some(id) = migration_id(entry) else {
            continue;
        };
        if known
            .get(id)
            .is_some_and(|present| present.state == MigrationState::Done)
        {
            continue;
        }
        match &entry.event {
            Event::TaskStarted {
                migration: Some((kind, _)),
                host,
                ..
            } => {
                let value = MigrationValue {
                    kind: kind.to_string(),
                    revision,
                    version: version.clone(),
                    host: host.as_ref().map_or(String::new(), ToString::to_string),
                    began: entry.at,
                    ended: None,
                    state: MigrationState::Begun,
                };
                known.insert(id.to_owned(), value);
            }
            Event::TaskEnded { end, .. } => {
                let Some(value) = known.get_mut(id) else {
                    continue;
                };
                value.ended = Some(entry.at);
                value.state = match end {
                    TaskOutcome::Done | TaskOutcome::DoneBefore => MigrationState::Done,
                    TaskOutcome::Failed { .. } => MigrationState::Failed,
                    TaskOutcome::Unknown { .. } => MigrationState::Begun,
                };
            }
            _ => continue,
        }
        if !changed.contains(&id) {
            changed.push(id);
        }
    }
    let values = changed
        .into_iter()
        .filter_map(|id| Some((id.to_owned(), known.get(id)?.clone())));
    values.collect()
}
