//! How far a rollout has got in its steps.

use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The steps that were passed, and the state of the present one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepState {
    /// Steps that it has passed; the largest number after a full promotion.
    pub passed: u32,
    /// Since when the present step has all its instances.
    pub reached: Option<Time>,
    /// Whether a person has promoted the present step.
    pub promoted: bool,
}

impl StepState {
    /// Takes in the next event; returns whether it is progress.
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
