//! Finds the rollout of `--rollout N|last`.

use super::environment::Environment;
use super::error::{Error, Refused};
use super::known_rollout::KnownRollout;
use crate::core::rollout::failure::Outcome;
use crate::store::{RolloutId, RolloutRecord, ServiceKey, ServiceRecords, Store};

/// Finds the rollout of `--rollout N|last`.
///
/// # Errors
/// If the service has no such rollout, or the state cannot be read.
pub(super) fn find(
    env: &dyn Environment,
    store: &dyn Store,
    service: &ServiceKey,
    which: &str,
) -> Result<RolloutId, Error> {
    let records = store.service(service)?;
    let known = records.rollouts();
    let newest = known.last().ok_or(Refused::NothingDeployed)?;
    if which == "last" {
        return Ok(newest.id);
    }
    let number = which.parse().ok().map(RolloutId);
    let is_known = |number: &RolloutId| known.iter().any(|record| record.id == *number);
    if let Some(number) = number.filter(is_known) {
        return Ok(number);
    }
    // The newest rollout is under way if it has no outcome and a controller holds the lease.
    let has_live_controller = records.holder(&env.machine()).is_some();
    let running = (newest.outcome.is_none() && has_live_controller).then_some(newest.id);
    Err(Refused::UnknownRollout {
        which: which.to_owned(),
        service: service.service.clone(),
        known: describe(&records, known, running),
    }
    .into())
}

/// Describes the rollouts, the newest first.
fn describe(
    records: &ServiceRecords,
    rollouts: Vec<RolloutRecord>,
    running: Option<RolloutId>,
) -> Vec<KnownRollout> {
    let revisions = records.revisions();
    let version = |revision| {
        let known = revisions.iter().find(|known| known.revision == revision);
        known.map(|known| known.definition.version.clone())
    };
    let known = rollouts.into_iter().rev().map(|record| KnownRollout {
        id: record.id,
        version: version(record.revision),
        revision: record.revision,
        began: record.began,
        outcome: Outcome::word_of(record.outcome.as_ref(), running == Some(record.id)),
    });
    known.collect()
}
