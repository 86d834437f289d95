//! The conclusion of a verb.

use super::exit::Exit;
use crate::core::ids::Revision;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;
use crate::store::{RolloutId, ServiceKey};

/// The conclusion of a verb that may roll out.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// The fleet is already in the requested state.
    NothingToDo {
        service_key: ServiceKey,
        at: Time,
        version: String,
        revision: Revision,
        /// Number of instances, all of them available.
        replicas: u32,
    },
    /// An unattended deploy was skipped.
    Skipped {
        service_key: ServiceKey,
        at: Time,
        version: String,
        why: String,
    },
    /// The target of a rollback is the current revision.
    AlreadyCurrent(Revision),
    /// No contract migration of the service's version is due.
    NoContractDue { service: String, version: String },
    Ended {
        id: RolloutId,
        outcome: Outcome,
        /// The exit code of the run.
        exit: Exit,
        budget: Budget,
    },
    /// Another process carried out the request.
    EndedElsewhere {
        service: String,
        outcome: Outcome,
        /// The exit code of the run.
        exit: Exit,
    },
}

impl Conclusion {
    /// The exit code of the run.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NothingToDo { .. }
            | Self::Skipped { .. }
            | Self::AlreadyCurrent(_)
            | Self::NoContractDue { .. } => Exit::Done,
            Self::Ended { exit, .. } | Self::EndedElsewhere { exit, .. } => *exit,
        }
    }

    /// Sets the exit code to the one of this verb.
    #[must_use]
    pub fn with_exit_of(self, verb: Verb) -> Self {
        self.with_exit(|outcome| Exit::of(verb, outcome))
    }

    /// Sets the exit code of an ended rollout.
    #[must_use]
    pub fn with_exit(mut self, exit_of: impl FnOnce(&Outcome) -> Exit) -> Self {
        if let Self::Ended { outcome, exit, .. } = &mut self {
            *exit = exit_of(outcome);
        }
        self
    }
}
