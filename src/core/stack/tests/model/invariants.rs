//! What must hold in every state. The checks count what the services run and what the store holds.

use super::stack::{Stack, name};
use super::world::{Live, Memory, Recorded, Service, State, StepKind, Version};
use crate::core::stack::{OnStackFailure, ServiceEnd, StackDirection, StackOutcome};

/// Checks that a step may begin now.
pub(super) fn check_step(
    stack: &Stack,
    state: &State,
    at: usize,
    kind: StepKind,
) -> Result<(), String> {
    let service = &state.services[at];
    let is_late_request = kind == StepKind::Abort && service.unnoticed.is_some();
    if is_late_request {
        return Ok(());
    }
    let may_run = kind == StepKind::Abort && service.live == Some(Live::Forward);
    if service.live.is_some() && !may_run {
        return Err(format!("{} would have two rollouts at once", name(at)));
    }
    check_calm(state)?;
    match kind {
        StepKind::Resume if is_contract_unfinished(service) => check_contract(stack, state, at),
        StepKind::Resume if service.undo.has_begun() => check_back(stack, state, at),
        StepKind::RollOut | StepKind::Resume => check_forward(stack, state, at),
        StepKind::Abort => {
            check_unfinished(service, at)?;
            check_back(stack, state, at)
        }
        StepKind::Undo => {
            if service.version != Version::New {
                return Err(format!("{} is undone but not deployed", name(at)));
            }
            check_back(stack, state, at)
        }
        StepKind::Contract => check_contract(stack, state, at),
    }
}

/// Nothing new starts after a service was stopped, and nothing forward after a failure.
fn check_calm(state: &State) -> Result<(), String> {
    let Some(memory) = state.memory() else {
        return Err("a step begins without a process".into());
    };
    if memory.has_stopped {
        return Err("a step begins after a service was stopped".into());
    }
    if memory.has_failed && memory.direction == StackDirection::Forward {
        return Err("a step begins after a service has failed".into());
    }
    Ok(())
}

fn check_unfinished(service: &Service, at: usize) -> Result<(), String> {
    let is_unfinished = matches!(
        service.forward,
        Recorded::Unfinished | Recorded::Ended(ServiceEnd::Held | ServiceEnd::Stopped)
    );
    if is_unfinished && !service.undo.has_begun() {
        Ok(())
    } else {
        Err(format!(
            "{} is aborted but has no unfinished rollout",
            name(at)
        ))
    }
}

fn check_forward(stack: &Stack, state: &State, at: usize) -> Result<(), String> {
    if state.saved != StackDirection::Forward {
        return Err(format!("{} rolls out while the stack rolls back", name(at)));
    }
    let mut befores = stack.befores(at);
    match befores.find(|before| !state.services[*before].is_at_rest_on(Version::New)) {
        Some(before) => Err(format!(
            "{} rolls out before {} is deployed",
            name(at),
            name(before)
        )),
        None => Ok(()),
    }
}

fn check_back(stack: &Stack, state: &State, at: usize) -> Result<(), String> {
    if state.saved != StackDirection::Back {
        return Err(format!("{} rolls back while the stack rolls out", name(at)));
    }
    if has_begun_contract(stack, state) {
        return Err(format!(
            "{} rolls back after a contract migration has begun",
            name(at)
        ));
    }
    let is_running = state.services[at].live.is_some();
    if !stack.can_undo(at) && !is_running {
        return Err(format!("{} has nothing to roll back to", name(at)));
    }
    let mut dependents = stack.dependents(at);
    match dependents.find(|after| !state.services[*after].is_at_rest_on(Version::Earlier)) {
        Some(after) => Err(format!(
            "{} rolls back before {} has returned",
            name(at),
            name(after)
        )),
        None => Ok(()),
    }
}

fn check_contract(stack: &Stack, state: &State, at: usize) -> Result<(), String> {
    let services = &state.services[..stack.services];
    if !services
        .iter()
        .all(|service| service.version == Version::New)
    {
        return Err(format!(
            "the contract migrations of {} begin before every service is deployed",
            name(at)
        ));
    }
    if state.saved != StackDirection::Forward {
        return Err("a contract migration begins while the stack rolls back".into());
    }
    if services.iter().any(|service| service.live.is_some()) {
        return Err("a contract migration begins while a rollout runs".into());
    }
    if !stack.has_contract(at) || service_has_contracted(&state.services[at]) {
        return Err(format!("{} has no contract migrations to run", name(at)));
    }
    Ok(())
}

fn service_has_contracted(service: &Service) -> bool {
    service.contract == Recorded::Ended(ServiceEnd::Reached)
}

/// Whether the newest rollout of a service is one of contract migrations that are not finished.
pub(super) fn is_contract_unfinished(service: &Service) -> bool {
    service.contract.has_begun() && !service_has_contracted(service)
}

pub(super) fn has_begun_contract(stack: &Stack, state: &State) -> bool {
    let services = &state.services[..stack.services];
    services.iter().any(|service| service.contract.has_begun())
}

