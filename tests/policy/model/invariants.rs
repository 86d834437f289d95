//! The invariants. They count the actual state, never the view of the controller, and compute the
//! limits on their own.

use std::collections::BTreeSet;

use ship::core::planner::{Next, Plan};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::failure::Outcome;

use super::config::{Config, KEPT};
use super::controller::{Controllers, name_of, port_index, release_of};
use super::state::State;
use super::world::{Command, HOSTS, InstanceName, Operation, ProcessState, Release};

/// Checks the invariants of a plan at the time at which its actions are sent.
pub(crate) fn check_plan(
    config: &Config,
    controllers: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    one_action_per_host(controllers, state, plan)?;
    every_host_has_an_action_or_a_wait_reason(config, plan)?;
    stops_keep_the_minimum(config, state, plan)?;
    one_zone_is_disturbed_at_a_time(config, controllers, state, plan)?;
    starts_keep_the_maximum(config, controllers, state, plan)?;
    starts_are_on_ports_of_the_release(config, plan)?;
    prunes_keep_needed_releases(controllers, state, plan)?;
    waits_match_the_actions_in_flight(state, plan)?;
    match &plan.next {
        Next::Finish(outcome) => outcome_matches_the_fleet(config, controllers, state, outcome),
        _ => Ok(()),
    }
}

fn one_action_per_host(
    controllers: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    let mut hosts = BTreeSet::new();
    for action in &plan.actions {
        let host = controllers.index(action.host());
        if state.in_flight[host].is_some() || !hosts.insert(host) {
            return Err(format!(
                "h{} has an action in flight and gets another: {action}",
                host + 1
            ));
        }
        if state
            .controller
            .is_some_and(|controller| controller.view[host].lost)
        {
            return Err(format!(
                "h{} is known to be lost and gets an action: {action}",
                host + 1
            ));
        }
    }
    Ok(())
}

fn every_host_has_an_action_or_a_wait_reason(config: &Config, plan: &Plan) -> Result<(), String> {
    let hosts: BTreeSet<_> = plan
        .actions
        .iter()
        .map(|action| action.host().clone())
        .collect();
    let invalid = config
        .host_ids()
        .into_iter()
        .find(|id| hosts.contains(id) == plan.wait_reasons.contains_key(id));
    match invalid {
        Some(id) => Err(format!("{id} must have either an action or a wait reason")),
        None => Ok(()),
    }
}

/// The instances that a pending command may still stop.
fn being_stopped(state: &State) -> BTreeSet<InstanceName> {
    pending_commands(state)
        .filter_map(|(_, command)| match command.operation {
            Operation::Stop { name, .. } => Some(name),
            _ => None,
        })
        .collect()
}

/// Every command in flight, unseen or late that its host would still accept.
fn pending_commands(state: &State) -> impl Iterator<Item = (usize, Command)> + '_ {
    (0..HOSTS).flat_map(move |host| {
        let commands = [
            state.in_flight[host],
            state.unknown[host],
            state.late[host][0],
            state.late[host][1],
        ];
        commands
            .into_iter()
            .flatten()
            .filter(move |command| state.machines[host].accepts(*command))
            .map(move |command| (host, command))
    })
}

/// The instances that count as serving. A change after the last probe is not the controller's fault,
/// so the verdict of that probe counts; an instance that was never probed counts as it is.
fn serving(state: &State) -> BTreeSet<InstanceName> {
    let machines = state.machines.iter().filter(|machine| machine.up);
    let ready = machines
        .flat_map(super::world::Machine::instances)
        .filter(|actual| actual.state == ProcessState::Ready);
    let views = || {
        state
            .controller
            .iter()
            .flat_map(|controller| &controller.view)
    };
    let failed: BTreeSet<InstanceName> = views()
        .flat_map(super::controller::HostView::found_failing)
        .collect();
    let ready = ready
        .map(|actual| actual.name)
        .filter(|name| !failed.contains(name));
    ready
        .chain(views().flat_map(super::controller::HostView::believed_ready))
        .collect()
}

/// Whether a host has failed and is unreachable or not fenced. Its instances are not counted.
fn is_untrusted(controllers: &Controllers, state: &State, host: usize) -> bool {
    state.controller.is_some_and(|controller| {
        let rollout = controllers.rollout(&controller);
        let view = &controller.view[host];
        controllers.is_failed_host(&controller, host)
            && (view.lost || !view.has_seen(rollout.epoch))
    })
}

