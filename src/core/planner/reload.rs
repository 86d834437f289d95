//! Reloads: an old instance that continues with the files of another release, in its slot.

use crate::core::ids::ReleaseId;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::steps;
use crate::core::rollout::action::{Action, StopReason};

/// The release with which an old instance is reloaded instead of being stopped; `None` if it must
/// stop. Only an instance that serves, of a release that differs only in its files.
pub(super) fn release_for<'a>(
    s: &Situation<'a>,
    plan: &PlanBuilder,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
    why: StopReason,
) -> Option<&'a ReleaseId> {
    let serves = why == StopReason::Replaced && counted.is_ready && host.is_usable();
    if !serves || s.has_failed_on(host.id) || has_failed(s, host, counted) {
        return None;
    }
    let old = &counted.instance.release;
    let missing = s.census.missing();
    let (release, _) = missing.into_iter().find(|(release, count)| {
        let is_wanted = plan.starts(release) < *count as usize;
        is_wanted
            && s.spec.may_reload(old, release)
            && s.spec.slots_of(release).contains(&counted.number)
    })?;
    let is_staged = host
        .host
        .is_some_and(|seen| seen.releases.contains(release));
    let is_within_step = s.census.new < steps::new_limit(s);
    (is_staged && is_within_step).then_some(release)
}

/// Whether a reload of the instance has failed. It is then replaced.
fn has_failed(s: &Situation<'_>, host: &HostCount<'_>, counted: &JudgedInstance<'_>) -> bool {
    let slot = counted.slot_on(host);
    s.has_failed(|action| {
        matches!(action, Action::Start { slot: tried, reloads: Some(_), .. } if *tried == slot)
    })
}
