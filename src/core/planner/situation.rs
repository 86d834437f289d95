//! The input of the planner. It does not change while a plan is made.

use std::time::Duration;

use crate::core::fleet::Fleet;
use crate::core::ids::HostId;
use crate::core::planner::census::Census;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::spread::Spread;
use crate::core::rollout::action::Action;
use crate::core::rollout::{Direction, Rollout};
use crate::core::spec::Spec;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;

/// The input of one plan.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) spec: &'a Spec,
    /// The budget in the current direction.
    pub(super) budget: Budget,
    pub(super) rollout: &'a Rollout,
    pub(super) fleet: &'a Fleet,
    pub(super) census: &'a Census<'a>,
    pub(super) spread: &'a Spread<'a>,
    pub(super) now: Time,
    /// Why no new batch may start: a window closes, or the fleet is frozen.
    pub(super) closing: Option<&'a str>,
}

impl<'a> Situation<'a> {
    pub(super) fn is_rolling_back(&self) -> bool {
        matches!(self.rollout.direction, Direction::RollingBack(_))
    }

    /// Whether a host gets the release only when an instance is to start there.
    pub(super) fn stages_on_demand(&self) -> bool {
        self.is_rolling_back() || self.rollout.scaling.is_some()
    }

    /// The longest time without progress. A rollout is refused if instances of its goal need longer
    /// to become available. A rollback target gets the time that it needs.
    pub(super) fn progress_deadline(&self) -> Duration {
        let Spec {
            progress_deadline,
            min_ready,
            ..
        } = *self.spec;
        let waits = self.spec.waits_of(self.rollout.target_release());
        let needed = waits.until_ready() + min_ready;
        if needed < progress_deadline {
            progress_deadline
        } else {
            needed + progress_deadline
        }
    }

    /// The hosts that may have instances at the end of the rollout.
    pub(super) fn usable_hosts(&self) -> impl Iterator<Item = &'a HostCount<'a>> {
        self.census.hosts.iter().filter(|host| host.is_usable())
    }

    /// Whether an instance was started in the current direction.
    pub(super) fn was_started(&self, counted: &JudgedInstance<'_>) -> bool {
        let started = &self.rollout.attempt.started;
        started.contains_key(&counted.instance.name)
    }

    /// Whether the release of the goal is staged on a host.
    pub(super) fn has_goal_release(&self, host: &HostCount<'_>) -> bool {
        host.host
            .is_some_and(|seen| seen.releases.contains(&self.rollout.goal.release))
    }

    /// Whether an action on a host as a whole has failed for good.
    pub(super) fn has_failed_on(&self, host: &HostId) -> bool {
        self.has_failed(|action| action.host() == host && action.slot().is_none())
    }

    /// Whether the drain or stop of an instance has failed. It is not retried, and the host counts
    /// as failed.
    pub(super) fn has_failed_to_stop(&self, counted: &JudgedInstance<'_>) -> bool {
        let name = &counted.instance.name;
        self.has_failed(|action| {
            matches!(action, Action::Drain { instance, .. } | Action::Stop { instance, .. } if instance == name)
        })
    }

    /// Whether the rollout may end without changes on a host: the host has failed and is not trusted,
    /// or has failed while the other hosts have no room for all replicas.
    pub(super) fn may_skip(&self, host: &HostCount<'_>) -> bool {
        let has_room = self.census.desired >= self.budget.replicas;
        host.is_untrusted() || !host.is_active() && !has_room
    }

    /// Whether an instance that should not run may stay until the rollout ends, because its host has
    /// failed.
    pub(super) fn may_stay(&self, host: &HostCount<'_>, counted: &JudgedInstance<'_>) -> bool {
        self.may_skip(host) || !host.is_active() && self.has_failed_to_stop(counted)
    }

    /// Whether an action that matches has failed for good.
    pub(super) fn has_failed(&self, matches: impl Fn(&Action) -> bool) -> bool {
        let mut failed = self.rollout.attempt.failed.iter();
        failed.any(|failed| matches(&failed.action))
    }

    /// Whether nothing is in flight and every new instance serves.
    pub(super) fn is_settled(&self) -> bool {
        self.census.new == self.census.new_available && self.rollout.orders.in_flight.is_empty()
    }

    /// Whether no action that changes a slot is in flight.
    pub(super) fn no_slot_changes(&self) -> bool {
        let mut in_flight = self.rollout.orders.in_flight.values();
        in_flight.all(|order| order.action.slot().is_none())
    }
}
