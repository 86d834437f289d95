//! The controller under test: the real `plan`, `Rollout` and `Fleet`, driven as the engine drives
//! them.
//!
//! Its view of each host is a small value ([`HostView`]), which becomes a real `Fleet` for planning.
//! Time passes only by explicit steps, so that equal states are equal values.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ship::core::fleet::health::{Change, Health, Thresholds, Verdict};
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Listener, Observation, Occupant, Process, Sighting};
use ship::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision, Slot, SlotNumber};
use ship::core::planner::{Next, Plan};
use ship::core::rollout::Rollout;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{Failure, FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::spec::Spec;
use ship::core::time::Time;

use super::fast_map::FastMap;
use super::world::{
    Command, CommandResult, HOSTS, InstanceName, Machine, Operation, PORTS, ProcessState, Release,
};

pub(crate) const FIRST_PORT: SlotNumber = 8081;
const NOW: Time = Time(1_000_000_000);

/// `plan`, or a planner that is broken on purpose.
pub(crate) type Planner<'a> = dyn Fn(&Spec, &Rollout, &Fleet, Time) -> Plan + 'a;

/// A live controller: its rollout (an index, see [`Controllers`]) and its view of the hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Controller {
    pub(crate) rollout: u32,
    pub(crate) view: [HostView; HOSTS],
}

