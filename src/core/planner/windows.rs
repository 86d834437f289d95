//! Deploy windows and freezes: ship starts no batch that cannot end in time, and finishes the
//! current one.

use std::time::Duration;

use crate::core::planner::census::Census;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::steps;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// Why no new batch may start now.
pub(super) fn closing(s: &Situation<'_>) -> Option<String> {
    if !is_window_bound(s) {
        return None;
    }
    if let Some(freeze) = &s.rollout.requests.frozen {
        return Some(freeze.clone());
    }
    s.spec.deploy_windows.refusal(s.now, min_duration(s))
}

/// The next time at which the result of [`closing`] may change.
pub(super) fn changes_at(s: &Situation<'_>) -> Option<Time> {
    if is_window_bound(s) {
        s.spec.deploy_windows.changes_at(s.now, min_duration(s))
    } else {
        None
    }
}

/// Whether windows apply: only to a deploy in the forward direction.
fn is_window_bound(s: &Situation<'_>) -> bool {
    s.rollout.verb == Verb::Deploy && s.rollout.scaling.is_none() && !s.is_rolling_back()
}

/// The shortest time that the work about to start takes: the whole rollout if no slot has changed
/// yet, otherwise one replacement and the soak of its step. It is zero at a gate, where the soak
/// continues as long as the window is open.
fn min_duration(s: &Situation<'_>) -> Duration {
    if steps::is_at_gate(s) {
        return Duration::ZERO;
    }
    let (timings, windows) = (&s.rollout.timings, &s.spec.deploy_windows);
    let replacement = windows
        .replacement_time_min
        .max(timings.longest_start + s.spec.min_ready);
    let replacement = replacement + timings.longest_drain;
    if timings.first_change_at.is_some() {
        return replacement + steps::step(s).map_or(Duration::ZERO, |step| step.soak);
    }
    let batch_size = (s.budget.surge + s.budget.unavailable).max(1);
    let missing = s.census.desired.saturating_sub(s.census.new);
    let soaks: Duration = steps::remaining_steps(s).iter().map(|step| step.soak).sum();
    (replacement * missing.div_ceil(batch_size) + soaks).max(windows.fastest_deploy)
}

/// Whether the current batch has ended.
pub(super) fn is_between_batches(s: &Situation<'_>, plan: &PlanBuilder) -> bool {
    let census = s.census;
    let has_replicas = staying(census) == census.desired && census.new_available == census.new;
    s.rollout.timings.first_change_at.is_none()
        || s.no_slot_changes() && has_replicas && plan.no_slot_changes()
}

/// Running instances that are not being stopped.
fn staying(census: &Census<'_>) -> u32 {
    census.running.saturating_sub(census.stopping)
}

/// The number of starts that finish the current batch.
pub(super) fn starts_to_finish_batch(s: &Situation<'_>) -> u32 {
    s.census.desired.saturating_sub(staying(s.census))
}

/// The number of stops that finish the current batch.
pub(super) fn stops_to_finish_batch(s: &Situation<'_>) -> u32 {
    staying(s.census).saturating_sub(s.census.desired)
}
