//! Unattended deploys: collects what the policy needs for its decision.

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
use crate::core::rollout::failure::Outcome;

/// Refuses a deploy while the fleet is frozen or no window is open, before anything is fetched.
///
/// # Errors
/// Who froze the fleet, or when the next window opens.
pub fn permit_now(service: &OpenedService, mode: RunMode) -> Result<(), Error> {
    let freeze = service.active_freeze()?.map(|freeze| freeze.to_string());
    let history = ServiceHistory {
        revisions: service.store.revisions(&service.service_key)?,
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
    let attempts: Vec<_> = session
        .history
        .revisions
        .iter()
        .map(|record| attempt(session, record))
        .collect::<Result<_, _>>()?;
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

fn attempt(session: &Session, record: &RevisionRecord) -> Result<RevisionAttempt, Error> {
    let journal = match record.outcome {
        None | Some(Outcome::Succeeded) => None,
        Some(_) => session
            .store
            .journal_of(&session.service_key, record.revision)?,
    };
    Ok(RevisionAttempt {
        revision: record.revision,
        release: record.release.clone(),
        version: record.definition.version.clone(),
        verb: record.verb,
        proven: record.proven,
        outcome: record.outcome.clone(),
        failure: journal
            .and_then(|journal| RolloutSummary::of(&journal))
            .and_then(|summary| summary.failure),
    })
}
