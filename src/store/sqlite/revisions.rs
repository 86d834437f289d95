//! The history in the database.

use std::collections::BTreeSet;

use rusqlite::{Row, params};

use super::{HAS_STARTED, Sqlite, unsigned};
use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;
use crate::core::rollout::event::{RevisionRef, RolloutStart};
use crate::core::time::Time;
use crate::store::contract::Revisions;
use crate::store::error::StoreError;
use crate::store::records::{NewRevision, ServiceKey};

/// A revision and its newest rollout, as stored.
struct RevisionRow {
    revision: u32,
    release: String,
    definition: String,
    playbook: String,
    who: String,
    reason: String,
    verb: String,
    proven: bool,
    began: Option<i64>,
    ended: Option<i64>,
    outcome: Option<String>,
}

impl RevisionRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            revision: row.get(0)?,
            release: row.get(1)?,
            definition: row.get(2)?,
            playbook: row.get(3)?,
            who: row.get(4)?,
            reason: row.get(5)?,
            verb: row.get(6)?,
            proven: row.get(7)?,
            began: row.get(8)?,
            ended: row.get(9)?,
            outcome: row.get(10)?,
        })
    }

    fn decode(self, store: &Sqlite) -> Result<RevisionRecord, StoreError> {
        let outcome = self
            .outcome
            .map(|text| store.decode("a rollout's outcome", &text));
        Ok(RevisionRecord {
            revision: Revision(self.revision),
            release: ReleaseId::from(self.release),
            definition: store.decode("a revision's definition", &self.definition)?,
            playbook: self.playbook,
            who: self.who,
            reason: self.reason,
            verb: store.decode("a revision's verb", &self.verb)?,
            began: Time(unsigned(self.began.unwrap_or(0))),
            ended: self.ended.map(|ms| Time(unsigned(ms))),
            outcome: outcome.transpose()?,
            proven: self.proven,
        })
    }
}

impl Revisions for Sqlite {
    fn history_id(&self) -> Result<String, StoreError> {
        Ok(self
            .query("select id from identity", params![], |row| row.get(0))?
            .pop()
            .unwrap_or_default())
    }

    fn revisions(&self, service_key: &ServiceKey) -> Result<Vec<RevisionRecord>, StoreError> {
        let rows = self.query(
            &format!(
                "select v.revision, v.release, v.definition, v.playbook, v.who, v.reason, v.verb, \
                 v.proven,
                    (select min(began_ms) from rollouts
                     where fleet = v.fleet and service = v.service and revision = v.revision and \
                     {HAS_STARTED}),
                    r.ended_ms, r.outcome
             from revisions v join rollouts r on r.id = (
                 select max(id) from rollouts
                 where fleet = v.fleet and service = v.service and revision = v.revision
                   and {HAS_STARTED})
             where v.fleet = ?1 and v.service = ?2 order by v.revision"
            ),
            params![service_key.fleet, service_key.service],
            RevisionRow::read,
        )?;
        rows.into_iter().map(|row| row.decode(self)).collect()
    }

    fn add_revision(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        let definition = self.encode("a revision's definition", &new.definition)?;
        let verb = self.encode("a revision's verb", &new.verb)?;
        let number: u32 = self
            .query(
                "insert into counters (fleet, service, revision) values (?1, ?2, 1)
                 on conflict do update set revision = revision + 1 returning revision",
                params![service_key.fleet, service_key.service],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        self.execute(
            "insert into revisions (fleet, service, revision, release, definition, playbook, who, \
             reason, verb)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                service_key.fleet,
                service_key.service,
                number,
                new.release.as_str(),
                definition,
                new.playbook,
                new.who,
                new.reason,
                verb
            ],
        )?;
        Ok(Revision(number))
    }

    fn adopt(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        self.execute("savepoint adopt", [])?;
        let adopted = self.add_revision(service_key, new).and_then(|revision| {
            let version = new.definition.version.clone();
            let start = RolloutStart {
                verb: new.verb,
                service: service_key.service.clone(),
                fleet: service_key.fleet.clone(),
                target: RevisionRef {
                    revision,
                    release: new.release.clone(),
                    version,
                },
                rollback_target: None,
                replicas,
                rollback_replicas: None,
                epoch: Epoch::default(),
                is_proven: proven,
                scaling: None,
                set: Vec::new(),
            };
            self.add_finished(service_key, start, at).map(|()| revision)
        });
        if adopted.is_err() {
            self.execute("rollback to adopt", [])?;
        }
        self.execute("release adopt", [])?;
        adopted
    }

    fn retain_revisions(
        &mut self,
        service_key: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        let kept: Vec<String> = kept.iter().map(|revision| revision.0.to_string()).collect();
        // The list contains only numbers, so it is safe in the SQL text; SQLite cannot bind lists.
        let list = kept.join(", ");
        for table in ["rollouts", "revisions"] {
            self.execute(
                &format!(
                    "delete from {table} where fleet = ?1 and service = ?2 and revision not \
                          in ({list})"
                ),
                params![service_key.fleet, service_key.service],
            )?;
        }
        Ok(())
    }

    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        let texts: Vec<(String, String)> = self.query(
            "select distinct release, definition from revisions",
            params![],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        texts
            .into_iter()
            .map(|(release, text)| {
                Ok((
                    ReleaseId::from(release),
                    self.decode("a revision's definition", &text)?,
                ))
            })
            .collect()
    }
}
