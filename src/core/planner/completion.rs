//! The end of a rollout: when the rollout is complete, and which releases are then pruned.

use std::collections::BTreeSet;

use crate::core::fleet::Host;
use crate::core::ids::{Epoch, HostId, ReleaseId};
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::scale_up;
use crate::core::planner::situation::Situation;
use crate::core::rollout::Direction;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::Outcome;

/// The outcome of a rollout that must end now, in any state.
pub(super) fn forced_outcome(s: &Situation<'_>) -> Option<Outcome> {
    let rollout = s.rollout;
    if let Some((host, seen)) = fenced_by(s) {
        return Some(Outcome::Fenced { host, seen });
    }
    if rollout.requests.interrupted {
        return Some(Outcome::Interrupted);
    }
    if let Some((by, since)) = &rollout.requests.paused {
        return Some(Outcome::Paused {
            by: by.clone(),
            since: *since,
        });
    }
    match &rollout.direction {
        Direction::Held { why, .. } => Some(Outcome::Held { why: why.clone() }),
        _ => rollout.outcome.clone(),
    }
}

/// The host that has seen a newer epoch than this rollout's, and that epoch.
fn fenced_by(s: &Situation<'_>) -> Option<(HostId, Epoch)> {
    let mut hosts = s.census.hosts.iter();
    s.rollout.orders.fenced.clone().or_else(|| {
        let newer = hosts.find(|host| host.epoch() > s.rollout.epoch)?;
        Some((newer.id.clone(), newer.epoch()))
    })
}

/// The outcome of a rollout that has reached its goal.
pub(super) fn outcome(s: &Situation<'_>) -> Outcome {
    match &s.rollout.scaling {
        Some(scaling) => (*scaling.then).clone(),
        None if s.is_rolling_back() => Outcome::RolledBack,
        None => Outcome::Succeeded,
    }
}

pub(super) fn is_complete(s: &Situation<'_>) -> bool {
    let census = s.census;
    // If every host has failed, no instance is wanted, but the rollout is not complete.
    (census.desired > 0 || s.budget.replicas == 0)
        && census.new == census.desired
        && serves(s)
        && census.missing().is_empty()
        && census.surplus().is_empty()
        && scale_up::underloaded_slot(s).is_none()
        && census.hosts.iter().all(|host| is_clean(s, host))
        && s.no_slot_changes()
}

/// Whether all wanted instances serve. A scaling does not wait for instances that it did not start.
fn serves(s: &Situation<'_>) -> bool {
    let serves_or_is_old =
        |counted: &JudgedInstance<'_>| counted.is_available || !s.was_started(counted);
    s.census.new_available == s.census.desired
        || s.rollout.scaling.is_some()
            && s.census
                .instances()
                .all(|(_, counted)| serves_or_is_old(counted))
}

/// Whether a host has no instances that should not run there, except for those that may stay.
fn is_clean(s: &Situation<'_>, host: &HostCount<'_>) -> bool {
    let may_stay = |counted: &JudgedInstance<'_>| {
        counted.is_target && counted.is_running
            || counted.instance.lingering.is_some()
            || s.may_stay(host, counted)
    };
    s.may_skip(host) || host.instances.iter().all(may_stay) && host.possibly_started.is_empty()
}

/// Prunes the releases that the history no longer keeps. A rollback prunes nothing, so that a user
/// can investigate first.
pub(super) fn prune(s: &Situation<'_>, plan: &mut PlanBuilder) {
    if s.is_rolling_back() {
        return;
    }
    for host in &s.census.hosts {
        let may_prune = |seen: &&Host| {
            let was_ordered = s.rollout.orders.pruned.contains(host.id);
            host.is_idle() && !was_ordered && seen.armed.is_empty()
        };
        let Some(seen) = host.host.filter(may_prune) else {
            continue;
        };
        let releases: BTreeSet<_> = seen
            .releases
            .iter()
            .filter(|release| !is_needed(s, host, release))
            .cloned()
            .collect();
        if !releases.is_empty() {
            plan.order(Action::Prune {
                host: host.id.clone(),
                releases,
            });
        }
    }
}

/// Whether a release must stay on a host.
fn is_needed(s: &Situation<'_>, host: &HostCount<'_>, release: &ReleaseId) -> bool {
    let mut instances = host.instances.iter();
    s.spec.keep.contains(release)
        || release == s.rollout.target_release()
        || instances.any(|counted| counted.instance.release == *release)
}
