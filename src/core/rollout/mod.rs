//! The state of a rollout, computed from its events. It contains only what cannot be observed on
//! the hosts.

pub mod action;
pub mod attempt;
pub mod event;
pub mod evidence;
pub mod failure;
pub mod orders;
pub mod requests;
pub mod step_state;
pub mod task;
pub mod task_states;
pub mod timings;
pub mod traffic_record;
pub mod verb;

use std::collections::BTreeMap;

use crate::core::ids::{ActionId, Epoch, ReleaseId, Revision};
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::AttemptState;
use crate::core::rollout::event::{
    Entry, Event, FailureResponse, RevisionRef, RolloutStart, Scaling,
};
use crate::core::rollout::evidence::Evidence;
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::orders::Orders;
use crate::core::rollout::requests::UserRequests;
use crate::core::rollout::step_state::StepState;
use crate::core::rollout::task_states::TaskStates;
use crate::core::rollout::timings::Timings;
use crate::core::rollout::traffic_record::TrafficRecord;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// One attempt to bring the fleet to a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// The command.
    pub verb: Verb,
    pub goal: RevisionRef,
    /// Whether the goal was proven healthy before.
    pub is_proven: bool,
    /// The rollback target.
    pub rollback_target: Option<RevisionRef>,
    /// The number of instances after a rollback; `None` for the number of the goal.
    pub rollback_replicas: Option<u32>,
    /// The change, if the rollout only scales a fleet between two revisions.
    pub scaling: Option<Scaling>,
    pub epoch: Epoch,
    pub direction: Direction,
    pub orders: Orders,
    /// What has happened since the direction last changed.
    pub attempt: AttemptState,
    pub traffic: TrafficRecord,
    pub evidence: Evidence,
    pub step: StepState,
    /// The tasks that were started.
    pub tasks: TaskStates,
    pub requests: UserRequests,
    pub timings: Timings,
    /// The outcome; `None` while the rollout runs.
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Forward,
    /// To the rollback target, because of this failure.
    RollingBack(Failure),
    /// The rollout is held: the fleet no longer changes.
    Held {
        failure: Failure,
        /// Why the rollout does not roll back.
        why: String,
    },
}

impl Direction {
    fn after(failure: &Failure, then: &FailureResponse) -> Self {
        let failure = failure.clone();
        match then {
            FailureResponse::RollBack => Self::RollingBack(failure),
            FailureResponse::Hold { why } => Self::Held {
                failure,
                why: why.clone(),
            },
        }
    }
}

impl Rollout {
    /// The rollout after its first event; `None` if that event is not `RolloutStarted`.
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
            rollback_target: start.rollback_target.clone(),
            rollback_replicas: start.rollback_replicas,
            scaling: start.scaling.clone(),
            epoch: start.epoch,
            direction: Direction::Forward,
            orders: Orders::default(),
            attempt: AttemptState::begin(at),
            traffic: TrafficRecord::default(),
            evidence: Evidence::default(),
            step: StepState::default(),
            tasks: TaskStates::default(),
            requests: UserRequests::default(),
            timings: Timings::default(),
            outcome: None,
        }
    }

    /// The rollout after a whole journal; `None` if the journal does not begin with
    /// `RolloutStarted`.
    pub fn of(journal: &[Entry]) -> Option<Self> {
        let mut rollout = Self::begin(journal.first()?)?;
        journal[1..].iter().for_each(|entry| rollout.apply(entry));
        Some(rollout)
    }

    /// Applies the next event to each part of the state.
    pub fn apply(&mut self, entry: &Entry) {
        let harms_rollback_target = self.harms_rollback_target(&entry.event);
        let ended = self.orders.apply(entry);
        let mut is_progress = self.timings.apply(entry, &self.attempt);
        is_progress |= self.attempt.apply(entry, ended, self.scaling.is_some());
        is_progress |= self.traffic.apply(entry);
        is_progress |= self.step.apply(entry);
        is_progress |= self.tasks.apply(entry);
        self.evidence.apply(entry, harms_rollback_target);
        self.requests.apply(entry);
        if is_progress {
            self.attempt.last_progress = entry.at;
        }
        match &entry.event {
            Event::RolloutFailed { failure, then, .. } => {
                self.direction = Direction::after(failure, then);
            }
            Event::RolloutFinished { outcome } => self.outcome = Some(outcome.clone()),
            _ => {}
        }
    }

    /// Whether an instance of the rollback target is no longer ready, although ship has not stopped
    /// it.
    fn harms_rollback_target(&self, event: &Event) -> bool {
        let Event::InstanceNotReady {
            instance, release, ..
        } = event
        else {
            return false;
        };
        let is_old = self
            .rollback_target
            .as_ref()
            .is_some_and(|rollback_target| rollback_target.release == *release);
        is_old && *release != self.goal.release && !self.orders.may_have_ended(instance)
    }

    /// Whether a failed action is retried. Only a start in a rollback is, until the deadline,
    /// because a rollback has no other remedy. An instance whose reload fails is replaced.
    pub fn is_retried(&self, failed: &Action) -> bool {
        matches!(failed, Action::Start { .. })
            && !failed.is_reload()
            && matches!(self.direction, Direction::RollingBack(_))
    }

    /// The current target: the goal, or the rollback target when rolling back.
    pub fn target(&self) -> &RevisionRef {
        match (&self.direction, &self.rollback_target) {
            (Direction::RollingBack(_), Some(rollback_target)) => rollback_target,
            _ => &self.goal,
        }
    }

    /// Whether the rollout is rolling back to its rollback target.
    pub fn is_rolling_back(&self) -> bool {
        matches!(self.direction, Direction::RollingBack(_)) && self.rollback_target.is_some()
    }

    /// The release of the current target.
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
            self.rollback_target.as_ref(),
        ];
        let known = both
            .into_iter()
            .flatten()
            .find(|known| known.release == *release);
        known.map_or_else(|| self.target_revision(), |known| known.revision)
    }

    /// The wanted number of instances of each release. `replicas` is their sum.
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

    /// Whether an instance of a wanted release and of this revision may stay. A restart replaces
    /// the instances of earlier revisions.
    pub fn may_keep_instances_of(&self, revision: Revision) -> bool {
        self.verb != Verb::Restart || revision == self.target_revision()
    }

    /// The failure that changed the direction, if one did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.direction {
            Direction::Forward => None,
            Direction::RollingBack(failure) | Direction::Held { failure, .. } => Some(failure),
        }
    }

    /// The number of the next action.
    pub fn next_action_id(&self) -> ActionId {
        self.orders.next_id()
    }
}
