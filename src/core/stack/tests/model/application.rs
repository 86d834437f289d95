//! The application around the policy: it records, begins and ends what the policy asks for.

use super::invariants;
use super::policy::Policy;
use super::stack::{Stack, name, position, step};
use super::world::{Event, Live, Memory, Process, Recorded, Service, State, StepKind, Version};
use crate::core::stack::{ServiceEnd, ServicePhase, StackDirection, StackNext, StackRun};

#[derive(Clone, Copy)]
pub(super) struct Application<'a> {
    pub(super) stack: &'a Stack,
    pub(super) policy: &'a dyn Policy,
}

impl Application<'_> {
    /// The state after an event, or `None` if the application refuses it.
    pub(super) fn take(&self, state: &State, event: Event) -> Result<Option<State>, String> {
        let mut next = *state;
        match event {
            Event::Begin(at) => self.begin(state, &mut next, at)?,
            Event::End(at, end) => end_rollout(&mut next.services[at], end)?,
            Event::Notice(at) => self.notice(&mut next, at)?,
            Event::SaveDirection => {
                next.saved = running(state)?.direction;
                self.decide_when_idle(&mut next)?;
            }
            Event::Finish => {
                let outcome = running(state)?
                    .outcome
                    .ok_or("the rollout has no outcome")?;
                next = next.without_memory(Process::Ended(outcome));
            }
            Event::AbortRunning => {
                let memory = running(state)?;
                let mut run = self.stack.run(&next.services, memory.direction);
                if !self.policy.roll_back(&mut run) {
                    return Ok(None);
                }
                remember(&mut next, &run);
                self.decide_when_idle(&mut next)?;
            }
            Event::Crash => next = next.without_memory(Process::Crashed),
            Event::Resume => {
                let run = self.restored(state);
                self.start_process(&mut next, &run)?;
            }
            Event::Abort => {
                let mut run = self.restored(state);
                let turned = self.policy.roll_back(&mut run);
                if !turned && run.direction == StackDirection::Forward {
                    return check_refusal(self.stack, state).map(|()| None);
                }
                self.start_process(&mut next, &run)?;
            }
        }
        Ok(Some(next))
    }

    fn restored(&self, state: &State) -> StackRun {
        let members = self.stack.recorded_members(&state.services);
        self.policy
            .restored(members, self.stack.on_failure, state.saved)
    }

    fn start_process(&self, next: &mut State, run: &StackRun) -> Result<(), String> {
        next.process = Process::Running(Memory::new(run.direction));
        remember(next, run);
        self.decide_when_idle(next)
    }

    /// Begins the planned step of a service, after the store has it.
    fn begin(&self, state: &State, next: &mut State, at: usize) -> Result<(), String> {
        let service = &mut next.services[at];
        let kind = service.pending.take().ok_or("no step is planned")?;
        invariants::check_step(self.stack, state, at, kind)?;
        // A rollout that has ended ignores the request to roll back.
        if service.unnoticed.is_none() {
            begin_rollout(service, kind);
        }
        let direction = running(state)?.direction;
        let mut run = self.stack.run(&state.services, direction);
        self.policy.started(&mut run, &step(kind, at));
        remember(next, &run);
        let services = &next.services[..self.stack.services];
        if services.iter().all(|service| service.pending.is_none()) {
            self.decide_when_idle(next)?;
        }
        Ok(())
    }

    fn notice(&self, next: &mut State, at: usize) -> Result<(), String> {
        let end = next.services[at].unnoticed.take().ok_or("nothing ended")?;
        let direction = running(next)?.direction;
        let is_contract = next.services[at].contract.has_begun();
        let is_undo = next.services[at].undo.has_begun();
        let was_asked_back = next.services[at].phase == ServicePhase::Aborting;
        let mut run = self.stack.run(&next.services, direction);
        let turned = self.policy.ended(&mut run, &name(at), end);
        if turned != (run.direction != direction) {
            return Err("the policy reports a wrong change of the direction".into());
        }
        remember(next, &run);
        let could_return = self.stack.can_undo(at);
        if let Process::Running(memory) = &mut next.process {
            let failed_back = match end {
                ServiceEnd::Held => (is_undo || was_asked_back) && could_return,
                ServiceEnd::RolledBack => is_undo,
                ServiceEnd::Reached | ServiceEnd::Stopped => false,
            };
            let has_failed = matches!(end, ServiceEnd::RolledBack | ServiceEnd::Held);
            memory.has_stopped |= end == ServiceEnd::Stopped || failed_back;
            memory.has_stopped |= is_contract && has_failed;
            memory.has_failed |= has_failed;
        }
        self.decide_when_idle(next)
    }

    /// Asks the policy for the next steps, unless the direction has to be saved first.
    fn decide_when_idle(&self, next: &mut State) -> Result<(), String> {
        if next.has_unsaved_direction() && self.policy.saves_direction_first() {
            return Ok(());
        }
        self.decide(next)
    }

    /// Asks the policy for the next steps.
    fn decide(&self, state: &mut State) -> Result<(), String> {
        let mut memory = *running(state)?;
        let run = self.stack.run(&state.services, memory.direction);
        match self.policy.next(&run) {
            StackNext::Steps(steps) => {
                for step in &steps {
                    let at = position(self.stack, step.service()).ok_or("an unknown service")?;
                    if state.services[at].pending.is_some() {
                        return Err(format!("{} gets two steps at once", name(at)));
                    }
                    state.services[at].pending = Some(StepKind::of(step));
                }
                invariants::check_progress(self.stack, state, memory)
            }
            StackNext::End(outcome) => {
                memory.outcome = Some(outcome);
                state.process = Process::Running(memory);
                invariants::check_outcome(self.stack, state, outcome)
            }
        }
    }
}