/// A host as the controller last observed it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HostView {
    pub(crate) lost: bool,
    epoch: u8,
    releases: u8,
    slots: [Option<InstanceView>; PORTS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct InstanceView {
    name: InstanceName,
    release: Release,
    is_running: bool,
    health: ProbeState,
    /// Whether a recent observation found it running. Instances with a listener do not need one.
    is_fresh: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum ProbeState {
    Unprobed,
    Passing,
    Failing,
}

/// The maximum number of starts in one slot, which limits the number of states.
const ATTEMPTS_MAX: u32 = 3;

/// All rollouts of the exploration, each stored once, and their plans.
pub(crate) struct Controllers<'a> {
    spec: Spec,
    planner: &'a Planner<'a>,
    ids: Vec<HostId>,
    workers: bool,
    rollouts: Vec<Rollout>,
    numbers: FastMap<Rollout, u32>,
    plans: FastMap<Controller, Rc<Plan>>,
}

impl<'a> Controllers<'a> {
    pub(crate) fn new(
        spec: Spec,
        ids: Vec<HostId>,
        workers: bool,
        planner: &'a Planner<'a>,
    ) -> Self {
        Self {
            spec,
            planner,
            ids,
            workers,
            rollouts: Vec::new(),
            numbers: FastMap::default(),
            plans: FastMap::default(),
        }
    }

    pub(crate) fn rollout(&self, controller: &Controller) -> &Rollout {
        &self.rollouts[controller.rollout as usize]
    }

    pub(crate) fn outcome(&self, controller: &Controller) -> Option<&Outcome> {
        self.rollout(controller).outcome.as_ref()
    }

    /// Whether a host has failed in a rollout.
    pub(crate) fn is_failed_host(&self, controller: &Controller, host: usize) -> bool {
        self.ids.get(host).is_some_and(|id| {
            self.rollout(controller)
                .attempt
                .failed_hosts
                .contains_key(id)
        })
    }

    /// Starts a new controller, which observes every host.
    pub(crate) fn start(
        &mut self,
        epoch: u8,
        goal: Release,
        rollback_target: Option<Release>,
        machines: &[Machine; HOSTS],
    ) -> Controller {
        let started = Event::RolloutStarted(RolloutStart {
            verb: Verb::Deploy,
            service: "testpage".into(),
            fleet: "model".into(),
            target: revision_ref(goal),
            rollback_target: rollback_target.map(revision_ref),
            replicas: self.spec.budget.replicas,
            rollback_replicas: None,
            epoch: Epoch(epoch.into()),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
        });
        let rollout = Rollout::begin(&Entry {
            at: NOW,
            event: started,
        })
        .expect("the journal begins with RolloutStarted");
        let blank = HostView {
            lost: false,
            epoch: 0,
            releases: 0,
            slots: [None; PORTS],
        };
        let mut controller = Controller {
            rollout: self.number(rollout),
            view: [blank; HOSTS],
        };
        for (host, machine) in machines.iter().enumerate().take(self.ids.len()) {
            self.observe(&mut controller, host, machine);
        }
        controller
    }

    fn number(&mut self, rollout: Rollout) -> u32 {
        if let Some(number) = self.numbers.get(&rollout) {
            return *number;
        }
        let number = u32::try_from(self.rollouts.len()).expect("fewer than four billion");
        self.rollouts.push(rollout.clone());
        self.numbers.insert(rollout, number);
        number
    }

    fn record(&mut self, controller: &mut Controller, events: impl IntoIterator<Item = Event>) {
        let mut rollout = self.rollout(controller).clone();
        for event in events {
            rollout.apply(&Entry { at: NOW, event });
        }
        // The model has no windows and no tasks, so these times must not make states differ.
        (
            rollout.timings.first_change_at,
            rollout.timings.complete_since,
        ) = (None, None);
        rollout.orders.unsettled_since.clear();
        // The backoff before a retry ends at once, except after the last attempt.
        for attempts in rollout.attempt.starts.values_mut() {
            attempts.last = if attempts.count < ATTEMPTS_MAX {
                Time(0)
            } else {
                Time(u64::MAX)
            };
            attempts.ended = None;
        }
        controller.rollout = self.number(rollout);
    }

    /// Plans twice: the same inputs must produce the same plan.
    pub(crate) fn plan(&mut self, controller: &Controller) -> Result<Rc<Plan>, String> {
        if let Some(plan) = self.plans.get(controller) {
            return Ok(Rc::clone(plan));
        }
        let fleet = self.fleet(controller);
        let rollout = self.rollout(controller);
        let plan = (self.planner)(&self.spec, rollout, &fleet, NOW);
        if plan != (self.planner)(&self.spec, rollout, &fleet, NOW) {
            return Err("the same inputs produce two different plans".into());
        }
        let plan = Rc::new(plan);
        self.plans.insert(*controller, Rc::clone(&plan));
        Ok(plan)
    }

    /// The plan for a controller in this state, if there is one.
    pub(crate) fn planned(&self, controller: &Controller) -> Option<&Plan> {
        self.plans.get(controller).map(Rc::as_ref)
    }

    /// Records the actions or the decision of a plan; returns the commands to send, by host.
    pub(crate) fn apply_plan(
        &mut self,
        controller: &mut Controller,
        plan: &Plan,
    ) -> Vec<(usize, Command)> {
        let mut commands = Vec::new();
        for action in &plan.actions {
            let host = self.index(action.host());
            let command = self.command(controller, host, action);
            let instance = match command.operation {
                Operation::Start { name, .. } => Some(instance_id(name)),
                _ => None,
            };
            // A host has one action at a time, so that the action can have the number of its host.
            // Equal states stay equal.
            let id = action_id(host);
            self.record(
                controller,
                [Event::ActionStarted {
                    id,
                    action: action.clone(),
                    instance,
                }],
            );
            commands.push((host, command));
        }
        match &plan.next {
            Next::Fail(_, then) => {
                let then = match then {
                    FailureResponse::RollBack => FailureResponse::RollBack,
                    FailureResponse::Hold { .. } => FailureResponse::Hold { why: "held".into() },
                };
                let event = Event::RolloutFailed {
                    failure: some_failure(),
                    log: Vec::new(),
                    then,
                };
                self.record(controller, [event]);
            }
            Next::FailHost(failure) => {
                let host = failure.host.clone();
                let failure = Failure {
                    host,
                    kind: failure.kind,
                    ..some_failure()
                };
                self.record(
                    controller,
                    [Event::HostFailed {
                        failure,
                        log: Vec::new(),
                    }],
                );
            }
            Next::Finish(outcome) => {
                let outcome = match outcome {
                    Outcome::RollbackFailed { .. } => Outcome::RollbackFailed {
                        failure: some_failure(),
                    },
                    other => other.clone(),
                };
                self.record(controller, [Event::RolloutFinished { outcome }]);
            }
            Next::Wake(_) | Next::AwaitInFlight => {}
            Next::StepReached(..) | Next::StepPassed => unreachable!("the model has no steps"),
            Next::Run(_) => unreachable!("the model has no tasks"),
        }
        commands
    }

    fn command(&self, controller: &Controller, host: usize, action: &Action) -> Command {
        let rollout = self.rollout(controller);
        let epoch = u8::try_from(rollout.epoch.0).expect("epochs are few");
        let operation = match action {
            // The model has no dead-man switches.
            Action::Claim { .. } | Action::Disarm { .. } => Operation::Claim,
            Action::Stage { release, .. } => Operation::Stage(release_of(release)),
            Action::Admit { .. } | Action::Drain { .. } => {
                unreachable!("the model has no balancers")
            }
            Action::Prune { releases, .. } => Operation::Prune(mask(releases)),
            Action::Stop { slot, instance, .. } => Operation::Stop {
                number: port_index(slot.number),
                name: name_of(instance),
            },
            Action::Start { slot, release, .. } => {
                let (number, release) = (port_index(slot.number), release_of(release));
                let attempt = rollout
                    .attempt
                    .starts
                    .get(slot)
                    .map_or(1, |tried| tried.count + 1);
                Operation::Start {
                    number,
                    release,
                    name: InstanceName::new(host, number.into(), release, epoch, attempt),
                }
            }
        };
        Command { epoch, operation }
    }

    /// Records the result of a command and the new state of its host.
    pub(crate) fn report(
        &mut self,
        controller: &mut Controller,
        host: usize,
        machine: &Machine,
        answer: CommandResult,
    ) {
        self.observe(controller, host, machine);
        let id = action_id(host);
        let event = match answer {
            CommandResult::Done => Event::ActionDone { id },
            CommandResult::Failed => Event::ActionFailed {
                id,
                error: "refused".into(),
            },
            CommandResult::Fenced => Event::Fenced {
                host: self.ids[host].clone(),
                seen: Epoch(machine.epoch.into()),
            },
        };
        self.record(controller, [event]);
    }

    /// Records that a host is unreachable; the result of its command is unknown.
    pub(crate) fn lose_host(&mut self, controller: &mut Controller, host: usize, in_flight: bool) {
        let mut fleet = Fleet::default();
        fleet.hosts.insert(
            self.ids[host].clone(),
            self.decode(host, &controller.view[host]),
        );
        fleet.mark_unreachable(&self.ids[host], NOW, "timed out");
        controller.view[host] = encode(&fleet.hosts[&self.ids[host]]);
        let why = String::from("timed out");
        let unknown = in_flight.then(|| Event::ActionUnknown {
            id: action_id(host),
            why: why.clone(),
        });
        let lost = Event::HostLost {
            host: self.ids[host].clone(),
            why,
        };
        self.record(controller, unknown.into_iter().chain([lost]));
    }

    /// Records that a host is reachable again.
    pub(crate) fn recover_host(
        &mut self,
        controller: &mut Controller,
        host: usize,
        machine: &Machine,
    ) {
        self.observe(controller, host, machine);
        self.record(
            controller,
            [Event::HostRecovered {
                host: self.ids[host].clone(),
            }],
        );
    }

    fn observe(&mut self, controller: &mut Controller, host: usize, machine: &Machine) {
        let mut fleet = Fleet::default();
        fleet.hosts.insert(
            self.ids[host].clone(),
            self.decode(host, &controller.view[host]),
        );
        let not_ready = fleet.observe(&self.ids[host], observation(machine), NOW);
        controller.view[host] = encode(&fleet.hosts[&self.ids[host]]);
        let in_flight = self
            .rollout(controller)
            .orders
            .in_flight
            .get(&action_id(host));
        let stopped = match in_flight.map(|flight| &flight.action) {
            Some(Action::Stop { instance, .. }) => Some(instance.clone()),
            _ => None,
        };
        let unexpected = not_ready
            .into_iter()
            .filter(|(_, instance)| stopped.as_ref() != Some(&instance.name));
        let events = unexpected.map(|(slot, instance)| Event::InstanceNotReady {
            slot,
            instance: instance.name,
            release: instance.release,
            answer: String::new(),
        });
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            self.record(controller, events);
        }
    }

    /// Observes a host, unless an action is in flight there, and probes its instances.
    pub(crate) fn observe_and_probe(
        &mut self,
        controller: &mut Controller,
        host: usize,
        machine: &Machine,
        busy: bool,
    ) {
        if !busy {
            self.observe(controller, host, machine);
        }
        let mut seen = self.decode(host, &controller.view[host]);
        let mut events = Vec::new();
        for (number, occupant) in &mut seen.slots {
            let Occupant::Instance(instance) = occupant else {
                continue;
            };
            let port_at = usize::from(port_index(*number));
            let (seen, actual) = (controller.view[host].slots[port_at], machine.slots[port_at]);
            let Some(verdict) = verdict(seen, actual, self.workers) else {
                continue;
            };
            let slot = Slot {
                host: self.ids[host].clone(),
                number: *number,
            };
            let (name, release, answer) = (
                instance.name.clone(),
                instance.release.clone(),
                String::new(),
            );
            match instance.health.record(verdict, NOW, NOW, &THRESHOLDS) {
                Some(Change::Ready) => events.push(Event::InstanceReady {
                    slot,
                    instance: name,
                    release,
                    answer,
                }),
                Some(Change::NotReady) => {
                    events.push(Event::InstanceNotReady {
                        slot,
                        instance: name,
                        release,
                        answer,
                    });
                }
                None => {}
            }
        }
        controller.view[host] = encode(&seen);
        self.record(controller, events);
    }

    /// Whether the last plan requests an observation of a host.
    pub(crate) fn wants_observation(&self, controller: &Controller, host: usize) -> bool {
        self.planned(controller)
            .is_some_and(|plan| plan.hosts_to_observe.contains(&self.ids[host]))
    }

    /// Lets the progress deadline pass.
    pub(crate) fn expire_deadline(&mut self, controller: &mut Controller) {
        let mut rollout = self.rollout(controller).clone();
        rollout.attempt.last_progress = Time(0);
        controller.rollout = self.number(rollout);
    }

    pub(crate) fn is_deadline_expired(&self, controller: &Controller) -> bool {
        self.rollout(controller).attempt.last_progress == Time(0)
    }

    fn fleet(&self, controller: &Controller) -> Fleet {
        let hosts = self.ids.iter().enumerate();
        Fleet {
            hosts: hosts
                .map(|(at, id)| (id.clone(), self.decode(at, &controller.view[at])))
                .collect(),
            ..Fleet::default()
        }
    }

    pub(crate) fn index(&self, host: &HostId) -> usize {
        self.ids
            .iter()
            .position(|id| id == host)
            .expect("every action is for a known host")
    }

    fn decode(&self, host: usize, view: &HostView) -> Host {
        let reach = if view.lost {
            Reach::Lost {
                since: NOW,
                why: "timed out".into(),
            }
        } else {
            Reach::Reachable
        };
        debug_assert!(host < self.ids.len());
        let slots = view.slots.iter().enumerate().filter_map(|(number, seen)| {
            let seen = (*seen)?;
            let mut instance = real_instance(seen.name, seen.release, seen.is_running);
            if !self.workers {
                let own = Listener::Own {
                    address: "0.0.0.0".into(),
                };
                instance.listeners.insert(8081, own);
            }
            instance.sighting.at = if self.workers && !seen.is_fresh {
                Time(0)
            } else {
                NOW
            };
            instance.health = match seen.health {
                ProbeState::Unprobed => Health::default(),
                ProbeState::Passing => Health {
                    passes: 1,
                    failures: 0,
                    ready_since: Some(NOW),
                    last: Some((NOW, pass())),
                },
                ProbeState::Failing => Health {
                    passes: 0,
                    failures: 1,
                    ready_since: None,
                    last: Some((NOW, fail())),
                },
            };
            Some((port_number(number), Occupant::Instance(instance)))
        });
        Host {
            reach,
            epoch: Epoch(view.epoch.into()),
            releases: releases(view.releases),
            slots: slots.collect(),
            armed: BTreeSet::new(),
        }
    }
}

