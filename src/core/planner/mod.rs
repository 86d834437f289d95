//! The policy of a rollout: from the desired and the observed state to the next actions.
//!
//! It follows Kubernetes' Deployment controller (`pkg/controller/deployment/rolling.go`), with two
//! differences. Unknown states count against the rollout, because the controller may die and its
//! last action may arrive late. And a failed rollout rolls back, or is held for a person.
//!
//! Read [`plan`] first. Each of its steps has a file of its own, which reads a `Situation` and adds
//! to a `PlanBuilder`.

mod allowance;
mod arming;
pub mod census;
mod completion;
pub mod decision;
mod evidence;
mod explain;
mod failure;
mod gate;
pub mod host_count;
mod lingering;
mod overdue;
mod plan_builder;
mod prepare;
pub mod preview;
mod reload;
mod response;
mod scale_down;
mod scale_up;
mod singleton;
mod situation;
mod spread;
mod steps;
mod task;
mod traffic;
mod wait;
pub mod wait_reason;
mod windows;
mod zones;

use self::arming::{DisarmScope, disarm};
use self::plan_builder::PlanBuilder;
use self::response::on_failure;
use self::situation::Situation;
use self::spread::Spread;
use self::task::TaskStep;
use crate::core::fleet::Fleet;
use crate::core::planner::census::{Census, SIGHTING_VALID_FOR};
pub use crate::core::planner::decision::{Next, Plan};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::spec::Spec;
use crate::core::time::Time;

/// Plans the next actions of a rollout.
pub fn plan(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> Plan {
    let census = Census::take(spec, rollout, fleet, now);
    let budget = spec.budget_for(rollout);
    let spread = Spread::of(spec, rollout, &census);
    let mut situation = Situation {
        spec,
        budget,
        rollout,
        fleet,
        census: &census,
        spread: &spread,
        now,
        closing: None,
    };
    let closing = windows::closing(&situation);
    situation.closing = closing.as_deref();
    let mut plan = PlanBuilder::new(&census, &budget);
    let next = decide(&situation, &mut plan);
    evidence::observe_after_soak(&situation, &mut plan);
    let idle = census.hosts.iter().filter(|host| !plan.has_order(host.id));
    let wait_reasons = idle.map(|host| {
        let reason = explain::wait_reason(&situation, host, &next);
        (host.id.clone(), reason)
    });
    let wait_reasons = wait_reasons.collect();
    let (actions, hosts_to_observe) = plan.finish(&census);
    Plan {
        actions,
        hosts_to_observe,
        wait_reasons,
        progress: census.progress(spec, rollout),
        next,
    }
}

/// Checks in this order: whether the rollout must end now, is aborted, is complete, has failed, or
/// must stop because its window closes. Only then it plans what to replace.
fn decide(s: &Situation<'_>, plan: &mut PlanBuilder) -> Next {
    if s.rollout.tasks.is_any_running() {
        // A task holds the lock of its host, or relies on the fleet not changing.
        return Next::AwaitInFlight;
    }
    if let Some(outcome) = completion::forced_outcome(s) {
        if let Outcome::Held { .. } = outcome {
            // A held fleet stays as it is: no host may restart an instance on its own.
            disarm(s, plan, DisarmScope::Everywhere);
        }
        return finish_when_idle(s, plan, outcome);
    }
    if let Some(failure) = failure::aborted(s) {
        return on_failure(s, failure);
    }
    if completion::is_complete(s) && steps::step(s).is_none() && !has_late_failure(s) {
        return complete(s, plan);
    }
    if let Some(failure) = failure(s) {
        return on_failure(s, failure);
    }
    if let Some(why) = s.closing.filter(|_| windows::is_between_batches(s, plan)) {
        disarm(s, plan, DisarmScope::Everywhere);
        let why = why.to_owned();
        return finish_when_idle(s, plan, Outcome::WindowClosed { why });
    }
    let is_prepared = prepare::prepare(s, plan);
    let next = if is_prepared { replace(s, plan) } else { None };
    next.unwrap_or_else(|| Next::Wake(wait::wake_at(s)))
}

/// Ends the rollout once no action is planned or in flight.
fn finish_when_idle(s: &Situation<'_>, plan: &PlanBuilder, outcome: Outcome) -> Next {
    if plan.is_empty() && s.rollout.orders.in_flight.is_empty() {
        response::end(s, outcome)
    } else {
        Next::AwaitInFlight
    }
}

/// Whether a request failed or an instance exited at the moment when the goal was reached.
fn has_late_failure(s: &Situation<'_>) -> bool {
    failure::failed_requests(s).is_some()
        || !s.is_rolling_back() && failure::exited_instance(s).is_some()
}

/// Runs the last tasks, prunes the hosts, and ends the rollout.
fn complete(s: &Situation<'_>, plan: &mut PlanBuilder) -> Next {
    if !evidence::are_all_confirmed(s, plan) {
        return Next::Wake(s.now + SIGHTING_VALID_FOR);
    }
    disarm(s, plan, DisarmScope::Everywhere);
    scale_down::clear_dead(s, plan);
    task::stage_for_task(s, plan);
    if plan.is_empty()
        && let Some(step) = task::before(s).or_else(|| task::after(s))
    {
        return next_of_task(s, step);
    }
    completion::prune(s, plan);
    // A late action of an earlier controller may still arrive, although all instances are in place.
    prepare::claim(s, plan);
    finish_when_idle(s, plan, completion::outcome(s))
}

/// The failure of the rollout, if it has failed.
fn failure(s: &Situation<'_>) -> Option<Failure> {
    // In a rollback, an instance can start elsewhere. A host that must be claimed, or an instance that
    // must be stopped, has no alternative.
    let cause = if s.is_rolling_back() {
        failure::failed_action(s, |action| {
            !matches!(action, Action::Stage { .. } | Action::Start { .. })
        })
    } else {
        failure::cause(s)
    };
    cause.or_else(|| overdue::overdue(s))
}

/// Replaces old instances by new ones, as far as the budget allows now. Returns the next step of
/// the rollout; `None` to wait.
fn replace(s: &Situation<'_>, plan: &mut PlanBuilder) -> Option<Next> {
    if let Some(step) = task::before(s) {
        return Some(next_of_task(s, step));
    }
    disarm(s, plan, DisarmScope::Conflicting);
    scale_down::clear_dead(s, plan);
    singleton::disarm_unusable(s, plan);
    traffic::admit(s, plan);
    traffic::drain_unready(s, plan);
    traffic::drain_failed_hosts(s, plan);
    scale_up::start_new(s, plan);
    scale_up::rebalance(s, plan);
    scale_down::stop_old(s, plan);
    scale_down::stop_surplus(s, plan);
    scale_up::start_beyond_share(s, plan);
    disarm(s, plan, DisarmScope::Served);
    match failure::unrecoverable_failure(s, plan) {
        Some(failure) => Some(on_failure(s, failure)),
        None => gate::gate(s, plan),
    }
}

fn next_of_task(s: &Situation<'_>, step: TaskStep) -> Next {
    match step {
        TaskStep::Run(run) => Next::Run(run),
        TaskStep::Fail(failure) => on_failure(s, failure),
        // A failure during the soak prevents the contract migration.
        TaskStep::Soak(until) => match failure::cause(s) {
            Some(failure) => on_failure(s, failure),
            None => Next::Wake(until),
        },
        TaskStep::AwaitHost(until) => {
            let wake_at = wait::wake_at(s);
            Next::Wake(until.map_or(wake_at, |until| wake_at.min(until)))
        }
    }
}
