//! Unattended deploys: collects what the policy needs for its decision.

use std::collections::BTreeMap;

use super::error::Error;
use super::opened_service::OpenedService;
use super::session::Session;
use super::spec;
use crate::core::ids::ReleaseId;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::admission::check::check_open;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::unattended::{
    self, PreviousRollout, Resolution, RevisionAttempt, RunMode,
};
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;

/// Refuses a deploy while the fleet is frozen or no window is open, before anything is fetched.
///
/// # Errors
/// Who froze the fleet, or when the next window opens.
pub fn permit_now(service: &OpenedService, mode: RunMode) -> Result<(), Error> {
    let records = service.records()?;
    let freeze = records.active_freeze().map(ToString::to_string);
    let history = ServiceHistory {
        revisions: records.revisions(),
        ..ServiceHistory::default()
    };
    let now = service.clock.now();
    let windows = spec::deploy_windows(&service.project, mode, &history, now);
    check_open(
        &service.service_key.service,
        mode,
        freeze.as_deref(),
        &windows,
        now,
    )?;
    Ok(())
}

/// Decides whether to deploy a release. The lease must be held.
pub(crate) fn resolve(session: &Session, release: &ReleaseId) -> Result<Resolution, Error> {
    let failed =
        |record: &&RevisionRecord| !matches!(record.outcome, None | Some(Outcome::Succeeded));
    let records = session.records()?;
    let revisions = &session.history.revisions;
    let rollouts: Vec<_> = revisions
        .iter()
        .filter(failed)
        .filter_map(|record| Some((record.revision, records.newest_rollout_of(record.revision)?)))
        .collect();
    let ids: Vec<_> = rollouts.iter().map(|(_, id)| *id).collect();
    let journals = session.store.lock().journals(&ids)?;
    let journals: BTreeMap<_, _> = rollouts
        .iter()
        .map(|(revision, _)| *revision)
        .zip(journals)
        .collect();
    let attempts: Vec<_> = revisions
        .iter()
        .map(|record| attempt(record, journals.get(&record.revision).map(Vec::as_slice)))
        .collect();
    let resolution = unattended::resolve(
        PreviousRollout::of(&session.history),
        &attempts,
        release,
        session.project.playbook.unattended.on_interrupted,
    );
    Ok(match resolution {
        Resolution::Skip { .. } | Resolution::Refuse { .. } if session.mode.force => Resolution::Go,
        resolution => resolution,
    })
}

fn attempt(record: &RevisionRecord, journal: Option<&[Entry]>) -> RevisionAttempt {
    RevisionAttempt {
        revision: record.revision,
        release: record.release.clone(),
        version: record.definition.version.clone(),
        verb: record.verb,
        proven: record.proven,
        outcome: record.outcome.clone(),
        failure: journal
            .and_then(RolloutSummary::of)
            .and_then(|summary| summary.failure),
    }
}
