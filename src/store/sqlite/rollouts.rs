//! Which rollouts there were, and their journals.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{HAS_BEGUN, Sqlite, signed, unsigned};
use crate::core::ids::{Epoch, Revision};
use crate::core::policy::history::Run;
use crate::core::rollout::event::{Entry, Event, Generation, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::store::contract::{NewRevision, RolloutId, RolloutRecord, Store as _, Subject};
use crate::store::error::StoreError;

impl Sqlite {
    /// The rollouts of a service, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn rollouts(&self, subject: &Subject) -> Result<Vec<RolloutRecord>, StoreError> {
        let rows: Vec<(i64, u32, i64, Option<String>)> = self.query(
            &format!(
                "select id, revision, began_ms, outcome from rollouts
                 where fleet = ?1 and service = ?2 and {HAS_BEGUN} order by id"
            ),
            params![subject.fleet, subject.service],
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

    /// How the rollouts of a service were begun, and how they ended, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn runs(&self, subject: &Subject) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<(String, Option<String>)> = self.query(
            "select e.entry, r.outcome from rollouts r join events e on e.rollout = r.id and \
             e.seq = 1
             where r.fleet = ?1 and r.service = ?2 order by r.id",
            params![subject.fleet, subject.service],
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
            runs.push(Run { start, outcome });
        }
        Ok(runs)
    }

    /// Adds a revision that was found on the hosts, with a rollout that ended when it began, as if
    /// it had succeeded `at` that time.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn adopt(
        &mut self,
        subject: &Subject,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        self.execute("savepoint adopt", [])?;
        let adopted = self.add_revision(subject, new).and_then(|revision| {
            let version = new.definition.version.clone();
            let start = RolloutStart {
                verb: new.verb,
                service: subject.service.clone(),
                fleet: subject.fleet.clone(),
                target: Generation {
                    revision,
                    release: new.release.clone(),
                    version,
                },
                fallback: None,
                replicas,
                fallback_replicas: None,
                epoch: Epoch::default(),
                is_proven: proven,
                scaling: None,
                set: Vec::new(),
            };
            self.add_finished(subject, start, at).map(|()| revision)
        });
        if adopted.is_err() {
            self.execute("rollback to adopt", [])?;
        }
        self.execute("release adopt", [])?;
        adopted
    }

    /// Adds a rollout that began and succeeded `at` that time.
    fn add_finished(
        &mut self,
        subject: &Subject,
        start: RolloutStart,
        at: Time,
    ) -> Result<(), StoreError> {
        let (proven, outcome) = (start.is_proven, Outcome::Succeeded);
        let rollout = self.insert_rollout(subject, start.target.revision, start.epoch, at)?;
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
        subject: &Subject,
        revision: Revision,
        epoch: Epoch,
        began: Time,
    ) -> Result<RolloutId, StoreError> {
        let id = self.query(
            "insert into rollouts (fleet, service, revision, epoch, began_ms)
             values (?1, ?2, ?3, ?4, ?5) returning id",
            params![
                subject.fleet,
                subject.service,
                revision.0,
                signed(epoch.0),
                signed(began.0)
            ],
            |row| row.get(0),
        )?;
        Ok(RolloutId(id.first().copied().unwrap_or_default()))
    }

    /// Adds events to a rollout's journal, as part of the caller's transaction.
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
            self.note_migration(rollout, entry)?;
        }
        Ok(())
    }

    /// The numbers of all rollouts, of whatever service.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        let ids = self.query("select id from rollouts", params![], |row| {
            row.get(0).map(RolloutId)
        })?;
        Ok(ids.into_iter().collect())
    }

    /// The journal of a rollout; empty where there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
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
}
