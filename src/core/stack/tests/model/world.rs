//! The state of the model: what the store holds, what the services run, and what the process has in
//! memory.

use std::fmt;

use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::stack::{
    ContractState, RecordedRollout, ServiceEnd, ServicePhase, ServiceRecord, StackDirection,
    StackOutcome, StackStep,
};

pub(super) const SERVICES_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) services: [Service; SERVICES_MAX],
    /// The direction in the store.
    pub(super) saved: StackDirection,
    pub(super) process: Process,
}

/// The process that carries out the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// It died before the deployment had an outcome.
    Crashed,
    /// It recorded the outcome of the deployment.
    Ended(StackOutcome),
    Running(Memory),
}

/// What the process knows, apart from the phases of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) direction: StackDirection,
    /// The outcome that the policy gave, before it is recorded.
    pub(super) outcome: Option<StackOutcome>,
    /// Whether it knows of a service that was stopped or could not be taken back.
    pub(super) has_stopped: bool,
    /// Whether it knows of a service that failed, while the deployment goes forward.
    pub(super) has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) forward: Recorded,
    pub(super) undo: Recorded,
    pub(super) contract: Recorded,
    pub(super) version: Version,
    /// The rollout that runs now, in the process.
    pub(super) live: Option<Live>,
    /// An end that the store has and the process has not noticed.
    pub(super) unnoticed: Option<ServiceEnd>,
    /// A step that the policy gave and the process has not begun.
    pub(super) pending: Option<StepKind>,
    /// The phase that the process has in memory.
    pub(super) phase: ServicePhase,
    /// The state of the contract migrations that the process has in memory.
    pub(super) contract_state: ContractState,
}

/// What the journal of a rollout holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    NotBegun,
    Unfinished,
    Ended(ServiceEnd),
}

/// What a service really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Earlier,
    Mixed,
    New,
}

/// The kind of a rollout that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    Forward,
    /// Forward at first, and asked to roll back.
    Aborted,
    Undo,
    Contract,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    RollOut,
    Resume,
    Abort,
    Undo,
    Contract,
}

/// A transition of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The process records and begins a planned step.
    Begin(usize),
    /// A rollout ends, which its journal records.
    End(usize, ServiceEnd),
    /// The process notices that a rollout has ended.
    Notice(usize),
    /// The process saves the direction in the store.
    SaveDirection,
    /// The process records the outcome of the deployment.
    Finish,
    /// A user aborts the deployment that runs.
    AbortRunning,
    Crash,
    /// `ship resume` in a new process.
    Resume,
    /// `ship abort` in a new process.
    Abort,
}

impl State {
    /// The deployment is in the store, and nothing has begun.
    pub(super) fn first() -> Self {
        Self {
            services: [Service::FIRST; SERVICES_MAX],
            saved: StackDirection::Forward,
            process: Process::Crashed,
        }
    }

    /// The process and its memory are gone, and its rollouts with them.
    pub(super) fn without_memory(mut self, process: Process) -> Self {
        for service in &mut self.services {
            service.live = None;
            service.unnoticed = None;
            service.pending = None;
            service.phase = ServicePhase::Waiting;
            service.contract_state = ContractState::None;
        }
        self.process = process;
        self
    }

    pub(super) fn memory(&self) -> Option<&Memory> {
        match &self.process {
            Process::Running(memory) => Some(memory),
            Process::Crashed | Process::Ended(_) => None,
        }
    }

    /// Whether the process has to save the direction.
    pub(super) fn has_unsaved_direction(&self) -> bool {
        self.memory()
            .is_some_and(|memory| memory.direction != self.saved)
    }

    /// A number for the state. No two states share one.
    pub(super) fn key(&self) -> u128 {
        let mut key = Key(0);
        for service in &self.services {
            service.add_to(&mut key);
        }
        key.add(self.saved as u128, 2);
        match self.process {
            Process::Crashed => key.add(0, 3),
            Process::Ended(outcome) => {
                key.add(outcome as u128, 5);
                key.add(1, 3);
            }
            Process::Running(memory) => {
                key.add(memory.direction as u128, 2);
                key.add(memory.outcome.map_or(0, |outcome| outcome as u128 + 1), 6);
                key.add(memory.has_stopped.into(), 2);
                key.add(memory.has_failed.into(), 2);
                key.add(2, 3);
            }
        }
        key.0
    }
}

