//! Rollouts and their journals in the database.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{HAS_STARTED, Sqlite, signed, unsigned};
use crate::core::ids::{Epoch, Revision};
use crate::core::policy::history::RolloutRun;
use crate::core::rollout::event::{Entry, Event, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::store::contract::Rollouts;
use crate::store::error::StoreError;
use crate::store::records::{RolloutId, RolloutRecord, ServiceKey};

impl Rollouts for Sqlite {
    fn epoch(&self, service_key: &ServiceKey) -> Result<Epoch, StoreError> {
        let sql = "select epoch from counters where fleet = ?1 and service = ?2";
        let found = self
            .query(
                sql,
                params![service_key.fleet, service_key.service],
                |row| row.get(0),
            )?
            .pop();
        Ok(Epoch(unsigned(found.unwrap_or_default())))
    }

    fn begin_rollout(
        &mut self,
        service_key: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let epoch = self.raise_epoch(service_key, seen)?;
        Ok((
            self.insert_rollout(service_key, revision, epoch, now)?,
            epoch,
        ))
    }

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
        // One commit for all entries, because each commit waits for the disk.
        let transaction = self
            .connection
            .unchecked_transaction()
            .map_err(|source| self.failed(source))?;
        self.insert_events(rollout, entries)?;
        transaction.commit().map_err(|source| self.failed(source))
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let text = self.encode("an outcome", outcome)?;
        self.execute(
            "update rollouts set ended_ms = ?1, outcome = ?2 where id = ?3",
            params![signed(now.0), text, rollout.0],
        )?;
        if proven {
            self.execute(
                "update revisions set proven = 1 from rollouts r
                 where r.id = ?1 and revisions.fleet = r.fleet and revisions.service = r.service
                   and revisions.revision = r.revision",
                params![rollout.0],
            )?;
        }
        Ok(())
    }

    fn rollouts(&self, service_key: &ServiceKey) -> Result<Vec<RolloutRecord>, StoreError> {
        let rows: Vec<(i64, u32, i64, Option<String>)> = self.query(
            &format!(
                "select id, revision, began_ms, outcome from rollouts
                 where fleet = ?1 and service = ?2 and {HAS_STARTED} order by id"
            ),
            params![service_key.fleet, service_key.service],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let record = |(id, revision, began, outcome): (i64, u32, i64, Option<String>)| {
            let outcome = outcome
                .map(|text| self.decode("a rollout's outcome", &text))
                .transpose()?;
            let began = Time(unsigned(began));
            Ok(RolloutRecord {
                id: RolloutId(id),
                revision: Revision(revision),
                began,
                outcome,
            })
        };
        rows.into_iter().map(record).collect()
    }

    fn runs(&self, service_key: &ServiceKey) -> Result<Vec<RolloutRun>, StoreError> {
        let rows: Vec<(String, Option<String>)> = self.query(
            "select e.entry, r.outcome from rollouts r join events e on e.rollout = r.id and \
             e.seq = 1
             where r.fleet = ?1 and r.service = ?2 order by r.id",
            params![service_key.fleet, service_key.service],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut runs = Vec::with_capacity(rows.len());
        for (entry, outcome) in rows {
            let entry: Entry = self.decode("an event", &entry)?;
            let Event::RolloutStarted(start) = entry.event else {
                continue;
            };
            let outcome = outcome
                .map(|text| self.decode("a rollout's outcome", &text))
                .transpose()?;
            runs.push(RolloutRun { start, outcome });
        }
        Ok(runs)
    }

    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        let ids = self.query("select id from rollouts", params![], |row| {
            row.get(0).map(RolloutId)
        })?;
        Ok(ids.into_iter().collect())
    }

    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
        let texts: Vec<String> = self.query(
            "select entry from events where rollout = ?1 order by seq",
            params![rollout.0],
            |row| row.get(0),
        )?;
        texts
            .iter()
            .map(|text| self.decode("an event", text))
            .collect()
    }

    fn newest_journal(
        &self,
        service_key: &ServiceKey,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.newest_of(service_key, None)
    }

    fn journal_of(
        &self,
        service_key: &ServiceKey,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(self
            .newest_of(service_key, Some(revision))?
            .map(|(_, journal)| journal))
    }

    fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError> {
        let sql = "select outcome from rollouts where id = ?1";
        let found: Option<Option<String>> =
            self.query(sql, params![rollout.0], |row| row.get(0))?.pop();
        found
            .flatten()
            .map(|text| self.decode("a rollout's outcome", &text))
            .transpose()
    }
}

impl Sqlite {
    /// Adds a rollout that started and succeeded at `at`.
    pub(super) fn add_finished(
        &mut self,
        service_key: &ServiceKey,
        start: RolloutStart,
        at: Time,
    ) -> Result<(), StoreError> {
        let (proven, outcome) = (start.is_proven, Outcome::Succeeded);
        let rollout = self.insert_rollout(service_key, start.target.revision, start.epoch, at)?;
        let events = [
            Event::RolloutStarted(start),
            Event::RolloutFinished {
                outcome: outcome.clone(),
            },
        ];
        self.insert_events(rollout, &events.map(|event| Entry { at, event }))?;
        self.end_rollout(rollout, &outcome, proven, at)
    }

    pub(super) fn insert_rollout(
        &self,
        service_key: &ServiceKey,
        revision: Revision,
        epoch: Epoch,
        began: Time,
    ) -> Result<RolloutId, StoreError> {
        let id = self.query(
            "insert into rollouts (fleet, service, revision, epoch, began_ms)
             values (?1, ?2, ?3, ?4, ?5) returning id",
            params![
                service_key.fleet,
                service_key.service,
                revision.0,
                signed(epoch.0),
                signed(began.0)
            ],
            |row| row.get(0),
        )?;
        Ok(RolloutId(id.first().copied().unwrap_or_default()))
    }

    /// Adds events to a rollout's journal, within the caller's transaction.
    pub(super) fn insert_events(
        &self,
        rollout: RolloutId,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        for entry in entries {
            let text = self.encode("an event", entry)?;
            self.execute(
                "insert into events values (?1, 1 + coalesce((select max(seq) from events where \
                 rollout = ?1), 0), ?2)",
                params![rollout.0, text],
            )?;
            self.record_migration(rollout, entry)?;
        }
        Ok(())
    }
}
