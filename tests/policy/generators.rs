//! Fleets in any state, drawn at random for the property tests.

use ship::core::spec::step::OnGate;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use ship::core::fleet::health::{Health, Thresholds, Verdict};
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Instance, Listener, Occupant, Process, Sighting};
use ship::core::ids::{Epoch, HostId, InstanceId, Port, ReleaseId, Revision, Slot};
use ship::core::rollout::Rollout;
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{Failure, FailureKind};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::{Amount, Budget};
use ship::core::spec::{Amounts, OnFailure, Spec};
use ship::core::time::Time;

pub(crate) const NOW: Time = Time(1_000_000_000);
pub(crate) const EPOCH: Epoch = Epoch(5);
const MIN_READY: Duration = Duration::from_secs(30);
pub(crate) const MOST_PORTS: usize = 4;

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    Stranger,
    Instance(&'static str, Condition),
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Available,
    Soaking,
    Failing,
    NeverAsked,
    AskedLongAgo,
    Ended,
}

/// Whether a host can be reached, and what is under way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    Idle,
    /// It has not yet seen this rollout's epoch.
    Unclaimed,
    /// The release is not there.
    Unstaged,
    NotSeen,
    Lost,
    LostWithUnknownOrder,
    /// A start, a stop or a stage is under way.
    Busy,
}

#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) hosts: Vec<(Situation, [Content; MOST_PORTS])>,
    pub(crate) ports: usize,
    pub(crate) replicas_percent: u32,
    pub(crate) surge: Amount,
    pub(crate) unavailable: Amount,
    pub(crate) back: bool,
    pub(crate) started_already: bool,
}

pub(crate) fn contents() -> impl Strategy<Value = Content> {
    let condition = prop_oneof![
        6 => Just(Condition::Available),
        1 => Just(Condition::Soaking),
        1 => Just(Condition::Failing),
        1 => Just(Condition::NeverAsked),
        1 => Just(Condition::AskedLongAgo),
        1 => Just(Condition::Ended),
    ];
    let release = prop_oneof![Just("old"), Just("new"), Just("other")];
    prop_oneof![
        4 => Just(Content::Empty),
        1 => Just(Content::Stranger),
        6 => (release, condition).prop_map(|(release, condition)| Content::Instance(release, condition)),
    ]
}

pub(crate) fn situation() -> impl Strategy<Value = Situation> {
    prop_oneof![
        30 => Just(Situation::Idle),
        1 => Just(Situation::Unclaimed),
        1 => Just(Situation::Unstaged),
        1 => Just(Situation::NotSeen),
        2 => Just(Situation::Lost),
        2 => Just(Situation::LostWithUnknownOrder),
        3 => Just(Situation::Busy),
    ]
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0..4_u32).prop_map(Amount::Count),
        (0..=100_u32).prop_map(Amount::Percent)
    ]
}

