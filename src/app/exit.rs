//! Exit codes: how a run of `ship` ended. The numbers are a contract: scripts and cron rely on
//! them.

use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// How a run of `ship` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Something inside ship went wrong.
    Internal,
    /// Usage, configuration, or a plan that was refused before anything was touched.
    Refused,
    /// Failed, and rolled back cleanly.
    RolledBack,
    /// Failed and held: mixed versions, a person is needed.
    Held,
    RollbackFailed,
    /// Locked or frozen, try later.
    Locked,
    /// Hosts cannot be used, nothing was touched.
    Unreachable,
    /// Paused, waiting for a person.
    Paused,
    /// Interrupted, the state is saved.
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Internal => 1,
            Exit::Refused => 2,
            Exit::RolledBack => 3,
            Exit::Held => 4,
            Exit::RollbackFailed => 5,
            Exit::Locked => 6,
            Exit::Unreachable => 7,
            Exit::Paused => 8,
            Exit::Interrupted => 130,
        }
    }

    /// The exit of a verb whose rollout ended so.
    pub fn of(verb: Verb, outcome: &Outcome) -> Self {
        match (verb, outcome) {
            (_, Outcome::Succeeded) => Exit::Done,
            (_, Outcome::RolledBack) => Exit::RolledBack,
            (Verb::Rollback, Outcome::Held { .. }) | (_, Outcome::RollbackFailed { .. }) => {
                Exit::RollbackFailed
            }
            (_, Outcome::Held { .. }) => Exit::Held,
            (_, Outcome::Fenced { .. } | Outcome::Closed { .. }) => Exit::Locked,
            (_, Outcome::Interrupted) => Exit::Interrupted,
            (_, Outcome::Paused { .. }) => Exit::Paused,
        }
    }

    /// The exit of `ship abort`: a rollback is what it asks for.
    pub fn of_abort(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::RolledBack => Exit::Done,
            outcome => Exit::of(Verb::Rollback, outcome),
        }
    }
}
