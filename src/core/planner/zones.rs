//! Zones: instances are replaced in one zone at a time, so that one zone serves in full if another
//! fails.

use crate::core::fleet::traffic::TrafficState;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;

/// Whether an instance may be drained, stopped or reloaded as far as the zones are concerned: nothing
/// is disturbed in another zone. An instance that does not serve may go at any time.
pub(super) fn may_disturb(
    s: &Situation<'_>,
    plan: &PlanBuilder,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
) -> bool {
    let serves = counted.is_available || counted.is_unprobed && !counted.is_target;
    !serves
        || !changes_elsewhere(s, plan, host)
            && (s.spread.other_disturbed(host).is_none() || is_last_resort(s, plan, counted))
}

/// Whether the plan changes an instance in another zone.
fn changes_elsewhere(s: &Situation<'_>, plan: &PlanBuilder, host: &HostCount<'_>) -> bool {
    if s.census.zones.len() < 2 {
        return false;
    }
    let hosts = s.census.hosts.iter();
    let mut others = hosts.filter(|other| other.zone != host.zone && other.is_active());
    others.any(|other| plan.changes_instance_on(other.id))
}

/// Whether the rollout could not continue otherwise: nothing is planned or in flight, and a balancer
/// sends the instance no requests, or fewer. Its own zone is disturbed by that.
fn is_last_resort(s: &Situation<'_>, plan: &PlanBuilder, counted: &JudgedInstance<'_>) -> bool {
    let is_half_open = matches!(
        counted.traffic,
        TrafficState::CheckFailing | TrafficState::Mixed
    );
    is_half_open && plan.is_empty() && s.is_settled()
}

/// The other zone for which an old instance waits although the budget would allow its stop.
pub(super) fn wait_reason(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    let may_spare = s.census.available > s.budget.min_available();
    let zone = s.spread.other_disturbed(host).filter(|_| may_spare)?;
    Some(WaitReason::WaitsForZone {
        zone: zone.to_owned(),
    })
}