/// A stop of a serving instance is sent only if enough others serve, even after every pending stop.
fn stops_keep_the_minimum(config: &Config, state: &State, plan: &Plan) -> Result<(), String> {
    let stops: BTreeSet<InstanceName> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Stop { instance, .. } => Some(name_of(instance)),
            _ => None,
        })
        .collect();
    let serving = serving(state);
    let mut remaining = &serving - &being_stopped(state);
    if stops.intersection(&remaining).next().is_none() {
        return Ok(());
    }
    remaining = &remaining - &stops;
    if remaining.len() < config.min_available() {
        return Err(format!(
            "after the planned stops {} instances would serve, expected at least {}",
            remaining.len(),
            config.min_available()
        ));
    }
    Ok(())
}

/// A serving instance stops only if nothing stops or starts in another zone, and every instance there
/// that was started is ready. Hosts that have failed do not count.
fn one_zone_is_disturbed_at_a_time(
    config: &Config,
    controllers: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    let serving = serving(state);
    let has_failed = |host: usize| {
        let controller = state.controller.as_ref();
        controller.is_some_and(|controller| controllers.is_failed_host(controller, host))
    };
    let mut disturbed: BTreeSet<u8> = BTreeSet::new();
    for (host, command) in pending_commands(state) {
        let is_change = match command.operation {
            Operation::Start { .. } => true,
            Operation::Stop { name, .. } => serving.contains(&name),
            _ => false,
        };
        if is_change && !has_failed(host) {
            disturbed.insert(config.zones[host]);
        }
    }
    let mut stops = Vec::new();
    for action in &plan.actions {
        let zone = config.zones[controllers.index(action.host())];
        match action {
            Action::Start { .. } => drop(disturbed.insert(zone)),
            Action::Stop {
                instance,
                why: StopReason::Replaced | StopReason::Surplus,
                ..
            } if serving.contains(&name_of(instance)) => {
                disturbed.insert(zone);
                stops.push((action.host(), zone));
            }
            _ => {}
        }
    }
    for (host, machine) in state.machines.iter().enumerate() {
        let starts = |actual: super::world::Instance| actual.state == ProcessState::Starting;
        if machine.up && machine.instances().any(starts) && !has_failed(host) {
            disturbed.insert(config.zones[host]);
        }
    }
    for (host, zone) in stops {
        if let Some(other) = disturbed.iter().find(|other| **other != zone) {
            return Err(format!(
                "{host} stops a serving instance in zone {zone} while zone {other} is disturbed"
            ));
        }
    }
    Ok(())
}

fn starts_keep_the_maximum(
    config: &Config,
    controllers: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    let starting: Vec<(usize, u8)> = pending_commands(state)
        .filter_map(|(host, command)| match command.operation {
            Operation::Start { number, .. } => Some((host, number)),
            _ => None,
        })
        .collect();
    let counted_hosts =
        (0..HOSTS).filter(|host| config.is_singleton || !is_untrusted(controllers, state, *host));
    let starting_there = |host: usize| starting.iter().filter(|(at, _)| *at == host).count();
    let mut total = counted_hosts
        .map(|host| state.machines[host].running() + starting_there(host))
        .sum::<usize>();
    let mut any = false;
    for action in &plan.actions {
        let Action::Start { slot, release, .. } = action else {
            continue;
        };
        let (host, number) = (controllers.index(&slot.host), port_index(slot.number));
        if starting.contains(&(host, number)) {
            return Err(format!(
                "{action}: another start is pending in the same slot"
            ));
        }
        if state.machines[host].slots[usize::from(number)].is_some() {
            return Err(format!("{action}: the slot is taken"));
        }
        if !state.machines[host].has_release(release_of(release)) {
            return Err(format!("{action}: the release is not on the host"));
        }
        total += 1;
        any = true;
    }
    if any && total > config.max_running() {
        return Err(format!(
            "after the planned starts {total} instances may run, expected at most {}",
            config.max_running()
        ));
    }
    Ok(())
}

fn starts_are_on_ports_of_the_release(config: &Config, plan: &Plan) -> Result<(), String> {
    let misplaced = plan.actions.iter().find(|action| match action {
        Action::Start { slot, release, .. } => {
            !config.slots_of(release_of(release)).contains(&slot.number)
        }
        _ => false,
    });
    misplaced.map_or(Ok(()), |action| {
        Err(format!("the release has no such port: {action}"))
    })
}