/// Keeps what the policy has in memory.
fn remember(next: &mut State, run: &StackRun) {
    for (service, member) in next.services.iter_mut().zip(run.members.values()) {
        service.phase = member.phase;
        service.contract_state = member.contract;
    }
    if let Process::Running(memory) = &mut next.process {
        memory.direction = run.direction;
    }
}

/// `ship abort` may be refused only if a contract migration has begun.
fn check_refusal(stack: &Stack, state: &State) -> Result<(), String> {
    if invariants::has_begun_contract(stack, state) {
        Ok(())
    } else {
        Err("the abort is refused, although no contract migration has begun".into())
    }
}

fn running(state: &State) -> Result<&Memory, String> {
    state.memory().ok_or_else(|| "no process runs".into())
}

/// What a step does to a service. The record precedes the effect.
fn begin_rollout(service: &mut Service, kind: StepKind) {
    let live = match kind {
        StepKind::Abort => Live::Aborted,
        StepKind::Undo => Live::Undo,
        StepKind::Contract => Live::Contract,
        StepKind::Resume if invariants::is_contract_unfinished(service) => Live::Contract,
        StepKind::Resume if service.undo.has_begun() => Live::Undo,
        StepKind::RollOut | StepKind::Resume => Live::Forward,
    };
    service.live = Some(live);
    match live {
        Live::Forward | Live::Aborted => service.forward = Recorded::Unfinished,
        Live::Undo => service.undo = Recorded::Unfinished,
        Live::Contract => service.contract = Recorded::Unfinished,
    }
    if live != Live::Contract {
        service.version = Version::Mixed;
    }
}

/// What the end of a rollout means for a service.
fn end_rollout(service: &mut Service, end: ServiceEnd) -> Result<(), String> {
    let live = service.live.take().ok_or("no rollout runs")?;
    let (goal, before) = match live {
        Live::Forward | Live::Aborted => (Version::New, Version::Earlier),
        Live::Undo => (Version::Earlier, Version::New),
        Live::Contract => (Version::New, Version::New),
    };
    service.version = match end {
        ServiceEnd::Reached => goal,
        ServiceEnd::RolledBack => before,
        ServiceEnd::Held | ServiceEnd::Stopped if live == Live::Contract => Version::New,
        ServiceEnd::Held | ServiceEnd::Stopped => Version::Mixed,
    };
    match live {
        Live::Forward | Live::Aborted => service.forward = Recorded::Ended(end),
        Live::Undo => service.undo = Recorded::Ended(end),
        Live::Contract => service.contract = Recorded::Ended(end),
    }
    service.unnoticed = Some(end);
    Ok(())
}
