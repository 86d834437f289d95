//! The simulated world: its hosts, its clock and its log.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use ship::core::ids::{Epoch, HostId, InstanceId, Revision, SlotNumber};
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::time::Time;
use ship::engine::Clock;
use ship_testing::rng::SeededRng;
use tokio::time::Instant;

use super::defects::Defect;
use super::invariants::{Cause, Checker};
use super::machine::{Answers, Machine, ProcessState, Running, StoredRecord};
use super::scenario::{Scenario, release_id};

/// When every run begins.
pub(crate) const START: Time = Time(1_489_027_344_000);

/// Reads of the clock at one moment after which the code under test is looping.
const CLOCK_READS_MAX: u32 = 100_000;

/// The world of one run.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) defect: Defect,
    started: Instant,
    state: Mutex<State>,
    clock_reads: Mutex<(Time, u32)>,
}

/// The part of the world that changes.
pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) rng: SeededRng,
    pub(crate) machines: BTreeMap<HostId, Machine>,
    pub(crate) checker: Checker,
    /// Whether no more random faults occur.
    pub(crate) faults_ended: bool,
    /// The gate that some releases check, see [`super::scenario::Quality::Gated`].
    pub(crate) is_gate_open: bool,
    /// Scripts that run now, on any host.
    pub(crate) scripts: u32,
    /// How often each situation occurred.
    pub(crate) tally: Tally,
    trace: Option<String>,
    numbers: u64,
}

/// How often each situation occurred.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

impl World {
    /// The world before the first call. Simulated time starts now, by the clock of the current
    /// runtime.
    pub(crate) fn new(
        scenario: Scenario,
        rng: SeededRng,
        defect: Defect,
        is_traced: bool,
    ) -> Arc<Self> {
        let mut machines: BTreeMap<HostId, Machine> = BTreeMap::new();
        for host in &scenario.hosts {
            let machine = Machine {
                is_on: true,
                is_connected: true,
                boot: 1,
                epoch: Epoch(1),
                ..Machine::default()
            };
            machines.insert(host.clone(), machine);
        }
        let state = State {
            now: START,
            rng,
            machines,
            checker: Checker::new(&scenario),
            faults_ended: false,
            is_gate_open: false,
            scripts: 0,
            tally: Tally::new(),
            trace: is_traced.then(String::new),
            numbers: 0,
        };
        let world = Self {
            scenario,
            defect,
            started: Instant::now(),
            state: Mutex::new(state),
            clock_reads: Mutex::default(),
        };
        world.populate();
        Arc::new(world)
    }

    /// Adds the instances that run before the first call.
    fn populate(&self) {
        let mut state = self.lock();
        let slots = self
            .scenario
            .slots
            .iter()
            .flat_map(|number| self.scenario.hosts.iter().map(move |host| (host, *number)));
        for (at, (host, number)) in slots.enumerate() {
            let machine = state
                .machines
                .get_mut(host)
                .expect("a host of the scenario");
            machine.releases.insert(release_id(0));
            if at < self.scenario.initial_instances as usize {
                let answers = Answers::Ok;
                let process_state = ProcessState::Running(Running {
                    process: 0,
                    listens: true,
                    answers,
                    is_ending: false,
                });
                let record = StoredRecord {
                    name: InstanceId::from(format!("first-{host}-{number}")),
                    release: release_id(0),
                    revision: Revision(1),
                    started: Time(START.0 - 3_600_000),
                    restarts: 0,
                    is_enabled: true,
                    lingering: None,
                    state: process_state,
                };
                machine.slots.insert(number, record);
            }
        }
        for host in &self.scenario.hosts {
            state.on_host_changed(host, &Cause::World);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("the lock is not poisoned");
        state.now = self.now();
        state
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        let now = START + self.started.elapsed();
        let is_looping = {
            let mut clock_reads = self.clock_reads.lock().expect("the lock is not poisoned");
            *clock_reads = if clock_reads.0 == now && clock_reads.1 < CLOCK_READS_MAX {
                (now, clock_reads.1 + 1)
            } else {
                (now, 0)
            };
            clock_reads.1 == CLOCK_READS_MAX
        };
        assert!(
            !is_looping,
            "the code is looping: it read the clock {CLOCK_READS_MAX} times at one moment"
        );
        now
    }
}

impl State {
    /// A number that was not used before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Adds a line to the trace, if the run is traced.
    pub(crate) fn log(&mut self, who: impl Display, what: impl Display) {
        if let Some(trace) = &mut self.trace {
            let ms = self.now.0 - START.0;
            let _ = writeln!(
                trace,
                "{:>5}.{:03}  {:<5} {what}",
                ms / 1000,
                ms % 1000,
                who.to_string()
            );
        }
    }

    pub(crate) fn take_trace(&mut self) -> String {
        self.trace.take().unwrap_or_default()
    }

    /// Counts a situation.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Counts the situation that an event describes.
    pub(crate) fn count_event(&mut self, event: &Event) {
        let what = match event {
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            } => "a rollout rolls back",
            Event::RolloutFailed {
                then: FailureResponse::Hold { .. },
                ..
            } => "a rollout is held",
            Event::HostFailed { .. } => "a host fails",
            Event::Paused { .. } => "a rollout is paused",
            Event::Aborted { .. } => "a rollout is aborted",
            Event::HostLost { .. } => "a host is lost during a rollout",
            Event::HostRecovered { .. } => "a lost host is reachable again",
            Event::InstanceNotReady { .. } => "an instance is no longer ready",
            Event::Fenced { .. } => "a host rejects a controller",
            Event::Interrupted { .. } => "a rollout is interrupted",
            Event::RolloutFinished { outcome } => match outcome {
                Outcome::Succeeded => "a rollout ends: succeeded",
                Outcome::RolledBack => "a rollout ends: rolled back",
                Outcome::Held { .. } => "a rollout ends: held",
                Outcome::RollbackFailed { .. } => "a rollout ends: rollback failed",
                Outcome::Fenced { .. } => "a rollout ends: fenced",
                Outcome::Interrupted => "a rollout ends: interrupted",
                Outcome::WindowClosed { .. } => "a rollout ends: closed",
                Outcome::Paused { .. } => "a rollout ends: paused",
            },
            _ => return,
        };
        self.count(what);
    }

    /// Draws whether a fault occurs, with this probability in thousandths. Never after the random
    /// faults have ended.
    pub(crate) fn draw_fault(&mut self, per_mille: u32) -> bool {
        !self.faults_ended && per_mille > 0 && self.rng.chance(per_mille)
    }

    pub(crate) fn machine(&mut self, host: &HostId) -> &mut Machine {
        self.machines
            .get_mut(host)
            .expect("actions only name hosts of the scenario")
    }

    pub(crate) fn record(
        &mut self,
        host: &HostId,
        number: SlotNumber,
    ) -> Option<&mut StoredRecord> {
        self.machine(host).slots.get_mut(&number)
    }

    /// Whether control machines can reach a host.
    pub(crate) fn is_reachable(&self, host: &HostId) -> bool {
        self.machines
            .get(host)
            .is_some_and(|machine| machine.is_on && machine.is_connected)
    }

    /// Reports the present state of a host to the checker.
    pub(crate) fn on_host_changed(&mut self, host: &HostId, cause: &Cause) {
        self.checker
            .on_host_changed(self.now, host, &self.machines[host], cause);
    }
}
