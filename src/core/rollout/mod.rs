//! A rollout: the fold of its events. It holds only what cannot be observed on the hosts.

pub mod action;
pub mod event;
pub mod failure;
pub mod task;
pub mod verb;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::analysis::measurement::Record;
use crate::core::availability::LossReport;
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision, Slot};
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{
    Entry, Event, Generation, Progress, RolloutStart, Scaling, Then,
};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::spec::step::FULL_WEIGHT_PERCENT;
use crate::core::time::Time;

/// One attempt to bring the fleet to a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// What it was asked to do.
    pub verb: Verb,
    /// Where it goes.
    pub goal: Generation,
    /// Whether that was proven healthy before.
    pub is_proven: bool,
    /// Where it goes back to if it fails or is aborted.
    pub fallback: Option<Generation>,
    /// Instances that the service is to have there; `None` for as many as at the goal.
    pub fallback_replicas: Option<u32>,
    /// It only changes how many instances run, and keeps the parts of each release.
    pub scaling: Option<Scaling>,
    /// The fencing number.
    pub epoch: Epoch,
    /// Forward, or back after a failure.
    pub direction: Direction,
    /// Orders given whose end is not recorded.
    pub in_flight: BTreeMap<ActionId, InFlight>,
    /// Orders that failed for good since the direction last changed.
    pub failed: Vec<FailedAction>,
    /// The starts that were tried in a slot since the direction last changed.
    pub attempts: BTreeMap<Slot, Attempts>,
    /// Orders whose end nobody knows, on hosts where no later order has been carried out. A look at
    /// the host does not settle them: it does not wait for a script that is still at work there, as
    /// the next order does.
    pub unknown: Vec<Action>,
    /// Hosts with such orders, and since when: an earlier order may still hold the host's lock.
    pub unsettled_since: BTreeMap<HostId, Time>,
    /// Instances of the fallback that were ready in this rollout and no longer are. If they fail
    /// too, the new release may not be to blame.
    pub sickened: BTreeSet<InstanceId>,
    /// Slots whose former instance the host brings back by itself, and when, by orders in the
    /// present direction.
    pub armed: BTreeMap<Slot, Time>,
    /// Instances started by this rollout in the present direction, and when.
    pub started: BTreeMap<InstanceId, Time>,
    /// Those of them that have been ready.
    pub served: BTreeSet<InstanceId>,
    /// Instances that have nothing under way: drained, or not admitted yet.
    pub drained: BTreeSet<InstanceId>,
    /// The weights with which instances were admitted, in percent.
    pub weights: BTreeMap<InstanceId, u32>,
    /// Hosts that have been told to prune: asked once, whatever comes of it.
    pub pruned: BTreeSet<HostId>,
    /// The host that has seen a newer epoch than this rollout's, and that epoch.
    pub fenced: Option<(HostId, Epoch)>,
    /// The best counts so far in the present direction.
    pub high_water: HighWater,
    /// When these were reached; the progress deadline runs from here.
    pub last_progress: Time,
    /// When the first slot was ordered to change; `None` before that.
    pub begun: Option<Time>,
    /// The longest that an instance of this rollout took from its start until it was ready.
    pub longest_start: Duration,
    /// The longest drain.
    pub longest_drain: Duration,
    /// Since when all is in place, if it is.
    pub complete_since: Option<Time>,
    /// What is done once, as far as it was begun, by name.
    pub chores: BTreeMap<String, task::Standing>,
    /// Steps that it has passed.
    pub steps_passed: u32,
    /// Since when the present step has all that it is to have.
    pub step_reached: Option<Time>,
    /// Whether a person said that it may go on from the present step.
    pub promoted: bool,
    /// What was measured of the new version, by the name of the analysis.
    pub analyses: BTreeMap<String, Record>,
    /// Whether a person asked to stop.
    pub interrupted: bool,
    /// Who paused it, and since when.
    pub paused: Option<(String, Time)>,
    /// Who has frozen the fleet meanwhile, until when and why.
    pub frozen: Option<String>,
    /// Who asked to go back.
    pub aborted: Option<String>,
    /// Hosts that are left behind, and why.
    pub quarantined: BTreeMap<HostId, Failure>,
    /// What became of the requests that were made all the while, as told last.
    pub loss: Option<LossReport>,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    next_action: u64,
}

/// Which way a rollout goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the goal.
    Forward,
    /// To the fallback, because of this.
    Back(Failure),
    /// Nowhere: it stays as it is.
    Held {
        /// Because of this.
        failure: Failure,
        /// Why it does not go back.
        why: String,
    },
}

/// An order whose end is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// The order.
    pub action: Action,
    /// Since when.
    pub since: Time,
    /// Whether the direction has changed since: that it fails says nothing about the way back.
    pub is_outdated: bool,
}

