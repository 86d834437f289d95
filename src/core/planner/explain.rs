//! Why a host has no action now.

use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::TrafficState;
use crate::core::planner::decision::Next;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{
    completion, gate, lingering, scale_up, singleton, traffic, wait, zones,
};

/// Why a host has no action in a plan. `next` is the next step of the rollout.
pub(super) fn wait_reason(s: &Situation<'_>, host: &HostCount<'_>, next: &Next) -> WaitReason {
    failed_or_busy(s, host)
        .or_else(|| ending(s, host, next))
        .or_else(|| traffic::lost_balancer(s))
        .or_else(|| gate::wait_reason(s))
        .or_else(|| new_instance(s, host))
        .or_else(|| wait::retry_reason(s, host))
        .or_else(|| closing(s))
        .or_else(|| lingering_instance(s, host))
        .or_else(|| singleton::wait_reason(s))
        .or_else(|| old_instance(s, host))
        .unwrap_or_else(|| idle(host))
}

/// The host has failed, is unreachable, or has an action in flight.
fn failed_or_busy(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    let failure = s.rollout.attempt.failed_hosts.get(host.id);
    if let Some(failure) = failure.filter(|_| !host.is_active()) {
        let why = failure.to_string();
        return Some(WaitReason::HostFailed { why });
    }
    match &host.host.map(|seen| &seen.reach) {
        Some(Reach::Lost { since, why }) => {
            let (since, why) = (*since, why.clone());
            return Some(WaitReason::Unreachable { since, why });
        }
        Some(Reach::NotSeen) | None => return Some(WaitReason::NotSeen),
        Some(Reach::Reachable) => {}
    }
    host.busy.map(|action| WaitReason::Busy {
        action: action.clone(),
    })
}

/// The rollout is about to end.
fn ending(s: &Situation<'_>, host: &HostCount<'_>, next: &Next) -> Option<WaitReason> {
    let ends = matches!(
        next,
        Next::Finish(_) | Next::AwaitInFlight | Next::Fail(..) | Next::FailHost(_)
    );
    if !ends {
        return None;
    }
    match completion::forced_outcome(s) {
        Some(outcome) => Some(WaitReason::RolloutStopped {
            outcome: outcome.word(),
        }),
        None if completion::is_complete(s) && s.rollout.scaling.is_none() => Some(idle(host)),
        // The rollout fails and waits for actions on other hosts. Another function explains this
        // host.
        None => None,
    }
}

fn new_instance(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    let new = |wanted: fn(&JudgedInstance<'_>) -> bool| {
        let mut instances = host.instances.iter();
        instances.find(|counted| counted.is_target && wanted(counted))
    };
    if let Some(counted) = new(|counted| !counted.is_ready) {
        return Some(WaitReason::WaitsForReady {
            number: counted.number,
            answer: counted.instance.health.last_answer().map(str::to_owned),
        });
    }
    if let Some(counted) = new(|counted| counted.traffic == TrafficState::CheckFailing) {
        return Some(WaitReason::WaitsForBalancer {
            number: counted.number,
        });
    }
    let counted = new(|counted| !counted.is_available)?;
    let ready_since = counted.instance.health.ready_since.unwrap_or(s.now);
    Some(WaitReason::Soaks {
        number: counted.number,
        until: ready_since + s.spec.min_ready,
    })
}

fn closing(s: &Situation<'_>) -> Option<WaitReason> {
    let why = s.closing?.to_owned();
    Some(WaitReason::Closing { why })
}

/// A lingering instance that has a slot, while an instance could start if any slot were free.
fn lingering_instance(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    let (number, lingering) = lingering::first_to_end(host)?;
    let releases = scale_up::releases_to_start(s);
    let has_room = |host: &HostCount<'_>| {
        let mut wanted = releases.iter();
        wanted.any(|release| scale_up::free_slot(s, host, release).is_some())
    };
    if releases.is_empty() || !host.is_usable() || s.usable_hosts().any(has_room) {
        return None;
    }
    Some(WaitReason::WaitsForLingering {
        number,
        until: lingering.ends_by,
    })
}

fn old_instance(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    let is_old =
        |counted: &JudgedInstance<'_>| !counted.is_target && counted.instance.lingering.is_none();
    let has_old = host.instances.iter().any(is_old);
    let waits_for_capacity = || WaitReason::WaitsForCapacity {
        available: s.census.available,
        min_available: s.budget.min_available(),
        running: s.census.running,
        max_running: s.budget.max_running(),
    };
    has_old.then(|| zones::wait_reason(s, host).unwrap_or_else(waits_for_capacity))
}

/// The reason for a host that needs no action.
fn idle(host: &HostCount<'_>) -> WaitReason {
    if host.offers_slots {
        WaitReason::UpToDate
    } else {
        WaitReason::Drained
    }
}
