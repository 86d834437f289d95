//! How far a rollout has got in its steps.

use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The steps that were passed, and how the present one stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepState {
    /// Steps that it has passed; all that there may be if a person said so.
    pub passed: u32,
    /// Since when the present step has all that it is to have.
    pub reached: Option<Time>,
    /// Whether a person said that it may go on from the present step.
    pub promoted: bool,
}

impl StepState {
    /// Folds in the next event; says whether it is progress.
    pub(super) fn apply(&mut self, entry: &Entry) -> bool {
        match &entry.event {
            Event::StepReached { .. } => {
                self.reached = Some(entry.at);
                false
            }
            Event::StepPassed { step, .. } => {
                *self = Self {
                    passed: *step,
                    ..Self::default()
                };
                true
            }
            Event::Promoted { full: false, .. } => {
                self.promoted = true;
                false
            }
            Event::Promoted { full: true, .. } => {
                (self.passed, self.reached) = (u32::MAX, None);
                true
            }
            _ => false,
        }
    }
}