/// An order that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedAction {
    /// The order.
    pub action: Action,
    /// What went wrong.
    pub error: String,
    /// How long it took.
    pub after: Duration,
}

/// The best counts so far: only a new best is progress, or a flapping instance would put off its
/// deadline for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HighWater {
    updated: u32,
    updated_ready: u32,
    updated_available: u32,
    /// Fewest instances of other releases.
    others: Option<u32>,
}

/// The first pause before a start is tried again; each further one is twice as long.
const RETRY_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The starts that were tried in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempts {
    /// How many.
    pub count: u32,
    /// When the last one was ordered.
    pub last: Time,
    /// How the process of the last one that did not stay had ended.
    pub ended: Option<String>,
}

impl Attempts {
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

impl HighWater {
    /// Takes in new counts; says whether any is a new best.
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

impl Rollout {
    /// Begins a rollout at its first event; `None` if that is not `RolloutStarted`.
    pub fn begin(entry: &Entry) -> Option<Self> {
        match &entry.event {
            Event::RolloutStarted(start) => Some(Self::started(start, entry.at)),
            _ => None,
        }
    }

    /// A rollout that has just begun.
    pub fn started(start: &RolloutStart, at: Time) -> Self {
        Self {
            verb: start.verb,
            goal: start.target.clone(),
            is_proven: start.is_proven,
            fallback: start.fallback.clone(),
            fallback_replicas: start.fallback_replicas,
            scaling: start.scaling.clone(),
            epoch: start.epoch,
            direction: Direction::Forward,
            in_flight: BTreeMap::new(),
            failed: Vec::new(),
            attempts: BTreeMap::new(),
            unknown: Vec::new(),
            unsettled_since: BTreeMap::new(),
            sickened: BTreeSet::new(),
            drained: BTreeSet::new(),
            weights: BTreeMap::new(),
            pruned: BTreeSet::new(),
            fenced: None,
            armed: BTreeMap::new(),
            started: BTreeMap::new(),
            served: BTreeSet::new(),
            high_water: HighWater::default(),
            last_progress: at,
            begun: None,
            longest_start: Duration::ZERO,
            longest_drain: Duration::ZERO,
            complete_since: None,
            chores: BTreeMap::new(),
            steps_passed: 0,
            step_reached: None,
            promoted: false,
            analyses: BTreeMap::new(),
            interrupted: false,
            paused: None,
            frozen: None,
            aborted: None,
            quarantined: BTreeMap::new(),
            loss: None,
            outcome: None,
            next_action: 1,
        }
    }

    /// Folds a whole journal; `None` if it does not begin with a rollout's start.
    pub fn of(journal: &[Entry]) -> Option<Self> {
        let mut rollout = Self::begin(journal.first()?)?;
        journal[1..].iter().for_each(|entry| rollout.apply(entry));
        Some(rollout)
    }

