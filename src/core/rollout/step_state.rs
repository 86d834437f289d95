//! The progress of a rollout through its steps.

use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The steps that were passed, and the state of the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepState {
    /// The number of passed steps; `u32::MAX` after a full promotion.
    pub passed: u32,
    /// Since when the current step has all its instances.
    pub reached: Option<Time>,
    /// Whether a user has promoted the current step.
    pub promoted: bool,
}

impl StepState {
    /// Applies the next event; returns whether it is progress.
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