impl HostView {
    /// Whether an observation or a probe would change it.
    pub(crate) fn is_outdated(&self, machine: &Machine, busy: bool, workers: bool) -> bool {
        let stale = |number: usize| {
            let (seen, actual) = (self.slots[number], machine.slots[number]);
            let moved = seen.map(|seen| (seen.name, seen.is_running))
                != actual.map(|actual| (actual.name, actual.is_running()));
            (moved && !busy) || verdict(seen, actual, workers).is_some()
        };
        let differs = self.epoch != machine.epoch || self.releases != machine.releases;
        (differs && !busy) || (0..PORTS).any(stale)
    }

    /// Whether the host is known to reject commands with an older epoch.
    pub(crate) fn has_seen(&self, epoch: Epoch) -> bool {
        u64::from(self.epoch) >= epoch.0
    }

    /// The instances that the controller considers ready.
    pub(crate) fn believed_ready(&self) -> impl Iterator<Item = InstanceName> + '_ {
        let ready = |seen: &&InstanceView| {
            !self.lost && seen.is_running && seen.is_fresh && seen.health == ProbeState::Passing
        };
        self.slots
            .iter()
            .flatten()
            .filter(ready)
            .map(|seen| seen.name)
    }

    /// Whether any instance was observed recently.
    pub(crate) fn is_fresh(&self) -> bool {
        self.slots.iter().flatten().any(|seen| seen.is_fresh)
    }

    /// Lets all observations expire.
    pub(crate) fn expire_observations(&mut self) {
        self.slots
            .iter_mut()
            .flatten()
            .for_each(|seen| seen.is_fresh = false);
    }

    /// The instances that the controller considers failed.
    pub(crate) fn found_failing(&self) -> impl Iterator<Item = InstanceName> + '_ {
        let failing = |seen: &&InstanceView| {
            !self.lost && (!seen.is_running || seen.health == ProbeState::Failing)
        };
        self.slots
            .iter()
            .flatten()
            .filter(failing)
            .map(|seen| seen.name)
    }
}

