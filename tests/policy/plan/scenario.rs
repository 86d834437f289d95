//! A rollout told step by step: what the planner orders, and what the world does about it.

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
use ship::core::spec::{OnFailure, Spec};
use ship::core::time::Time;

const EPOCH: Epoch = Epoch(7);
const START: Time = Time(1_000_000_000);

/// A fleet before a rollout.
#[derive(Clone)]
pub(crate) struct ReporterSetup {
    pub(crate) spec: Spec,
    pub(crate) fleet: Fleet,
}

/// A rollout under way.
pub(crate) struct Story {
    pub(crate) spec: Spec,
    pub(crate) fleet: Fleet,
    pub(crate) rollout: Rollout,
    pub(crate) now: Time,
}

/// Hosts `h1` to `hN`, reachable and empty, with one port; one replica a host, surge 1.
pub(crate) fn fleet_of(hosts: u32) -> ReporterSetup {
    let hosts: Vec<HostId> = (1..=hosts).map(|n| HostId::from(format!("h{n}"))).collect();
    let reachable = Host {
        reach: Reach::Reachable,
        ..Host::default()
    };
    let replicas = u32::try_from(hosts.len()).expect("a small fleet");
    ReporterSetup {
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
            ports: vec![8081],
            budget: Budget {
                replicas,
                surge: 1,
                unavailable: 0,
            },
            release_ports: BTreeMap::new(),
            budget_back: None,
            min_ready: Duration::ZERO,
            progress_deadline: Duration::from_mins(10),
            max_failed_hosts: 0,
            on_failure: OnFailure::RollBack,
            thresholds: BTreeMap::new(),
            waits: BTreeMap::new(),
            steps: Vec::new(),
            on_gate: OnGate::default(),
            hours: ship::core::spec::windows::DeployWindows::default(),
            tasks: Vec::new(),
            analyses: Vec::new(),
            traffic: None,
            keep: BTreeSet::from([ReleaseId::from("0.8"), ReleaseId::from("0.9")]),
        },
    }
}

