//! The life of an instance: its process starts, behaves as its release does, and exits.

use std::sync::Arc;
use std::time::Duration;

use ship::core::ids::{HostId, SlotNumber};
use ship::core::release::Driver;
use tokio::time::sleep;

use super::invariants::Cause;
use super::machine::{Answers, Armed, Machine, ProcessState, Running, StoredRecord};
use super::scenario::Quality;
use super::world::{State, World};

/// How long a supervisor waits before it restarts an instance.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// How often an instance checks the gate.
const GATE_INTERVAL: Duration = Duration::from_millis(100);

/// One process of an instance.
#[derive(Clone)]
pub(crate) struct InstanceProcess {
    world: Arc<World>,
    host: HostId,
    slot: SlotNumber,
    process: u64,
}

/// Starts the process of the instance in a slot.
pub(crate) fn start(
    world: &Arc<World>,
    state: &mut State,
    host: &HostId,
    slot: SlotNumber,
    cause: &Cause,
) {
    let process = state.next_number();
    let Some(record) = state.record(host, slot) else {
        return;
    };
    record.state = ProcessState::Running(Running {
        process,
        listens: false,
        answers: Answers::Ok,
        is_ending: false,
    });
    let quality = world.scenario.quality(&record.release);
    let name = record.name.clone();
    state.log(host, format_args!("{name} runs at slot {slot}"));
    state.on_host_changed(host, cause);
    let instance = InstanceProcess {
        world: Arc::clone(world),
        host: host.clone(),
        slot,
        process,
    };
    tokio::spawn(async move { instance.run(quality).await });
}

/// Ends a process, unless it has exited already. An enabled instance is restarted.
pub(crate) fn end_process(
    world: &Arc<World>,
    state: &mut State,
    host: &HostId,
    slot: SlotNumber,
    process: u64,
    how: &'static str,
) {
    let Some(record) = state
        .record(host, slot)
        .filter(|record| is_process(&record.state, process))
    else {
        return;
    };
    record.state = ProcessState::Exited { how };
    let (name, is_enabled) = (record.name.clone(), record.is_enabled);
    state.log(host, format_args!("{name} ends ({how})"));
    state.on_host_changed(host, &Cause::World);
    if is_enabled && world.scenario.driver == Driver::Systemd {
        let boot = state.machine(host).boot;
        let instance = InstanceProcess {
            world: Arc::clone(world),
            host: host.clone(),
            slot,
            process,
        };
        tokio::spawn(async move {
            sleep(RESTART_DELAY).await;
            instance.restart(boot, 1);
        });
    }
}

/// Starts the enabled instances of a host that has booted.
pub(crate) fn boot(world: &Arc<World>, state: &mut State, host: &HostId) {
    if world.scenario.driver != Driver::Systemd {
        return;
    }
    let machine = state.machine(host);
    let boot = machine.boot;
    for (slot, armed) in &machine.armed {
        // The boot has removed the timer. Where the slot is empty, the armed instance starts, too.
        let record = StoredRecord {
            state: ProcessState::Exited { how: "not started" },
            is_enabled: true,
            ..armed.record.clone()
        };
        let present = machine.slots.get(slot);
        if present.is_none_or(|present| present.name == record.name) {
            machine.slots.insert(*slot, record);
        }
    }
    machine
        .armed
        .retain(|slot, armed| machine.slots[slot].name != armed.record.name);
    let ports: Vec<SlotNumber> = machine.slots.keys().copied().collect();
    for slot in ports {
        let wait = state.rng.millis(100..=4000);
        let instance = InstanceProcess {
            world: Arc::clone(world),
            host: host.clone(),
            slot,
            process: 0,
        };
        tokio::spawn(async move {
            sleep(wait).await;
            instance.restart(boot, 0);
        });
    }
}

/// Starts the timer after which a host restores an instance, unless ship disarms it before or the
/// host loses power.
pub(crate) fn arm(
    world: &Arc<World>,
    state: &mut State,
    host: &HostId,
    slot: SlotNumber,
    after: Duration,
) {
    let number = state.next_number();
    let machine = state.machine(host);
    let Some(record) = machine.slots.get(&slot).cloned() else {
        return;
    };
    machine.armed.insert(slot, Armed { number, record });
    let boot = machine.boot;
    state.count("a host is armed to restore an instance");
    let (world, host) = (Arc::clone(world), host.clone());
    tokio::spawn(async move {
        sleep(after).await;
        restore(&world, &host, slot, number, boot).await;
    });
}

