//! The gate at the end of each step: whether the rollout may continue with the next one.

use crate::core::planner::decision::Next;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{steps, wait};
use crate::core::rollout::failure::Outcome;
use crate::core::spec::step::OnGate;
use crate::core::time::Time;

/// What follows at the gate of the current step, given the actions of this plan; `None` if the step
/// is not reached.
pub(super) fn gate(s: &Situation<'_>, plan: &PlanBuilder) -> Option<Next> {
    let step = steps::step(s)?;
    let Some(reached) = s.rollout.step.reached else {
        return is_reached(s, plan).then(|| Next::StepReached(*step, steps::new_limit(s)));
    };
    let soaked = reached + step.soak;
    if s.rollout.step.promoted {
        return Some(Next::StepPassed);
    }
    if s.now < soaked {
        return Some(Next::Wake(soaked.min(wait::wake_at(s))));
    }
    if let Some(why) = awaited_analysis(s, reached) {
        return Some(await_analysis(s, soaked, &why));
    }
    if !step.pause || s.spec.on_gate == OnGate::Promote {
        return Some(Next::StepPassed);
    }
    Some(match s.spec.on_gate {
        OnGate::Exit => {
            let by = format!(
                "the gate of {}, which waits for `ship promote`",
                step_name(s)
            );
            pause(s, by)
        }
        OnGate::Wait | OnGate::Promote => Next::Wake(wait::wake_at(s)),
    })
}

/// Waits for an analysis at a step. An unattended rollout waits at most for the
/// `progress_deadline`, then pauses.
fn await_analysis(s: &Situation<'_>, soaked: Time, why: &str) -> Next {
    let gives_up_at = soaked + s.spec.progress_deadline;
    if s.spec.on_gate == OnGate::Wait {
        Next::Wake(wait::wake_at(s))
    } else if s.now < gives_up_at {
        Next::Wake(wait::wake_at(s).min(gives_up_at))
    } else {
        pause(
            s,
            format!("{}, which waits for analysis {why}", step_name(s)),
        )
    }
}

fn pause(s: &Situation<'_>, by: String) -> Next {
    let since = s.now;
    Next::Finish(Outcome::Paused { by, since })
}

/// Whether the step has all its instances, and no action is in flight.
fn is_reached(s: &Situation<'_>, plan: &PlanBuilder) -> bool {
    // More instances may exist already, from an earlier rollout to the same release.
    s.census.new >= steps::new_limit(s)
        && s.census.new_available == s.census.new
        && steps::stoppable_old(s) == 0
        && plan.is_empty()
        && s.rollout.orders.in_flight.is_empty()
}

/// The analysis without a conclusive measurement for which the current step waits after its soak.
fn awaited_analysis(s: &Situation<'_>, reached: Time) -> Option<String> {
    let record = |name: &String| s.rollout.evidence.analyses.get(name);
    s.spec
        .analyses
        .iter()
        .find_map(|analysis| analysis.wait_reason(record(&analysis.name), reached))
}

/// The current step, for messages: `step 1 of 2`.
fn step_name(s: &Situation<'_>) -> String {
    let (number, of) = (s.rollout.step.passed + 1, s.spec.step_count());
    format!("step {number} of {of}")
}

/// Why the rollout waits at the gate of the current step, if it does.
pub(super) fn wait_reason(s: &Situation<'_>) -> Option<WaitReason> {
    let soak = steps::step(s)?.soak;
    let reached = s.rollout.step.reached?;
    let (step, of) = (s.rollout.step.passed + 1, s.spec.step_count());
    let until = reached + soak;
    Some(if s.now < until {
        WaitReason::StepSoaks { step, of, until }
    } else if let Some(why) = awaited_analysis(s, reached) {
        WaitReason::WaitsForAnalysis { step, of, why }
    } else {
        WaitReason::WaitsForPromote { step, of }
    })
}
