//! Steps: how many new instances there may be now.

use crate::core::planner::situation::Situation;
use crate::core::rollout::verb::Verb;
use crate::core::spec::step::Step;

/// The current step. Only a deploy from a proven release to a new one has steps, and only in the
/// forward direction and if instances are wanted. Without instances, no analysis would be measured.
pub(super) fn step<'a>(s: &Situation<'a>) -> Option<&'a Step> {
    let rollout = s.rollout;
    let has_steps = rollout.verb == Verb::Deploy
        && rollout.scaling.is_none()
        && !s.is_rolling_back()
        && s.census.desired > 0
        && rollout
            .rollback_target
            .as_ref()
            .is_some_and(|rollback_target| rollback_target.release != rollout.goal.release);
    s.spec
        .steps
        .get(rollout.step.passed as usize)
        .filter(|_| has_steps)
}

/// The remaining steps, including the current one.
pub(super) fn remaining_steps<'a>(s: &Situation<'a>) -> &'a [Step] {
    let left = s.spec.steps.get(s.rollout.step.passed as usize..);
    if step(s).is_some() {
        left.unwrap_or_default()
    } else {
        &[]
    }
}

/// The most instances of the new release that the current step allows.
pub(super) fn new_limit(s: &Situation<'_>) -> u32 {
    let desired = s.census.desired;
    step(s).map_or(desired, |step| step.count(desired))
}

/// The number of old instances that may stop in this step. The remaining old instances and the
/// step's new ones add up to the wanted number. Old instances that may stay on failed hosts do not
/// count.
pub(super) fn stoppable_old(s: &Situation<'_>) -> u32 {
    let stays = s.census.desired.saturating_sub(new_limit(s));
    let old = s.census.instances().filter(|(host, counted)| {
        let runs = counted.is_running && !counted.is_stopping;
        !counted.is_target && runs && !s.may_stay(host, counted)
    });
    u32::try_from(old.count())
        .unwrap_or(u32::MAX)
        .saturating_sub(stays)
}

/// Whether the current step is reached and waits for its soak, for analyses or for a promotion.
pub(super) fn is_at_gate(s: &Situation<'_>) -> bool {
    step(s).is_some() && s.rollout.step.reached.is_some()
}
