//! Reloads: an old instance that continues with the files of another release, in its slot.

use crate::core::ids::{HostId, ReleaseId};
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
    let is_even = keeps_spread(s, host, |id| plan.starts_on(id));
    (planned < missing && is_within_step && is_even).then_some(release)
}

/// The number of instances that can be reloaded now, so that no instance has to be started for
/// them.
pub(super) fn possible(s: &Situation<'_>) -> u32 {
    if s.census.available <= s.budget.min_available() {
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
    let is_needed = host.is_usable() && keeps_spread(s, host, |_| false);
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

/// Whether the instances stay spread evenly if one more on this host is new. Otherwise, the old one
/// stops. `starts_on` tells for which hosts one more is planned.
fn keeps_spread(
    s: &Situation<'_>,
    host: &HostCount<'_>,
    starts_on: impl Fn(&HostId) -> bool,
) -> bool {
    let (least, with_one_more) = s.even_share();
    let usable = s.usable_hosts().filter(|host| host.is_reachable());
    let above = usable.filter(|host| host.new + u32::from(starts_on(host.id)) > least);
    host.new < least || host.new == least && (above.count() as u64) < u64::from(with_one_more)
}

/// Whether a reload of the instance has failed, or an action on its host. It is then replaced.
fn has_failed(s: &Situation<'_>, host: &HostCount<'_>, counted: &JudgedInstance<'_>) -> bool {
    let slot = counted.slot_on(host);
    s.has_failed_on(host.id)
        || s.has_failed(|action| action.is_reload() && action.slot() == Some(&slot))
}
