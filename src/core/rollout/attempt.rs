//! The attempt to reach the target in one direction. A change of direction starts the next one.

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
    /// Orders that failed for good.
    pub failed: Vec<FailedAction>,
    /// The starts that were tried in each slot.
    pub starts: BTreeMap<Slot, StartAttempts>,
    /// Slots whose former instance the host restarts by itself, and when.
    pub armed: BTreeMap<Slot, Time>,
    /// Instances that were started, and when.
    pub started: BTreeMap<InstanceId, Time>,
    /// The started instances that have been ready.
    pub served: BTreeSet<InstanceId>,
    /// Hosts that were given up, and why. One that could not run the new release may well run the
    /// old one: only lost hosts stay given up when the rollout turns.
    pub failed_hosts: BTreeMap<HostId, Failure>,
    /// The last progress, from which the progress deadline runs.
    pub last_progress: Time,
    high_water: HighWater,
}

/// An order that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedAction {
    pub action: Action,
    pub error: String,
    /// The time from the order to its end.
    pub after: Duration,
}

/// The first pause before a start is tried again; each further one is twice as long.
const RETRY_PAUSE_FIRST: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The starts that were tried in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartAttempts {
    pub count: u32,
    /// When the last attempt was ordered.
    pub last: Time,
    /// How the process of the last failed attempt had exited.
    pub ended: Option<String>,
}

impl StartAttempts {
    /// When the next one may be made: what kept the last one from succeeding may take its time to
    /// go, such as a port that the system keeps for a while.
    pub fn next_at(&self) -> Time {
        let doublings = self.count.saturating_sub(1).min(16);
        self.last
            + RETRY_PAUSE_FIRST
                .saturating_mul(1 << doublings)
                .min(RETRY_PAUSE_MAX)
    }
}

/// The best counts so far: only a new best is progress, or a flapping instance would put off its
/// deadline for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct HighWater {
    updated: u32,
    updated_ready: u32,
    updated_available: u32,
    /// Fewest instances of other releases.
    others: Option<u32>,
}

impl HighWater {
    /// Takes in new counts; returns whether any is a new maximum.
    fn rise(&mut self, progress: &Progress) -> bool {
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

    /// Folds in the next event; says whether it is progress. `ended` is the order whose end it
    /// tells, `only_scales` whether the rollout changes only the number of instances.
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
            // That evens out the spread, perhaps, and raises no count.
            Event::InstanceReady { instance, .. } => {
                self.started.contains_key(instance) && self.served.insert(instance.clone())
            }
            Event::Progress(progress) => self.high_water.rise(progress),
            Event::RolloutFailed { .. } => {
                self.turn(entry.at);
                true
            }
            // The others go on: they get their own time.
            Event::HostFailed { failure, .. } => {
                let host = failure.host.clone();
                self.failed_hosts
                    .extend(host.map(|host| (host, failure.clone())));
                true
            }
            // Nobody is to blame for a time in which nobody was there to go on.
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

    /// Whether it is progress that an order was carried out.
    fn is_progress(&self, done: &Action, only_scales: bool) -> bool {
        match done {
            // A large artifact on its way to many hosts is progress, though no instance has changed
            // yet.
            Action::Stage { .. } => true,
            // A start with hooks takes its time. Only the first one in a slot counts: one that is
            // tried again and again must not put off the deadline for ever. A change of numbers
            // brings no version forward.
            Action::Start { slot, .. } => {
                only_scales || self.starts.get(slot).is_none_or(|starts| starts.count <= 1)
            }
            // So does a stop, and an instance is stopped once. What makes room for the next attempt
            // counts no more than the attempt.
            Action::Stop { why, .. } => *why != StopReason::Dead,
            _ => false,
        }
    }

    /// Starts again: a rollback has attempts and a deadline of its own.
    fn turn(&mut self, at: Time) {
        let mut failed_hosts = std::mem::take(&mut self.failed_hosts);
        failed_hosts.retain(|_, failure| failure.kind == FailureKind::HostLost);
        *self = Self {
            failed_hosts,
            ..Self::begin(at)
        };
    }
}

impl FailedAction {
    /// The failure of an order; `None` if it was given in the other direction.
    fn of(ended: InFlight, error: &str, at: Time) -> Option<Self> {
        (!ended.is_outdated).then(|| Self {
            after: at.since(ended.since),
            action: ended.action,
            error: error.to_owned(),
        })
    }
}
