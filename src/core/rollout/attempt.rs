//! The attempt to reach the target in one direction. A change of direction starts a new attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::ids::{HostId, InstanceId, Slot};
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Entry, Event, Progress};
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::rollout::orders::InFlight;
use crate::core::time::Time;

/// What has happened since the direction last changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttemptState {
    /// Actions that failed for good.
    pub failed: Vec<FailedAction>,
    /// The attempts to start in each slot.
    pub starts: BTreeMap<Slot, StartAttempts>,
    /// Armed slots, and when their dead-man switch fires.
    pub armed: BTreeMap<Slot, Time>,
    /// Instances that were started, and when.
    pub started: BTreeMap<InstanceId, Time>,
    /// The started instances that have been ready.
    pub served: BTreeSet<InstanceId>,
    /// Failed hosts and their failures. When the rollout rolls back, only unreachable hosts stay
    /// failed: a host that could not run the new release may run the old one.
    pub failed_hosts: BTreeMap<HostId, Failure>,
    /// The last progress, from which the progress deadline runs.
    pub last_progress: Time,
    high_water: HighWater,
}

/// An action that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedAction {
    pub action: Action,
    pub error: String,
    /// The time from the start of the action to its failure.
    pub after: Duration,
}

/// The pause before the second attempt to start; each further one is twice as long.
const RETRY_PAUSE_FIRST: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The attempts to start in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartAttempts {
    pub count: u32,
    /// When the last attempt began.
    pub last: Time,
    /// How the process of the last failed attempt had exited.
    pub ended: Option<String>,
}

impl StartAttempts {
    /// When the next attempt may begin. The cause of a failure may need time to pass, such as a
    /// port that the kernel still holds.
    pub fn next_at(&self) -> Time {
        let doublings = self.count.saturating_sub(1).min(16);
        self.last
            + RETRY_PAUSE_FIRST
                .saturating_mul(1 << doublings)
                .min(RETRY_PAUSE_MAX)
    }
}

/// The best counts so far. Only a better count is progress. Otherwise, a flapping instance would
/// extend the deadline forever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct HighWater {
    updated: u32,
    updated_ready: u32,
    updated_available: u32,
    /// The fewest instances of other releases.
    others: Option<u32>,
}

impl HighWater {
    /// Records new counts; returns whether any of them is better than before.
    fn update(&mut self, progress: &Progress) -> bool {
        let others = progress.total.saturating_sub(progress.updated);
        let best = Self {
            updated: self.updated.max(progress.updated),
            updated_ready: self.updated_ready.max(progress.updated_ready),
            updated_available: self.updated_available.max(progress.updated_available),
            others: Some(self.others.map_or(others, |fewest| fewest.min(others))),
        };
        std::mem::replace(self, best) != best
    }
}

impl AttemptState {
    pub(super) fn begin(at: Time) -> Self {
        Self {
            last_progress: at,
            ..Self::default()
        }
    }

    /// Applies the next event; returns whether it is progress. `ended` is the action that the event
    /// ends, and `only_scales` is whether the rollout only changes the number of instances.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        ended: Option<InFlight>,
        only_scales: bool,
    ) -> bool {
        match &entry.event {
            Event::ActionStarted {
                action, instance, ..
            } => {
                self.start(action, instance.as_ref(), entry.at);
                false
            }
            Event::ActionDone { .. } => {
                ended.is_some_and(|ended| self.is_progress(&ended.action, only_scales))
            }
            Event::ActionFailed { error, .. } => {
                self.failed
                    .extend(ended.and_then(|ended| FailedAction::of(ended, error, entry.at)));
                false
            }
            // Readiness is progress even if no count rises, as when instances are rebalanced.
            Event::InstanceReady { instance, .. } => {
                self.started.contains_key(instance) && self.served.insert(instance.clone())
            }
            Event::Progress(progress) => self.high_water.update(progress),
            Event::RolloutFailed { .. } => {
                self.reset(entry.at);
                true
            }
            // The rollout continues on the other hosts with a new deadline.
            Event::HostFailed { failure, .. } => {
                let host = failure.host.clone();
                self.failed_hosts
                    .extend(host.map(|host| (host, failure.clone())));
                true
            }
            // The time while the controller was suspended does not count.
            Event::ControllerResumed { .. } => true,
            _ => false,
        }
    }

    fn start(&mut self, action: &Action, instance: Option<&InstanceId>, at: Time) {
        match action {
            Action::Start { slot, .. } => {
                let starts = self.starts.entry(slot.clone()).or_default();
                (starts.count, starts.last) = (starts.count.saturating_add(1), at);
                self.failed.retain(|failed| {
                    failed.action.slot() != Some(slot) || failed.action.verb() != "start"
                });
            }
            Action::Stop {
                slot,
                restore_after,
                ended,
                ..
            } => {
                self.armed
                    .extend(restore_after.map(|after| (slot.clone(), at + after)));
                if let Some((starts, how)) = self.starts.get_mut(slot).zip(ended.clone()) {
                    starts.ended = Some(how);
                }
            }
            _ => {}
        }
        self.started
            .extend(instance.cloned().map(|instance| (instance, at)));
    }

    /// Whether an action that was carried out is progress.
    fn is_progress(&self, done: &Action, only_scales: bool) -> bool {
        match done {
            // Staging a large artifact on many hosts is progress, although no instance has changed
            // yet.
            Action::Stage { .. } => true,
            // Only the first start in a slot counts: repeated attempts must not extend the deadline
            // forever. In a scaling, every start counts, because no new version could fail to
            // start.
            Action::Start { slot, .. } => {
                only_scales || self.starts.get(slot).is_none_or(|starts| starts.count <= 1)
            }
            // An instance stops only once. The stop of a dead instance does not count, like the
            // next attempt to start, for which it makes room.
            Action::Stop { why, .. } => *why != StopReason::Dead,
            _ => false,
        }
    }

    /// Begins a new attempt: a rollback starts with a new deadline and without failed starts.
    fn reset(&mut self, at: Time) {
        let mut failed_hosts = std::mem::take(&mut self.failed_hosts);
        failed_hosts.retain(|_, failure| failure.kind == FailureKind::HostLost);
        *self = Self {
            failed_hosts,
            ..Self::begin(at)
        };
    }
}

impl FailedAction {
    /// The failure of an action; `None` if the direction has changed since its start.
    fn of(ended: InFlight, error: &str, at: Time) -> Option<Self> {
        (!ended.is_outdated).then(|| Self {
            after: at.since(ended.since),
            action: ended.action,
            error: error.to_owned(),
        })
    }
}
