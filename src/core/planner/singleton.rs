//! A service that must never run twice: an instance starts only when no other one can be alive.
//!
//! `max_running` is 1, so a running instance and a start in flight prevent a start anyway. More cases
//! matter: an instance that has exited and may be started again by its supervisor, one that lingers,
//! one that its host may restore on its own, and a host whose state is not known.

use crate::core::ids::{HostId, Slot};
use crate::core::planner::host_count::HostCount;
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
    let armed = || {
        let slot = armed_slots(s).next()?;
        Some(format!(
            "{} may restore one in slot {}",
            slot.host, slot.number
        ))
    };
    let why = uncertain(s).or_else(armed)?;
    Some(WaitReason::WaitsForSingleton { why })
}

/// What may be alive: an instance that has not been cleared from its slot, or one that ship has not
/// observed.
fn uncertain(s: &Situation<'_>) -> Option<String> {
    let mut hosts = s.census.hosts.iter();
    hosts.find_map(|host| {
        if has_instance(host) && host.is_reachable() {
            Some(format!("there is one on {}", host.id))
        } else if has_instance(host) {
            Some(format!("{} is unreachable and may run one", host.id))
        } else if is_known(s, host) {
            None
        } else {
            Some(format!("it is not known what {} runs", host.id))
        }
    })
}

/// Whether an instance may be alive on a host. Its supervisor may start one again that has exited,
/// but not one that has lingered.
fn has_instance(host: &HostCount<'_>) -> bool {
    let mut instances = host.instances.iter().map(|counted| counted.instance);
    host.running > 0
        || instances.any(|instance| instance.lingering.is_none() || instance.lingers().is_some())
}

/// Whether the rollout may give up on a host: no instance can be alive there.
pub(super) fn may_leave(s: &Situation<'_>, host: &HostId) -> bool {
    let may_live = |count: &HostCount<'_>| {
        let is_armed = count.host.is_some_and(|seen| !seen.armed.is_empty());
        is_armed || has_instance(count) || !is_known(s, count)
    };
    let mut hosts = s.census.hosts.iter();
    !s.spec.is_singleton || !hosts.any(|count| count.id == host && may_live(count))
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

/// The slots in which a host may restore an instance on its own.
fn armed_slots(s: &Situation<'_>) -> impl Iterator<Item = Slot> {
    s.fleet.hosts.iter().flat_map(|(id, host)| {
        host.armed.iter().map(|number| Slot {
            host: id.clone(),
            number: *number,
        })
    })
}
