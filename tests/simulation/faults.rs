//! Faults of the world itself: hosts lose power or network, instances die or hang, disks fill up,
//! other programs take ports.

use std::sync::Arc;
use std::time::Duration;

use ship::core::ids::{HostId, SlotNumber};
use tokio::time::sleep;

use super::instance;
use super::invariants::Cause;
use super::machine::{Answers, Machine, ProcessState};
use super::world::{State, World};

/// Injects faults until the random faults end.
pub(crate) async fn inject(world: Arc<World>) {
    let Some(interval_max) = world.scenario.fault_rates.fault_interval_max else {
        return;
    };
    let interval_max_ms = u64::try_from(interval_max.as_millis()).expect("short");
    loop {
        let pause = world.lock().rng.millis(200..=interval_max_ms);
        sleep(pause).await;
        if world.lock().faults_ended {
            return;
        }
        inject_one(&world);
    }
}

/// Injects a fault and repairs it after a while.
fn inject_one(world: &Arc<World>) {
    let mut state = world.lock();
    let host = state.rng.pick(&world.scenario.hosts).clone();
    let duration = state.rng.millis(500..=25_000);
    match state.rng.below(9) {
        0 | 1 => partition(&mut state, &host, true),
        2 => power_off(&mut state, &host),
        3 => {
            state.count("no host can be reached");
            world
                .scenario
                .hosts
                .iter()
                .for_each(|host| partition(&mut state, host, true));
            let world = Arc::clone(world);
            tokio::spawn(async move {
                sleep(duration).await;
                let mut state = world.lock();
                world
                    .scenario
                    .hosts
                    .iter()
                    .for_each(|host| partition(&mut state, host, false));
            });
            return;
        }
        4 | 5 => return kill(world, &mut state, &host),
        6 => set_answers(&mut state, &host, Answers::Never, "an instance is stuck"),
        7 => set_stranger(world, &mut state, &host, true),
        _ => {
            state.count("a disk fills up");
            state.log(&host, "its disk is full");
            state.machine(&host).is_full = true;
        }
    }
    drop(state);
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(duration).await;
        repair(&world, &mut world.lock(), &host);
    });
}

/// Ends all faults and repairs what can be repaired. Instances that have exited stay down.
pub(crate) fn end_all(world: &Arc<World>) {
    let mut state = world.lock();
    state.faults_ended = true;
    state.log("", "the random faults end");
    world
        .scenario
        .hosts
        .iter()
        .for_each(|host| repair(world, &mut state, host));
}

fn repair(world: &Arc<World>, state: &mut State, host: &HostId) {
    partition(state, host, false);
    power_on(world, state, host);
    set_stranger(world, state, host, false);
    set_answers(state, host, Answers::Ok, "");
    state.machine(host).is_full = false;
}

fn partition(state: &mut State, host: &HostId, is_cut: bool) {
    let machine = state.machine(host);
    if machine.is_connected != is_cut {
        return;
    }
    machine.is_connected = !is_cut;
    state.log(
        host,
        if is_cut {
            "cannot be reached"
        } else {
            "can be reached again"
        },
    );
    if is_cut {
        state.count("a host cannot be reached");
    }
}

fn power_off(state: &mut State, host: &HostId) {
    let machine = state.machine(host);
    if !machine.is_on {
        return;
    }
    (machine.is_on, machine.lock) = (false, None);
    machine.boot += 1;
    for record in machine
        .slots
        .values_mut()
        .filter(|record| record.is_running())
    {
        record.state = ProcessState::Exited {
            how: "when the host was restarted",
        };
        record.restarts = 0;
    }
    machine.strangers.clear();
    state.count("a host goes down");
    state.log(host, "goes down");
    state.on_host_changed(host, &Cause::World);
}

fn power_on(world: &Arc<World>, state: &mut State, host: &HostId) {
    let machine = state.machine(host);
    if machine.is_on {
        return;
    }
    machine.is_on = true;
    state.log(host, "boots");
    state.on_host_changed(host, &Cause::World);
    instance::boot(world, state, host);
}

fn kill(world: &Arc<World>, state: &mut State, host: &HostId) {
    if let Some((number, process)) = running(state.machine(host)).first().copied() {
        state.count("an instance is killed");
        instance::end_process(world, state, host, number, process, "signal 9");
    }
}

/// Changes how the instances of a host answer, except those that return errors.
fn set_answers(state: &mut State, host: &HostId, answers: Answers, what: &'static str) {
    let from = if answers == Answers::Ok {
        Answers::Never
    } else {
        Answers::Ok
    };
    let machine = state.machine(host);
    let mut any = false;
    for record in machine.slots.values_mut() {
        if let ProcessState::Running(running) = &mut record.state
            && running.answers == from
        {
            (running.answers, any) = (answers, true);
        }
    }
    if any {
        if !what.is_empty() {
            state.count(what);
        }
        state.log(host, format_args!("its instances now answer {answers:?}"));
        state.on_host_changed(host, &Cause::World);
    }
}

fn set_stranger(world: &Arc<World>, state: &mut State, host: &HostId, is_present: bool) {
    let machine = state.machine(host);
    if !is_present {
        if !machine.strangers.is_empty() {
            machine.strangers.clear();
            state.log(host, "the other program exits");
        }
        return;
    }
    let is_free = |number: &&SlotNumber| {
        let process_state = machine.slots.get(number).map(|record| &record.state);
        !matches!(process_state, Some(ProcessState::Running(running)) if running.listens)
    };
    let Some(number) = world.scenario.slots.iter().find(is_free).copied() else {
        return;
    };
    machine.strangers.insert(number);
    state.count("another program takes a port");
    state.log(host, format_args!("another program takes slot {number}"));
}

fn running(machine: &Machine) -> Vec<(SlotNumber, u64)> {
    let running = machine
        .slots
        .iter()
        .filter_map(|(number, record)| match &record.state {
            ProcessState::Running(running) => Some((*number, running.process)),
            _ => None,
        });
    running.collect()
}

/// How long a host may need after the faults have ended.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);
