//! Windows and freezes: what was begun is brought to its end, and nothing new is begun that cannot
//! end in time.

use std::time::Duration;

use super::Draft;
use crate::core::rollout::action::Action;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

impl Draft<'_> {
    /// Why nothing new is begun now. Going back, and what a person does by hand, know no hours.
    pub(super) fn closing(&self) -> Option<String> {
        if !self.keeps_hours() {
            return None;
        }
        if let Some(freeze) = &self.rollout.requests.frozen {
            return Some(freeze.clone());
        }
        self.spec.hours.refusal(self.now, self.takes())
    }

    /// The next moment at which the answer may be another.
    pub(super) fn hours_change_at(&self) -> Option<Time> {
        if self.keeps_hours() {
            self.spec.hours.changes_at(self.now, self.takes())
        } else {
            None
        }
    }

    fn keeps_hours(&self) -> bool {
        self.rollout.verb == Verb::Deploy && self.rollout.scaling.is_none() && !self.is_backwards()
    }

    /// What the next thing to begin takes at least: all of the rollout where nothing was begun,
    /// else one replacement and the soak of its step. The soak of a step that was reached goes on
    /// as long as the window does.
    fn takes(&self) -> Duration {
        let rollout = self.rollout;
        if self.is_at_gate() {
            return Duration::ZERO;
        }
        let turn = self
            .spec
            .hours
            .turn
            .max(rollout.timings.longest_start + self.spec.min_ready)
            + rollout.timings.longest_drain;
        if rollout.timings.first_change_at.is_some() {
            return turn + self.step().map_or(Duration::ZERO, |step| step.soak);
        }
        let budget = &self.budget;
        let at_once = (budget.surge + budget.unavailable).max(1);
        let turns = self
            .census
            .desired
            .saturating_sub(self.census.new)
            .div_ceil(at_once);
        let soaks: Duration = self.steps_left().iter().map(|step| step.soak).sum();
        (turn * turns + soaks).max(self.spec.hours.usual)
    }

    /// Whether everything that was begun has come to its end.
    pub(super) fn is_between_batches(&self) -> bool {
        let census = self.census;
        let nothing_changes = self
            .rollout
            .orders
            .in_flight
            .values()
            .all(|order| order.action.slot().is_none());
        let is_whole = self.staying() == census.desired && census.new_available == census.new;
        self.rollout.timings.first_change_at.is_none()
            || nothing_changes && is_whole && self.actions.values().all(Self::changes_nothing)
    }

    fn changes_nothing(action: &Action) -> bool {
        action.slot().is_none()
    }

    /// Instances that run and are to go on running.
    fn staying(&self) -> u32 {
        self.census.running.saturating_sub(self.census.stopping)
    }

    /// How many may be started, where only what was begun is brought to its end.
    pub(super) fn room_to_close(&self) -> u32 {
        self.census.desired.saturating_sub(self.staying())
    }

    /// How many may be stopped, where only what was begun is brought to its end.
    pub(super) fn surplus_to_close(&self) -> u32 {
        self.staying().saturating_sub(self.census.desired)
    }
}
