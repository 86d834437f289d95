//! What has become of the rollouts: their numbers and their journals.

use std::collections::BTreeSet;

use rusqlite::params;

use super::Sqlite;
use crate::core::event::Entry;
use crate::core::names::Revision;
use crate::store::{RolloutId, StoreError, Subject};

impl Sqlite {
    /// A service's rollouts that are still in the history, oldest first, each with the revision that it was for.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn rollouts(&self, subject: &Subject) -> Result<Vec<(RolloutId, Revision)>, StoreError> {
        self.query(
            "select id, revision from rollouts where fleet = ?1 and service = ?2 order by id",
            params![subject.fleet, subject.service],
            |row| Ok((RolloutId(row.get(0)?), Revision(row.get(1)?))),
        )
    }

    /// The numbers of all rollouts of any fleet and service.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn rollout_numbers(&self) -> Result<BTreeSet<i64>, StoreError> {
        Ok(self.query("select id from rollouts", params![], |row| row.get(0))?.into_iter().collect())
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
