//! A service of a stack during a deployment.

use std::collections::BTreeSet;

use crate::core::rollout::failure::Outcome;

/// A service that the deployment changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The services of the deployment that roll out before this one. They must not form a cycle.
    pub after: BTreeSet<String>,
    /// Whether there is a revision to which the service can roll back.
    pub can_undo: bool,
    pub phase: ServicePhase,
    pub contract: ContractState,
}

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServicePhase {
    /// Its rollout has not begun.
    Waiting,
    /// Its rollout runs.
    RollingOut,
    /// Its rollout runs, and was asked to roll back.
    Aborting,
    /// Its rollout was stopped in this run: paused, interrupted, or waiting for a person.
    Stopped,
    /// An earlier process left its rollout unfinished.
    Unfinished,
    /// Its rollout reached the goal.
    Deployed,
    /// Its rollout failed and rolled back, or was aborted.
    RolledBack,
    /// Its rollout failed, and the service is as it was then.
    Held,
    /// A second rollout takes it back to its earlier revision.
    Undoing,
    /// That rollout was stopped in this run.
    UndoStopped,
    /// An earlier process left that rollout unfinished.
    UndoUnfinished,
    /// It runs its earlier revision again.
    Undone,
    /// It could not be taken back.
    UndoFailed,
}

/// The contract migrations of a service, which wait for the whole deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContractState {
    /// There are none.
    #[default]
    None,
    Due,
    Running,
    /// Stopped in this run.
    Stopped,
    /// An earlier process left them unfinished.
    Unfinished,
    Done,
    Failed,
}

/// How a rollout of a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceEnd {
    /// The fleet runs the goal of the rollout.
    Reached,
    /// The rollout failed, and the fleet runs what it ran before.
    RolledBack,
    /// The rollout failed, and mixed versions may run.
    Held,
    /// Paused, interrupted, or waiting for a person; it can be continued.
    Stopped,
}

impl ServiceEnd {
    /// The end of a rollout with this outcome.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Reached,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Held { .. } | Outcome::RollbackFailed { .. } => Self::Held,
            Outcome::Fenced { .. }
            | Outcome::Interrupted
            | Outcome::WindowClosed { .. }
            | Outcome::Paused { .. } => Self::Stopped,
        }
    }
}

impl Member {
    /// Whether a rollout of the service runs in this process.
    pub(super) fn is_in_flight(&self) -> bool {
        self.phase.is_in_flight() || self.contract == ContractState::Running
    }

    /// The phase after the rollout in flight has ended.
    pub(super) fn phase_after(&self, end: ServiceEnd) -> ServicePhase {
        match (self.phase, end) {
            (ServicePhase::Undoing, ServiceEnd::Reached) => ServicePhase::Undone,
            (ServicePhase::Undoing, ServiceEnd::RolledBack | ServiceEnd::Held) => {
                ServicePhase::UndoFailed
            }
            (ServicePhase::Undoing, ServiceEnd::Stopped) => ServicePhase::UndoStopped,
            // Without an earlier revision, the most that an abort can do is to hold the service.
            (ServicePhase::Aborting, ServiceEnd::Held) if self.can_undo => ServicePhase::UndoFailed,
            (_, ServiceEnd::Reached) => ServicePhase::Deployed,
            (_, ServiceEnd::RolledBack) => ServicePhase::RolledBack,
            (_, ServiceEnd::Held) => ServicePhase::Held,
            (_, ServiceEnd::Stopped) => ServicePhase::Stopped,
        }
    }
}

impl ServicePhase {
    /// Whether a rollout of the service runs in this process.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::RollingOut | Self::Aborting | Self::Undoing)
    }

    /// Whether the service runs its earlier revision.
    pub fn is_as_before(self) -> bool {
        matches!(self, Self::Waiting | Self::RolledBack | Self::Undone)
    }
}

impl ContractState {
    pub(super) fn after(end: ServiceEnd) -> Self {
        match end {
            ServiceEnd::Reached => Self::Done,
            ServiceEnd::RolledBack | ServiceEnd::Held => Self::Failed,
            ServiceEnd::Stopped => Self::Stopped,
        }
    }

    /// Whether the migrations may have changed something.
    pub(super) fn has_begun(self) -> bool {
        !matches!(self, Self::None | Self::Due)
    }
}
