//! A stack to explore: its services, their order, and what each of them can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::world::{SERVICES_MAX, Service, StepKind};
use crate::core::stack::{
    ContractState, Member, OnStackFailure, ServicePhase, StackDirection, StackRun, StackStep,
};

const NAMES: [&str; SERVICES_MAX] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) services: usize,
    pub(super) on_failure: OnStackFailure,
    /// For each service, the bits of the services that roll out before it.
    after: [u8; SERVICES_MAX],
    /// The bits of the services with contract migrations.
    contracts: u8,
    /// The bits of the services that have no earlier revision.
    first_deploys: u8,
    /// The members before the first step.
    members: BTreeMap<String, Member>,
}

impl Stack {
    /// A stack in which the first service of each pair rolls out before the second one.
    pub(super) fn new(
        services: usize,
        order: &[(usize, usize)],
        on_failure: OnStackFailure,
    ) -> Self {
        let mut after = [0; SERVICES_MAX];
        for (before, service) in order {
            after[*service] |= 1 << before;
        }
        let stack = Self {
            services,
            on_failure,
            after,
            contracts: 0,
            first_deploys: 0,
            members: BTreeMap::new(),
        };
        stack.with_members()
    }

    /// The same stack; the services of these bits have contract migrations.
    pub(super) fn with_contracts(self, contracts: u8) -> Self {
        Self { contracts, ..self }.with_members()
    }

    /// The same stack; the services of these bits have no earlier revision.
    pub(super) fn without_earlier_revision(self, first_deploys: u8) -> Self {
        Self {
            first_deploys,
            ..self
        }
        .with_members()
    }

    fn with_members(self) -> Self {
        let member = |service: usize| Member {
            after: self.befores(service).map(name).collect::<BTreeSet<_>>(),
            can_undo: self.can_undo(service),
            phase: ServicePhase::Waiting,
            contract: if self.has_contract(service) {
                ContractState::Due
            } else {
                ContractState::None
            },
        };
        let members = (0..self.services).map(|service| (name(service), member(service)));
        Self {
            members: members.collect(),
            ..self
        }
    }

    pub(super) fn can_undo(&self, service: usize) -> bool {
        self.first_deploys & (1 << service) == 0
    }

    pub(super) fn has_contract(&self, service: usize) -> bool {
        self.contracts & (1 << service) != 0
    }

    /// The services that roll out before a service.
    pub(super) fn befores(&self, service: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.services).filter(move |before| self.after[service] & (1 << before) != 0)
    }

    /// The services that roll out after a service.
    pub(super) fn dependents(&self, service: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.services).filter(move |other| self.after[*other] & (1 << service) != 0)
    }

    /// The members with the phases that the process has in memory.
    pub(super) fn members(&self, services: &[Service]) -> BTreeMap<String, Member> {
        let mut members = self.members.clone();
        for (member, service) in members.values_mut().zip(services) {
            member.phase = service.phase;
            member.contract = service.contract_state;
        }
        members
    }

    /// The members as another process reads them from the store.
    pub(super) fn recorded_members(&self, services: &[Service]) -> BTreeMap<String, Member> {
        let mut members = self.members.clone();
        for (at, (member, service)) in members.values_mut().zip(services).enumerate() {
            let record = service.record(self.has_contract(at));
            member.phase = record.phase();
            member.contract = record.contract_state();
        }
        members
    }

    pub(super) fn run(&self, services: &[Service], direction: StackDirection) -> StackRun {
        StackRun {
            members: self.members(services),
            on_failure: self.on_failure,
            direction,
        }
    }

    /// One line for the path to a violation.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("on_failure {:?}", self.on_failure);
        for service in 0..self.services {
            let _ = write!(text, "; {}", name(service));
            for before in self.befores(service) {
                let _ = write!(text, " after {}", name(before));
            }
            if self.has_contract(service) {
                text.push_str(" with a contract");
            }
            if !self.can_undo(service) {
                text.push_str(" without an earlier revision");
            }
        }
        text
    }
}

pub(super) fn name(service: usize) -> String {
    NAMES[service].to_owned()
}

/// The position of a service, if the stack has it.
pub(super) fn position(stack: &Stack, name: &str) -> Option<usize> {
    let services = NAMES.iter().take(stack.services);
    services.into_iter().position(|known| *known == name)
}

pub(super) fn step(kind: StepKind, service: usize) -> StackStep {
    match kind {
        StepKind::RollOut => StackStep::RollOut(name(service)),
        StepKind::Resume => StackStep::Resume(name(service)),
        StepKind::Abort => StackStep::Abort(name(service)),
        StepKind::Undo => StackStep::Undo(name(service)),
        StepKind::Contract => StackStep::Contract(name(service)),
    }
}
