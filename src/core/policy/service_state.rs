//! The state of a service between commands, and which commands it allows.

use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::journal::state::State;
use crate::core::rollout::failure::Outcome;

/// The state of a service on a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Nothing was ever deployed.
    New,
    /// The last rollout succeeded.
    Idle,
    /// A controller carries out a rollout.
    Running,
    /// A user paused a rollout.
    Paused,
    /// A rollout was interrupted, its window closed, or its controller died or was replaced.
    Interrupted,
    /// The last rollout failed, and the fleet was rolled back.
    RolledBack,
    /// The last rollout failed, and so did the rollback.
    RollbackFailed,
    /// The last rollout failed, and the fleet was left as it was.
    Held,
}

/// A command that a user may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceCommand {
    Deploy,
    Rollback,
    Pause,
    Resume,
    Abort,
    Promote,
    Restart,
    Scale,
    Contract,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether the command may succeed later, after `ship resume` or when another process has
    /// ended.
    pub is_temporary: bool,
    /// The reason and a hint.
    pub why: String,
}

impl ServiceState {
    /// The state after the newest rollout. `has_controller` is whether a controller carries it out.
    pub fn of(newest: Option<&RolloutSummary>, has_controller: bool) -> Self {
        let Some(summary) = newest else {
            return Self::New;
        };
        match &summary.outcome {
            None if has_controller => Self::Running,
            outcome => Self::of_outcome(outcome.as_ref()),
        }
    }

    /// The state after a rollout with this outcome; `None` for one whose controller died.
    pub fn of_outcome(outcome: Option<&Outcome>) -> Self {
        match outcome {
            None
            | Some(Outcome::Interrupted | Outcome::WindowClosed { .. } | Outcome::Fenced { .. }) => {
                Self::Interrupted
            }
            Some(Outcome::Paused { .. }) => Self::Paused,
            Some(Outcome::Succeeded) => Self::Idle,
            Some(Outcome::RolledBack) => Self::RolledBack,
            Some(Outcome::RollbackFailed { .. }) => Self::RollbackFailed,
            Some(Outcome::Held { .. }) => Self::Held,
        }
    }

    /// The state in the output of `ship status`.
    pub fn state(self) -> State {
        match self {
            Self::New | Self::Idle => State::Idle,
            Self::Running => State::Running,
            Self::Paused | Self::Interrupted => State::Paused,
            Self::RolledBack | Self::RollbackFailed => State::Failed,
            Self::Held => State::Held,
        }
    }

    /// Whether the fleet may be between two revisions.
    pub fn is_between_revisions(self) -> bool {
        matches!(
            self,
            Self::Paused | Self::Interrupted | Self::RollbackFailed | Self::Held
        )
    }

    /// Why a command is refused in this state; `None` if it is allowed. The lease, not this check,
    /// keeps two commands from running at once.
    pub fn refusal(self, command: ServiceCommand, service: &str) -> Option<Refusal> {
        let name = format!("service `{service}`");
        match command {
            ServiceCommand::Deploy | ServiceCommand::Rollback => {
                self.refuse_while_paused(command, &name)
            }
            ServiceCommand::Pause => self.refuse_pause(&name),
            ServiceCommand::Resume | ServiceCommand::Abort | ServiceCommand::Promote => {
                self.refuse_without_rollout(command, &name)
            }
            ServiceCommand::Restart | ServiceCommand::Scale | ServiceCommand::Contract
                if self == Self::New =>
            {
                Some(Refusal::permanent(format!(
                    "service `{service}` has not been deployed yet\nhint: run `ship deploy` first"
                )))
            }
            ServiceCommand::Restart | ServiceCommand::Contract => self
                .refuse_while_paused(command, &name)
                .or_else(|| self.refuse_between_revisions(command, &name)),
            ServiceCommand::Scale => None,
        }
    }

    /// Refuses a command until the paused rollout is resumed or aborted.
    fn refuse_while_paused(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
        if self != Self::Paused {
            return None;
        }
        Some(Refusal::temporary(match command {
            ServiceCommand::Deploy => format!(
                "{name} is paused\nhint: resume it first with `ship resume`, or roll back with `ship \
                 abort`"
            ),
            ServiceCommand::Rollback => {
                format!(
                    "cannot roll back {name}: it is paused\nhint: resume it first with `ship resume`, \
                 or roll back with `ship abort`"
                )
            }
            ServiceCommand::Contract => format!(
                "cannot run the contract migrations of {name}: it is paused\nhint: resume it first \
                 with `ship resume`"
            ),
            _ => format!(
                "cannot restart {name}: it is paused\nhint: resume it first with `ship resume`"
            ),
        }))
    }

    fn refuse_pause(self, name: &str) -> Option<Refusal> {
        match self {
            Self::Running => None,
            Self::Paused => Some(Refusal::permanent(format!("{name} is already paused"))),
            Self::Interrupted => Some(Refusal::permanent(format!(
                "{name} is already stopped\nhint: `ship resume` continues, `ship abort` rolls back"
            ))),
            Self::New | Self::Idle | Self::RolledBack | Self::RollbackFailed | Self::Held => {
                Some(Refusal::permanent(format!(
                    "{name} is not being rolled out, so there is nothing to pause"
                )))
            }
        }
    }

    /// Refuses a command for which there is no rollout to resume, abort or promote.
    fn refuse_without_rollout(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
        let why = match (command, self) {
            (ServiceCommand::Resume, Self::RolledBack) => format!(
                "{name} is not paused: its last rollout was rolled back\nhint: fix the problem and \
                 deploy again"
            ),
            (ServiceCommand::Resume, Self::New | Self::Idle | Self::Running) => {
                format!("{name} is not paused")
            }
            (ServiceCommand::Abort, Self::RolledBack) => format!("{name} was already rolled back"),
            (ServiceCommand::Abort, Self::New | Self::Idle) => format!(
                "{name} is not being rolled out, so there is nothing to abort\nhint: to undo the last \
                 deploy, use `ship rollback`"
            ),
            (
                ServiceCommand::Promote,
                Self::New | Self::Idle | Self::RolledBack | Self::RollbackFailed | Self::Held,
            ) => format!("{name} is not being rolled out, so there is nothing to promote"),
            _ => return None,
        };
        Some(Refusal::permanent(why))
    }

    /// Refuses restarts and contract migrations between two revisions.
    fn refuse_between_revisions(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
        if !matches!(self, Self::Interrupted | Self::RollbackFailed | Self::Held) {
            return None;
        }
        let then = if command == ServiceCommand::Contract {
            "then run `ship migrate` again"
        } else {
            "then restart it"
        };
        Some(Refusal::permanent(format!(
            "{name} is between two revisions\nhint: continue with `ship resume` or roll back with \
             `ship abort`, {then}"
        )))
    }
}

impl Refusal {
    fn permanent(why: String) -> Self {
        let is_temporary = false;
        Self { is_temporary, why }
    }

    fn temporary(why: String) -> Self {
        let is_temporary = true;
        Self { is_temporary, why }
    }
}
