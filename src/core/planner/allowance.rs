//! How many old instances may stop or be reloaded now.

use crate::core::planner::situation::Situation;
use crate::core::planner::{steps, windows};

/// The old instances that may stop or be reloaded now, within the budget, the step and the window.
pub(super) fn stoppable_old(s: &Situation<'_>) -> u32 {
    let allowance = max_down(s).min(steps::stoppable_old(s));
    if s.closing.is_some() {
        allowance.min(windows::stops_to_finish_batch(s))
    } else {
        allowance
    }
}

/// Whether an old instance that serves may stop now.
pub(super) fn may_stop_old(s: &Situation<'_>) -> bool {
    s.census.available > s.budget.min_available() && stoppable_old(s) > 0
}

/// The old instances that may stop within the budget: `total − min_available − unavailable new`. For
/// each new instance that does not serve yet, an old one keeps running.
fn max_down(s: &Situation<'_>) -> u32 {
    let total = s.census.running.saturating_sub(s.census.stopping);
    let new_unavailable = s.census.new.saturating_sub(s.census.new_available);
    total
        .saturating_sub(s.budget.min_available())
        .saturating_sub(new_unavailable)
}
