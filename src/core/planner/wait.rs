//! How long is waited: for an order, for progress, and before a start is tried again.

use std::time::Duration;

use super::Draft;
use crate::core::ids::{ReleaseId, Slot};
use crate::core::planner::census::HostCount;
use crate::core::planner::wait_reason::Hold;
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::StartAttempts;
use crate::core::spec::Spec;
use crate::core::time::Time;

/// How much longer an order may take than the keys of its release allow: to be given, carried out
/// and reported.
const ORDER_MARGIN: Duration = Duration::from_secs(30);

/// How much longer than its own deadline a drain may take, to be cut and to be told of.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

/// How often is planned again at least though nothing happens.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);

impl Draft<'_> {
    /// When there must have been progress. An order that takes the time that the user's keys allow
    /// it is no lack of progress: until then the deadline waits for it.
    pub(super) fn deadline(&self) -> Time {
        let usual = self.rollout.attempt.last_progress + self.patience();
        let tasks = self.chore_ends_at();
        let in_flight = self.rollout.orders.in_flight.values();
        let orders = in_flight.filter_map(|order| Some(order.since + self.allowed(&order.action)?));
        tasks
            .into_iter()
            .chain(orders)
            .chain(self.lock_held_until())
            .fold(usual, Time::max)
    }

    /// How long a rollout may stand without progress. A release whose instances need longer than
    /// that to become available is refused as the goal; an older one, to which the rollout goes
    /// back, gets the time that it needs.
    pub(super) fn patience(&self) -> Duration {
        let Spec {
            progress_deadline,
            min_ready,
            ..
        } = *self.spec;
        let needed = self
            .spec
            .waits_of(self.rollout.target_release())
            .until_ready()
            + min_ready;
        if needed < progress_deadline {
            progress_deadline
        } else {
            needed + progress_deadline
        }
    }

    /// How long an order may take by the keys of the release that it is about; `None` where none of
    /// them speaks of it.
    fn allowed(&self, action: &Action) -> Option<Duration> {
        match action {
            Action::Drain { .. } => self
                .spec
                .traffic
                .as_ref()
                .map(|traffic| traffic.drain_timeout + DRAIN_MARGIN),
            Action::Stop { slot, instance, .. } => {
                let seen = self
                    .fleet
                    .instance(slot)
                    .filter(|seen| seen.name == *instance);
                let stop = seen.map(|seen| self.spec.waits_of(&seen.release).stop);
                Some(stop.unwrap_or_else(|| self.spec.longest_stop()) + ORDER_MARGIN)
            }
            Action::Start { release, .. } => {
                let start = self.spec.waits_of(release).start;
                (!start.is_zero()).then(|| start + ORDER_MARGIN)
            }
            Action::Claim { .. }
            | Action::Stage { .. }
            | Action::Admit { .. }
            | Action::Disarm { .. }
            | Action::Prune { .. } => None,
        }
    }

    /// Until when an earlier order may still hold the lock of a host that answers, and keep every
    /// other order waiting.
    fn lock_held_until(&self) -> Option<Time> {
        let answers = self.census.hosts.iter().filter(|host| host.is_reachable());
        let since = answers
            .filter_map(|host| self.rollout.orders.unsettled_since.get(host.id))
            .max()?;
        Some(*since + self.spec.longest_order() + ORDER_MARGIN)
    }

    /// The next moment at which the plan may change though nothing happens.
    pub(super) fn wake_at(&self) -> Time {
        let soaked = self.census.instances().filter_map(|(_, counted)| {
            let soaking = counted.is_ready && !counted.is_available && !counted.is_stopping;
            counted
                .instance
                .health
                .ready_since
                .filter(|_| soaking)
                .map(|since| since + self.spec.min_ready)
        });
        let decided = self
            .rollout
            .attempt
            .armed
            .values()
            .map(|fires| Self::must_decide_by(*fires));
        let paused = self
            .census
            .hosts
            .iter()
            .filter_map(|host| host.retry(self.spec, self.rollout, self.now));
        let retried = paused.map(|(_, attempts)| attempts.next_at());
        let given_up = self
            .balancer_lost_since()
            .map(|since| since + self.patience());
        let all = soaked
            .chain(decided)
            .chain(retried)
            .chain(given_up)
            .chain(self.hours_change_at());
        // What is past changes nothing by itself any more.
        let to_come = all.chain([self.deadline()]).filter(|at| *at > self.now);
        to_come.min().unwrap_or(self.now + LOOK_AGAIN_AFTER)
    }

    /// The slot of a host in which an instance of a release could be started now.
    pub(super) fn free_slot(&self, host: &HostCount<'_>, release: &ReleaseId) -> Option<Slot> {
        host.free_slot(self.spec, self.rollout, release, self.now)
    }

    /// What a host waits for that is to try again to start an instance.
    pub(super) fn waits_to_retry(&self, host: &HostCount<'_>) -> Option<Hold> {
        if self.census.missing().is_empty() {
            return None;
        }
        let (slot, attempts) = host.retry(self.spec, self.rollout, self.now)?;
        let why = self
            .last_attempt(&slot, attempts)
            .unwrap_or_else(|| "it did not stay".to_owned());
        Some(Hold::WaitsToRetry {
            port: slot.port,
            attempt: attempts.count + 1,
            until: attempts.next_at(),
            why,
        })
    }

    /// How the last attempt to start an instance in a slot went wrong.
    pub(super) fn last_attempt(&self, slot: &Slot, attempts: &StartAttempts) -> Option<String> {
        let refused = self
            .rollout
            .attempt
            .failed
            .iter()
            .find(|failed| failed.action.slot() == Some(slot));
        refused
            .map(|failed| failed.error.clone())
            .or_else(|| attempts.ended.clone())
    }
}