    /// Folds in the next event.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RolloutStarted(_)
            | Event::HostLost { .. }
            | Event::HostFound { .. }
            | Event::BalancerLost { .. }
            | Event::BalancerFound { .. }
            | Event::HookRan { .. } => {}
            // Once an instance: one that somebody opens again and again is no progress.
            Event::Drained {
                instance, receipt, ..
            } => {
                self.longest_drain = self.longest_drain.max(receipt.waited);
                if self.drained.insert(instance.clone()) {
                    self.last_progress = entry.at;
                }
            }
            Event::ActionStarted {
                id,
                action,
                instance,
            } => {
                self.next_action = self.next_action.max(id.0.saturating_add(1));
                if let Action::Start { slot, .. } = action {
                    let attempts = self.attempts.entry(slot.clone()).or_default();
                    (attempts.count, attempts.last) = (attempts.count.saturating_add(1), entry.at);
                    self.failed.retain(|failed| {
                        failed.action.slot() != Some(slot) || failed.action.verb() != "start"
                    });
                }
                if let Action::Stop {
                    slot,
                    restore_after,
                    ended,
                    ..
                } = action
                {
                    self.armed
                        .extend(restore_after.map(|after| (slot.clone(), entry.at + after)));
                    if let Some((attempts, how)) = self.attempts.get_mut(slot).zip(ended.clone()) {
                        attempts.ended = Some(how);
                    }
                }
                if let Action::Prune { host, .. } = action {
                    self.pruned.insert(host.clone());
                }
                if let Action::Admit {
                    instance,
                    weight_percent,
                    ..
                } = action
                {
                    self.weights.insert(
                        instance.clone(),
                        weight_percent.unwrap_or(FULL_WEIGHT_PERCENT),
                    );
                    self.drained.remove(instance);
                }
                self.drained.extend(instance.clone());
                self.started
                    .extend(instance.clone().map(|instance| (instance, entry.at)));
                if action.slot().is_some() && !matches!(action, Action::Disarm { .. }) {
                    self.begun.get_or_insert(entry.at);
                }
                self.in_flight.insert(
                    *id,
                    InFlight {
                        action: action.clone(),
                        since: entry.at,
                        is_outdated: false,
                    },
                );
            }
            Event::ActionDone { id } => {
                if let Some(InFlight { action, .. }) = self.in_flight.remove(id) {
                    self.unknown
                        .retain(|unknown| unknown.host() != action.host());
                    self.unsettled_since.remove(action.host());
                    let is_progress = match &action {
                        // A large artifact on its way to many hosts is progress, though no instance
                        // has changed yet.
                        Action::Stage { .. } => true,
                        // A start with hooks takes its time. Only the first one in a slot counts:
                        // one that is tried again and again must not put off the deadline for ever.
                        // A change of numbers brings no version forward.
                        Action::Start { slot, .. } => {
                            self.scaling.is_some()
                                || self
                                    .attempts
                                    .get(slot)
                                    .is_none_or(|attempts| attempts.count <= 1)
                        }
                        // So does a stop, and an instance is stopped once. What makes room for the
                        // next attempt counts no more than the attempt.
                        Action::Stop { why, .. } => *why != StopReason::Dead,
                        _ => false,
                    };
                    if is_progress {
                        self.last_progress = entry.at;
                    }
                }
            }
            Event::ActionUnknown { id, .. } => {
                let action = self.in_flight.remove(id).map(|in_flight| in_flight.action);
                // What the balancers do is asked of them; nothing is at work there that could come
                // late.
                let is_on_host = |action: &Action| {
                    !matches!(action, Action::Admit { .. } | Action::Drain { .. })
                };
                if let Some(action) = action.filter(is_on_host) {
                    self.unsettled_since
                        .entry(action.host().clone())
                        .or_insert(entry.at);
                    self.unknown.push(action);
                }
            }
            Event::ActionFailed { id, error } => {
                if let Some(InFlight {
                    action,
                    since,
                    is_outdated: false,
                }) = self.in_flight.remove(id)
                {
                    self.failed.push(FailedAction {
                        action,
                        error: error.clone(),
                        after: entry.at.since(since),
                    });
                }
            }
            Event::InstanceReady { instance, .. } => {
                self.sickened.remove(instance);
                // That evens out the spread, perhaps, and raises no count.
                if let Some(started) = self.started.get(instance)
                    && self.served.insert(instance.clone())
                {
                    self.longest_start = self.longest_start.max(entry.at.since(*started));
                    self.last_progress = entry.at;
                }
            }
            Event::InstanceNotReady {
                instance, release, ..
            } => {
                let is_old = self
                    .fallback
                    .as_ref()
                    .is_some_and(|fallback| fallback.release == *release);
                if is_old && *release != self.goal.release && !self.may_have_stopped(instance) {
                    self.sickened.insert(instance.clone());
                }
            }
            Event::Fenced { host, seen } => self.fenced = Some((host.clone(), *seen)),
            Event::Progress(progress) => {
                let was_complete = self.complete_since.is_some();
                self.complete_since = progress
                    .is_complete()
                    .then(|| self.complete_since.unwrap_or(entry.at));
                // What is lost of a fleet that was complete may take as long as any other progress.
                if self.high_water.rise(progress) || was_complete && !progress.is_complete() {
                    self.last_progress = entry.at;
                }
            }
            Event::RolloutFailed { failure, then, .. } => {
                self.direction = match then {
                    Then::RollBack => Direction::Back(failure.clone()),
                    Then::Hold { why } => Direction::Held {
                        failure: failure.clone(),
                        why: why.clone(),
                    },
                };
                // The way back has its own attempts and its own deadline, and a host that could not
                // run the new release may well run the old one.
                self.quarantined
                    .retain(|_, failure| failure.kind == FailureKind::HostLost);
                self.failed.clear();
                self.attempts.clear();
                self.armed.clear();
                self.started.clear();
                self.served.clear();
                self.in_flight
                    .values_mut()
                    .for_each(|in_flight| in_flight.is_outdated = true);
                self.high_water = HighWater::default();
                self.last_progress = entry.at;
            }
            Event::HostQuarantined { failure, .. } => {
                // The others go on: they get their own time.
                self.last_progress = entry.at;
                if let Some(host) = &failure.host {
                    self.quarantined.insert(host.clone(), failure.clone());
                }
            }
            // Nobody is to blame for a time in which nobody was there to go on.
            Event::Woke { .. } => self.last_progress = entry.at,
            Event::StepReached { .. } => self.step_reached = Some(entry.at),
            Event::StepPassed { step, .. } => {
                self.steps_passed = *step;
                self.step_reached = None;
                self.promoted = false;
                self.last_progress = entry.at;
            }
            Event::Measured {
                analysis,
                outcome,
                detail,
                ..
            } => {
                let record =
                    Record::take(self.analyses.remove(analysis), entry.at, *outcome, detail);
                self.analyses.insert(analysis.clone(), record);
            }
            Event::ChoreStarted {
                id, chore, host, ..
            } => {
                self.next_action = self.next_action.max(id.0.saturating_add(1));
                let attempts = self.chores.get(chore).map_or(0, |begun| begun.attempts) + 1;
                let (host, since) = (host.clone(), entry.at);
                let begun = task::Standing {
                    host,
                    since,
                    attempts,
                    end: None,
                };
                self.chores.insert(chore.clone(), begun);
            }
            Event::ChoreEnded { chore, end, .. } => {
                let begun = self
                    .chores
                    .entry(chore.clone())
                    .or_insert_with(|| task::Standing {
                        host: None,
                        since: entry.at,
                        attempts: 1,
                        end: None,
                    });
                begun.end = Some(end.clone());
                self.last_progress = entry.at;
            }
            Event::Promoted { full: false, .. } => self.promoted = true,
            Event::Promoted { full: true, .. } => {
                self.steps_passed = u32::MAX;
                self.step_reached = None;
                self.last_progress = entry.at;
            }
            Event::Probed(report) => self.loss = Some(report.clone()),
            Event::Interrupted { .. } => self.interrupted = true,
            Event::Frozen { freeze } => self.frozen = Some(freeze.clone()),
            Event::Paused { by } => {
                self.paused.get_or_insert_with(|| (by.clone(), entry.at));
            }
            Event::Aborted { by } => {
                self.aborted.get_or_insert_with(|| by.clone());
            }
            Event::RolloutFinished { outcome } => self.outcome = Some(outcome.clone()),
        }
    }

