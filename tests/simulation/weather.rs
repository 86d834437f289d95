//! What happens in the world by itself: hosts vanish and return, instances die and get stuck,
//! strangers come.

use std::sync::Arc;
use std::time::Duration;

use ship::core::ids::{HostId, Port};
use tokio::time::sleep;

use super::judge::Cause;
use super::life;
use super::machine::{Answers, Life, Machine};
use super::sim::{Sim, State};

/// Makes weather until the world is calm.
pub(crate) async fn make(sim: Arc<Sim>) {
    let Some(gap) = sim.scene.hostility.weather else {
        return;
    };
    let most = u64::try_from(gap.as_millis()).expect("short");
    loop {
        let pause = sim.lock().dice.millis(200..=most);
        sleep(pause).await;
        if sim.lock().is_calm {
            return;
        }
        happen(&sim);
    }
}

/// Something happens somewhere, and passes after a while.
fn happen(sim: &Arc<Sim>) {
    let mut state = sim.lock();
    let host = state.dice.pick(&sim.scene.hosts).clone();
    let lasts = state.dice.millis(500..=25_000);
    match state.dice.below(9) {
        0 | 1 => partition(&mut state, &host, true),
        2 => power_off(&mut state, &host),
        3 => {
            state.count("no host can be reached");
            sim.scene
                .hosts
                .iter()
                .for_each(|host| partition(&mut state, host, true));
            let sim = Arc::clone(sim);
            tokio::spawn(async move {
                sleep(lasts).await;
                let mut state = sim.lock();
                sim.scene
                    .hosts
                    .iter()
                    .for_each(|host| partition(&mut state, host, false));
            });
            return;
        }
        4 | 5 => return kill(sim, &mut state, &host),
        6 => answer(&mut state, &host, Answers::Never, "an instance is stuck"),
        7 => strangers(sim, &mut state, &host, true),
        _ => {
            state.count("a disk fills up");
            state.tell(&host, "its disk is full");
            state.machine(&host).is_full = true;
        }
    }
    drop(state);
    let sim = Arc::clone(sim);
    tokio::spawn(async move {
        sleep(lasts).await;
        heal(&sim, &mut sim.lock(), &host);
    });
}

/// The world calms down: everything is as it should be again, but for what has ended for good.
pub(crate) fn calm(sim: &Arc<Sim>) {
    let mut state = sim.lock();
    state.is_calm = true;
    state.tell("", "the world calms down");
    sim.scene
        .hosts
        .iter()
        .for_each(|host| heal(sim, &mut state, host));
}

fn heal(sim: &Arc<Sim>, state: &mut State, host: &HostId) {
    partition(state, host, false);
    power_on(sim, state, host);
    strangers(sim, state, host, false);
    answer(state, host, Answers::Well, "");
    state.machine(host).is_full = false;
}

fn partition(state: &mut State, host: &HostId, cut: bool) {
    let machine = state.machine(host);
    if machine.is_connected != cut {
        return;
    }
    machine.is_connected = !cut;
    state.tell(
        host,
        if cut {
            "cannot be reached"
        } else {
            "can be reached again"
        },
    );
    if cut {
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
        record.life = Life::Ended {
            how: "when the host was restarted",
        };
        record.restarts = 0;
    }
    machine.strangers.clear();
    state.count("a host goes down");
    state.tell(host, "goes down");
    state.changed(host, &Cause::World);
}

fn power_on(sim: &Arc<Sim>, state: &mut State, host: &HostId) {
    let machine = state.machine(host);
    if machine.is_on {
        return;
    }
    machine.is_on = true;
    state.tell(host, "comes up");
    state.changed(host, &Cause::World);
    life::boot(sim, state, host);
}

fn kill(sim: &Arc<Sim>, state: &mut State, host: &HostId) {
    if let Some((port, process)) = running(state.machine(host)).first().copied() {
        state.count("an instance dies");
        life::end(sim, state, host, port, process, "signal 9");
    }
}

/// Instances of good releases answer otherwise.
fn answer(state: &mut State, host: &HostId, answers: Answers, what: &'static str) {
    let from = if answers == Answers::Well {
        Answers::Never
    } else {
        Answers::Well
    };
    let machine = state.machine(host);
    let mut any = false;
    for record in machine.slots.values_mut() {
        if let Life::Running(running) = &mut record.life
            && running.answers == from
        {
            (running.answers, any) = (answers, true);
        }
    }
    if any {
        if !what.is_empty() {
            state.count(what);
        }
        state.tell(host, format_args!("its instances now answer {answers:?}"));
        state.changed(host, &Cause::World);
    }
}

fn strangers(sim: &Arc<Sim>, state: &mut State, host: &HostId, come: bool) {
    let machine = state.machine(host);
    if !come {
        if !machine.strangers.is_empty() {
            machine.strangers.clear();
            state.tell(host, "the stranger leaves");
        }
        return;
    }
    let is_free = |port: &&Port| {
        let life = machine.slots.get(port).map(|record| &record.life);
        !matches!(life, Some(Life::Running(running)) if running.listens)
    };
    let Some(port) = sim.scene.ports.iter().find(is_free).copied() else {
        return;
    };
    machine.strangers.insert(port);
    state.count("a stranger takes a port");
    state.tell(host, format_args!("a stranger takes port {port}"));
}

fn running(machine: &Machine) -> Vec<(Port, u64)> {
    let running = machine
        .slots
        .iter()
        .filter_map(|(port, record)| match &record.life {
            Life::Running(running) => Some((*port, running.process)),
            _ => None,
        });
    running.collect()
}

/// What a host may take to be as it should be again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);