pub(crate) const THRESHOLDS: Thresholds = Thresholds {
    success_threshold: 1,
    failure_threshold: 1,
    stale_after: Duration::from_secs(10),
};

/// The verdict of a probe, if it differs from the last one.
fn verdict(
    seen: Option<InstanceView>,
    actual: Option<super::world::Instance>,
    workers: bool,
) -> Option<Verdict> {
    let seen = seen.filter(|seen| seen.is_running)?;
    let passes = |state| state == ProcessState::Ready || workers && state == ProcessState::Exited;
    let ready = actual.is_some_and(|actual| actual.name == seen.name && passes(actual.state));
    match (seen.health, ready) {
        (ProbeState::Passing, true) | (ProbeState::Failing, false) => None,
        (_, true) => Some(pass()),
        (_, false) => Some(fail()),
    }
}

fn pass() -> Verdict {
    Verdict::Pass(String::new())
}

fn fail() -> Verdict {
    Verdict::Fail(String::new())
}

fn encode(host: &Host) -> HostView {
    let mut view = HostView {
        lost: !host.is_reachable(),
        epoch: u8::try_from(host.epoch.0).expect("epochs are few"),
        releases: mask(&host.releases),
        slots: [None; PORTS],
    };
    for (number, occupant) in &host.slots {
        let Occupant::Instance(instance) = occupant else {
            continue;
        };
        view.slots[usize::from(port_index(*number))] = Some(InstanceView {
            name: name_of(&instance.name),
            release: release_of(&instance.release),
            is_running: instance.is_running(),
            health: match (&instance.health.last, instance.health.ready_since) {
                (None, _) => ProbeState::Unprobed,
                (Some(_), Some(_)) => ProbeState::Passing,
                (Some(_), None) => ProbeState::Failing,
            },
            is_fresh: instance.is_running() && instance.sighting.at == NOW,
        });
    }
    view
}

