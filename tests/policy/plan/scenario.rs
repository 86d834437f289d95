//! A rollout step by step: the actions that the planner plans, and the results that a test chooses.

use ship::core::spec::step::OnGate;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ship::core::fleet::health::{Change, Health, Thresholds, Verdict};
use ship::core::fleet::reach::Reach;
use ship::core::fleet::traffic::{
    Balancer, BalancerState, Balancers, DrainResult, Server, SlotAdmission, Traffic,
};
use ship::core::fleet::{Fleet, Host, Instance, Listener, Occupant, Process, Sighting};
use ship::core::ids::{Epoch, HostId, InstanceId, ReleaseId, Revision, Slot};
use ship::core::planner::{Next, Plan, plan};
use ship::core::rollout::Rollout;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{Failure, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::Budget;
use ship::core::spec::zones::Zones;
use ship::core::spec::{OnFailure, Spec};
use ship::core::time::Time;

const EPOCH: Epoch = Epoch(7);
const START: Time = Time(1_000_000_000);

/// A fleet before a rollout, and the settings of the rollout.
#[derive(Clone)]
pub(crate) struct FleetSetup {
    pub(crate) spec: Spec,
    pub(crate) fleet: Fleet,
}

/// A rollout in progress.
pub(crate) struct Scenario {
    pub(crate) spec: Spec,
    pub(crate) fleet: Fleet,
    pub(crate) rollout: Rollout,
    pub(crate) now: Time,
}

/// Hosts `h1` to `hN`, reachable and empty, with one port each; one replica per host, surge 1.
pub(crate) fn fleet_of(hosts: u32) -> FleetSetup {
    let hosts: Vec<HostId> = (1..=hosts).map(|n| HostId::from(format!("h{n}"))).collect();
    let reachable = Host {
        reach: Reach::Reachable,
        ..Host::default()
    };
    let replicas = u32::try_from(hosts.len()).expect("a small fleet");
    FleetSetup {
        fleet: Fleet {
            hosts: hosts
                .iter()
                .map(|id| (id.clone(), reachable.clone()))
                .collect(),
            ..Fleet::default()
        },
        spec: Spec {
            service: "testpage".into(),
            hosts,
            slots: vec![8081],
            is_singleton: false,
            zones: Zones::default(),
            reload_groups: BTreeMap::new(),
            budget: Budget {
                replicas,
                surge: 1,
                unavailable: 0,
            },
            release_slots: BTreeMap::new(),
            without_ports: BTreeSet::new(),
            slot_ports: BTreeMap::new(),
            rollback_budget: None,
            min_ready: Duration::ZERO,
            progress_deadline: Duration::from_mins(10),
            max_failed_hosts: 0,
            on_failure: OnFailure::RollBack,
            thresholds: BTreeMap::new(),
            waits: BTreeMap::new(),
            steps: Vec::new(),
            on_gate: OnGate::default(),
            deploy_windows: ship::core::spec::windows::DeployWindows::default(),
            tasks: Vec::new(),
            analyses: Vec::new(),
            traffic: None,
            keep: BTreeSet::from([ReleaseId::from("0.8"), ReleaseId::from("0.9")]),
        },
    }
}

impl FleetSetup {
    pub(crate) fn slots(mut self, slots: &[u16]) -> Self {
        self.spec.slots = slots.to_vec();
        self
    }

    pub(crate) fn budget(mut self, replicas: u32, surge: u32, unavailable: u32) -> Self {
        self.spec.budget = Budget {
            replicas,
            surge,
            unavailable,
        };
        self
    }

    pub(crate) fn min_ready(mut self, seconds: u64) -> Self {
        self.spec.min_ready = Duration::from_secs(seconds);
        self
    }

    pub(crate) fn max_failed_hosts(mut self, hosts: u32) -> Self {
        self.spec.max_failed_hosts = hosts;
        self
    }

    /// Drains these hosts.
    pub(crate) fn drained(mut self, hosts: &[&str]) -> Self {
        self.spec
            .hosts
            .retain(|host| !hosts.contains(&host.as_str()));
        self
    }

    pub(crate) fn hold_on_failure(mut self) -> Self {
        self.spec.on_failure = OnFailure::Hold;
        self
    }

    /// Adds an instance of this version, which has been ready for an hour, in each of these slots
    /// (`h1:8081`).
    pub(crate) fn running(mut self, version: &str, slots: &[&str]) -> Self {
        for slot in slots.iter().map(|slot| slot_of(slot)) {
            let host = self.fleet.hosts.entry(slot.host.clone()).or_default();
            host.releases.insert(version.into());
            let since = START - Duration::from_hours(1);
            let health = Health {
                passes: 1,
                failures: 0,
                ready_since: Some(since),
                last: Some((START, Verdict::Pass("ok".into()))),
            };
            let name = format!("{}-{version}", slot.host);
            let sighting = Sighting {
                at: START,
                ..Sighting::default()
            };
            host.slots.insert(
                slot.number,
                Occupant::Instance(Instance {
                    health,
                    sighting,
                    ..instance(&name, version, since)
                }),
            );
        }
        self
    }

    /// Adds balancers that send requests to every running instance.
    pub(crate) fn behind_balancers(mut self, balancers: &[&str]) -> Self {
        let slots: Vec<_> = self.fleet.instances().map(|(slot, ..)| slot).collect();
        let open = || {
            slots
                .iter()
                .map(|slot| (slot.clone(), server(SlotAdmission::Open)))
                .collect()
        };
        let balancer = || Balancer {
            reach: Reach::Reachable,
            view: BalancerState {
                servers: open(),
                ..BalancerState::default()
            },
        };
        self.fleet.balancers = balancers
            .iter()
            .map(|name| (HostId::from(*name), balancer()))
            .collect();
        let balancers = Balancers::Shared(self.fleet.balancers.keys().cloned().collect());
        self.spec.traffic = Some(Traffic {
            balancers,
            drain_timeout: Duration::from_secs(30),
        });
        self
    }

    /// Adds a public port on each host that leads to the instances there.
    pub(crate) fn behind_public_ports(mut self) -> Self {
        let slots: Vec<_> = self.fleet.instances().map(|(slot, ..)| slot).collect();
        for host in self.fleet.hosts.keys() {
            let own = slots.iter().filter(|slot| slot.host == *host);
            let servers = own
                .map(|slot| (slot.clone(), server(SlotAdmission::Open)))
                .collect();
            let balancer = Balancer {
                reach: Reach::Reachable,
                view: BalancerState {
                    servers,
                    ..BalancerState::default()
                },
            };
            self.fleet.balancers.insert(host.clone(), balancer);
        }
        self.spec.traffic = Some(Traffic {
            balancers: Balancers::OnHosts,
            drain_timeout: Duration::from_secs(30),
        });
        self
    }

    /// Adds a process that ship did not start and that listens in a slot.
    pub(crate) fn foreign_process(mut self, slot: &str, who: &str) -> Self {
        let slot = slot_of(slot);
        self.fleet
            .hosts
            .entry(slot.host)
            .or_default()
            .slots
            .insert(slot.number, Occupant::OtherProcess(who.into()));
        self
    }

    /// Starts a deploy of `version`, with 0.8 as the rollback target.
    pub(crate) fn deploy(self, version: &str) -> Scenario {
        self.roll_out(version, Some("0.8"))
    }

    pub(crate) fn deploy_without_rollback_target(self, version: &str) -> Scenario {
        self.roll_out(version, None)
    }

    fn roll_out(self, version: &str, rollback_target: Option<&str>) -> Scenario {
        self.start_rollout(version, rollback_target, |_| {})
    }

    /// Starts a rollout to `version`; `customize` changes its start event.
    pub(crate) fn start_rollout(
        self,
        version: &str,
        rollback_target: Option<&str>,
        customize: impl FnOnce(&mut RolloutStart),
    ) -> Scenario {
        let mut start = RolloutStart {
            verb: Verb::Deploy,
            service: self.spec.service.clone(),
            fleet: "test".into(),
            target: revision_ref(2, version),
            rollback_target: rollback_target.map(|version| revision_ref(1, version)),
            replicas: self.spec.budget.replicas,
            rollback_replicas: None,
            epoch: EPOCH,
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
        };
        customize(&mut start);
        let event = Event::RolloutStarted(start);
        let rollout = Rollout::begin(&Entry { at: START, event })
            .expect("the journal begins with RolloutStarted");
        Scenario {
            spec: self.spec,
            fleet: self.fleet,
            rollout,
            now: START,
        }
    }
}

impl Scenario {
    pub(crate) fn plan(&self) -> Plan {
        plan(&self.spec, &self.rollout, &self.fleet, self.now)
    }

    pub(crate) fn record(&mut self, event: Event) {
        self.rollout.apply(&Entry {
            at: self.now,
            event,
        });
    }

    /// The planned actions, as text.
    pub(crate) fn planned_actions(&self) -> Vec<String> {
        self.plan()
            .actions
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Asserts the planned actions and starts them; they stay in flight.
    #[track_caller]
    pub(crate) fn start_actions(&mut self, orders: &[&str]) -> Vec<Action> {
        let plan = self.plan();
        assert_eq!(
            plan.actions
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            orders
        );
        for action in &plan.actions {
            let id = self.rollout.next_action_id();
            let instance = action
                .slot()
                .filter(|_| action.verb() == "start")
                .map(|slot| self.instance_name(slot, action));
            self.record(Event::ActionStarted {
                id,
                action: action.clone(),
                instance,
            });
        }
        plan.actions
    }

    /// Asserts the planned actions and completes them.
    #[track_caller]
    pub(crate) fn run_actions(&mut self, orders: &[&str]) {
        for action in self.start_actions(orders) {
            self.complete(&action);
        }
    }

    #[track_caller]
    pub(crate) fn expect_no_actions(&self) {
        assert_eq!(self.planned_actions(), Vec::<String>::new());
    }

    /// Completes an action in flight.
    pub(crate) fn complete(&mut self, action: &Action) {
        let name = action.slot().map(|slot| self.instance_name(slot, action));
        let host = self.fleet.hosts.entry(action.host().clone()).or_default();
        host.epoch = EPOCH;
        match action {
            Action::Claim { .. } => {}
            Action::Stage { release, .. } => {
                host.releases.insert(release.clone());
            }
            Action::Prune { releases, .. } => {
                host.releases.retain(|release| !releases.contains(release));
            }
            Action::Stop {
                slot,
                restore_after,
                ..
            } => {
                host.slots.remove(&slot.number);
                if restore_after.is_some() {
                    host.armed.insert(slot.number);
                }
            }
            Action::Disarm { slot } => {
                host.armed.remove(&slot.number);
            }
            Action::Admit { slot, .. } => self.switch(slot, SlotAdmission::Open),
            Action::Drain { slot, instance, .. } => {
                self.switch(slot, SlotAdmission::Closed);
                let (slot, instance) = (slot.clone(), instance.clone());
                self.record(Event::Drained {
                    slot,
                    instance,
                    result: DrainResult::default(),
                });
            }
            Action::Start { slot, release, .. } => {
                let name = name.expect("a start has a slot");
                let mut started = instance(name.as_str(), release.as_str(), self.now);
                started.revision = self.rollout.revision_of(release);
                host.slots.insert(slot.number, Occupant::Instance(started));
            }
        }
        self.end(action, |id| Event::ActionDone { id });
    }

    /// Sets the admission of a slot at each of its balancers.
    pub(crate) fn switch(&mut self, slot: &Slot, admission: SlotAdmission) {
        let traffic = self
            .spec
            .traffic
            .as_ref()
            .expect("the service has balancers");
        for balancer in traffic.balancers_of(slot) {
            self.fleet
                .balancers
                .get_mut(balancer)
                .expect("known")
                .switch(slot, admission, &traffic.balancers);
        }
    }

    /// Makes a balancer unreachable.
    pub(crate) fn mark_balancer_unreachable(&mut self, balancer: &str) {
        let now = self.now;
        self.fleet.mark_balancer_unreachable(
            &balancer.into(),
            now,
            &format!("{balancer}: no route to host"),
        );
    }

    /// Fails an action in flight.
    pub(crate) fn fail(&mut self, action: &Action, error: &str) {
        self.end(action, |id| Event::ActionFailed {
            id,
            error: error.into(),
        });
    }

    fn end(&mut self, action: &Action, event: impl FnOnce(ship::core::ids::ActionId) -> Event) {
        let id = self
            .rollout
            .orders
            .in_flight
            .iter()
            .find(|(_, flight)| flight.action == *action)
            .map(|(id, _)| *id);
        self.record(event(id.expect("the action is in flight")));
    }

    fn instance_name(&self, slot: &Slot, action: &Action) -> InstanceId {
        let release = match action {
            Action::Start { release, .. } => release.as_str(),
            _ => "",
        };
        let count = self
            .rollout
            .attempt
            .starts
            .get(slot)
            .map_or(0, |attempts| attempts.count);
        let suffix = if count > 1 {
            format!("-{count}")
        } else {
            String::new()
        };
        InstanceId::from(format!("{}-{release}{suffix}", slot.host))
    }

    /// The instance passes a probe.
    pub(crate) fn pass_probe(&mut self, slot: &str) {
        self.record_probe(slot, &Verdict::Pass("200 OK".into()));
    }

    /// Sets the address on which the instance listens; `None` for no listener.
    pub(crate) fn set_listener(&mut self, slot: &str, address: Option<&str>) {
        let slot = slot_of(slot);
        let instance = self
            .fleet
            .instance_mut(&slot)
            .expect("the slot has an instance");
        let own = address.map(|address| {
            let address = address.to_owned();
            (slot.number, Listener::Own { address })
        });
        instance.listeners = own.into_iter().collect();
    }

    /// The instance fails as many probes in a row as `failure_threshold` requires.
    pub(crate) fn fail_probes(&mut self, slot: &str, answer: &str) {
        for _ in 0..Thresholds::default().failure_threshold {
            self.record_probe(slot, &Verdict::Fail(answer.into()));
        }
    }

    fn record_probe(&mut self, slot: &str, verdict: &Verdict) {
        let (now, at) = (self.now, slot_of(slot));
        let instance = self
            .fleet
            .instance_mut(&at)
            .expect("the slot has an instance");
        let (name, release) = (instance.name.clone(), instance.release.clone());
        let change = instance
            .health
            .record(verdict.clone(), now, now, &Thresholds::default());
        let answer = instance.health.last_answer().unwrap_or_default().to_owned();
        match change {
            Some(Change::Ready) => self.record(Event::InstanceReady {
                slot: at,
                instance: name,
                release,
                answer,
            }),
            Some(Change::NotReady) => {
                self.record(Event::InstanceNotReady {
                    slot: at,
                    instance: name,
                    release,
                    answer,
                });
            }
            None => {}
        }
    }

    /// Ends the process of an instance.
    pub(crate) fn exit_instance(&mut self, slot: &str, how: &str) {
        self.fleet
            .instance_mut(&slot_of(slot))
            .expect("the slot has an instance")
            .process = Process::Ended { how: how.into() };
    }

    /// Makes a host unreachable.
    pub(crate) fn lose_host(&mut self, host: &str) {
        let host = HostId::from(host);
        self.fleet
            .mark_unreachable(&host, self.now, "timed out after 10s");
        self.record(Event::HostLost {
            host,
            why: "timed out after 10s".into(),
        });
    }

    /// Makes a host reachable again, which has last seen this epoch.
    pub(crate) fn recover_host(&mut self, host: &str, epoch: Epoch) {
        let host = HostId::from(host);
        let found = self.fleet.hosts.entry(host.clone()).or_default();
        found.reach = Reach::Reachable;
        found.epoch = epoch;
        self.record(Event::HostRecovered { host });
    }

    /// Lets a host see the epoch of this rollout.
    pub(crate) fn claim_host(&mut self, host: &str) {
        self.fleet
            .hosts
            .entry(HostId::from(host))
            .or_default()
            .epoch = EPOCH;
    }

    /// Asserts that the planner gives up a host, and records it; returns why.
    #[track_caller]
    pub(crate) fn expect_failed_host(&mut self) -> String {
        let Next::FailHost(failure) = self.plan().next else {
            panic!("no host is given up: {:?}", self.plan());
        };
        self.record(Event::HostFailed {
            failure: failure.clone(),
            log: Vec::new(),
        });
        failure.to_string()
    }

    /// Lets time pass. Probes keep their verdicts, and every host is observed again.
    pub(crate) fn advance(&mut self, seconds: u64) {
        self.advance_without_observing(seconds);
        let hosts: Vec<_> = self.fleet.hosts.keys().cloned().collect();
        for host in hosts {
            self.observe_host(host.as_str());
        }
    }

    /// Observes a host, whose processes are still running.
    pub(crate) fn observe_host(&mut self, host: &str) {
        let host = self
            .fleet
            .hosts
            .get_mut(&HostId::from(host))
            .expect("a host of the fleet");
        for occupant in host.slots.values_mut() {
            if let Occupant::Instance(instance) = occupant
                && instance.is_running()
            {
                instance.sighting.at = self.now;
            }
        }
    }

    /// Restarts the process of an instance.
    pub(crate) fn restart_instance(&mut self, slot: &str) {
        self.fleet
            .instance_mut(&slot_of(slot))
            .expect("the slot has an instance")
            .restarts += 1;
    }

    /// The hosts that the planner wants to have observed first.
    pub(crate) fn hosts_to_observe(&self) -> Vec<String> {
        self.plan()
            .hosts_to_observe
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Lets time pass. Probes keep their verdicts, and no host is observed.
    pub(crate) fn advance_without_observing(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        let now = self.now;
        let occupants = self
            .fleet
            .hosts
            .values_mut()
            .flat_map(|host| host.slots.values_mut());
        for occupant in occupants {
            if let Occupant::Instance(Instance {
                health:
                    Health {
                        last: Some((at, _)),
                        ..
                    },
                ..
            }) = occupant
            {
                *at = now;
            }
        }
    }

    /// Why the planner does nothing on a host, as text.
    #[track_caller]
    pub(crate) fn wait_reason(&self, host: &str) -> String {
        self.plan()
            .wait_reasons
            .get(&HostId::from(host))
            .expect("the host has a wait reason")
            .to_string()
    }

    /// Asserts that the rollout fails, and records it; returns the failure and the response to it.
    #[track_caller]
    pub(crate) fn expect_failure(&mut self) -> (String, FailureResponse) {
        let Next::Fail(failure, then) = self.plan().next else {
            panic!("the rollout does not fail: {:?}", self.plan());
        };
        self.record(Event::RolloutFailed {
            failure: failure.clone(),
            log: Vec::new(),
            then: then.clone(),
        });
        (failure.to_string(), then)
    }

    /// Asserts that the rollout has finished; returns its outcome.
    #[track_caller]
    pub(crate) fn outcome(&self) -> Outcome {
        match self.plan().next {
            Next::Finish(outcome) => outcome,
            other => panic!("the rollout does not finish: {other:?}"),
        }
    }

    /// Records the progress, as the controller does after every plan.
    pub(crate) fn record_progress(&mut self) {
        let progress = self.plan().progress;
        self.record(Event::Progress(progress));
    }
}

pub(crate) fn slot_of(text: &str) -> Slot {
    let (host, number) = text.split_once(':').expect("host:port");
    Slot::new(host, number.parse().expect("a port"))
}

fn instance(name: &str, version: &str, started: Time) -> Instance {
    Instance {
        name: name.into(),
        release: version.into(),
        revision: Revision(1),
        started,
        process: Process::Running,
        lingering: None,
        restarts: 0,
        listeners: [(
            8081,
            Listener::Own {
                address: "0.0.0.0".into(),
            },
        )]
        .into(),

        health: Health::default(),
        sighting: Sighting {
            at: started,
            ..Sighting::default()
        },
    }
}

fn revision_ref(revision: u32, version: &str) -> RevisionRef {
    RevisionRef {
        revision: Revision(revision),
        release: version.into(),
        version: version.into(),
    }
}

/// The failure of a rollback, as text.
pub(crate) fn rollback_failure(outcome: &Outcome) -> String {
    match outcome {
        Outcome::RollbackFailed { failure } => Failure::to_string(failure),
        other => panic!("the rollback did not fail: {other:?}"),
    }
}

fn server(admission: SlotAdmission) -> Server {
    Server {
        admission,
        is_up: Some(true),
        ..Server::default()
    }
}
