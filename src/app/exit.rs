//! Exit codes. The numbers are a contract: scripts and cron rely on them.

use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// How a run of `ship` ended. [`Exit::meaning`] explains each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Internal,
    Refused,
    RolledBack,
    Held,
    RollbackFailed,
    Locked,
    Unreachable,
    Paused,
    Interrupted,
}

impl Exit {
    /// All exit codes, in ascending order.
    pub const ALL: [Self; 10] = [
        Exit::Done,
        Exit::Internal,
        Exit::Refused,
        Exit::RolledBack,
        Exit::Held,
        Exit::RollbackFailed,
        Exit::Locked,
        Exit::Unreachable,
        Exit::Paused,
        Exit::Interrupted,
    ];

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

    /// The meaning in one line. The help, the manual page and the documentation are generated from
    /// this text.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done, or nothing to do",
            Exit::Internal => "internal error",
            Exit::Refused => "usage or configuration error, or refused; no changes were made",
            Exit::RolledBack => "failed and rolled back",
            Exit::Held => "failed and held: mixed versions may run, a person must decide",
            Exit::RollbackFailed => "failed, and the rollback failed too",
            Exit::Locked => {
                "locked, frozen, paused, or outside the deploy windows; try again later"
            }
            Exit::Unreachable => "hosts or the state store are unusable; no changes were made",
            Exit::Paused => "paused, or waiting at a step for `ship promote`",
            Exit::Interrupted => "interrupted; the state is saved, `ship resume` continues",
        }
    }

    /// The exit code of a verb whose rollout has this outcome.
    pub fn of(verb: Verb, outcome: &Outcome) -> Self {
        match (verb, outcome) {
            (_, Outcome::Succeeded) => Exit::Done,
            (_, Outcome::RolledBack) => Exit::RolledBack,
            (Verb::Rollback, Outcome::Held { .. }) | (_, Outcome::RollbackFailed { .. }) => {
                Exit::RollbackFailed
            }
            (_, Outcome::Held { .. }) => Exit::Held,
            (_, Outcome::Fenced { .. } | Outcome::WindowClosed { .. }) => Exit::Locked,
            (_, Outcome::Interrupted) => Exit::Interrupted,
            (_, Outcome::Paused { .. }) => Exit::Paused,
        }
    }

    /// The exit code of `ship abort`, for which a rollback is a success.
    pub fn of_abort(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::RolledBack => Exit::Done,
            outcome => Exit::of(Verb::Rollback, outcome),
        }
    }
}
