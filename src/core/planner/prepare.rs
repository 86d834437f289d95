//! The preparations before the first start or stop.

use crate::core::planner::host_count::HostCount;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::traffic;
use crate::core::rollout::action::Action;

/// Plans the actions that must precede every start and stop; returns whether they are done.
///
/// Every host must reject late actions of an earlier controller: such an action could start or stop
/// an instance at any time, and no count could be trusted. Before the first start, the release must
/// be staged on all hosts, so that a failure to stage does not affect the service.
pub(super) fn prepare(s: &Situation<'_>, plan: &mut PlanBuilder) -> bool {
    let (target, epoch) = (s.rollout.target_release(), s.rollout.epoch);
    let unclaimed =
        |host: &HostCount<'_>| host.is_active() && !host.is_reachable() && host.epoch() < epoch;
    let mut ready = !s.census.hosts.iter().any(unclaimed) && traffic::lost_balancer(s).is_none();
    for host in s.census.hosts.iter().filter(|host| host.is_reachable()) {
        let Some(seen) = host.host else { continue };
        let lacks_release =
            host.is_usable() && !s.stages_on_demand() && !seen.releases.contains(target);
        let lacks_claim = seen.epoch < epoch;
        let may_take_one = host.busy.is_none() && !s.has_failed_on(host.id);
        let has_started = !s.rollout.attempt.started.is_empty();
        let is_ready = !lacks_claim && (!lacks_release || has_started);
        ready &= is_ready || !host.is_active();
        if lacks_release && may_take_one {
            plan.order(Action::Stage {
                host: host.id.clone(),
                release: target.clone(),
            });
        } else if (lacks_claim || host.has_unknown_order) && may_take_one {
            // A claim waits for an action that still runs on the host, and returns the state after
            // it.
            plan.order(Action::Claim {
                host: host.id.clone(),
            });
        }
    }
    ready
}

/// Claims reachable hosts, so that they reject actions of earlier controllers.
pub(super) fn claim(s: &Situation<'_>, plan: &mut PlanBuilder) {
    for host in &s.census.hosts {
        let lacks_claim = host.epoch() < s.rollout.epoch;
        if host.is_idle() && lacks_claim && !s.has_failed_on(host.id) {
            plan.order(Action::Claim {
                host: host.id.clone(),
            });
        }
    }
}
