//! Deploy windows and freezes: ship finishes the current batch, and starts no batch that cannot end in
//! time.

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
    s.spec.hours.refusal(s.now, min_duration(s))
}

/// The next moment at which this may change.
pub(super) fn changes_at(s: &Situation<'_>) -> Option<Time> {
    if is_window_bound(s) {
        s.spec.hours.changes_at(s.now, min_duration(s))
    } else {
        None
    }
}

/// Whether windows apply: only to a deploy in the forward direction.
fn is_window_bound(s: &Situation<'_>) -> bool {
    s.rollout.verb == Verb::Deploy && s.rollout.scaling.is_none() && !s.is_rolling_back()
}

/// The shortest time of the next part: of the whole rollout if no slot has changed yet, else of one
/// replacement and the soak of its step. At a gate the soak continues as long as the window is open.
fn min_duration(s: &Situation<'_>) -> Duration {
    if steps::is_at_gate(s) {
        return Duration::ZERO;
    }
    let (timings, hours) = (&s.rollout.timings, &s.spec.hours);
    let replacement = hours
        .replacement_time_min
        .max(timings.longest_start + s.spec.min_ready);
    let replacement = replacement + timings.longest_drain;
    if timings.first_change_at.is_some() {
        return replacement + steps::step(s).map_or(Duration::ZERO, |step| step.soak);
    }
    let at_once = (s.budget.surge + s.budget.unavailable).max(1);
    let missing = s.census.desired.saturating_sub(s.census.new);
    let soaks: Duration = steps::steps_left(s).iter().map(|step| step.soak).sum();
    (replacement * missing.div_ceil(at_once) + soaks).max(hours.fastest_deploy)
}

/// Whether the current batch has ended.
pub(super) fn is_between_batches(s: &Situation<'_>, plan: &PlanBuilder) -> bool {
    let census = s.census;
    let is_whole = staying(census) == census.desired && census.new_available == census.new;
    s.rollout.timings.first_change_at.is_none()
        || s.no_slot_changes() && is_whole && plan.no_slot_changes()
}

/// Running instances that stay.
fn staying(census: &Census<'_>) -> u32 {
    census.running.saturating_sub(census.stopping)
}

/// Instances that may start to finish the current batch.
pub(super) fn room_to_close(s: &Situation<'_>) -> u32 {
    s.census.desired.saturating_sub(staying(s.census))
}

/// Instances that may stop to finish the current batch.
pub(super) fn surplus_to_close(s: &Situation<'_>) -> u32 {
    staying(s.census).saturating_sub(s.census.desired)
}
