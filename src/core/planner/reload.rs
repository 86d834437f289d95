//! Reloads: an old instance that continues with the files of another release, in its slot.

use crate::core::ids::ReleaseId;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::{allowance, steps};

/// The release with which an old instance is reloaded instead of being stopped; `None` if it must
/// stop.
pub(super) fn release_for<'a>(
    s: &Situation<'a>,
    plan: &PlanBuilder,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
) -> Option<&'a ReleaseId> {
    let (release, missing) = candidate(s, host, counted)?;
    let planned = plan.starts(release);
    let is_within_step = s.census.new + planned < steps::new_limit(s);
    let hosts = s.census.hosts.iter();
    let starting: Vec<_> = hosts.filter(|host| plan.starts_on(host.id)).collect();
    let is_even = s.spread.has_room(host, &starting);
    (planned < missing && is_within_step && is_even).then_some(release)
}

/// The number of instances that can be reloaded now, so that no instance has to be started for
/// them.
pub(super) fn possible(s: &Situation<'_>) -> u32 {
    if !allowance::may_stop_old(s) {
        return 0;
    }
    let candidates = s
        .census
        .instances()
        .filter(|(host, counted)| is_candidate(s, host, counted));
    let count = u32::try_from(candidates.count()).unwrap_or(u32::MAX);
    count.min(allowance::stoppable_old(s))
}

/// Whether an old instance can be reloaded.
pub(super) fn is_candidate(
    s: &Situation<'_>,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
) -> bool {
    candidate(s, host, counted).is_some()
}

/// The release with which an old instance can be reloaded, and how many instances of it are missing.
/// Only an instance that serves can be reloaded, and only with a release that differs in nothing but
/// its files.
fn candidate<'a>(
    s: &Situation<'a>,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
) -> Option<(&'a ReleaseId, u32)> {
    if s.spec.reload_groups.is_empty() {
        return None;
    }
    let is_old = !counted.is_target && counted.is_running && !counted.is_stopping;
    let is_needed = host.is_usable() && s.spread.has_room(host, &[]);
    if !is_old || !counted.is_ready || !is_needed || has_failed(s, host, counted) {
        return None;
    }
    let is_staged = |release| {
        host.host
            .is_some_and(|seen| seen.releases.contains(release))
    };
    s.census.missing().into_iter().find(|(release, missing)| {
        *missing > 0
            && s.spec.may_reload(&counted.instance.release, release)
            && s.spec.slots_of(release).contains(&counted.number)
            && is_staged(release)
    })
}

/// Whether a reload of the instance has failed, or an action on its host. It is then replaced.
fn has_failed(s: &Situation<'_>, host: &HostCount<'_>, counted: &JudgedInstance<'_>) -> bool {
    let slot = counted.slot_on(host);
    s.has_failed_on(host.id)
        || s.has_failed(|action| action.is_reload() && action.slot() == Some(&slot))
}
