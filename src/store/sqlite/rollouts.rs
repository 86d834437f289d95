//! Which rollouts there were, and their journals.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{HAS_BEGUN, Sqlite, signed, unsigned};
use crate::core::event::{Entry, Event, Generation, RolloutStart};
use crate::core::failure::Outcome;
use crate::core::history::Run;
use crate::core::names::{Epoch, Revision};
use crate::core::time::Time;
use crate::store::{NewRevision, RolloutId, RolloutRecord, Store as _, StoreError, Subject};

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
            let outcome = outcome.map(|text| self.decode("a rollout's outcome", &text)).transpose()?;
            let began = Time(unsigned(began));
            Ok(RolloutRecord { id: RolloutId(id), revision: Revision(revision), began, outcome })
        };
        rows.into_iter().map(record).collect()
    }

    /// How the rollouts of a service were begun, and how they ended, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn runs(&self, subject: &Subject) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<(String, Option<String>)> = self.query(
            "select e.entry, r.outcome from rollouts r join events e on e.rollout = r.id and e.seq = 1
             where r.fleet = ?1 and r.service = ?2 order by r.id",
            params![subject.fleet, subject.service],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut runs = Vec::with_capacity(rows.len());
        for (entry, outcome) in rows {
            let entry: Entry = self.decode("an event", &entry)?;
            let Event::RolloutStarted(start) = entry.event else { continue };
            let outcome = outcome.map(|text| self.decode("a rollout's outcome", &text)).transpose()?;
            runs.push(Run { start, outcome });
        }
        Ok(runs)
    }

    /// Adds a revision that was found on the hosts, with a rollout that ended when it began, as if it had succeeded `at`
    /// that time.
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
        let adopted = self.add_adopted(subject, new, proven, replicas, at);
        if adopted.is_err() {
            self.execute("rollback to adopt", [])?;
        }
        self.execute("release adopt", [])?;
        adopted
    }

    fn add_adopted(
        &mut self,
        subject: &Subject,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        let revision = self.add_revision(subject, new)?;
        let outcome = Outcome::Succeeded;
        let target = Generation { revision, release: new.release.clone(), version: new.definition.version.clone() };
        let start = RolloutStart {
            verb: new.verb,
            service: subject.service.clone(),
            fleet: subject.fleet.clone(),
            target,
            fallback: None,
            replicas,
            fallback_replicas: None,
            epoch: Epoch::default(),
            is_proven: proven,
            scaling: None,
            set: Vec::new(),
        };
        let rollout: i64 = self
            .query(
                "insert into rollouts (fleet, service, revision, epoch, began_ms, ended_ms, outcome)
                 values (?1, ?2, ?3, 0, ?4, ?4, ?5) returning id",
                params![subject.fleet, subject.service, revision.0, signed(at.0), self.encode("an outcome", &outcome)?],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        let events = [Event::RolloutStarted(start), Event::RolloutFinished { outcome }];
        for (seq, event) in (1_i64..).zip(events) {
            let text = self.encode("an event", &Entry { at, event })?;
            self.execute("insert into events values (?1, ?2, ?3)", params![rollout, seq, text])?;
        }
        self.execute(
            "update revisions set proven = ?1 where fleet = ?2 and service = ?3 and revision = ?4",
            params![proven, subject.fleet, subject.service, revision.0],
        )?;
        Ok(revision)
    }

    /// The numbers of all rollouts, of whatever service.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        let ids = self.query("select id from rollouts", params![], |row| row.get(0).map(RolloutId))?;
        Ok(ids.into_iter().collect())
    }

    /// The journal of a rollout; empty where there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
        let texts: Vec<String> =
            self.query("select entry from events where rollout = ?1 order by seq", params![rollout.0], |row| {
                row.get(0)
            })?;
        texts.iter().map(|text| self.decode("an event", text)).collect()
    }
}