    /// Whether an order that failed is tried again: a start on the way back, until the deadline.
    /// Nothing else is left to do there.
    pub fn tries_again(&self, failed: &Action) -> bool {
        matches!(failed, Action::Start { .. }) && matches!(self.direction, Direction::Back(_))
    }

    /// Whether something that is done once is under way.
    pub fn is_at_chore(&self) -> bool {
        self.chores.values().any(|chore| chore.end.is_none())
    }

    /// Whether an order to stop the instance is under way, or may have been carried out unseen.
    fn may_have_stopped(&self, name: &InstanceId) -> bool {
        let in_flight = self.in_flight.values().map(|in_flight| &in_flight.action);
        in_flight
            .chain(&self.unknown)
            .any(|action| matches!(action, Action::Stop { instance, .. } if instance == name))
    }

    /// Where it goes now: the goal, or the fallback on the way back.
    pub fn target(&self) -> &Generation {
        match (&self.direction, &self.fallback) {
            (Direction::Back(_), Some(fallback)) => fallback,
            _ => &self.goal,
        }
    }

    /// Whether it goes back to the fallback, with the number of instances that belongs to that.
    pub fn goes_back(&self) -> bool {
        matches!(self.direction, Direction::Back(_)) && self.fallback.is_some()
    }

    /// The release that instances are to run.
    pub fn target_release(&self) -> &ReleaseId {
        &self.target().release
    }

    /// The revision for which instances are started.
    pub fn target_revision(&self) -> Revision {
        self.target().revision
    }

    /// The revision for which instances of a release are started.
    pub fn revision_of(&self, release: &ReleaseId) -> Revision {
        let both = [
            Some(self.target()),
            Some(&self.goal),
            self.fallback.as_ref(),
        ];
        let known = both
            .into_iter()
            .flatten()
            .find(|generation| generation.release == *release);
        known.map_or_else(|| self.target_revision(), |generation| generation.revision)
    }

    /// How many instances of which releases are wanted of `replicas`.
    pub fn wanted(&self, replicas: u32) -> BTreeMap<&ReleaseId, u32> {
        match &self.scaling {
            Some(scaling) => scaling
                .shares
                .iter()
                .map(|(release, share)| (release, *share))
                .collect(),
            None => BTreeMap::from([(self.target_release(), replicas)]),
        }
    }

    /// Whether an instance of a release that is wanted may stay: a restart wants new ones.
    pub fn is_fresh(&self, revision: Revision) -> bool {
        self.verb != Verb::Restart || revision == self.target_revision()
    }

    /// The failure that turned it, if one did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.direction {
            Direction::Forward => None,
            Direction::Back(failure) | Direction::Held { failure, .. } => Some(failure),
        }
    }

    /// The number for the next order.
    pub fn next_action_id(&self) -> ActionId {
        ActionId(self.next_action)
    }
}