fn observation(machine: &Machine) -> Observation {
    let slots = machine
        .slots
        .iter()
        .enumerate()
        .filter_map(|(number, actual)| {
            let actual = (*actual)?;
            Some((
                port_number(number),
                Occupant::Instance(real_instance(
                    actual.name,
                    actual.release,
                    actual.is_running(),
                )),
            ))
        });
    Observation {
        hooks: Vec::new(),
        killed_after: None,
        transfer: None,
        owner: None,
        identity: None,
        epoch: Epoch(machine.epoch.into()),
        releases: releases(machine.releases),
        slots: slots.collect::<BTreeMap<_, _>>(),
        free_kib: None,
        armed: BTreeSet::new(),
    }
}

fn real_instance(
    name: InstanceName,
    release: Release,
    is_running: bool,
) -> ship::core::fleet::Instance {
    ship::core::fleet::Instance {
        name: instance_id(name),
        release: release_id(release),
        revision: revision_ref(release).revision,
        started: NOW,
        process: if is_running {
            Process::Running
        } else {
            Process::Ended {
                how: "exit status 1".into(),
            }
        },
        lingering: None,
        restarts: 0,
        listeners: BTreeMap::new(),
        health: Health::default(),
        sighting: Sighting::default(),
    }
}

fn revision_ref(release: Release) -> RevisionRef {
    let number = match release {
        Release::Ancient => 1,
        Release::Old => 2,
        Release::New => 3,
    };
    RevisionRef {
        revision: Revision(number),
        release: release_id(release),
        version: format!("0.{number}"),
    }
}

