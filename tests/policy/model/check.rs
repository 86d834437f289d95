//! What must always hold. It counts the true world, never what the controller believes, and does
//! its own arithmetic.

use std::collections::BTreeSet;

use ship::core::planner::{Next, Plan};
use ship::core::rollout::action::Action;
use ship::core::rollout::failure::Outcome;

use super::config::{Config, KEPT};
use super::controller::{Controllers, name_of, port_index, release_of};
use super::state::State;
use super::world::{Command, HOSTS, Life, Name, Order, Release};

/// The invariants that a plan must keep at the moment at which its orders are given.
pub(crate) fn orders(
    config: &Config,
    minds: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    one_order_a_host(minds, state, plan)?;
    every_host_has_an_order_or_a_hold(config, plan)?;
    stops_keep_the_floor(config, state, plan)?;
    starts_keep_the_ceiling(config, minds, state, plan)?;
    starts_are_on_ports_of_the_release(config, plan)?;
    prunes_spare_what_is_needed(minds, state, plan)?;
    something_is_awaited(state, plan)?;
    match &plan.next {
        Next::Finish(outcome) => the_end_is_true(config, minds, state, outcome),
        _ => Ok(()),
    }
}

fn one_order_a_host(minds: &Controllers, state: &State, plan: &Plan) -> Result<(), String> {
    let mut ordered = BTreeSet::new();
    for action in &plan.actions {
        let host = minds.index(action.host());
        if state.flights[host].is_some() || !ordered.insert(host) {
            return Err(format!(
                "h{} has an order in flight and gets another: {action}",
                host + 1
            ));
        }
        if state
            .controller
            .is_some_and(|controller| controller.view[host].lost)
        {
            return Err(format!(
                "h{} is known to be lost and gets an order: {action}",
                host + 1
            ));
        }
    }
    Ok(())
}

fn every_host_has_an_order_or_a_hold(config: &Config, plan: &Plan) -> Result<(), String> {
    let ordered: BTreeSet<_> = plan
        .actions
        .iter()
        .map(|action| action.host().clone())
        .collect();
    let unexplained = config
        .host_ids()
        .into_iter()
        .find(|id| ordered.contains(id) == plan.holds.contains_key(id));
    match unexplained {
        Some(id) => Err(format!("{id} must have either an order or a hold")),
        None => Ok(()),
    }
}

/// The names of the instances that some command under way may still stop.
fn doomed(state: &State) -> BTreeSet<Name> {
    pending(state)
        .filter_map(|(_, command)| match command.order {
            Order::Stop { name, .. } => Some(name),
            _ => None,
        })
        .collect()
}

/// Every command under way that its host would still obey.
fn pending(state: &State) -> impl Iterator<Item = (usize, Command)> + '_ {
    (0..HOSTS).flat_map(move |host| {
        let commands = [
            state.flights[host],
            state.limbo[host],
            state.late[host][0],
            state.late[host][1],
        ];
        commands
            .into_iter()
            .flatten()
            .filter(move |command| state.machines[host].heeds(*command))
            .map(move |command| (host, command))
    })
}

/// The instances that serve, as far as anyone can know: what sickened or vanished, or recovered,
/// after the controller last asked is not its doing. What it has never asked counts as it truly is.
fn serving(state: &State) -> BTreeSet<Name> {
    let machines = state.machines.iter().filter(|machine| machine.up);
    let truly = machines
        .flat_map(super::world::Machine::instances)
        .filter(|is| is.life == Life::Ready);
    let views = || {
        state
            .controller
            .iter()
            .flat_map(|controller| &controller.view)
    };
    let failed: BTreeSet<Name> = views()
        .flat_map(super::controller::BalancerState::found_failing)
        .collect();
    let truly = truly
        .map(|is| is.name)
        .filter(|name| !failed.contains(name));
    truly
        .chain(views().flat_map(super::controller::BalancerState::believed_ready))
        .collect()
}

/// Whether the rollout has left a host behind, and knows that it is out of reach or may obey
/// others: it is written off, and what is on it is not counted.
fn is_written_off(minds: &Controllers, state: &State, host: usize) -> bool {
    state.controller.is_some_and(|controller| {
        let rollout = minds.rollout(&controller);
        let view = &controller.view[host];
        minds.is_left_behind(&controller, host) && (view.lost || !view.has_seen(rollout.epoch))
    })
}

/// An order to stop an instance that serves is given only if enough others serve, even if every
/// command under way that stops something is carried out.
fn stops_keep_the_floor(config: &Config, state: &State, plan: &Plan) -> Result<(), String> {
    let stops: BTreeSet<Name> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Stop { instance, .. } => Some(name_of(instance)),
            _ => None,
        })
        .collect();
    let serving = serving(state);
    let mut stay = &serving - &doomed(state);
    if stops.intersection(&stay).next().is_none() {
        return Ok(());
    }
    stay = &stay - &stops;
    if stay.len() < config.floor() {
        return Err(format!(
            "after the ordered stops {} instances would serve, and at least {} must",
            stay.len(),
            config.floor()
        ));
    }
    Ok(())
}

