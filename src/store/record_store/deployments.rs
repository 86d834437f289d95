//! The deployments of a fleet.

use super::RecordStore;
use crate::core::stack::{Deployment, DeploymentNumber};
use crate::store::database::{CommitResult, Condition, KeyRange, Write};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::service_records::decode;

/// How many deployments of a fleet are kept.
const DEPLOYMENTS_MAX: usize = 100;

impl RecordStore {
    pub(super) fn read_deployments(&self, fleet: &str) -> Result<Vec<Deployment>, StoreError> {
        let found = self.read(&[keys::deployments(fleet)])?;
        let records = found.ranges.iter().flatten();
        records
            .map(|record| decode(record, &self.location()))
            .collect()
    }

    /// Adds a deployment with the next number, and deletes the oldest ones beyond the limit.
    pub(super) fn insert_deployment(
        &self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<DeploymentNumber, StoreError> {
        self.until_committed_under_lease(|| {
            let known = self.read_deployments(fleet)?;
            let newest = known.last().map_or(0, |newest| newest.number.0);
            let number = DeploymentNumber(newest + 1);
            let key = keys::deployment(fleet, number);
            let numbered = Deployment {
                number,
                ..deployment.clone()
            };
            let mut writes = vec![self.put(key.clone(), &numbered)?];
            let surplus = (known.len() + 1).saturating_sub(DEPLOYMENTS_MAX);
            let deleted = known.iter().take(surplus);
            writes.extend(
                deleted
                    .map(|old| Write::Delete(KeyRange::Key(keys::deployment(fleet, old.number)))),
            );
            let conditions = vec![Condition::Absent { key }];
            let committed = self.commit_under_lease(conditions, writes)?;
            Ok((committed != CommitResult::Refused).then_some(number))
        })
    }

    pub(super) fn put_deployment(
        &self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<(), StoreError> {
        let key = keys::deployment(fleet, deployment.number);
        self.write_under_lease(self.put(key, deployment)?)
    }
}
