//! Migrations in the database. They are written together with their events, and stay when the
//! journals are deleted.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{Sqlite, signed};
use crate::core::ids::Revision;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::task::{Contracted, TaskOutcome};
use crate::store::contract::Migrations;
use crate::store::error::StoreError;
use crate::store::records::{RolloutId, ServiceKey};

impl Migrations for Sqlite {
    fn applied_migrations(&self, service_key: &ServiceKey) -> Result<BTreeSet<String>, StoreError> {
        let sql = "select id from migrations where fleet = ?1 and service = ?2 and state = 'done'";
        let ids = self.query(
            sql,
            params![service_key.fleet, service_key.service],
            |row| row.get(0),
        )?;
        Ok(ids.into_iter().collect())
    }

    fn contracted(&self, service_key: &ServiceKey) -> Result<Vec<Contracted>, StoreError> {
        let sql = "select id, revision, version from migrations
                   where fleet = ?1 and service = ?2 and kind = 'contract' order by revision, \
                   began_ms";
        self.query(
            sql,
            params![service_key.fleet, service_key.service],
            |row| {
                Ok(Contracted {
                    id: row.get(0)?,
                    revision: Revision(row.get(1)?),
                    version: row.get(2)?,
                })
            },
        )
    }
}

impl Sqlite {
    /// Records the state of a migration from an event.
    pub(super) fn record_migration(
        &self,
        rollout: RolloutId,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        match &entry.event {
            Event::TaskStarted {
                migration: Some((kind, id)),
                host,
                ..
            } => {
                let host = host.as_ref().map_or("", |host| host.as_str());
                // A completed migration keeps its state.
                self.execute(
                    "insert into migrations (fleet, service, id, kind, revision, version, host, \
                     began_ms, state)
                     select r.fleet, r.service, ?2, ?3, r.revision, json_extract(v.definition, \
                     '$.version'), ?4, ?5, 'begun'
                     from rollouts r join revisions v
                       on v.fleet = r.fleet and v.service = r.service and v.revision = r.revision
                     where r.id = ?1
                     on conflict do update set revision = excluded.revision, version = \
                     excluded.version,
                       host = excluded.host, began_ms = excluded.began_ms, state = excluded.state \
                       where state != 'done'",
                    params![rollout.0, id, kind.to_string(), host, signed(entry.at.0)],
                )
                .map(drop)
            }
            Event::TaskEnded {
                migration: Some((_, id)),
                end,
                ..
            } => {
                let state = match end {
                    TaskOutcome::Done | TaskOutcome::DoneBefore => "done",
                    TaskOutcome::Failed { .. } => "failed",
                    TaskOutcome::Unknown { .. } => "begun",
                };
                self.execute(
                    "update migrations set state = ?3, ended_ms = ?4
                     where id = ?2 and state != 'done'
                       and (fleet, service) in (select fleet, service from rollouts where id = ?1)",
                    params![rollout.0, id, state, signed(entry.at.0)],
                )
                .map(drop)
            }
            _ => Ok(()),
        }
    }
}
