//! Admission: whether a rollout may start or continue, and how. It is decided from the history, the
//! fleet and the request, before ship changes anything.

pub mod check;
mod first_events;
pub mod refusal;
pub mod request;

use self::first_events::FirstEvents;
use crate::core::fleet::Fleet;
use crate::core::ids::{Epoch, Revision};
use crate::core::planner::{Next, Plan, plan};
use crate::core::policy::admission::refusal::AdmissionRefusal;
use crate::core::policy::admission::request::{AdmissionInput, AdmissionRequest};
use crate::core::policy::continuation::Continuation;
use crate::core::policy::history;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::rollout::Rollout;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Entry, Event, RevisionRef, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::spec::{Amounts, Spec};
use crate::core::time::Time;

/// An admitted rollout.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The spec, including the tasks and the budget of a rollback.
    pub spec: Spec,
    /// The existing revision that the rollout reuses; `None` if it records a new one.
    pub reuse: Option<Revision>,
    /// The revision to which the rollout returns if it fails or is aborted.
    pub rollback_target: Option<RevisionRef>,
    /// The rollout after its first events, which are not recorded yet.
    pub rollout: Rollout,
    /// The planner's first plan.
    pub plan: Plan,
    /// Whether fleet and history show that the goal is reached, so that there is nothing to do.
    pub is_settled: bool,
    start: RolloutStart,
    /// The events after the start: the state of the rollout that this one continues, and the hosts
    /// that cannot be used.
    after_start: Vec<Event>,
}

impl Admission {
    /// The first events of the rollout, with the revision and the epoch from the store.
    pub fn first_events(&self, revision: Revision, epoch: Epoch) -> Vec<Event> {
        let mut start = self.start.clone();
        (start.target.revision, start.epoch) = (revision, epoch);
        [Event::RolloutStarted(start)]
            .into_iter()
            .chain(self.after_start.iter().cloned())
            .collect()
    }
}

/// Decides whether and how a rollout may begin or continue. It changes nothing.
///
/// # Errors
/// Returns the first reason why the rollout may not begin or continue.
pub fn admit(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
) -> Result<Admission, AdmissionRefusal> {
    let admission = assess(request, input)?;
    let is_new_deploy = request.verb == Verb::Deploy && request.continuation.is_none();
    if admission.is_settled || !is_new_deploy {
        return Ok(admission);
    }
    check::check_open(
        input.service,
        request.mode,
        input.freeze.as_deref(),
        &admission.spec.deploy_windows,
        input.now,
    )?;
    if let Next::Finish(Outcome::WindowClosed { why }) = &admission.plan.next {
        return Err(AdmissionRefusal::Closed { why: why.clone() });
    }
    check::check_healthy(request, input, &admission.plan)?;
    Ok(admission)
}

/// The rollout that a request would start, for `ship plan`. It ignores freezes, deploy windows and
/// the health of the fleet.
///
/// # Errors
/// The first reason why the rollout could not work.
pub fn assess(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
) -> Result<Admission, AdmissionRefusal> {
    check::check_feasible(request, input)?;
    let rollback_target = rollback_target(request, input.history);
    let reuse = reused_revision(request, input.history);
    let spec = complete_spec(request, input, rollback_target.as_ref());
    let first_events = FirstEvents {
        request,
        input,
        spec: &spec,
        revision: reuse.unwrap_or_default(),
    };
    let epoch = Epoch(input.fleet.newest_epoch().0 + 1);
    let start = first_events.start(rollback_target.clone(), epoch);
    let after_start = first_events.after_start();
    let rollout = rollout_after(&start, &after_start, input.now);
    let plan = plan(&spec, &rollout, input.fleet, input.now);
    let is_settled = is_settled(request, input, &spec, &rollout);
    Ok(Admission {
        spec,
        reuse,
        rollback_target,
        rollout,
        plan,
        is_settled,
        start,
        after_start,
    })
}

/// The rollout after its first events.
fn rollout_after(start: &RolloutStart, after_start: &[Event], now: Time) -> Rollout {
    let mut rollout = Rollout::started(start, now);
    for event in after_start {
        rollout.apply(&Entry {
            at: now,
            event: event.clone(),
        });
    }
    rollout
}

