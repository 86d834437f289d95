//! How an instance lives: it comes up, it behaves as its release does, it ends.

use std::sync::Arc;
use std::time::Duration;

use ship::core::ids::{HostId, Port};
use ship::core::release::Driver;
use tokio::time::sleep;

use super::judge::Cause;
use super::machine::{Answers, Armed, Life, Machine, Record, Running};
use super::scene::Quality;
use super::sim::{Sim, State};

/// What a supervisor waits before it starts again what has ended.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// From one look at the gate to the next.
const GATE_INTERVAL: Duration = Duration::from_millis(100);

/// A process of an instance, and where it is.
#[derive(Clone)]
pub(crate) struct Being {
    sim: Arc<Sim>,
    host: HostId,
    port: Port,
    process: u64,
}

/// Starts the process of the instance in a slot.
pub(crate) fn launch(sim: &Arc<Sim>, state: &mut State, host: &HostId, port: Port, cause: &Cause) {
    let process = state.number();
    let Some(record) = state.record(host, port) else {
        return;
    };
    record.life = Life::Running(Running {
        process,
        listens: false,
        answers: Answers::Well,
        is_ending: false,
    });
    let quality = sim.scene.quality(&record.release);
    let name = record.name.clone();
    state.tell(host, format_args!("{name} runs at port {port}"));
    state.changed(host, cause);
    let being = Being {
        sim: Arc::clone(sim),
        host: host.clone(),
        port,
        process,
    };
    tokio::spawn(async move { being.live(quality).await });
}

/// Ends a process, if it is still there. What is enabled is started again.
pub(crate) fn end(
    sim: &Arc<Sim>,
    state: &mut State,
    host: &HostId,
    port: Port,
    process: u64,
    how: &'static str,
) {
    let Some(record) = state
        .record(host, port)
        .filter(|record| is_process(&record.life, process))
    else {
        return;
    };
    record.life = Life::Ended { how };
    let (name, is_enabled) = (record.name.clone(), record.is_enabled);
    state.tell(host, format_args!("{name} ends ({how})"));
    state.changed(host, &Cause::World);
    if is_enabled && sim.scene.driver == Driver::Systemd {
        let boot = state.machine(host).boot;
        let being = Being {
            sim: Arc::clone(sim),
            host: host.clone(),
            port,
            process,
        };
        tokio::spawn(async move {
            sleep(RESTART_AFTER).await;
            being.start_again(boot, 1);
        });
    }
}

/// What a host does when it comes up: what is enabled is started.
pub(crate) fn boot(sim: &Arc<Sim>, state: &mut State, host: &HostId) {
    if sim.scene.driver != Driver::Systemd {
        return;
    }
    let machine = state.machine(host);
    let boot = machine.boot;
    for (port, armed) in &machine.armed {
        // Its timer is gone: where nothing has taken its place, it comes back with the others.
        let record = Record {
            life: Life::Ended { how: "not started" },
            is_enabled: true,
            ..armed.record.clone()
        };
        machine.slots.entry(*port).or_insert(record);
    }
    machine
        .armed
        .retain(|port, armed| machine.slots[port].name != armed.record.name);
    let ports: Vec<Port> = machine.slots.keys().copied().collect();
    for port in ports {
        let wait = state.dice.millis(100..=4000);
        let being = Being {
            sim: Arc::clone(sim),
            host: host.clone(),
            port,
            process: 0,
        };
        tokio::spawn(async move {
            sleep(wait).await;
            being.start_again(boot, 0);
        });
    }
}

/// Counts the time until a host brings an instance back; it is disarmed before, or the host goes
/// down.
pub(crate) fn arm(sim: &Arc<Sim>, state: &mut State, host: &HostId, port: Port, after: Duration) {
    let number = state.number();
    let machine = state.machine(host);
    let Some(record) = machine.slots.get(&port).cloned() else {
        return;
    };
    machine.armed.insert(port, Armed { number, record });
    let boot = machine.boot;
    state.count("a host is armed to bring an instance back");
    let (sim, host) = (Arc::clone(sim), host.clone());
    tokio::spawn(async move {
        sleep(after).await;
        restore(&sim, &host, port, number, boot).await;
    });
}

