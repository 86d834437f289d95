//! Scaling down, as in Kubernetes: which instances are stopped, and in which order.

use crate::core::fleet::Process;
use crate::core::fleet::traffic::TrafficState;
use crate::core::ids::ReleaseId;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::{allowance, arming, evidence, reload, traffic, zones};
use crate::core::rollout::action::{Action, StopReason};
use crate::core::time::Human;

/// Stops instances whose process has exited, because their slots are needed.
pub(super) fn clear_dead(s: &Situation<'_>, plan: &mut PlanBuilder) {
    for (host, counted) in s.census.instances() {
        let lingers = counted.instance.lingers().is_some();
        if counted.is_running || counted.is_stopping || lingers {
            continue;
        }
        let why = match counted.instance.lingering {
            Some(_) => StopReason::Lingered,
            None => StopReason::Dead,
        };
        stop(s, plan, host, counted, why);
    }
}

/// Stops old instances: unhealthy ones first, then healthy ones while enough are available.
pub(super) fn stop_old(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let mut allowance = allowance::stoppable_old(s);
    let (unhealthy, mut healthy): (Vec<_>, Vec<_>) = s
        .census
        .instances()
        .filter(|(_, counted)| !counted.is_target && counted.is_running && !counted.is_stopping)
        .partition(|(_, counted)| !counted.is_available && !counted.is_unprobed);
    // A drained instance may be healthy although it is not available: it gets no requests.
    let why = |counted: &JudgedInstance<'_>| {
        if counted.traffic == TrafficState::Closed && counted.is_ready {
            StopReason::Replaced
        } else {
            StopReason::OldAndUnhealthy
        }
    };
    let unhealthy = unhealthy
        .into_iter()
        .map(|(host, counted)| (host, counted, why(counted)));
    // One zone is finished before the next one. A reload needs no start. Then come hosts where a new
    // instance runs beside the old one, so that the instances stay spread evenly.
    healthy.sort_by_cached_key(|(host, counted)| {
        let is_reloaded = reload::is_candidate(s, host, counted);
        (s.spread.rank(host), !is_reloaded, host.new == 0)
    });
    let healthy = healthy.into_iter().map(|(host, counted)| {
        let why = if never_served(s, counted) {
            StopReason::OldAndUnhealthy
        } else {
            StopReason::Replaced
        };
        (host, counted, why)
    });
    for (host, counted, why) in unhealthy.chain(healthy) {
        if allowance == 0 {
            return;
        }
        allowance -= u32::from(stop(s, plan, host, counted, why));
    }
}

/// Whether an instance cannot have been ready yet. It was not probed since its start, or not for
/// long enough.
fn never_served(s: &Situation<'_>, counted: &JudgedInstance<'_>) -> bool {
    let instance = counted.instance;
    let waits = s.spec.waits_of(&instance.release);
    instance.health.ready_since.is_none() && s.now.since(instance.started) < waits.until_ready()
}

/// Stops surplus instances of wanted releases after scaling down or in a rollback. Instances that
/// are not available stop first.
pub(super) fn stop_surplus(s: &Situation<'_>, plan: &mut PlanBuilder) {
    for (release, surplus) in s.census.surplus() {
        stop_surplus_of(s, plan, release, surplus);
    }
}

fn stop_surplus_of(
    s: &Situation<'_>,
    plan: &mut PlanBuilder,
    release: &ReleaseId,
    mut surplus: u32,
) {
    // New instances that are not available yet stop only if there are too few others.
    let is_new_and_unavailable = |counted: &JudgedInstance<'_>| {
        !counted.is_available
            && !counted.is_stopping
            && !traffic::was_admitted_then_drained(s, counted)
            && s.was_started(counted)
    };
    let mut candidates: Vec<_> = s
        .census
        .instances()
        .filter(|(_, counted)| {
            counted.is_target && counted.is_running && counted.instance.release == *release
        })
        .collect();
    let old = candidates
        .iter()
        .filter(|(_, counted)| !is_new_and_unavailable(counted))
        .count();
    if old >= surplus as usize {
        candidates.retain(|(_, counted)| !is_new_and_unavailable(counted));
    }
    let mut left = s.spread.new_counts(s.census);
    while surplus > 0 {
        // Instances that do not serve stop first, then those where the most are left.
        let candidate = candidates
            .iter()
            .enumerate()
            .max_by_key(|(_, (host, counted))| (!counted.is_available, left.of(host)));
        let Some((index, (host, counted))) = candidate else {
            return;
        };
        // A stop that waits for another zone is not replaced by one in that zone.
        let waits = counted.is_stopping || !zones::may_disturb(s, plan, host, counted);
        if waits || stop(s, plan, host, counted, StopReason::Surplus) {
            surplus -= 1;
            left.remove(host);
        }
        candidates.remove(index);
    }
}

/// Plans the stop of an instance if its host is idle and enough other instances serve. Returns
/// whether a stop or drain was planned.
fn stop(
    s: &Situation<'_>,
    plan: &mut PlanBuilder,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
    why: StopReason,
) -> bool {
    let cost = u32::from(counted.is_available);
    let min_available = s.budget.min_available();
    // An instance that was not probed yet may serve, so the available instances must be enough
    // without it.
    let is_covered = !counted.is_unprobed || s.census.available >= min_available;
    let may_stop = !s.has_failed_to_stop(counted) && zones::may_disturb(s, plan, host, counted);
    if !host.is_idle() || !is_covered || cost > plan.spare || !may_stop {
        return false;
    }
    let confirmed_cost = u32::from(s.census.is_confirmed(counted));
    let relies_on_others = counted.is_available || counted.is_unprobed;
    if relies_on_others && plan.confirmed.saturating_sub(confirmed_cost) < min_available {
        evidence::observe_unconfirmed(s, plan);
        return false;
    }
    let ordered = order_stop(s, plan, host, counted, why);
    if ordered {
        plan.spare -= cost;
        plan.confirmed = plan.confirmed.saturating_sub(confirmed_cost);
    }
    ordered
}

/// Plans the stop or reload of an instance, or first its drain if it may get requests.
fn order_stop(
    s: &Situation<'_>,
    plan: &mut PlanBuilder,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
    why: StopReason,
) -> bool {
    let (slot, instance) = (counted.slot_on(host), counted.instance.name.clone());
    if counted.traffic != TrafficState::Direct && !counted.is_drained {
        let keep = if counted.is_available {
            s.budget.min_available()
        } else {
            0
        };
        return plan.order(Action::Drain {
            slot,
            instance,
            keep,
        });
    }
    let is_replaced = why == StopReason::Replaced;
    let release = is_replaced.then(|| reload::release_for(s, plan, host, counted));
    if let Some(release) = release.flatten() {
        return plan.order(Action::Start {
            slot,
            release: release.clone(),
            reloads: Some(instance),
        });
    }
    let ended = match (&counted.instance.process, counted.instance.lingering) {
        (Process::Ended { how }, Some(lingering)) if lingering.ended.is_some() => {
            Some(format!("{how} after {}", Human(lingering.lasts(s.now))))
        }
        (Process::Ended { how }, _) => Some(how.clone()),
        (Process::Running, _) => None,
    };
    plan.order(Action::Stop {
        slot,
        instance,
        why,
        restore_after: arming::restore_after(s, plan, counted, why),
        ended,
    })
}
