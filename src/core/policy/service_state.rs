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
    /// Whether the command may succeed later, after `ship resume` or when another process has ended.
    pub is_for_now: bool,
    /// The reason and a hint.
    pub why: String,
}

impl ServiceState {
    /// The state by the summary of the newest rollout and by whether that has a controller.
    pub fn of(newest: Option<&RolloutSummary>, has_controller: bool) -> Self {
        let Some(summary) = newest else {
            return Self::New;
        };
        match &summary.outcome {
            None if has_controller => Self::Running,
            outcome => Self::of_outcome(outcome.as_ref()),
        }
    }

    /// The state after a rollout with this outcome, or without one and without a controller.
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
    pub fn is_between(self) -> bool {
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
            ServiceCommand::Deploy | ServiceCommand::Rollback => self.paused_first(command, &name),
            ServiceCommand::Pause => self.nothing_to_pause(&name),
            ServiceCommand::Resume | ServiceCommand::Abort | ServiceCommand::Promote => {
                self.no_rollout(command, &name)
            }
            ServiceCommand::Restart | ServiceCommand::Scale | ServiceCommand::Contract
                if self == Self::New =>
            {
                Some(Refusal::never(format!(
                    "service `{service}` has not been deployed yet\nhint: run `ship deploy` first"
                )))
            }
            ServiceCommand::Restart | ServiceCommand::Contract => self
                .paused_first(command, &name)
                .or_else(|| self.between_revisions(command, &name)),
            ServiceCommand::Scale => None,
        }
    }

    /// A paused rollout must be resumed or aborted first.
    fn paused_first(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
        if self != Self::Paused {
            return None;
        }
        Some(Refusal::for_now(match command {
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

    fn nothing_to_pause(self, name: &str) -> Option<Refusal> {
        match self {
            Self::Running => None,
            Self::Paused => Some(Refusal::never(format!("{name} is already paused"))),
            Self::Interrupted => Some(Refusal::never(format!(
                "{name} is already stopped\nhint: `ship resume` continues, `ship abort` rolls back"
            ))),
            Self::New | Self::Idle | Self::RolledBack | Self::RollbackFailed | Self::Held => {
                Some(Refusal::never(format!(
                    "{name} is not being rolled out, so there is nothing to pause"
                )))
            }
        }
    }

    /// There is no rollout to resume, abort or promote.
    fn no_rollout(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
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
        Some(Refusal::never(why))
    }

    /// Between two revisions, restarts and contract migrations are refused.
    fn between_revisions(self, command: ServiceCommand, name: &str) -> Option<Refusal> {
        if !matches!(self, Self::Interrupted | Self::RollbackFailed | Self::Held) {
            return None;
        }
        let then = if command == ServiceCommand::Contract {
            "then run `ship migrate` again"
        } else {
            "then restart it"
        };
        Some(Refusal::never(format!(
            "{name} is between two revisions\nhint: continue with `ship resume` or roll back with \
             `ship abort`, {then}"
        )))
    }
}

impl Refusal {
    fn never(why: String) -> Self {
        let is_for_now = false;
        Self { is_for_now, why }
    }

    /// A refusal that may not hold later.
    fn for_now(why: String) -> Self {
        let is_for_now = true;
        Self { is_for_now, why }
    }
}
