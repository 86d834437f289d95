//! Which hosts are observed again before a decision that relies on the probes of their instances.

use std::collections::BTreeSet;

use crate::core::planner::host_count::JudgedInstance;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;

/// Plans observations of the hosts of unconfirmed available instances.
pub(super) fn observe_unconfirmed(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let census = s.census;
    let unconfirmed = census
        .instances()
        .filter(|(_, counted)| counted.is_available && !census.is_confirmed(counted));
    plan.observe(unconfirmed.map(|(host, _)| host.id.clone()));
}

/// Plans observations of hosts where only probes show that an instance stayed ready.
pub(super) fn observe_after_soak(s: &Situation<'_>, plan: &mut PlanBuilder) {
    if s.spec.min_ready.is_zero() {
        return;
    }
    let soaked = s.census.instances().filter(|(host, counted)| {
        let from = counted.instance.available_from(s.spec.min_ready);
        let from = from.filter(|from| *from <= s.now);
        host.is_reachable()
            && counted.is_ready
            && from.is_some_and(|from| counted.instance.sighting.at < from)
    });
    plan.observe(soaked.map(|(host, _)| host.id.clone()));
}

/// Whether every instance that this rollout started was observed running after the newest one
/// became available, and all others are confirmed. If not, plans observations of their hosts, which
/// must precede the end of the rollout.
pub(super) fn are_all_confirmed(s: &Situation<'_>, plan: &mut PlanBuilder) -> bool {
    let census = s.census;
    let is_due = |counted: &JudgedInstance<'_>| {
        if s.was_started(counted) {
            !census.was_observed(counted)
        } else {
            !census.is_confirmed(counted)
        }
    };
    let unconfirmed = census.instances().filter(|(host, counted)| {
        host.is_reachable() && counted.is_target && counted.is_available && is_due(counted)
    });
    let unconfirmed: BTreeSet<_> = unconfirmed.map(|(host, _)| host.id.clone()).collect();
    let are_all_confirmed = unconfirmed.is_empty();
    plan.observe(unconfirmed);
    are_all_confirmed
}
