//! Exit codes, and errors that carry one. The codes are a contract: scripts and cron rely on them.

use std::fmt;
use std::process::ExitCode;

use crate::config::Diagnostics;
use crate::core::policy::service_state::Refusal;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::engine::EngineError;
use crate::script::quote;
use crate::store::StoreError;
use crate::system::accounts;
use crate::trust::{Distrust, Untrusted};

/// What a run of `ship` says to its caller.
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
    /// The rollback failed.
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
    /// The number.
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

    /// How a rollout's outcome is told.
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Self {
        let exit = if refusal.is_for_now {
            Exit::Locked
        } else {
            Exit::Refused
        };
        Self::new(exit, format!("error: {}", refusal.why))
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Fail {
    /// What the caller is told.
    pub exit: Exit,
    /// What the user is told.
    pub message: String,
}

impl Fail {
    /// An error with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// Refused before anything was touched.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Diagnostics> for Fail {
    fn from(diagnostics: Diagnostics) -> Self {
        let colour =
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self::refused(diagnostics.render(colour))
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        if let StoreError::Untrusted(untrusted) = &error {
            return Self::refused(format!(
                "error: {untrusted}; ship keeps its state only where nobody else can change \
                 it\nhint: if you know what it \
                 holds, make it yours with `{}`; or begin with a state directory of your own, \
                 beside the inventory: \
                 `mkdir -m 700 .ship`",
                remedy(untrusted)
            ));
        }
        let exit = match error {
            StoreError::Untrusted(_) => Exit::Refused,
            StoreError::Held(_) | StoreError::LeaseLost => Exit::Locked,
            StoreError::Database { .. }
            | StoreError::Directory { .. }
            | StoreError::Unreadable { .. } => Exit::Internal,
        };
        Self::new(exit, format!("error: {error}"))
    }
}

impl From<EngineError> for Fail {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::NotBegun => Self::new(Exit::Internal, format!("error: {error}")),
        }
    }
}

/// The command that makes a path trusted, for those who know what it holds.
pub(super) fn remedy(untrusted: &Untrusted) -> String {
    let path = quote(&untrusted.path.to_string_lossy());
    match untrusted.why {
        Distrust::Owner { caller, .. } => {
            format!(
                "chown -R {} {path}",
                accounts::name_of(caller).unwrap_or_else(|| caller.to_string())
            )
        }
        Distrust::Writable { .. } => format!("chmod go-w {path}"),
        Distrust::Link => format!("rm {path}"),
    }
}
