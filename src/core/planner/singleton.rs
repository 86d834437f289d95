//! A service that must never run twice: an instance starts only when no other one can be alive.
//!
//! `max_running` is 1, so a running instance, a start in flight, and an instance on an unreachable
//! host prevent a start anyway. Three more cases matter: an instance that lingers, an instance that
//! its host may restore on its own, and a host that has failed and is not trusted.

use crate::core::ids::{HostId, Slot};
use crate::core::planner::host_count::HostCount;
use crate::core::planner::lingering;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::action::Action;

/// Whether an instance may start in a slot, as far as a singleton is concerned.
pub(super) fn may_start_in(s: &Situation<'_>, slot: &Slot) -> bool {
    !s.spec.is_singleton || uncertain(s).is_none() && armed_slots(s).all(|armed| armed == *slot)
}

/// Why no instance of a singleton starts anywhere, if one is missing.
pub(super) fn wait_reason(s: &Situation<'_>) -> Option<WaitReason> {
    if !s.spec.is_singleton || s.census.missing().is_empty() {
        return None;
    }
    let lost = s.census.hosts.iter().find(|host| {
        let is_lost = host.host.is_some() && !host.is_reachable();
        is_lost && host.running > 0
    });
    let lost = lost.map(|host| format!("{} is unreachable and may run one", host.id));
    let armed = || {
        let slot = armed_slots(s).next()?;
        Some(format!(
            "{} may restore one in slot {}",
            slot.host, slot.number
        ))
    };
    let why = lost.or_else(|| uncertain(s)).or_else(armed)?;
    Some(WaitReason::WaitsForSingleton { why })
}

/// An instance that may be alive although `max_running` does not count it.
fn uncertain(s: &Situation<'_>) -> Option<String> {
    if let Some((slot, _)) = lingering::first_in_fleet(s) {
        return Some(format!("the instance at {slot} lingers"));
    }
    let unknown = s.census.hosts.iter().find(|host| !is_known(s, host))?;
    Some(format!("it is not known what {} runs", unknown.id))
}

/// Whether a host that has failed may be left behind.
pub(super) fn may_leave(s: &Situation<'_>, host: &HostId) -> bool {
    !s.spec.is_singleton
        || s.census
            .hosts
            .iter()
            .filter(|count| count.id == host)
            .all(|count| is_known(s, count) && count.running == 0 && has_no_armed_slot(count))
}

/// Disarms the slots whose own host cannot start the successor, so that it can start elsewhere.
pub(super) fn disarm_unusable(s: &Situation<'_>, plan: &mut PlanBuilder) {
    if !s.spec.is_singleton {
        return;
    }
    for slot in armed_slots(s) {
        let host = s.census.hosts.iter().find(|host| *host.id == slot.host);
        let is_usable = |host: &HostCount<'_>| {
            let releases = s.census.missing();
            let mut releases = releases.keys();
            releases.any(|release| s.spec.slots_of(release).contains(&slot.number))
                && host.is_usable()
        };
        if host.is_some_and(|host| host.is_idle() && !is_usable(host)) {
            plan.order(Action::Disarm { slot });
        }
    }
}

/// Whether the last observation of a host still holds: it rejects commands of earlier controllers,
/// and no command of this one has an unknown result.
fn is_known(s: &Situation<'_>, host: &HostCount<'_>) -> bool {
    host.epoch() >= s.rollout.epoch && !host.has_unknown_order
}

fn has_no_armed_slot(host: &HostCount<'_>) -> bool {
    host.host.is_none_or(|seen| seen.armed.is_empty())
}

/// The slots in which a host may restore an instance on its own.
fn armed_slots(s: &Situation<'_>) -> impl Iterator<Item = Slot> {
    s.fleet.hosts.iter().flat_map(|(id, host)| {
        host.armed.iter().map(|number| Slot {
            host: id.clone(),
            number: *number,
        })
    })
}