impl ReporterSetup {
    pub(crate) fn ports(mut self, ports: &[u16]) -> Self {
        self.spec.ports = ports.to_vec();
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

    /// These hosts are drained.
    pub(crate) fn drained(mut self, hosts: &[&str]) -> Self {
        self.spec
            .hosts
            .retain(|host| !hosts.contains(&host.as_str()));
        self
    }

    pub(crate) fn holds_on_failure(mut self) -> Self {
        self.spec.on_failure = OnFailure::Hold;
        self
    }

    /// An instance of this version, ready for an hour, in each of these slots (`h1:8081`).
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
                slot.port,
                Occupant::Instance(Instance {
                    health,
                    sighting,
                    ..instance(&name, version, since)
                }),
            );
        }
        self
    }

    /// Behind these balancers; what runs gets requests.
    pub(crate) fn behind(mut self, balancers: &[&str]) -> Self {
        let slots: Vec<_> = self.fleet.instances().map(|(slot, ..)| slot).collect();
        let open = || {
            slots
                .iter()
                .map(|slot| (slot.clone(), server(SlotAdmission::Open)))
                .collect()
        };
        let seen = || Balancer {
            reach: Reach::Reachable,
            view: BalancerState {
                servers: open(),
                ..BalancerState::default()
            },
        };
        self.fleet.balancers = balancers
            .iter()
            .map(|balancer| (HostId::from(*balancer), seen()))
            .collect();
        let balancers = Balancers::Shared(self.fleet.balancers.keys().cloned().collect());
        self.spec.traffic = Some(Traffic {
            balancers,
            drain_timeout: Duration::from_secs(30),
        });
        self
    }

    /// Each host has a public port, with what runs there.
    pub(crate) fn behind_own_ports(mut self) -> Self {
        let slots: Vec<_> = self.fleet.instances().map(|(slot, ..)| slot).collect();
        for host in self.fleet.hosts.keys() {
            let own = slots.iter().filter(|slot| slot.host == *host);
            let servers = own
                .map(|slot| (slot.clone(), server(SlotAdmission::Open)))
                .collect();
            let seen = Balancer {
                reach: Reach::Reachable,
                view: BalancerState {
                    servers,
                    ..BalancerState::default()
                },
            };
            self.fleet.balancers.insert(host.clone(), seen);
        }
        self.spec.traffic = Some(Traffic {
            balancers: Balancers::OnHosts,
            drain_timeout: Duration::from_secs(30),
        });
        self
    }

    /// Somebody else listens there.
    pub(crate) fn stranger(mut self, slot: &str, who: &str) -> Self {
        let slot = slot_of(slot);
        self.fleet
            .hosts
            .entry(slot.host)
            .or_default()
            .slots
            .insert(slot.port, Occupant::Stranger(who.into()));
        self
    }

    /// Begins a rollout to `version`, with 0.8 as the version proven healthy.
    pub(crate) fn deploy(self, version: &str) -> Story {
        self.roll_out(version, Some("0.8"))
    }

    pub(crate) fn deploy_without_fallback(self, version: &str) -> Story {
        self.roll_out(version, None)
    }

    fn roll_out(self, version: &str, fallback: Option<&str>) -> Story {
        self.begin(version, fallback, |_| {})
    }

    /// Begins a rollout to `version`, with more to be said of its start.
    pub(crate) fn begin(
        self,
        version: &str,
        fallback: Option<&str>,
        say: impl FnOnce(&mut RolloutStart),
    ) -> Story {
        let mut start = RolloutStart {
            verb: Verb::Deploy,
            service: self.spec.service.clone(),
            fleet: "test".into(),
            target: generation(2, version),
            fallback: fallback.map(|version| generation(1, version)),
            replicas: self.spec.budget.replicas,
            fallback_replicas: None,
            epoch: EPOCH,
            is_proven: false,
            scaling: None,
            set: Vec::new(),
        };
        say(&mut start);
        let event = Event::RolloutStarted(start);
        let rollout =
            Rollout::begin(&Entry { at: START, event }).expect("it begins with RolloutStarted");
        Story {
            spec: self.spec,
            fleet: self.fleet,
            rollout,
            now: START,
        }
    }
}

impl Story {
    pub(crate) fn plan(&self) -> Plan {
        plan(&self.spec, &self.rollout, &self.fleet, self.now)
    }

    pub(crate) fn record(&mut self, event: Event) {
        self.rollout.apply(&Entry {
            at: self.now,
            event,
        });
    }

    /// The orders that are due, in words.
    pub(crate) fn orders(&self) -> Vec<String> {
        self.plan()
            .actions
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Asserts the orders that are due, and gives them; they stay in flight.
    #[track_caller]
    pub(crate) fn gives(&mut self, orders: &[&str]) -> Vec<Action> {
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
                .map(|slot| self.name_at(slot, action));
            self.record(Event::ActionStarted {
                id,
                action: action.clone(),
                instance,
            });
        }
        plan.actions
    }

    /// Asserts the orders that are due, and carries them out.
    #[track_caller]
    pub(crate) fn does(&mut self, orders: &[&str]) {
        for action in self.gives(orders) {
            self.is_done(&action);
        }
    }

    #[track_caller]
    pub(crate) fn does_nothing(&self) {
        assert_eq!(self.orders(), Vec::<String>::new());
    }

