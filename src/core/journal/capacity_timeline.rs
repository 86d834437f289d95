//! The number of available instances over time.

use crate::core::ids::ReleaseId;
use crate::core::rollout::event::{Entry, Event, FailureResponse, Progress};
use crate::core::time::Time;

/// The counts from one time until the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityStep {
    /// The time of the first event with these counts.
    pub from: Time,
    /// Available instances.
    pub available: u32,
    /// Available instances of the goal's release.
    pub new: u32,
    /// All instances.
    pub total: u32,
}

/// The counts of a service over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityTimeline {
    /// The changes of the counts, in order.
    pub steps: Vec<CapacityStep>,
    /// The goal of the first rollout.
    goal: Option<ReleaseId>,
    /// Whether the instances of the goal no longer count as updated.
    is_leaving_goal: bool,
}

impl CapacityTimeline {
    /// Reads a journal, or those of consecutive rollouts.
    pub fn of(journal: &[Entry]) -> Self {
        let mut timeline = Self::default();
        let Some(first) = journal.first() else {
            return timeline;
        };
        for entry in journal {
            timeline.apply(entry, first.at);
        }
        timeline
    }

    fn apply(&mut self, entry: &Entry, begin: Time) {
        match &entry.event {
            Event::RolloutStarted(start) => {
                let release = &start.target.release;
                let goal = self.goal.get_or_insert_with(|| release.clone());
                self.is_leaving_goal = goal != release;
            }
            Event::Progress(progress) => {
                // The first counts apply from the beginning.
                let from = if self.steps.is_empty() {
                    begin
                } else {
                    entry.at
                };
                self.add(self.step(progress, from));
            }
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            }
            | Event::Aborted { .. } => self.is_leaving_goal = true,
            _ => {}
        }
    }

    fn step(&self, progress: &Progress, from: Time) -> CapacityStep {
        let Progress {
            available, total, ..
        } = *progress;
        // During a rollback, the instances of the earlier release count as updated.
        let updated = progress.updated_available.min(available);
        let new = if self.is_leaving_goal {
            available - updated
        } else {
            updated
        };
        CapacityStep {
            from,
            available,
            new,
            total,
        }
    }

    fn add(&mut self, step: CapacityStep) {
        let counts = |step: &CapacityStep| (step.available, step.new, step.total);
        match self.steps.last_mut() {
            Some(last) if last.from == step.from => *last = step,
            Some(last) if counts(last) == counts(&step) => {}
            _ => self.steps.push(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::testing::{Play, START};

    #[test]
    fn timeline_of_example_always_has_three_available_instances() {
        let journal: Vec<_> = Play::example()
            .entries
            .into_iter()
            .map(|(entry, _)| entry)
            .collect();
        let steps = CapacityTimeline::of(&journal).steps;
        assert_eq!(steps.first().map(|step| step.from), Some(START));
        assert_eq!(steps.iter().map(|step| step.available).min(), Some(3));
        let last = steps.last().unwrap();
        assert_eq!((last.available, last.new, last.total), (3, 3, 3));
    }
}
