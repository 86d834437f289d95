//! The simulated world as a whole, and what is told of it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use ship::core::ids::{Epoch, HostId, InstanceId, Port, Revision};
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::time::Time;
use ship::engine::Clock;
use tokio::time::Instant;

use super::broken::Broken;
use super::dice::Dice;
use super::judge::{Cause, Judge};
use super::machine::{Answers, Life, Machine, Record, Running};
use super::scene::{Scene, release_id};

/// When every run begins.
pub(crate) const START: Time = Time(1_489_027_344_000);

/// Looks at the clock in one moment after which something goes in circles.
const MOST_LOOKS: u32 = 100_000;

/// One simulated world.
pub(crate) struct Sim {
    pub(crate) scene: Scene,
    pub(crate) broken: Broken,
    started: Instant,
    state: Mutex<State>,
    looks: Mutex<(Time, u32)>,
}

/// Everything in it that changes.
pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) dice: Dice,
    pub(crate) machines: BTreeMap<HostId, Machine>,
    pub(crate) judge: Judge,
    /// Whether the world has calmed down: nothing more goes wrong by chance.
    pub(crate) is_calm: bool,
    /// The gate that some releases look at.
    pub(crate) is_gate_open: bool,
    /// Scripts at work on any host.
    pub(crate) scripts: u32,
    /// How often each situation was met.
    pub(crate) tally: Tally,
    trace: Option<String>,
    numbers: u64,
}

/// How often each situation was met.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

impl Sim {
    /// The world before the first call; must be called in the runtime whose time it follows.
    pub(crate) fn new(scene: Scene, dice: Dice, broken: Broken, tells: bool) -> Arc<Self> {
        let mut machines: BTreeMap<HostId, Machine> = BTreeMap::new();
        for host in &scene.hosts {
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
            dice,
            machines,
            judge: Judge::of(scene.hosts.len(), scene.ports.len()),
            is_calm: false,
            is_gate_open: false,
            scripts: 0,
            tally: Tally::new(),
            trace: tells.then(String::new),
            numbers: 0,
        };
        let sim = Self {
            scene,
            broken,
            started: Instant::now(),
            state: Mutex::new(state),
            looks: Mutex::default(),
        };
        sim.populate();
        Arc::new(sim)
    }

    /// The instances that run before the first call.
    fn populate(&self) {
        let mut state = self.lock();
        let slots = self
            .scene
            .ports
            .iter()
            .flat_map(|port| self.scene.hosts.iter().map(move |host| (host, *port)));
        for (at, (host, port)) in slots.enumerate() {
            let machine = state.machines.get_mut(host).expect("a host of the scene");
            machine.releases.insert(release_id(0));
            if at < self.scene.running_at_first as usize {
                let answers = Answers::Well;
                let life = Life::Running(Running {
                    process: 0,
                    listens: true,
                    answers,
                    is_ending: false,
                });
                let record = Record {
                    name: InstanceId::from(format!("first-{host}-{port}")),
                    release: release_id(0),
                    revision: Revision(1),
                    started: Time(START.0 - 3_600_000),
                    restarts: 0,
                    is_enabled: true,
                    life,
                };
                machine.slots.insert(port, record);
            }
        }
        for host in &self.scene.hosts {
            state.changed(host, &Cause::World);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("nobody panics with the state");
        state.now = self.now();
        state
    }
}

impl Clock for Sim {
    fn now(&self) -> Time {
        let now = START + self.started.elapsed();
        let goes_in_circles = {
            let mut looks = self.looks.lock().expect("nobody panics with the clock");
            *looks = if looks.0 == now && looks.1 < MOST_LOOKS {
                (now, looks.1 + 1)
            } else {
                (now, 0)
            };
            looks.1 == MOST_LOOKS
        };
        assert!(
            !goes_in_circles,
            "something goes in circles: the clock was read {MOST_LOOKS} times in one moment"
        );
        now
    }
}

impl State {
    /// A number that nothing else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Tells what happens, where somebody listens.
    pub(crate) fn tell(&mut self, who: impl Display, what: impl Display) {
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

    /// A situation worth counting was met.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Counts what an event tells of.
    pub(crate) fn met(&mut self, event: &Event) {
        let what = match event {
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            } => "a rollout turns back",
            Event::RolloutFailed {
                then: FailureResponse::Hold { .. },
                ..
            } => "a rollout is held",
            Event::HostFailed { .. } => "a host is left behind",
            Event::Paused { .. } => "a rollout is paused",
            Event::Aborted { .. } => "a rollout is aborted",
            Event::HostLost { .. } => "a host is lost in a rollout",
            Event::HostRecovered { .. } => "a lost host is found again",
            Event::InstanceNotReady { .. } => "an instance is no longer ready",
            Event::Fenced { .. } => "a controller learns that it is fenced",
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

    /// Whether something goes wrong now that goes wrong so many times in a thousand, while the
    /// world is hostile.
    pub(crate) fn mishap(&mut self, per_mille: u32) -> bool {
        !self.is_calm && per_mille > 0 && self.dice.chance(per_mille)
    }

    pub(crate) fn machine(&mut self, host: &HostId) -> &mut Machine {
        self.machines
            .get_mut(host)
            .expect("only hosts of the scene are ordered")
    }

    pub(crate) fn record(&mut self, host: &HostId, port: Port) -> Option<&mut Record> {
        self.machine(host).slots.get_mut(&port)
    }

    /// Whether a control machine can reach a host.
    pub(crate) fn is_reachable(&self, host: &HostId) -> bool {
        self.machines
            .get(host)
            .is_some_and(|machine| machine.is_on && machine.is_connected)
    }

    /// Tells the judge that a host is no longer as it was.
    pub(crate) fn changed(&mut self, host: &HostId, cause: &Cause) {
        self.judge.look(self.now, host, &self.machines[host], cause);
    }
}
