//! The actions on balancers: which instances get requests.

use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Balancers, Traffic, TrafficState};
use crate::core::ids::HostId;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::steps;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::action::Action;
use crate::core::spec::step::FULL_WEIGHT_PERCENT;
use crate::core::time::Time;

/// Admits instances that are ready and wanted.
pub(super) fn admit(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let step = steps::step(s);
    let weight_percent = step.and_then(|step| step.weight_of_each(s.census.desired));
    let mut surplus = s.census.surplus();
    for (host, counted) in s.census.instances() {
        if let Some(left) = surplus
            .get_mut(&counted.instance.release)
            .filter(|left| **left > 0)
            && was_admitted_then_drained(s, counted)
        {
            *left -= 1;
            continue;
        }
        let is_closed = matches!(counted.traffic, TrafficState::Closed | TrafficState::Mixed);
        let is_due = is_closed || has_other_weight(s, host, counted, weight_percent);
        let may_serve = counted.is_target && counted.is_ready && !counted.is_stopping && is_due;
        if may_serve
            && host.is_idle()
            && !public_port_is_served_by_other(s, host)
            && !has_failed_to_admit(s, counted)
        {
            plan.order(Action::Admit {
                slot: counted.slot_on(host),
                instance: counted.instance.name.clone(),
                weight_percent,
            });
        }
    }
}

/// Whether the instance was admitted and then drained, rather than never admitted.
pub(super) fn was_admitted_then_drained(s: &Situation<'_>, counted: &JudgedInstance<'_>) -> bool {
    let weights = &s.rollout.traffic.weights;
    let was_admitted = !s.was_started(counted) || weights.contains_key(&counted.instance.name);
    counted.is_drained && was_admitted
}

/// Whether a balancer with weights gives the instance another weight than the wanted one.
fn has_other_weight(
    s: &Situation<'_>,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
    weight_percent: Option<u32>,
) -> bool {
    let Some(traffic) = &s.spec.traffic else {
        return false;
    };
    let slot = counted.slot_on(host);
    let wanted = weight_percent.unwrap_or(FULL_WEIGHT_PERCENT);
    let admitted_with = s.rollout.traffic.weights.get(&counted.instance.name);
    let has_other = |balancer: &HostId| {
        let seen = s.fleet.balancers.get(balancer);
        let server = seen.and_then(|seen| seen.view.servers.get(&slot));
        let has = server.and_then(|server| server.weight_percent);
        has.is_some_and(|has| match admitted_with {
            // A balancer with coarse weights only approximates the wanted weight, within half of
            // it.
            Some(admitted) if *admitted == wanted => has.abs_diff(wanted) > wanted / 2,
            _ => has != wanted,
        })
    };
    traffic.balancers_of(&slot).iter().any(has_other)
}

/// Whether a balancer sends the instance requests, or would if its own check passed.
fn is_exposed(counted: &JudgedInstance<'_>) -> bool {
    matches!(
        counted.traffic,
        TrafficState::Open | TrafficState::CheckFailing | TrafficState::Mixed
    )
}

/// Drains new instances that have not been ready yet but get requests, because a balancer was
/// reloaded and lost its state.
pub(super) fn drain_unready(s: &Situation<'_>, plan: &mut PlanBuilder) {
    for (host, counted) in s.census.instances() {
        let name = &counted.instance.name;
        let has_served = s.rollout.attempt.served.contains(name);
        if s.was_started(counted)
            && !has_served
            && is_exposed(counted)
            && !counted.is_ready
            && !counted.is_stopping
            && host.is_idle()
        {
            plan.order(Action::Drain {
                slot: counted.slot_on(host),
                instance: name.clone(),
                keep: 0,
            });
        }
    }
}

/// Drains the slots of failed hosts that are unreachable, so that they get no requests once the
/// host is reachable again. Their instances may still serve, so enough others must be available.
pub(super) fn drain_failed_hosts(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let is_shared = matches!(
        &s.spec.traffic,
        Some(Traffic {
            balancers: Balancers::Shared(_),
            ..
        })
    );
    let keep = s.budget.min_available();
    if !is_shared || s.census.available < keep {
        return;
    }
    for (host, counted) in s.census.instances() {
        let is_lost = !host.is_active() && !host.is_reachable() && host.busy.is_none();
        if is_lost && is_exposed(counted) && !counted.is_stopping && !s.has_failed_to_stop(counted)
        {
            plan.order(Action::Drain {
                slot: counted.slot_on(host),
                instance: counted.instance.name.clone(),
                keep,
            });
        }
    }
}

/// Whether another wanted instance already serves the host's public port. A host that is its own
/// balancer has only one public port.
fn public_port_is_served_by_other(s: &Situation<'_>, host: &HostCount<'_>) -> bool {
    let traffic = s.spec.traffic.as_ref();
    let has_one_port = traffic.is_some_and(|traffic| traffic.balancers == Balancers::OnHosts);
    has_one_port
        && host
            .instances
            .iter()
            .any(|other| other.is_target && other.is_ready && other.traffic == TrafficState::Open)
}

fn has_failed_to_admit(s: &Situation<'_>, counted: &JudgedInstance<'_>) -> bool {
    let name = &counted.instance.name;
    s.has_failed(|action| matches!(action, Action::Admit { instance, .. } if instance == name))
}

/// Since when a balancer of the whole fleet is unreachable, if one is.
pub(super) fn balancer_lost_since(s: &Situation<'_>) -> Option<Time> {
    let machines = s.spec.traffic.as_ref()?.machines().iter();
    let since = machines.filter_map(|balancer| match s.fleet.balancers.get(balancer)?.reach {
        Reach::Lost { since, .. } => Some(since),
        Reach::Reachable | Reach::NotSeen => None,
    });
    since.min()
}

/// The wait for a balancer of the whole fleet whose state is unknown, because it is unreachable or
/// was not observed yet.
pub(super) fn lost_balancer(s: &Situation<'_>) -> Option<WaitReason> {
    let mut machines = s.spec.traffic.as_ref()?.machines().iter();
    machines.find_map(|balancer| {
        let why = match s.fleet.balancers.get(balancer).map(|seen| &seen.reach) {
            Some(Reach::Reachable) => return None,
            Some(Reach::Lost { why, .. }) => why.clone(),
            Some(Reach::NotSeen) | None => "not observed yet".to_owned(),
        };
        let balancer = balancer.clone();
        Some(WaitReason::BalancerLost { balancer, why })
    })
}