pub(crate) fn sketch() -> impl Strategy<Value = Sketch> {
    // Mostly fleets in which every host is in order: a single one that is not stops much of what
    // could be checked.
    let orderly = prop_oneof![3 => Just(Situation::Idle), 1 => Just(Situation::Busy)];
    let mixed = prop::collection::vec(
        (
            situation(),
            [contents(), contents(), contents(), contents()],
        ),
        1..300,
    );
    let calm = prop::collection::vec(
        (orderly, [contents(), contents(), contents(), contents()]),
        1..300,
    );
    (
        prop_oneof![mixed.boxed(), calm.boxed()],
        1..=MOST_PORTS,
        0..=100_u32,
        amount(),
        amount(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(hosts, ports, replicas_percent, surge, unavailable, back, started_already)| Sketch {
                hosts,
                ports,
                replicas_percent,
                surge,
                unavailable,
                back,
                started_already,
            },
        )
}

/// The real thing, as drawn.
pub(crate) struct Drawn {
    pub(crate) spec: Spec,
    pub(crate) rollout: Rollout,
    pub(crate) fleet: Fleet,
}

impl Sketch {
    pub(crate) fn draw(&self) -> Drawn {
        let slots = u32::try_from(self.hosts.len() * self.ports).expect("a small fleet");
        let replicas = slots * self.replicas_percent / 100;
        let amounts = Amounts {
            replicas,
            max_surge: self.surge,
            max_unavailable: self.unavailable,
        };
        let budget = amounts
            .resolve(self.hosts.len(), self.ports)
            .unwrap_or(Budget {
                replicas,
                surge: 0,
                unavailable: 1.min(replicas),
            });
        let ports: Vec<Port> = (8081..).take(self.ports).collect();
        let spec = spec((1..=self.hosts.len()).map(host_id).collect(), ports, budget);
        let mut drawn = Drawn {
            rollout: rollout(&spec),
            spec,
            fleet: Fleet::default(),
        };
        if self.started_already {
            drawn
                .rollout
                .attempt
                .started
                .insert("an-earlier-start".into(), Time(0));
        }
        if self.back {
            let failure = Failure {
                kind: FailureKind::Stuck,
                host: None,
                slot: None,
                detail: String::new(),
                waited: Duration::ZERO,
            };
            drawn.record(Event::RolloutFailed {
                failure,
                log: Vec::new(),
                then: FailureResponse::RollBack,
            });
        }
        for (at, (situation, contents)) in self.hosts.iter().enumerate() {
            drawn.host(&host_id(at + 1), *situation, &contents[..self.ports]);
        }
        drawn
    }
}

impl Drawn {
    pub(crate) fn record(&mut self, event: Event) {
        self.rollout.apply(&Entry { at: NOW, event });
    }

    pub(crate) fn host(&mut self, id: &HostId, situation: Situation, contents: &[Content]) {
        let mut host = Host {
            reach: match situation {
                Situation::NotSeen => Reach::NotSeen,
                Situation::Lost | Situation::LostWithUnknownOrder => Reach::Lost {
                    since: NOW,
                    why: "timed out".into(),
                },
                _ => Reach::Reachable,
            },
            epoch: if situation == Situation::Unclaimed {
                Epoch(4)
            } else {
                EPOCH
            },
            releases: BTreeSet::new(),
            slots: BTreeMap::new(),
            armed: std::collections::BTreeSet::new(),
        };
        if situation != Situation::Unstaged {
            host.releases.extend(["old", "new"].map(ReleaseId::from));
        }
        for (port, content) in self.spec.ports.iter().zip(contents) {
            let occupant = match content {
                Content::Empty => continue,
                Content::Stranger => Occupant::Stranger("pid 1".into()),
                Content::Instance(release, condition) => {
                    Occupant::Instance(condition.instance(&format!("{id}-{port}"), release))
                }
            };
            host.slots.insert(*port, occupant);
        }
        let order = self.order(id, &host);
        self.fleet.hosts.insert(id.clone(), host);
        if !matches!(situation, Situation::Busy | Situation::LostWithUnknownOrder) {
            return;
        }
        let action = self.rollout.next_action_id();
        self.record(Event::ActionStarted {
            id: action,
            action: order,
            instance: None,
        });
        if situation == Situation::LostWithUnknownOrder {
            self.record(Event::ActionUnknown {
                id: action,
                why: "timed out".into(),
            });
        }
    }

    /// Some order that may be under way on the host: a start in a free slot, else a stop.
    pub(crate) fn order(&self, id: &HostId, host: &Host) -> Action {
        let port = self.spec.ports[0];
        let slot = Slot::new(id.clone(), port);
        match host.slots.get(&port) {
            None => Action::Start {
                slot,
                release: self.rollout.target_release().clone(),
            },
            Some(Occupant::Instance(instance)) => Action::Stop {
                slot,
                instance: instance.name.clone(),
                why: StopReason::Replaced,
                restore_after: None,
                ended: None,
            },
            Some(Occupant::Stranger(_)) => Action::Stage {
                host: id.clone(),
                release: self.rollout.target_release().clone(),
            },
        }
    }

    pub(crate) fn under_way(&self) -> impl Iterator<Item = &Action> {
        self.rollout
            .orders
            .in_flight
            .values()
            .map(|flight| &flight.action)
            .chain(&self.rollout.orders.unknown)
    }

    pub(crate) fn is_doomed(&self, instance: &Instance) -> bool {
        self.under_way()
            .any(|action| matches!(action, Action::Stop { instance: doomed, .. } if *doomed == instance.name))
    }

    pub(crate) fn is_available(&self, host: &Host, instance: &Instance) -> bool {
        let ready = instance
            .health
            .is_available(NOW, MIN_READY, &Thresholds::default());
        host.is_reachable() && instance.is_running() && ready && !self.is_doomed(instance)
    }

    pub(crate) fn available(&self) -> usize {
        self.fleet
            .instances()
            .filter(|(_, host, instance)| self.is_available(host, instance))
            .count()
    }

    /// Everything that runs or may: what was seen to run, what is out of reach, and starts under
    /// way.
    pub(crate) fn running(&self) -> BTreeMap<Slot, ReleaseId> {
        let seen = self
            .fleet
            .instances()
            .filter(|(_, host, instance)| instance.is_running() || !host.is_reachable());
        let mut running: BTreeMap<Slot, ReleaseId> = seen
            .map(|(slot, _, instance)| (slot, instance.release.clone()))
            .collect();
        for action in self.under_way() {
            if let Action::Start { slot, release } = action {
                running
                    .entry(slot.clone())
                    .or_insert_with(|| release.clone());
            }
        }
        running
    }
}

impl Condition {
    pub(crate) fn instance(self, name: &str, release: &str) -> Instance {
        let long_ago = NOW - Duration::from_hours(1);
        let (ready_since, last) = match self {
            Condition::Available => (Some(long_ago), Some((NOW, pass()))),
            Condition::Soaking => (Some(NOW), Some((NOW, pass()))),
            Condition::AskedLongAgo => (Some(long_ago), Some((long_ago, pass()))),
            Condition::Failing | Condition::Ended => {
                (None, Some((NOW, Verdict::Fail("refused".into()))))
            }
            Condition::NeverAsked => (None, None),
        };
        let failures = if matches!(last, Some((_, Verdict::Fail(_)))) {
            u32::MAX
        } else {
            0
        };
        Instance {
            name: InstanceId::from(name),
            release: release.into(),
            revision: Revision(1),
            started: long_ago,
            process: match self {
                Condition::Ended => Process::Ended {
                    how: "signal 9".into(),
                },
                _ => Process::Running,
            },
            restarts: 0,
            listener: Listener::Own {
                address: "0.0.0.0".into(),
            },
            health: Health {
                passes: 0,
                failures,
                ready_since,
                last,
            },
            sighting: Sighting {
                at: NOW,
                ..Sighting::default()
            },
        }
    }
}

pub(crate) fn pass() -> Verdict {
    Verdict::Pass(String::new())
}

pub(crate) fn host_id(number: usize) -> HostId {
    HostId::from(format!("h{number}"))
}

pub(crate) fn spec(hosts: Vec<HostId>, ports: Vec<Port>, budget: Budget) -> Spec {
    Spec {
        service: "testpage".into(),
        hosts,
        ports,
        budget,
        release_ports: BTreeMap::new(),
        budget_back: None,
        min_ready: MIN_READY,
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
        keep: BTreeSet::from(["old".into(), "new".into()]),
    }
}

pub(crate) fn rollout(spec: &Spec) -> Rollout {
    let generation = |revision, release: &str| RevisionRef {
        revision: Revision(revision),
        release: release.into(),
        version: release.into(),
    };
    let event = Event::RolloutStarted(RolloutStart {
        verb: Verb::Deploy,
        service: spec.service.clone(),
        fleet: "test".into(),
        target: generation(2, "new"),
        fallback: Some(generation(1, "old")),
        replicas: spec.budget.replicas,
        fallback_replicas: None,
        epoch: EPOCH,
        is_proven: false,
        scaling: None,
        set: Vec::new(),
    });
    Rollout::begin(&Entry { at: NOW, event }).expect("it begins with RolloutStarted")
}