impl Memory {
    pub(super) fn new(direction: StackDirection) -> Self {
        Self {
            direction,
            outcome: None,
            has_stopped: false,
            has_failed: false,
        }
    }
}

impl Service {
    const FIRST: Self = Self {
        forward: Recorded::NotBegun,
        undo: Recorded::NotBegun,
        contract: Recorded::NotBegun,
        version: Version::Earlier,
        live: None,
        unnoticed: None,
        pending: None,
        phase: ServicePhase::Waiting,
        contract_state: ContractState::None,
    };

    /// The record as the application reads it from the store.
    pub(super) fn record(&self, has_contract: bool) -> ServiceRecord {
        ServiceRecord {
            forward: self.forward.in_store(),
            undo: self.undo.in_store(),
            contract: has_contract.then(|| self.contract.in_store()),
        }
    }

    /// Whether it runs this version, and nothing is changing that.
    pub(super) fn is_at_rest_on(&self, version: Version) -> bool {
        self.version == version && self.live.is_none()
    }

    fn add_to(&self, key: &mut Key) {
        for recorded in [self.forward, self.undo, self.contract] {
            key.add(recorded.number(), 6);
        }
        key.add(self.version as u128, 3);
        key.add(self.live.map_or(0, |live| live as u128 + 1), 5);
        key.add(self.unnoticed.map_or(0, |end| end as u128 + 1), 5);
        key.add(self.pending.map_or(0, |kind| kind as u128 + 1), 6);
        key.add(self.phase as u128, 13);
        key.add(self.contract_state as u128, 7);
    }
}

impl Recorded {
    pub(super) fn has_begun(self) -> bool {
        self != Self::NotBegun
    }

    fn number(self) -> u128 {
        match self {
            Self::NotBegun => 0,
            Self::Unfinished => 1,
            Self::Ended(end) => end as u128 + 2,
        }
    }

    fn in_store(self) -> RecordedRollout {
        match self {
            Self::NotBegun => RecordedRollout::NotBegun,
            Self::Unfinished => RecordedRollout::Unfinished,
            Self::Ended(end) => RecordedRollout::Ended(outcome(end)),
        }
    }
}

impl StepKind {
    pub(super) fn of(step: &StackStep) -> Self {
        match step {
            StackStep::RollOut(_) => Self::RollOut,
            StackStep::Resume(_) => Self::Resume,
            StackStep::Abort(_) => Self::Abort,
            StackStep::Undo(_) => Self::Undo,
            StackStep::Contract(_) => Self::Contract,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.version)?;
        let rollouts = [
            ("forward", self.forward),
            ("undo", self.undo),
            ("contract", self.contract),
        ];
        for (what, recorded) in rollouts.iter().filter(|(_, it)| it.has_begun()) {
            write!(f, ", {what} {recorded:?}")?;
        }
        match self.live {
            Some(live) => write!(f, ", {live:?} runs"),
            None => Ok(()),
        }
    }
}

/// A number that is composed of digits of different bases.
struct Key(u128);

impl Key {
    fn add(&mut self, digit: u128, base: u128) {
        debug_assert!(digit < base, "a digit must be below its base");
        self.0 = self.0 * base + digit;
    }
}

/// An outcome of a rollout that ended so.
fn outcome(end: ServiceEnd) -> Outcome {
    match end {
        ServiceEnd::Reached => Outcome::Succeeded,
        ServiceEnd::RolledBack => Outcome::RolledBack,
        ServiceEnd::Held => Outcome::RollbackFailed {
            failure: Failure {
                kind: FailureKind::Stuck,
                host: None,
                slot: None,
                detail: String::new(),
                waited: std::time::Duration::ZERO,
            },
        },
        ServiceEnd::Stopped => Outcome::Interrupted,
    }
}