fn prunes_keep_needed_releases(
    controllers: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    for action in &plan.actions {
        let Action::Prune { host, releases } = action else {
            continue;
        };
        let machine = &state.machines[controllers.index(host)];
        for release in releases.iter().map(release_of) {
            let is_running = machine.instances().any(|actual| actual.release == release);
            if is_running || KEPT.contains(&release) {
                return Err(format!(
                    "{} is pruned on {host}, although it runs or must be kept",
                    release.word()
                ));
            }
        }
    }
    Ok(())
}

fn waits_match_the_actions_in_flight(state: &State, plan: &Plan) -> Result<(), String> {
    let idle = plan.actions.is_empty() && state.in_flight.iter().all(Option::is_none);
    if plan.next == Next::AwaitInFlight && idle {
        return Err("the planner waits for an action in flight, but none is in flight".into());
    }
    if let Next::Finish(_) = plan.next
        && !idle
    {
        return Err("the rollout finishes while actions are in flight".into());
    }
    Ok(())
}

/// An outcome that names a release must match the fleet.
fn outcome_matches_the_fleet(
    config: &Config,
    controllers: &Controllers,
    state: &State,
    outcome: &Outcome,
) -> Result<(), String> {
    let Some(controller) = &state.controller else {
        return Ok(());
    };
    let rollout = controllers.rollout(controller);
    let release = match outcome {
        Outcome::Succeeded => release_of(&rollout.goal.release),
        Outcome::RolledBack => Release::Old,
        _ => return Ok(()),
    };
    // A host that is not fenced may have executed a late command of a dead controller.
    let known = (0..HOSTS).filter(|host| controller.view[*host].has_seen(rollout.epoch));
    let known = known.filter(|host| !is_untrusted(controllers, state, *host));
    // If the active hosts have too few slots for all replicas, as many as fit are enough, and the
    // instances on failed hosts stay.
    let is_active = |host: &usize| {
        config.drained != Some(*host) && !controllers.is_failed_host(controller, *host)
    };
    let active_hosts = (0..config.hosts).filter(is_active).count();
    let wanted = config.replicas.min(active_hosts * config.slots);
    let known: Vec<_> = known
        .filter(|host| wanted == config.replicas || !controllers.is_failed_host(controller, *host))
        .collect();
    if known
        .iter()
        .any(|host| config.drained == Some(*host) && state.machines[*host].running() > 0)
    {
        return Err(format!(
            "the rollout finishes as {}, but an instance runs on a drained host",
            outcome.word()
        ));
    }
    let running: Vec<_> = known
        .into_iter()
        .flat_map(|host| state.machines[host].instances())
        .collect();
    let serving = serving(state);
    let is_as_reported = running.iter().all(|actual| {
        (actual.is_running() && actual.release == release) || serving.contains(&actual.name)
    });
    if !is_as_reported || running.len() > config.replicas || serving.len() < wanted {
        return Err(format!(
            "the rollout finishes as {}, but the fleet does not match",
            outcome.word()
        ));
    }
    Ok(())
}

/// Checks the invariants at the time at which a command takes effect; `before` is the state until
/// then.
pub(crate) fn check_execution(
    config: &Config,
    before: &State,
    after: &State,
    host: usize,
    operation: Operation,
) -> Result<(), String> {
    let running = |state: &State| {
        state
            .machines
            .iter()
            .map(super::world::Machine::running)
            .sum::<usize>()
    };
    if config.is_singleton && running(after) > running(before).max(1) {
        return Err(format!("{} instances of a singleton run", running(after)));
    }
    // Instances on an untrusted host were not counted, and the host may have returned.
    let max_running = config.max_running() + config.max_failed_hosts * config.slots;
    if running(after) > running(before).max(max_running) {
        return Err(format!(
            "{} instances run, expected at most {}",
            running(after),
            config.max_running()
        ));
    }
    let Operation::Stop { .. } = operation else {
        return Ok(());
    };
    let serves = |state: &State| {
        let machines = state.machines.iter().filter(|machine| machine.up);
        machines
            .flat_map(super::world::Machine::instances)
            .filter(|actual| actual.state == ProcessState::Ready)
            .count()
    };
    // Instances that a fault has ended since the stop was sent are not the fault of the stop.
    let lost_to_faults = config.max_lost_instances(before);
    if serves(after) < serves(before) && serves(after) + lost_to_faults < config.min_available() {
        return Err(format!(
            "a stop on h{} leaves {} serving instances, expected at least {} (faults may have ended \
             {lost_to_faults})",
            host + 1,
            serves(after),
            config.min_available()
        ));
    }
    Ok(())
}