/// Brings back what is armed, under the lock; whatever instance is in the slot goes first.
async fn restore(sim: &Arc<Sim>, host: &HostId, port: Port, number: u64, boot: u64) {
    let is_due = |machine: &Machine| {
        machine.is_on
            && machine.boot == boot
            && machine
                .armed
                .get(&port)
                .is_some_and(|armed| armed.number == number)
    };
    loop {
        {
            let mut state = sim.lock();
            let machine = state.machine(host);
            if !is_due(machine) {
                return;
            }
            if machine.lock.is_none() {
                machine.lock = Some(number);
                break;
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    if let Some(record) = sim.lock().record(host, port) {
        record.is_enabled = false;
        if let Life::Running(running) = &mut record.life {
            (running.listens, running.is_ending) = (false, true);
        }
    }
    let stopping = sim.lock().dice.millis(20..=2500);
    sim.lock().changed(host, &Cause::World);
    sleep(stopping).await;
    let mut state = sim.lock();
    if !is_due(state.machine(host)) {
        return;
    }
    let (now, machine) = (state.now, state.machine(host));
    machine.lock = None;
    let Some(Armed { record, .. }) = machine.armed.remove(&port) else {
        return;
    };
    let record = Record {
        started: now,
        restarts: 0,
        is_enabled: true,
        life: Life::Unborn,
        ..record
    };
    machine.slots.insert(port, record);
    state.count("a host brings an instance back by itself");
    state.changed(host, &Cause::World);
    launch(sim, &mut state, host, port, &Cause::World);
}

fn is_process(life: &Life, process: u64) -> bool {
    matches!(life, Life::Running(running) if running.process == process)
}

impl Being {
    fn start_again(&self, boot: u64, restarts: u32) {
        let mut state = self.sim.lock();
        let machine = state.machine(&self.host);
        if !machine.is_on || machine.boot != boot {
            return;
        }
        let Some(record) = machine.slots.get_mut(&self.port) else {
            return;
        };
        if !record.is_enabled || !matches!(record.life, Life::Ended { .. }) {
            return;
        }
        record.restarts += restarts;
        state.count("an instance is started again by its host");
        launch(&self.sim, &mut state, &self.host, self.port, &Cause::World);
    }

    async fn live(&self, quality: Quality) {
        let up_in = match quality {
            Quality::Slow => 3000..=8000,
            _ => 50..=1500,
        };
        let up_in = self.sim.lock().dice.millis(up_in);
        sleep(up_in).await;
        match quality {
            Quality::Good | Quality::Slow => self.listen(Answers::Well),
            Quality::Gated => {
                while self.is_there() && !self.is_gate_open() {
                    sleep(GATE_INTERVAL).await;
                }
                self.listen(Answers::Well);
            }
            Quality::Fragile | Quality::Needy => {
                if self.is_gate_open() == (quality == Quality::Needy) {
                    self.listen(Answers::Well);
                } else {
                    self.end("exit status 7");
                }
            }
            Quality::Refuses => self.listen(Answers::Wrongly),
            Quality::Mute => {}
            Quality::Exits => {
                if self.sim.lock().dice.chance(500) {
                    self.listen(Answers::Well);
                }
                self.after(0..=1500).await;
                self.end("exit status 1");
            }
            Quality::Flaps => {
                self.listen(Answers::Well);
                while self.is_there() {
                    self.after(500..=8000).await;
                    self.answer(Answers::Wrongly);
                    self.after(500..=8000).await;
                    self.answer(Answers::Well);
                }
            }
            Quality::Sickens => {
                self.listen(Answers::Well);
                self.after(1000..=25_000).await;
                self.answer(Answers::Wrongly);
            }
        }
    }

    async fn after(&self, range: std::ops::RangeInclusive<u64>) {
        let wait = self.sim.lock().dice.millis(range);
        sleep(wait).await;
    }

    fn is_gate_open(&self) -> bool {
        self.sim.lock().is_gate_open
    }

    fn is_there(&self) -> bool {
        let mut state = self.sim.lock();
        state
            .record(&self.host, self.port)
            .is_some_and(|record| is_process(&record.life, self.process))
    }

    fn listen(&self, answers: Answers) {
        let mut state = self.sim.lock();
        if state.machine(&self.host).strangers.contains(&self.port) {
            return end(
                &self.sim,
                &mut state,
                &self.host,
                self.port,
                self.process,
                "the port is in use",
            );
        }
        let Some(process) = self
            .process(&mut state)
            .filter(|process| !process.is_ending)
        else {
            return;
        };
        (process.listens, process.answers) = (true, answers);
        state.changed(&self.host, &Cause::World);
    }

    fn answer(&self, answers: Answers) {
        let mut state = self.sim.lock();
        let Some(process) = self.process(&mut state) else {
            return;
        };
        process.answers = answers;
        state.tell(
            &self.host,
            format_args!("port {} now answers {answers:?}", self.port),
        );
        state.changed(&self.host, &Cause::World);
    }

    fn process<'a>(&self, state: &'a mut State) -> Option<&'a mut Running> {
        state.record(&self.host, self.port)?.process(self.process)
    }

    fn end(&self, how: &'static str) {
        let mut state = self.sim.lock();
        end(
            &self.sim,
            &mut state,
            &self.host,
            self.port,
            self.process,
            how,
        );
    }
}