/// Checks that the policy does not wait for nothing, and that it starts everything that can start.
pub(super) fn check_progress(stack: &Stack, state: &State, memory: Memory) -> Result<(), String> {
    let services = &state.services[..stack.services];
    let is_busy = |service: &Service| {
        service.live.is_some() || service.unnoticed.is_some() || service.pending.is_some()
    };
    if !services.iter().any(is_busy) {
        return Err("nothing is in flight, and the policy gives neither a step nor an end".into());
    }
    if memory.has_stopped || (memory.has_failed && memory.direction == StackDirection::Forward) {
        return Ok(());
    }
    let is_settled_on = |at: usize, version| {
        let service = &state.services[at];
        service.version == version && !is_busy(service)
    };
    let is_startable = |at: &usize| match memory.direction {
        StackDirection::Forward => {
            is_settled_on(*at, Version::Earlier)
                && stack.befores(*at).all(|it| is_settled_on(it, Version::New))
        }
        StackDirection::Back => {
            is_settled_on(*at, Version::New)
                && stack.can_undo(*at)
                && stack
                    .dependents(*at)
                    .all(|it| is_settled_on(it, Version::Earlier))
        }
    };
    match (0..stack.services).find(is_startable) {
        Some(at) => Err(format!("{} could start, and the policy waits", name(at))),
        None => Ok(()),
    }
}

/// Checks that an outcome is true.
pub(super) fn check_outcome(
    stack: &Stack,
    state: &State,
    outcome: StackOutcome,
) -> Result<(), String> {
    let services = &state.services[..stack.services];
    if services
        .iter()
        .any(|service| service.live.is_some() || service.unnoticed.is_some())
    {
        return Err("the deployment ends while a rollout runs".into());
    }
    let all_run = |version| services.iter().all(|service| service.version == version);
    let has_contracted = || {
        let contracts = (0..stack.services).filter(|at| stack.has_contract(*at));
        let mut contracts = contracts.map(|at| &state.services[at]);
        contracts.all(service_has_contracted)
    };
    let has_end = |end| {
        let mut ends = services.iter().flat_map(newest_ends);
        ends.any(|newest| newest == end)
    };
    let is_true = match outcome {
        StackOutcome::Deployed => all_run(Version::New) && has_contracted(),
        StackOutcome::RolledBack => {
            all_run(Version::Earlier) && state.saved == StackDirection::Back
        }
        StackOutcome::Stopped => {
            has_end(ServiceEnd::Stopped)
                && !(state.saved == StackDirection::Forward && has_end(ServiceEnd::Held))
        }
        StackOutcome::RollbackFailed => {
            state.saved == StackDirection::Back && !all_run(Version::Earlier)
        }
        StackOutcome::Held => {
            let has_failed = has_end(ServiceEnd::Held) || has_end(ServiceEnd::RolledBack);
            let is_final = !expects_return(stack, state);
            (has_failed || is_final) && !is_complete(stack, state)
        }
    };
    if is_true {
        Ok(())
    } else {
        Err(format!(
            "the deployment ends as {outcome:?}, which is wrong"
        ))
    }
}

/// The end of the newest rollout of a service, and of its contract migrations.
fn newest_ends(service: &Service) -> impl Iterator<Item = ServiceEnd> {
    let newest = if service.undo.has_begun() {
        service.undo
    } else {
        service.forward
    };
    let ends = [newest, service.contract].map(|recorded| match recorded {
        Recorded::Ended(end) => Some(end),
        Recorded::NotBegun | Recorded::Unfinished => None,
    });
    ends.into_iter().flatten()
}

/// Whether the deployment is where its direction leads.
fn is_complete(stack: &Stack, state: &State) -> bool {
    let mut services = state.services[..stack.services].iter();
    match state.saved {
        StackDirection::Forward => false,
        StackDirection::Back => services.all(|service| service.version == Version::Earlier),
    }
}

/// Whether every service that has changed can be taken back.
pub(super) fn expects_return(stack: &Stack, state: &State) -> bool {
    let mut services = (0..stack.services).map(|at| (at, &state.services[at]));
    services.all(|(at, service)| service.version == Version::Earlier || stack.can_undo(at))
}

/// Whether a failure or a user has turned the deployment back, as the store shows it.
pub(super) fn has_reversed(stack: &Stack, state: &State) -> bool {
    let has_failed = |service: &Service| service.forward == Recorded::Ended(ServiceEnd::RolledBack);
    let mut services = state.services[..stack.services].iter();
    state.saved == StackDirection::Back
        || (stack.on_failure == OnStackFailure::RollBack && services.any(has_failed))
}

/// The outcome of a deployment that a user resumes or aborts, if every rollout reaches its goal
/// from then on.
pub(super) fn expected_outcome(stack: &Stack, state: &State, is_aborted: bool) -> StackOutcome {
    if !is_aborted && !has_reversed(stack, state) {
        StackOutcome::Deployed
    } else if expects_return(stack, state) {
        StackOutcome::RolledBack
    } else {
        StackOutcome::Held
    }
}
