//! The record of a service in a deployment: which of its rollouts have begun, and how they ended.

use super::member::{ContractState, ServiceEnd, ServicePhase};
use crate::core::rollout::failure::Outcome;

/// What the store holds about a service of a deployment. If the deployment began a rollout of one
/// kind several times, only the newest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecord {
    /// The rollout to the new revision.
    pub forward: RecordedRollout,
    /// The second rollout, which takes the service back to its earlier revision.
    pub undo: RecordedRollout,
    /// The contract migrations; `None` if the service has none in this deployment.
    pub contract: Option<RecordedRollout>,
}

/// A rollout as its journal describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecordedRollout {
    #[default]
    NotBegun,
    /// It has no outcome: its controller died, or is still running it.
    Unfinished,
    Ended(Outcome),
}

impl RecordedRollout {
    fn end(&self) -> Option<ServiceEnd> {
        match self {
            Self::NotBegun | Self::Unfinished => None,
            Self::Ended(outcome) => Some(ServiceEnd::of(outcome)),
        }
    }
}

impl ServiceRecord {
    /// The phase from which another process continues the service.
    ///
    /// A rollout that was stopped or held counts as unfinished, because the user has decided to
    /// continue or to abort the deployment.
    pub fn phase(&self) -> ServicePhase {
        if self.undo == RecordedRollout::NotBegun {
            return self.phase_forward();
        }
        match self.undo.end() {
            Some(ServiceEnd::Reached) => ServicePhase::Undone,
            // The service runs its new revision again, so taking it back needs another rollout.
            Some(ServiceEnd::RolledBack) => ServicePhase::Deployed,
            Some(ServiceEnd::Held | ServiceEnd::Stopped) | None => ServicePhase::UndoUnfinished,
        }
    }

    fn phase_forward(&self) -> ServicePhase {
        if self.forward == RecordedRollout::NotBegun {
            return ServicePhase::Waiting;
        }
        match self.forward.end() {
            Some(ServiceEnd::Reached) => ServicePhase::Deployed,
            Some(ServiceEnd::RolledBack) => ServicePhase::RolledBack,
            Some(ServiceEnd::Held | ServiceEnd::Stopped) | None => ServicePhase::Unfinished,
        }
    }

    /// The state from which another process continues the contract migrations.
    ///
    /// Migrations that have begun never count as due again, because they may have changed
    /// something.
    pub fn contract_state(&self) -> ContractState {
        match &self.contract {
            None => ContractState::None,
            Some(RecordedRollout::NotBegun) => ContractState::Due,
            Some(begun) if begun.end() == Some(ServiceEnd::Reached) => ContractState::Done,
            Some(_) => ContractState::Unfinished,
        }
    }
}