fn starts_keep_the_ceiling(
    config: &Config,
    minds: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    let starting: Vec<(usize, u8)> = pending(state)
        .filter_map(|(host, command)| match command.order {
            Order::Start { port, .. } => Some((host, port)),
            _ => None,
        })
        .collect();
    let counted = (0..HOSTS).filter(|host| !is_written_off(minds, state, *host));
    let starting_there = |host: usize| starting.iter().filter(|(at, _)| *at == host).count();
    let mut total = counted
        .map(|host| state.machines[host].running() + starting_there(host))
        .sum::<usize>();
    let mut any = false;
    for action in &plan.actions {
        let Action::Start { slot, release } = action else {
            continue;
        };
        let (host, port) = (minds.index(&slot.host), port_index(slot.port));
        if starting.contains(&(host, port)) {
            return Err(format!(
                "{action}: another start is under way in the same slot"
            ));
        }
        if state.machines[host].slots[usize::from(port)].is_some() {
            return Err(format!("{action}: the slot is taken"));
        }
        if !state.machines[host].holds(release_of(release)) {
            return Err(format!("{action}: the release is not on the host"));
        }
        total += 1;
        any = true;
    }
    if any && total > config.ceiling() {
        return Err(format!(
            "after the ordered starts {total} instances may run, and at most {} may",
            config.ceiling()
        ));
    }
    Ok(())
}

fn starts_are_on_ports_of_the_release(config: &Config, plan: &Plan) -> Result<(), String> {
    let misplaced = plan.actions.iter().find(|action| match action {
        Action::Start { slot, release } => {
            !config.ports_of(release_of(release)).contains(&slot.port)
        }
        _ => false,
    });
    misplaced.map_or(Ok(()), |action| {
        Err(format!("the release has no such port: {action}"))
    })
}

fn prunes_spare_what_is_needed(
    minds: &Controllers,
    state: &State,
    plan: &Plan,
) -> Result<(), String> {
    for action in &plan.actions {
        let Action::Prune { host, releases } = action else {
            continue;
        };
        let machine = &state.machines[minds.index(host)];
        for release in releases.iter().map(release_of) {
            let runs = machine.instances().any(|is| is.release == release);
            if runs || KEPT.contains(&release) {
                return Err(format!(
                    "{} is pruned on {host}, though it runs or is kept",
                    release.word()
                ));
            }
        }
    }
    Ok(())
}

fn something_is_awaited(state: &State, plan: &Plan) -> Result<(), String> {
    let idle = plan.actions.is_empty() && state.flights.iter().all(Option::is_none);
    if plan.next == Next::AwaitInFlight && idle {
        return Err("the end of an order in flight is awaited, and none is in flight".into());
    }
    if let Next::Finish(_) = plan.next
        && !idle
    {
        return Err("the rollout ends while orders are in flight".into());
    }
    Ok(())
}

/// Whoever says that the fleet is on a release must be right.
fn the_end_is_true(
    config: &Config,
    minds: &Controllers,
    state: &State,
    outcome: &Outcome,
) -> Result<(), String> {
    let Some(controller) = &state.controller else {
        return Ok(());
    };
    let rollout = minds.rollout(controller);
    let release = match outcome {
        Outcome::Succeeded => release_of(&rollout.goal.release),
        Outcome::RolledBack => Release::Old,
        _ => return Ok(()),
    };
    // What a dead controller's command may have changed, on a host that has not been seen to refuse
    // it, nobody knows.
    let known = (0..HOSTS).filter(|host| controller.view[*host].has_seen(rollout.epoch));
    let known = known.filter(|host| !is_written_off(minds, state, *host));
    // Where the hosts that are not left behind have no room for all, what they have room for will
    // do, and what is on the others stays.
    let may_carry =
        |host: &usize| config.drained != Some(*host) && !minds.is_left_behind(controller, *host);
    let taking_part = (0..config.hosts).filter(may_carry).count();
    let wanted = config.replicas.min(taking_part * config.ports);
    let known: Vec<_> = known
        .filter(|host| wanted == config.replicas || !minds.is_left_behind(controller, *host))
        .collect();
    if known
        .iter()
        .any(|host| config.drained == Some(*host) && state.machines[*host].running() > 0)
    {
        return Err(format!(
            "the rollout ends as {}, and something runs on a host that is drained",
            outcome.word()
        ));
    }
    let running: Vec<_> = known
        .into_iter()
        .flat_map(|host| state.machines[host].instances())
        .collect();
    let serving = serving(state);
    let right = running
        .iter()
        .all(|is| (is.runs() && is.release == release) || serving.contains(&is.name));
    if !right || running.len() > config.replicas || serving.len() < wanted {
        return Err(format!(
            "the rollout ends as {}, but that is not how the fleet stands",
            outcome.word()
        ));
    }
    Ok(())
}

/// The invariants at the moment at which a command takes effect; `before` is the state until then.
pub(crate) fn landing(
    config: &Config,
    before: &State,
    after: &State,
    host: usize,
    order: Order,
) -> Result<(), String> {
    let running = |state: &State| {
        state
            .machines
            .iter()
            .map(super::world::Machine::running)
            .sum::<usize>()
    };
    // What is on a host that was written off may be back by now.
    let ceiling = config.ceiling() + config.max_failed_hosts * config.ports;
    if running(after) > running(before).max(ceiling) {
        return Err(format!(
            "{} instances run, and at most {} may",
            running(after),
            config.ceiling()
        ));
    }
    let Order::Stop { .. } = order else {
        return Ok(());
    };
    let serves = |state: &State| {
        let machines = state.machines.iter().filter(|machine| machine.up);
        machines
            .flat_map(super::world::Machine::instances)
            .filter(|is| is.life == Life::Ready)
            .count()
    };
    // What the environment has taken away since the order was given is not the order's doing.
    let excused = config.harm_done(before);
    if serves(after) < serves(before) && serves(after) + excused < config.floor() {
        return Err(format!(
            "a stop on h{} leaves {} serving instances; at least {} must stay (harm by the \
             environment: {excused})",
            host + 1,
            serves(after),
            config.floor()
        ));
    }
    Ok(())
}
