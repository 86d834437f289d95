//! The state of a service between commands, and what each verb may do in it.

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
    /// A person paused a rollout.
    Paused,
    /// A rollout was interrupted, its window closed, or its controller died or was replaced.
    CutOff,
    /// The last rollout failed, and the fleet was rolled back.
    RolledBack,
    /// The last rollout failed, and so did the rollback.
    Stuck,
    /// The last rollout failed, and the fleet was left as it was.
    Held,
}

/// What a person may ask for.
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

/// Why a verb does nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it would do something after another process has ended.
    pub is_for_now: bool,
    /// The reason, in Kubernetes' own words where it has some.
    pub why: String,
}

impl ServiceState {
    /// How it stands, by the newest rollout's journal and by whether somebody alive carries that
    /// out.
    pub fn of(newest: Option<&RolloutSummary>, is_carried_out: bool) -> Self {
        let Some(account) = newest else {
            return Self::New;
        };
        match &account.outcome {
            None if is_carried_out => Self::Running,
            outcome => Self::of_outcome(outcome.as_ref()),
        }
    }

    /// The state after a rollout with this outcome, or without one and without a controller.
    pub fn of_outcome(outcome: Option<&Outcome>) -> Self {
        match outcome {
            None | Some(Outcome::Interrupted | Outcome::Closed { .. } | Outcome::Fenced { .. }) => {
                Self::CutOff
            }
            Some(Outcome::Paused { .. }) => Self::Paused,
            Some(Outcome::Succeeded) => Self::Idle,
            Some(Outcome::RolledBack) => Self::RolledBack,
            Some(Outcome::RollbackFailed { .. }) => Self::Stuck,
            Some(Outcome::Held { .. }) => Self::Held,
        }
    }

    /// The state as `ship status` shows it.
    pub fn state(self) -> State {
        match self {
            Self::New | Self::Idle => State::Idle,
            Self::Running => State::Running,
            Self::Paused | Self::CutOff => State::Paused,
            Self::RolledBack | Self::Stuck => State::Failed,
            Self::Held => State::Held,
        }
    }

    /// Whether the fleet may be between two revisions.
    pub fn is_between(self) -> bool {
        matches!(self, Self::Paused | Self::CutOff | Self::Stuck | Self::Held)
    }

    /// Why a verb is refused here; `None` if it may go about it. That somebody else is at work is
    /// told by the lease.
    pub fn refusal(self, ask: ServiceCommand, service: &str) -> Option<Refusal> {
        let name = format!("deployment \"{service}\"");
        match ask {
            ServiceCommand::Deploy | ServiceCommand::Rollback => self.paused_first(ask, &name),
            ServiceCommand::Pause => self.nothing_to_pause(&name),
            ServiceCommand::Resume | ServiceCommand::Abort | ServiceCommand::Promote => {
                self.nothing_to_go_on_with(ask, &name)
            }
            ServiceCommand::Restart | ServiceCommand::Scale | ServiceCommand::Contract
                if self == Self::New =>
            {
                Some(Refusal::never(format!(
                    "service \"{service}\" has not been deployed yet; `ship deploy` comes first"
                )))
            }
            ServiceCommand::Restart | ServiceCommand::Contract => self
                .paused_first(ask, &name)
                .or_else(|| self.between_revisions(ask, &name)),
            ServiceCommand::Scale => None,
        }
    }

    /// A paused rollout must be resumed or aborted first.
    fn paused_first(self, ask: ServiceCommand, name: &str) -> Option<Refusal> {
        if self != Self::Paused {
            return None;
        }
        Some(Refusal::for_now(match ask {
            ServiceCommand::Deploy => format!(
                "{name} is paused; resume it first with `ship resume`, or go back with `ship \
                 abort`"
            ),
            ServiceCommand::Rollback => {
                "you cannot rollback a paused deployment; resume it first with \
                              `ship resume` and try again, or go back with `ship abort`"
                    .to_owned()
            }
            ServiceCommand::Contract => format!(
                "{name} is paused; resume it first with `ship resume`, then make its contracts"
            ),
            _ => "can't restart paused deployment (run `ship resume` first)".to_owned(),
        }))
    }

    fn nothing_to_pause(self, name: &str) -> Option<Refusal> {
        match self {
            Self::Running => None,
            Self::Paused => Some(Refusal::never(format!("{name} is already paused"))),
            Self::CutOff => Some(Refusal::never(format!(
                "{name} stands still already; `ship resume` goes on, `ship abort` goes back"
            ))),
            Self::New | Self::Idle | Self::RolledBack | Self::Stuck | Self::Held => {
                Some(Refusal::never(format!(
                    "{name} is not being rolled out, so there is nothing to pause"
                )))
            }
        }
    }

    /// There is no rollout to resume, abort or promote.
    fn nothing_to_go_on_with(self, ask: ServiceCommand, name: &str) -> Option<Refusal> {
        let why = match (ask, self) {
            (ServiceCommand::Resume, Self::RolledBack) => format!(
                "{name} is not paused: its last rollout was rolled back; mend it and deploy again"
            ),
            (ServiceCommand::Resume, Self::New | Self::Idle | Self::Running) => {
                format!("{name} is not paused")
            }
            (ServiceCommand::Abort, Self::RolledBack) => format!("{name} was rolled back already"),
            (ServiceCommand::Abort, Self::New | Self::Idle) => format!(
                "{name} is not being rolled out, so there is nothing to abort; `ship rollback` \
                 goes back"
            ),
            (
                ServiceCommand::Promote,
                Self::New | Self::Idle | Self::RolledBack | Self::Stuck | Self::Held,
            ) => format!("{name} is not being rolled out, so there is nothing to promote"),
            _ => return None,
        };
        Some(Refusal::never(why))
    }

    /// Between two revisions, restarts and contract migrations are refused.
    fn between_revisions(self, ask: ServiceCommand, name: &str) -> Option<Refusal> {
        if !matches!(self, Self::CutOff | Self::Stuck | Self::Held) {
            return None;
        }
        let then = if ask == ServiceCommand::Contract {
            "and then there is time for contracts"
        } else {
            "then restart it"
        };
        Some(Refusal::never(format!(
            "{name} stands between two revisions; `ship resume` goes on, `ship abort` goes back, \
             {then}"
        )))
    }
}

impl Refusal {
    fn never(why: String) -> Self {
        let is_for_now = false;
        Self { is_for_now, why }
    }

    /// It would do something after another process has ended.
    fn for_now(why: String) -> Self {
        let is_for_now = true;
        Self { is_for_now, why }
    }
}
