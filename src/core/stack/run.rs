//! A deployment of a stack: what comes next, given how each service ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::member::{ContractState, Member, ServiceEnd, ServicePhase};
use super::on_failure::OnStackFailure;

/// A deployment of a stack, from its first rollout to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StackRun {
    pub members: BTreeMap<String, Member>,
    pub on_failure: OnStackFailure,
    pub direction: StackDirection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackDirection {
    Forward,
    /// Every service returns to its earlier revision.
    Back,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StackNext {
    /// Start these steps now. May be empty while rollouts are in flight.
    Steps(Vec<StackStep>),
    End(StackOutcome),
}

/// One step, with the name of its service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StackStep {
    /// Begin the rollout.
    RollOut(String),
    /// Continue the unfinished rollout to its goal. It may be the one that takes the service back.
    Resume(String),
    /// Roll back the rollout, which runs or is unfinished.
    Abort(String),
    /// Take the service back to its earlier revision.
    Undo(String),
    /// Run the contract migrations.
    Contract(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackOutcome {
    /// Every service runs its new revision.
    Deployed,
    /// A service failed or a user aborted, and every service runs its earlier revision.
    RolledBack,
    /// A service failed, and new and earlier revisions may run side by side.
    Held,
    /// A service could not be taken back.
    RollbackFailed,
    /// A service was stopped; the deployment can be continued.
    Stopped,
}

impl StackOutcome {
    /// One word for tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployed => "succeeded",
            Self::RolledBack => "rolled-back",
            Self::Held => "held",
            Self::RollbackFailed => "rollback-failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the deployment can be continued.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::RollbackFailed | Self::Stopped)
    }
}

impl StackStep {
    /// The name of the service.
    pub fn service(&self) -> &str {
        match self {
            Self::RollOut(service)
            | Self::Resume(service)
            | Self::Abort(service)
            | Self::Undo(service)
            | Self::Contract(service) => service,
        }
    }
}

impl StackRun {
    /// The deployment as another process continues it: with the phases from its record and with
    /// the saved direction.
    ///
    /// The direction of the result can differ from the saved one and must then be saved: an earlier
    /// process may have died after a service failed and before it saved the new direction. With
    /// `on_failure = "hold"`, the services that rolled back roll out again.
    pub fn restored(
        members: BTreeMap<String, Member>,
        on_failure: OnStackFailure,
        direction: StackDirection,
    ) -> Self {
        let mut run = Self {
            members,
            on_failure,
            direction,
        };
        match on_failure {
            OnStackFailure::RollBack if run.has_phase(&[ServicePhase::RolledBack]) => {
                run.roll_back();
            }
            OnStackFailure::Hold if direction == StackDirection::Forward => run.retry_failed(),
            OnStackFailure::RollBack | OnStackFailure::Hold => {}
        }
        run
    }

    fn retry_failed(&mut self) {
        for member in self.members.values_mut() {
            if member.phase == ServicePhase::RolledBack {
                member.phase = ServicePhase::Waiting;
            }
        }
    }

    /// The next steps, or the outcome. Steps must be reported with [`StackRun::started`] before this
    /// is called again.
    pub fn next(&self) -> StackNext {
        let steps = self.steps();
        if steps.is_empty() && !self.is_any_in_flight() {
            StackNext::End(self.outcome())
        } else {
            StackNext::Steps(steps)
        }
    }

    /// Records that a step has begun.
    pub fn started(&mut self, step: &StackStep) {
        let Some(member) = self.members.get_mut(step.service()) else {
            return;
        };
        match step {
            StackStep::Abort(_) => member.phase = ServicePhase::Aborting,
            StackStep::Undo(_) => member.phase = ServicePhase::Undoing,
            StackStep::Contract(_) => member.contract = ContractState::Running,
            StackStep::Resume(_) if member.contract == ContractState::Unfinished => {
                member.contract = ContractState::Running;
            }
            StackStep::Resume(_) if member.phase == ServicePhase::UndoUnfinished => {
                member.phase = ServicePhase::Undoing;
            }
            StackStep::RollOut(_) | StackStep::Resume(_) => member.phase = ServicePhase::RollingOut,
        }
    }

    /// Records how the rollout in flight of a service ended. Returns whether the deployment changes
    /// its direction, which must be saved before the next step begins.
    pub fn ended(&mut self, service: &str, end: ServiceEnd) -> bool {
        let Some(member) = self.members.get_mut(service) else {
            return false;
        };
        if member.contract == ContractState::Running {
            member.contract = ContractState::after(end);
            return false;
        }
        if !member.phase.is_in_flight() {
            return false;
        }
        member.phase = member.phase_after(end);
        let has_failed = member.phase == ServicePhase::RolledBack;
        has_failed && self.on_failure == OnStackFailure::RollBack && self.roll_back()
    }

    /// Turns the deployment back. Returns whether it was possible: not once a contract migration has
    /// begun, nor a second time.
    pub fn roll_back(&mut self) -> bool {
        if !self.can_roll_back() {
            return false;
        }
        self.direction = StackDirection::Back;
        true
    }

    /// Whether [`StackRun::roll_back`] is possible.
    pub fn can_roll_back(&self) -> bool {
        self.direction == StackDirection::Forward
            && !self.members.values().any(|it| it.contract.has_begun())
    }

    /// Whether a rollout of the service runs in this process.
    pub fn is_in_flight(&self, service: &str) -> bool {
        self.members.get(service).is_some_and(Member::is_in_flight)
    }

    fn is_any_in_flight(&self) -> bool {
        self.members.values().any(Member::is_in_flight)
    }

    fn has_phase(&self, phases: &[ServicePhase]) -> bool {
        self.members
            .values()
            .any(|member| phases.contains(&member.phase))
    }

    fn steps(&self) -> Vec<StackStep> {
        match self.direction {
            StackDirection::Forward if self.are_all(ServicePhase::Deployed) => {
                self.contract_step().into_iter().collect()
            }
            StackDirection::Forward => self.steps_forward(),
            StackDirection::Back => self.steps_back(),
        }
    }

    fn are_all(&self, phase: ServicePhase) -> bool {
        self.members.values().all(|member| member.phase == phase)
    }

    /// Nothing new starts after a service was stopped or has failed.
    fn steps_forward(&self) -> Vec<StackStep> {
        use ServicePhase::{Held, RolledBack, Stopped};
        if self.has_phase(&[Stopped, RolledBack, Held]) {
            return Vec::new();
        }
        let is_deployed = |name: &String| {
            let before = self.members.get(name);
            before.is_none_or(|before| before.phase == ServicePhase::Deployed)
        };
        let step = |(name, member): (&String, &Member)| match member.phase {
            ServicePhase::Unfinished => Some(StackStep::Resume(name.clone())),
            ServicePhase::Waiting if member.after.iter().all(is_deployed) => {
                Some(StackStep::RollOut(name.clone()))
            }
            _ => None,
        };
        self.members.iter().filter_map(step).collect()
    }

    /// A service returns once every service that rolled out after it has returned. Nothing new
    /// starts after a service was stopped or could not be taken back. A rollout in flight is asked
    /// to roll back even if it cannot: it is held then, which leaves fewer new instances.
    fn steps_back(&self) -> Vec<StackStep> {
        use ServicePhase::{Stopped, UndoFailed, UndoStopped};
        if self.has_phase(&[Stopped, UndoStopped, UndoFailed]) {
            return Vec::new();
        }
        let has_returned = |name: &String| {
            let mut dependents = self.members.values().filter(|it| it.after.contains(name));
            dependents.all(|it| it.phase.is_as_before())
        };
        let step = |(name, member): (&String, &Member)| match member.phase {
            ServicePhase::RollingOut => Some(StackStep::Abort(name.clone())),
            _ if !has_returned(name) => None,
            ServicePhase::Unfinished if member.can_undo => Some(StackStep::Abort(name.clone())),
            ServicePhase::UndoUnfinished => Some(StackStep::Resume(name.clone())),
            ServicePhase::Deployed if member.can_undo => Some(StackStep::Undo(name.clone())),
            _ => None,
        };
        self.members.iter().filter_map(step).collect()
    }

    /// Contract migrations run one service after another: after a failure, the others do not run.
    fn contract_step(&self) -> Option<StackStep> {
        let mut contracts = self.members.iter();
        let stops_others = |state| {
            matches!(
                state,
                ContractState::Running | ContractState::Stopped | ContractState::Failed
            )
        };
        if self.members.values().any(|it| stops_others(it.contract)) {
            return None;
        }
        contracts.find_map(|(name, member)| match member.contract {
            ContractState::Due => Some(StackStep::Contract(name.clone())),
            ContractState::Unfinished => Some(StackStep::Resume(name.clone())),
            _ => None,
        })
    }

    /// The outcome, when nothing is in flight and nothing can start. A failure hides that another
    /// service was stopped.
    fn outcome(&self) -> StackOutcome {
        use ServicePhase::{Deployed, Stopped, UndoFailed, UndoStopped};
        let has_contract = |state| self.members.values().any(|it| it.contract == state);
        if self.has_phase(&[UndoFailed]) {
            StackOutcome::RollbackFailed
        } else if self.has_failure() {
            StackOutcome::Held
        } else if self.has_phase(&[Stopped, UndoStopped]) || has_contract(ContractState::Stopped) {
            StackOutcome::Stopped
        } else if self.direction == StackDirection::Forward && self.are_all(Deployed) {
            StackOutcome::Deployed
        } else if self.direction == StackDirection::Back
            && self.members.values().all(|it| it.phase.is_as_before())
        {
            StackOutcome::RolledBack
        } else {
            StackOutcome::Held
        }
    }

    /// Whether a person is needed, or a service failed that does not turn the deployment back.
    fn has_failure(&self) -> bool {
        let has_rolled_back = self.has_phase(&[ServicePhase::RolledBack]);
        let has_contract_failed = |it: &Member| it.contract == ContractState::Failed;
        self.has_phase(&[ServicePhase::Held])
            || (has_rolled_back && self.direction == StackDirection::Forward)
            || self.members.values().any(has_contract_failed)
    }
}
