//! What a verb came to.

use super::exit::Exit;
use crate::core::ids::Revision;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;
use crate::store::{RolloutId, ServiceKey};

/// What a verb came to that may have made a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// The fleet is where it is to be.
    NothingToDo {
        subject: ServiceKey,
        at: Time,
        version: String,
        revision: Revision,
        /// Instances available, of as many.
        replicas: u32,
    },
    /// An unattended deploy was left out.
    Skipped {
        subject: ServiceKey,
        at: Time,
        /// The version that it was about.
        version: String,
        why: String,
    },
    /// A rollback to what runs.
    AlreadyThere(Revision),
    /// No contract migration of this version is due.
    NoContractDue(String),
    Ended {
        id: RolloutId,
        outcome: Outcome,
        /// The exit code of the run.
        exit: Exit,
        /// What it was allowed to spend.
        budget: Budget,
    },
    /// Another process has carried out what was asked of it.
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
            | Self::AlreadyThere(_)
            | Self::NoContractDue(_) => Exit::Done,
            Self::Ended { exit, .. } | Self::EndedElsewhere { exit, .. } => *exit,
        }
    }

    /// The same, where the rollout was made for this verb.
    #[must_use]
    pub fn of_verb(self, verb: Verb) -> Self {
        self.with_exit(|outcome| Exit::of(verb, outcome))
    }

    /// The same with the exit that a rollout's outcome has for the caller.
    #[must_use]
    pub fn with_exit(mut self, exit_of: impl FnOnce(&Outcome) -> Exit) -> Self {
        if let Self::Ended { outcome, exit, .. } = &mut self {
            *exit = exit_of(outcome);
        }
        self
    }
}
