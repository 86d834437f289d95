//! Steps: how many new instances there may be by now, and whether the rollout may go on to the
//! next.

use super::{Draft, Next};
use crate::core::planner::wait_reason::Hold;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::spec::step::{AtGate, Step};
use crate::core::time::Time;

impl Draft<'_> {
    /// The step that the rollout is in, if it goes by steps: forward, from something proven to
    /// something new. Where no instances are wanted there is nothing to look at, and no number
    /// would ever be measured.
    pub(super) fn step(&self) -> Option<&Step> {
        let rollout = self.rollout;
        let goes_by_steps = rollout.verb == Verb::Deploy
            && rollout.scaling.is_none()
            && !self.is_backwards()
            && self.census.desired > 0
            && rollout
                .fallback
                .as_ref()
                .is_some_and(|fallback| fallback.release != rollout.goal.release);
        self.spec
            .steps
            .get(rollout.step.passed as usize)
            .filter(|_| goes_by_steps)
    }

    /// The steps that are still to come, with the present one.
    pub(super) fn steps_left(&self) -> &[Step] {
        let left = self
            .spec
            .steps
            .get(self.rollout.step.passed as usize..)
            .unwrap_or_default();
        if self.step().is_some() { left } else { &[] }
    }

    /// How many instances of the new release there may be.
    pub(super) fn new_limit(&self) -> u32 {
        let desired = self.census.desired;
        self.step().map_or(desired, |step| step.count(desired))
    }

    /// How many old instances may go, so that those of the step and the old ones are as many as are
    /// wanted.
    pub(super) fn old_to_spare(&self) -> u32 {
        let stays = self.census.desired.saturating_sub(self.new_limit());
        let old = self
            .census
            .instances()
            .filter(|(_, counted)| !counted.is_new && counted.is_running);
        let old = old.filter(|(_, counted)| !counted.is_stopping).count();
        u32::try_from(old).unwrap_or(u32::MAX).saturating_sub(stays)
    }

    /// Whether the step has all that it is to have, and nothing is under way.
    fn has_reached(&self) -> bool {
        let limit = self.new_limit();
        let nothing_goes_on =
            || self.actions.is_empty() && self.rollout.orders.in_flight.is_empty();
        // More than that may be there already, from an earlier rollout to the same release.
        self.census.new >= limit
            && self.census.new_available == self.census.new
            && self.old_to_spare() == 0
            && nothing_goes_on()
    }

    /// Whether the present step was reached, and only time, numbers or a person are waited for.
    pub(super) fn is_at_gate(&self) -> bool {
        self.step().is_some() && self.rollout.step.reached.is_some()
    }

    /// What the present step asks for, once all orders of this plan are given; `None` where it is
    /// not reached.
    pub(super) fn gate(&self) -> Option<Next> {
        let step = self.step()?;
        let Some(reached) = self.rollout.step.reached else {
            return self
                .has_reached()
                .then(|| Next::StepReached(*step, self.new_limit()));
        };
        let soaked = reached + step.soak;
        if self.rollout.step.promoted {
            return Some(Next::StepPassed);
        }
        if self.now < soaked {
            return Some(Next::Wake(soaked.min(self.wake_at())));
        }
        if let Some(why) = self.awaited_analysis(reached) {
            // Without a person to decide, the step waits no longer than for any other progress.
            let gives_up = soaked + self.spec.progress_deadline;
            return Some(if self.spec.at_gate == AtGate::Wait {
                Next::Wake(self.wake_at())
            } else if self.now < gives_up {
                Next::Wake(self.wake_at().min(gives_up))
            } else {
                let by = format!("{}, which waits for analysis {why}", self.step_name());
                Next::Finish(Outcome::Paused {
                    by,
                    since: self.now,
                })
            });
        }
        if !step.pause || self.spec.at_gate == AtGate::Promote {
            return Some(Next::StepPassed);
        }
        match self.spec.at_gate {
            AtGate::Exit => {
                let by = format!(
                    "the gate of {}, which waits for `ship promote`",
                    self.step_name()
                );
                Some(Next::Finish(Outcome::Paused {
                    by,
                    since: self.now,
                }))
            }
            AtGate::Wait | AtGate::Promote => Some(Next::Wake(self.wake_at())),
        }
    }

    /// What keeps the present step from being passed, though its time is over: a number that says
    /// nothing yet.
    fn awaited_analysis(&self, reached: Time) -> Option<String> {
        let record = |name: &String| self.rollout.evidence.analyses.get(name);
        self.spec
            .analyses
            .iter()
            .find_map(|analysis| analysis.holds(record(&analysis.name), reached))
    }

    fn step_name(&self) -> String {
        format!(
            "step {} of {}",
            self.rollout.step.passed + 1,
            self.spec.step_count()
        )
    }

    /// What the present step waits for.
    pub(super) fn gate_hold(&self) -> Option<Hold> {
        let step = self.step()?;
        let reached = self.rollout.step.reached?;
        let (number, of) = (self.rollout.step.passed + 1, self.spec.step_count());
        let until = reached + step.soak;
        Some(if self.now < until {
            Hold::StepSoaks {
                step: number,
                of,
                until,
            }
        } else if let Some(why) = self.awaited_analysis(reached) {
            Hold::WaitsForAnalysis {
                step: number,
                of,
                why,
            }
        } else {
            Hold::WaitsForPromote { step: number, of }
        })
    }
}