    /// An order in flight is carried out.
    pub(crate) fn is_done(&mut self, action: &Action) {
        let name = action.slot().map(|slot| self.name_at(slot, action));
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
                host.slots.remove(&slot.port);
                if restore_after.is_some() {
                    host.armed.insert(slot.port);
                }
            }
            Action::Disarm { slot } => {
                host.armed.remove(&slot.port);
            }
            Action::Admit { slot, .. } => self.is_switched(slot, SlotAdmission::Open),
            Action::Drain { slot, instance, .. } => {
                self.is_switched(slot, SlotAdmission::Closed);
                let (slot, instance) = (slot.clone(), instance.clone());
                self.record(Event::Drained {
                    slot,
                    instance,
                    result: DrainResult::default(),
                });
            }
            Action::Start { slot, release } => {
                let name = name.expect("a start has a slot");
                let mut started = instance(name.as_str(), release.as_str(), self.now);
                started.revision = self.rollout.revision_of(release);
                host.slots.insert(slot.port, Occupant::Instance(started));
            }
        }
        self.ends(action, |id| Event::ActionDone { id });
    }

    /// Every balancer of a slot does so with it.
    pub(crate) fn is_switched(&mut self, slot: &Slot, gate: SlotAdmission) {
        let traffic = self
            .spec
            .traffic
            .as_ref()
            .expect("something stands before the instances");
        for balancer in traffic.balancers_of(slot) {
            self.fleet
                .balancers
                .get_mut(balancer)
                .expect("known")
                .switch(slot, gate, &traffic.balancers);
        }
    }

    /// A balancer does not answer any more.
    pub(crate) fn loses_balancer(&mut self, balancer: &str) {
        let now = self.now;
        self.fleet.lose_balancer(
            &balancer.into(),
            now,
            &format!("{balancer}: no route to host"),
        );
    }

    /// An order in flight is refused.
    pub(crate) fn fails(&mut self, action: &Action, error: &str) {
        self.ends(action, |id| Event::ActionFailed {
            id,
            error: error.into(),
        });
    }

    fn ends(&mut self, action: &Action, event: impl FnOnce(ship::core::ids::ActionId) -> Event) {
        let id = self
            .rollout
            .orders
            .in_flight
            .iter()
            .find(|(_, flight)| flight.action == *action)
            .map(|(id, _)| *id);
        self.record(event(id.expect("the order is in flight")));
    }

    fn name_at(&self, slot: &Slot, action: &Action) -> InstanceId {
        let release = match action {
            Action::Start { release, .. } => release.as_str(),
            _ => "",
        };
        let again = self
            .rollout
            .attempt
            .starts
            .get(slot)
            .map_or(0, |attempts| attempts.count);
        let again = if again > 1 {
            format!("-{again}")
        } else {
            String::new()
        };
        InstanceId::from(format!("{}-{release}{again}", slot.host))
    }

    /// The instance passes a probe now.
    pub(crate) fn answers(&mut self, slot: &str) {
        self.probed(slot, &Verdict::Pass("200 OK".into()));
    }

    /// The instance is seen to listen there.
    pub(crate) fn listens(&mut self, slot: &str, address: Option<&str>) {
        let instance = self
            .fleet
            .instance_mut(&slot_of(slot))
            .expect("an instance is there");
        instance.listener = address.map_or(Listener::Nobody, |address| Listener::Own {
            address: address.to_owned(),
        });
    }

    /// The instance fails as many probes as it takes.
    pub(crate) fn fails_probes(&mut self, slot: &str, answer: &str) {
        for _ in 0..Thresholds::default().failure_threshold {
            self.probed(slot, &Verdict::Fail(answer.into()));
        }
    }

    fn probed(&mut self, slot: &str, verdict: &Verdict) {
        let (now, at) = (self.now, slot_of(slot));
        let instance = self.fleet.instance_mut(&at).expect("an instance is there");
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

    /// The instance's process ends.
    pub(crate) fn exits(&mut self, slot: &str, how: &str) {
        self.fleet
            .instance_mut(&slot_of(slot))
            .expect("an instance is there")
            .process = Process::Ended { how: how.into() };
    }

    pub(crate) fn loses(&mut self, host: &str) {
        let host = HostId::from(host);
        self.fleet.lose(&host, self.now, "timed out after 10s");
        self.record(Event::HostLost {
            host,
            why: "timed out after 10s".into(),
        });
    }

    /// The host answers again, and has seen this epoch last.
    pub(crate) fn finds(&mut self, host: &str, epoch: Epoch) {
        let host = HostId::from(host);
        let found = self.fleet.hosts.entry(host.clone()).or_default();
        found.reach = Reach::Reachable;
        found.epoch = epoch;
        self.record(Event::HostRecovered { host });
    }

    /// The host has seen this rollout's epoch.
    pub(crate) fn claims(&mut self, host: &str) {
        self.fleet
            .hosts
            .entry(HostId::from(host))
            .or_default()
            .epoch = EPOCH;
    }

    /// Asserts that a host is left behind now, and leaves it; why.
    #[track_caller]
    pub(crate) fn leaves_behind(&mut self) -> String {
        let Next::FailHost(failure) = self.plan().next else {
            panic!("no host is left behind: {:?}", self.plan());
        };
        self.record(Event::HostFailed {
            failure: failure.clone(),
            log: Vec::new(),
        });
        failure.to_string()
    }

    /// Time passes; whoever was asked before still answers the same, and every host is looked at
    /// again.
    pub(crate) fn later(&mut self, seconds: u64) {
        self.later_by_answers(seconds);
        let hosts: Vec<_> = self.fleet.hosts.keys().cloned().collect();
        for host in hosts {
            self.looks_at(host.as_str());
        }
    }

    /// A look at a host finds what runs there still running.
    pub(crate) fn looks_at(&mut self, host: &str) {
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

    /// The instance has ended and was started again since.
    pub(crate) fn restarts(&mut self, slot: &str) {
        self.fleet
            .instance_mut(&slot_of(slot))
            .expect("an instance is there")
            .restarts += 1;
    }

    /// Hosts that are to be looked at now.
    pub(crate) fn wants_looks(&self) -> Vec<String> {
        self.plan().looks.iter().map(ToString::to_string).collect()
    }

    /// Time passes; whoever was asked before still answers the same, and no host is looked at.
    pub(crate) fn later_by_answers(&mut self, seconds: u64) {
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

    /// Why nothing is done about a host, in words.
    #[track_caller]
    pub(crate) fn hold(&self, host: &str) -> String {
        self.plan()
            .holds
            .get(&HostId::from(host))
            .expect("the host has a hold")
            .to_string()
    }

    /// Asserts that the rollout fails now, and turns it; returns why, and what follows.
    #[track_caller]
    pub(crate) fn turns(&mut self) -> (String, FailureResponse) {
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

    /// Asserts that the rollout ends now; returns how.
    #[track_caller]
    pub(crate) fn ending(&self) -> Outcome {
        match self.plan().next {
            Next::Finish(outcome) => outcome,
            other => panic!("the rollout does not end: {other:?}"),
        }
    }

    /// Records the counts, as the engine does after every plan.
    pub(crate) fn notes_progress(&mut self) {
        let progress = self.plan().progress;
        self.record(Event::Progress(progress));
    }
}

pub(crate) fn slot_of(text: &str) -> Slot {
    let (host, port) = text.split_once(':').expect("host:port");
    Slot::new(host, port.parse().expect("a port"))
}

fn instance(name: &str, version: &str, started: Time) -> Instance {
    Instance {
        name: name.into(),
        release: version.into(),
        revision: Revision(1),
        started,
        process: Process::Running,
        restarts: 0,
        listener: Listener::Own {
            address: "0.0.0.0".into(),
        },
        health: Health::default(),
        sighting: Sighting {
            at: started,
            ..Sighting::default()
        },
    }
}

fn generation(revision: u32, version: &str) -> RevisionRef {
    RevisionRef {
        revision: Revision(revision),
        release: version.into(),
        version: version.into(),
    }
}

/// The failure of a rollback, in words.
pub(crate) fn why_rollback_failed(outcome: &Outcome) -> String {
    match outcome {
        Outcome::RollbackFailed { failure } => Failure::to_string(failure),
        other => panic!("the rollback did not fail: {other:?}"),
    }
}

fn server(gate: SlotAdmission) -> Server {
    Server {
        gate,
        is_up: Some(true),
        ..Server::default()
    }
}
