//! Durations in a rollout, to estimate which work still fits into a deploy window.

use std::time::Duration;

use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::AttemptState;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timings {
    /// When the first action on a slot began; `None` before that.
    pub first_change_at: Option<Time>,
    /// The longest time from a start until the instance was ready.
    pub longest_start: Duration,
    pub longest_drain: Duration,
    /// Since when all instances are in place, if they are.
    pub complete_since: Option<Time>,
}

impl Timings {
    /// Applies the next event; returns whether it is progress. `attempt` is the state before the
    /// event.
    pub(super) fn apply(&mut self, entry: &Entry, attempt: &AttemptState) -> bool {
        match &entry.event {
            Event::ActionStarted { action, .. } if changes_slot(action) => {
                self.first_change_at.get_or_insert(entry.at);
            }
            Event::InstanceReady { instance, .. } => {
                let is_first = !attempt.served.contains(instance);
                if let Some(started) = attempt.started.get(instance).filter(|_| is_first) {
                    self.longest_start = self.longest_start.max(entry.at.since(*started));
                }
            }
            Event::Drained { result, .. } => {
                self.longest_drain = self.longest_drain.max(result.waited);
            }
            Event::Progress(progress) => {
                let since = self.complete_since.unwrap_or(entry.at);
                let was_complete = self.complete_since.is_some();
                self.complete_since = progress.is_complete().then_some(since);
                // The replacement of a lost instance gets a new progress deadline.
                return was_complete && !progress.is_complete();
            }
            _ => {}
        }
        false
    }
}

fn changes_slot(action: &Action) -> bool {
    action.slot().is_some() && !matches!(action, Action::Disarm { .. })
}