/// The revision that the rollout reuses instead of recording a new one. A stopped rollout continues
/// with its revision. A deploy of the current release reuses the current revision if that has not
/// succeeded yet. Every other rollout records a revision of its own, with its user, verb and
/// outcome.
fn reused_revision(request: &AdmissionRequest<'_>, history: &ServiceHistory) -> Option<Revision> {
    if let Some(stopped) = request.stopped(history) {
        return Some(stopped.goal.revision);
    }
    let current = history.current().filter(|current| {
        request.verb == Verb::Deploy
            && current.verb == Verb::Deploy
            && current.release == *request.release
            && current.outcome != Some(Outcome::Succeeded)
    });
    current.map(|current| current.revision)
}

/// The revision that a failed rollout rolls back to. A deploy rolls back to the last proven
/// revision, unless that has the same release. A rollback rolls back to the revision that it
/// replaces, if that is proven. No rollout rolls back to a release that is older than a contract
/// migration that has run.
fn rollback_target(
    request: &AdmissionRequest<'_>,
    history: &ServiceHistory,
) -> Option<RevisionRef> {
    let target = match (request.stopped(history), request.verb) {
        (Some(stopped), _) => stopped.rollback_target.clone(),
        (None, Verb::Deploy) => history
            .automatic_rollback_target(request.release)
            .map(RevisionRecord::revision_ref),
        (None, Verb::Rollback) => history
            .current()
            .filter(|current| current.release != *request.release)
            .filter(|current| history.is_proven(&current.release))
            .map(RevisionRecord::revision_ref),
        (None, Verb::Adopt | Verb::Restart | Verb::Scale | Verb::Migrate) => None,
    };
    target.filter(|target| {
        history
            .revision(target.revision)
            .and_then(|record| history.past_contract(record))
            .is_none()
    })
}

/// Adds the tasks and the budget of a rollback to the spec, both from the history.
fn complete_spec(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
    rollback_target: Option<&RevisionRef>,
) -> Spec {
    let mut spec = input.spec.clone();
    spec.tasks = input
        .history
        .tasks_of(request.verb, request.contracts, request.definition);
    let Some(target) = rollback_target else {
        return spec;
    };
    let wanted = input.amounts.replicas;
    let replicas = match (&request.continuation, request.stopped(input.history)) {
        // A new number applies in both directions.
        (Some(Continuation::Scale(_)), _) => wanted,
        (_, Some(stopped)) => stopped.rollback_replicas.unwrap_or(wanted),
        (_, None) => history::replicas_after_rollback(&input.history.runs, &target.release, wanted),
    };
    let amounts = Amounts {
        replicas: if spec.is_singleton {
            replicas.min(1)
        } else {
            replicas
        },
        ..input.amounts
    };
    let (hosts, slots) = (spec.hosts.len(), spec.slots_of(&target.release).len());
    spec.rollback_budget = Some(amounts.resolve_rollback(hosts, slots));
    spec
}

/// Whether fleet and history show that the goal is reached, so that there is nothing to do.
fn is_settled(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
    spec: &Spec,
    rollout: &Rollout,
) -> bool {
    let history = input.history;
    let changes_nothing =
        request.continuation.is_none() && !matches!(request.verb, Verb::Restart | Verb::Migrate);
    let is_recorded = history.current().is_some_and(|current| {
        current.release == *request.release && current.outcome == Some(Outcome::Succeeded)
    });
    let has_no_failed_hosts = history
        .newest_summary
        .as_ref()
        .is_none_or(|newest| newest.failed_hosts.is_empty());
    changes_nothing
        && is_recorded
        && has_no_failed_hosts
        && is_in_place(spec, rollout, input.fleet, input.now)
}

/// Whether the planner would finish at once, or after cleaning up: claiming and pruning the hosts,
/// and emptying the slots of instances that have lingered.
fn is_in_place(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> bool {
    // If all instances are in place already, no step must hold up the rollout.
    let mut rollout = rollout.clone();
    rollout.apply(&Entry {
        at: now,
        event: Event::Promoted {
            by: String::new(),
            full: true,
        },
    });
    // Tasks run in a rollout, but are not a reason to start one.
    let spec = Spec {
        tasks: Vec::new(),
        ..spec.clone()
    };
    let Plan { actions, next, .. } = plan(&spec, &rollout, fleet, now);
    // Before all instances are in place, a plan may also consist of such actions. Its next step is
    // then not `AwaitInFlight`.
    let is_cleanup = |action: &Action| {
        let empties_slot =
            matches!(action, Action::Stop { why, .. } if *why == StopReason::Lingered);
        empties_slot || matches!(action, Action::Claim { .. } | Action::Prune { .. })
    };
    next == Next::Finish(Outcome::Succeeded)
        || next == Next::AwaitInFlight && actions.iter().all(is_cleanup)
}

#[cfg(test)]
mod tests;
