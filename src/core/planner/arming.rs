//! The dead-man switch: which stops arm their slot, so that the host restarts the old instance if
//! the controller does not return, and when a slot is disarmed.

use std::time::Duration;

use crate::core::ids::{Slot, SlotNumber};
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::time::Time;

/// The time from the progress deadline to the restart of the old instance by the host, so that ship
/// decides first.
const RESTORE_MARGIN: Duration = Duration::from_secs(10);

/// Which armed slots to disarm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DisarmScope {
    /// Slots where a wanted instance serves.
    Served,
    /// Slots where a restart would conflict with this rollout: they were armed by an earlier
    /// rollout or before the direction changed, or the switch is about to fire.
    Conflicting,
    Everywhere,
}

/// The time after which the host restarts a stopped instance, unless the controller disarms the
/// slot. Only for an instance that must stop before its successor can serve; `None` if enough
/// others serve.
pub(super) fn restore_after(
    s: &Situation<'_>,
    plan: &PlanBuilder,
    counted: &JudgedInstance<'_>,
    why: StopReason,
) -> Option<Duration> {
    let others = plan.spare.saturating_sub(u32::from(counted.is_available));
    let left = s.budget.min_available() + others;
    let serves = counted.is_available || counted.is_drained && counted.is_ready;
    let in_place = why == StopReason::Replaced && serves && left < s.budget.replicas;
    let target = s.spec.waits_of(s.rollout.target_release());
    let takes = s.spec.waits_of(&counted.instance.release).stop + target.start;
    in_place.then(|| takes + s.progress_deadline() + RESTORE_MARGIN)
}

/// The time by which ship must decide about a slot whose dead-man switch fires at this time.
pub(super) fn must_decide_by(fires: Time) -> Time {
    fires - RESTORE_MARGIN
}

/// Plans the disarming of slots in this scope.
pub(super) fn disarm(s: &Situation<'_>, plan: &mut PlanBuilder, scope: DisarmScope) {
    for host in s.census.hosts.iter().filter(|host| host.is_idle()) {
        let armed = host.host.into_iter().flat_map(|seen| &seen.armed).copied();
        let mut slots = armed
            .filter(|number| is_due(s, host, *number, scope))
            .map(|number| Slot {
                host: host.id.clone(),
                number,
            });
        let has_failed = |slot: &Slot| {
            s.has_failed(|action| matches!(action, Action::Disarm { slot: tried } if tried == slot))
        };
        if let Some(slot) = slots.find(|slot| !has_failed(slot)) {
            plan.order(Action::Disarm { slot });
        }
    }
}

fn is_due(s: &Situation<'_>, host: &HostCount<'_>, number: SlotNumber, scope: DisarmScope) -> bool {
    match scope {
        DisarmScope::Served => {
            // The target may have other slots. Then any wanted instance of the host counts as the
            // replacement.
            let target_slots = s.spec.slots_of(s.rollout.target_release());
            host.serves_target(number) || !target_slots.contains(&number) && host.serves_anywhere()
        }
        DisarmScope::Conflicting => {
            let slot = Slot {
                host: host.id.clone(),
                number,
            };
            let armed = s.rollout.attempt.armed.get(&slot);
            armed.is_none_or(|fires| must_decide_by(*fires) <= s.now)
        }
        DisarmScope::Everywhere => true,
    }
}