/// Restores the armed instance under the lock, and stops the present one before.
async fn restore(world: &Arc<World>, host: &HostId, slot: SlotNumber, number: u64, boot: u64) {
    let is_due = |machine: &Machine| {
        machine.is_on
            && machine.boot == boot
            && machine
                .armed
                .get(&slot)
                .is_some_and(|armed| armed.number == number)
    };
    loop {
        {
            let mut state = world.lock();
            let machine = state.machine(host);
            if !is_due(machine) {
                return;
            }
            let lingers = machine
                .slots
                .get(&slot)
                .is_some_and(|record| record.lingering.is_some() && record.is_running());
            if machine.lock.is_none() && !lingers {
                machine.lock = Some(number);
                break;
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    if let Some(record) = world.lock().record(host, slot) {
        record.is_enabled = false;
        if let ProcessState::Running(running) = &mut record.state {
            (running.listens, running.is_ending) = (false, true);
        }
    }
    let stopping = world.lock().rng.millis(20..=2500);
    world.lock().on_host_changed(host, &Cause::World);
    sleep(stopping).await;
    let mut state = world.lock();
    if !is_due(state.machine(host)) {
        return;
    }
    let (now, machine) = (state.now, state.machine(host));
    machine.lock = None;
    let Some(Armed { record, .. }) = machine.armed.remove(&slot) else {
        return;
    };
    let record = StoredRecord {
        started: now,
        restarts: 0,
        is_enabled: true,
        state: ProcessState::NotStarted,
        ..record
    };
    machine.slots.insert(slot, record);
    state.count("a host restores an instance on its own");
    state.on_host_changed(host, &Cause::World);
    start(world, &mut state, host, slot, &Cause::World);
}

fn is_process(state: &ProcessState, process: u64) -> bool {
    matches!(state, ProcessState::Running(running) if running.process == process)
}

impl InstanceProcess {
    fn restart(&self, boot: u64, restarts: u32) {
        let mut state = self.world.lock();
        let machine = state.machine(&self.host);
        if !machine.is_on || machine.boot != boot {
            return;
        }
        let Some(record) = machine.slots.get_mut(&self.slot) else {
            return;
        };
        if !record.is_enabled || !matches!(record.state, ProcessState::Exited { .. }) {
            return;
        }
        record.restarts += restarts;
        state.count("an instance is restarted by its host");
        start(
            &self.world,
            &mut state,
            &self.host,
            self.slot,
            &Cause::World,
        );
    }

    async fn run(&self, quality: Quality) {
        let startup_time = match quality {
            Quality::Slow => 3000..=8000,
            _ => 50..=1500,
        };
        let startup_time = self.world.lock().rng.millis(startup_time);
        sleep(startup_time).await;
        match quality {
            Quality::Good | Quality::Slow => self.listen(Answers::Ok),
            Quality::Gated => {
                while self.is_running() && !self.is_gate_open() {
                    sleep(GATE_INTERVAL).await;
                }
                self.listen(Answers::Ok);
            }
            Quality::Fragile | Quality::Needy => {
                if self.is_gate_open() == (quality == Quality::Needy) {
                    self.listen(Answers::Ok);
                } else {
                    self.end("exit status 7");
                }
            }
            Quality::ServesErrors => self.listen(Answers::Error),
            Quality::Mute => {}
            Quality::Exits => {
                if self.world.lock().rng.chance(500) {
                    self.listen(Answers::Ok);
                }
                self.wait(0..=1500).await;
                self.end("exit status 1");
            }
            Quality::Flaps => {
                self.listen(Answers::Ok);
                while self.is_running() {
                    self.wait(500..=8000).await;
                    self.set_answers(Answers::Error);
                    self.wait(500..=8000).await;
                    self.set_answers(Answers::Ok);
                }
            }
            Quality::Degrades => {
                self.listen(Answers::Ok);
                self.wait(1000..=25_000).await;
                self.set_answers(Answers::Error);
            }
        }
    }

    async fn wait(&self, range: std::ops::RangeInclusive<u64>) {
        let wait = self.world.lock().rng.millis(range);
        sleep(wait).await;
    }

    fn is_gate_open(&self) -> bool {
        self.world.lock().is_gate_open
    }

    fn is_running(&self) -> bool {
        let mut state = self.world.lock();
        state
            .record(&self.host, self.slot)
            .is_some_and(|record| is_process(&record.state, self.process))
    }

    fn listen(&self, answers: Answers) {
        let mut state = self.world.lock();
        if state.machine(&self.host).strangers.contains(&self.slot) {
            return end_process(
                &self.world,
                &mut state,
                &self.host,
                self.slot,
                self.process,
                "the slot is in use",
            );
        }
        let Some(process) = self
            .process(&mut state)
            .filter(|process| !process.is_ending)
        else {
            return;
        };
        (process.listens, process.answers) = (true, answers);
        state.on_host_changed(&self.host, &Cause::World);
    }

    fn set_answers(&self, answers: Answers) {
        let mut state = self.world.lock();
        let Some(process) = self.process(&mut state) else {
            return;
        };
        process.answers = answers;
        state.log(
            &self.host,
            format_args!("slot {} now answers {answers:?}", self.slot),
        );
        state.on_host_changed(&self.host, &Cause::World);
    }

    fn process<'a>(&self, state: &'a mut State) -> Option<&'a mut Running> {
        state.record(&self.host, self.slot)?.process(self.process)
    }

    fn end(&self, how: &'static str) {
        let mut state = self.world.lock();
        end_process(
            &self.world,
            &mut state,
            &self.host,
            self.slot,
            self.process,
            how,
        );
    }
}