fn some_failure() -> Failure {
    Failure {
        kind: FailureKind::Stuck,
        host: None,
        slot: None,
        detail: String::new(),
        waited: Duration::ZERO,
    }
}

pub(crate) fn release_id(release: Release) -> ReleaseId {
    ReleaseId::from(release.word())
}

pub(crate) fn release_of(id: &ReleaseId) -> Release {
    *Release::ALL
        .iter()
        .find(|release| release.word() == id.as_str())
        .expect("a known release")
}

fn releases(mask: u8) -> BTreeSet<ReleaseId> {
    Release::ALL
        .iter()
        .filter(|release| mask & release.bit() != 0)
        .map(|release| release_id(*release))
        .collect()
}

fn mask(ids: &BTreeSet<ReleaseId>) -> u8 {
    ids.iter().fold(0, |mask, id| mask | release_of(id).bit())
}

fn instance_id(name: InstanceName) -> InstanceId {
    InstanceId::from(format!("i{}", name.0))
}

pub(crate) fn name_of(id: &InstanceId) -> InstanceName {
    InstanceName(id.as_str()[1..].parse().expect("a name of this model"))
}

fn action_id(host: usize) -> ActionId {
    ActionId(host as u64 + 1)
}

pub(crate) fn port_index(number: SlotNumber) -> u8 {
    u8::try_from(number - FIRST_PORT).expect("ports are few")
}

pub(crate) fn port_number(index: usize) -> SlotNumber {
    FIRST_PORT + SlotNumber::try_from(index).expect("ports are few")
}
