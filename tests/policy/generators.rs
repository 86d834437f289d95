//! Random fleets and rollouts for the property tests.

use ship::core::spec::step::OnGate;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use ship::core::fleet::health::{Health, Thresholds, Verdict};
use ship::core::fleet::lingering::Lingering;
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Instance, Listener, Occupant, Process, Sighting};
use ship::core::ids::{Epoch, HostId, InstanceId, ReleaseId, Revision, Slot, SlotNumber};
use ship::core::rollout::Rollout;
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{Failure, FailureKind};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::{Amount, Budget};
use ship::core::spec::zones::Zones;
use ship::core::spec::{Amounts, OnFailure, Spec};
use ship::core::time::Time;

pub(crate) const NOW: Time = Time(1_000_000_000);
pub(crate) const EPOCH: Epoch = Epoch(5);
const MIN_READY: Duration = Duration::from_secs(30);
pub(crate) const PORTS_MAX: usize = 4;

/// The content of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    Stranger,
    Instance(&'static str, Condition),
}

/// The condition of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Available,
    Soaking,
    Failing,
    Unprobed,
    StaleProbe,
    Ended,
    /// It was asked to stop, and may finish its work.
    Lingering,
}

/// The reachability of a host, and what is in progress there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCondition {
    Idle,
    /// The host has not seen the epoch of this rollout.
    Unclaimed,
    /// The release is not staged on the host.
    Unstaged,
    NotSeen,
    Lost,
    LostWithUnknownAction,
    /// A start, a stop or a stage action is in flight.
    Busy,
}

#[derive(Clone, Debug)]
pub(crate) struct FleetSketch {
    pub(crate) hosts: Vec<(HostCondition, [Content; PORTS_MAX])>,
    pub(crate) slots: usize,
    pub(crate) replicas_percent: u32,
    pub(crate) surge: Amount,
    pub(crate) unavailable: Amount,
    pub(crate) rolling_back: bool,
    pub(crate) has_started: bool,
}

pub(crate) fn contents() -> impl Strategy<Value = Content> {
    let condition = prop_oneof![
        6 => Just(Condition::Available),
        1 => Just(Condition::Soaking),
        1 => Just(Condition::Failing),
        1 => Just(Condition::Unprobed),
        1 => Just(Condition::StaleProbe),
        1 => Just(Condition::Ended),
        1 => Just(Condition::Lingering),
    ];
    let release = prop_oneof![Just("old"), Just("new"), Just("other")];
    prop_oneof![
        4 => Just(Content::Empty),
        1 => Just(Content::Stranger),
        6 => (release, condition).prop_map(|(release, condition)| Content::Instance(release, condition)),
    ]
}

pub(crate) fn host_condition() -> impl Strategy<Value = HostCondition> {
    prop_oneof![
        30 => Just(HostCondition::Idle),
        1 => Just(HostCondition::Unclaimed),
        1 => Just(HostCondition::Unstaged),
        1 => Just(HostCondition::NotSeen),
        2 => Just(HostCondition::Lost),
        2 => Just(HostCondition::LostWithUnknownAction),
        3 => Just(HostCondition::Busy),
    ]
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0..4_u32).prop_map(Amount::Count),
        (0..=100_u32).prop_map(Amount::Percent)
    ]
}

pub(crate) fn sketch() -> impl Strategy<Value = FleetSketch> {
    // Half of the fleets have no host with a problem: a single one blocks much of what the properties
    // check.
    let ordinary = prop_oneof![3 => Just(HostCondition::Idle), 1 => Just(HostCondition::Busy)];
    let mixed = prop::collection::vec(
        (
            host_condition(),
            [contents(), contents(), contents(), contents()],
        ),
        1..300,
    );
    let without_problems = prop::collection::vec(
        (ordinary, [contents(), contents(), contents(), contents()]),
        1..300,
    );
    (
        prop_oneof![mixed.boxed(), without_problems.boxed()],
        1..=PORTS_MAX,
        0..=100_u32,
        amount(),
        amount(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(hosts, slots, replicas_percent, surge, unavailable, rolling_back, has_started)| {
                FleetSketch {
                    hosts,
                    slots,
                    replicas_percent,
                    surge,
                    unavailable,
                    rolling_back,
                    has_started,
                }
            },
        )
}

/// The inputs of a plan.
pub(crate) struct PlanInput {
    pub(crate) spec: Spec,
    pub(crate) rollout: Rollout,
    pub(crate) fleet: Fleet,
}

impl FleetSketch {
    pub(crate) fn build(&self) -> PlanInput {
        let slots = u32::try_from(self.hosts.len() * self.slots).expect("a small fleet");
        let replicas = slots * self.replicas_percent / 100;
        let amounts = Amounts {
            replicas,
            max_surge: self.surge,
            max_unavailable: self.unavailable,
        };
        let budget = amounts
            .resolve(self.hosts.len(), self.slots)
            .unwrap_or(Budget {
                replicas,
                surge: 0,
                unavailable: 1.min(replicas),
            });
        let slots: Vec<SlotNumber> = (8081..).take(self.slots).collect();
        let spec = spec((1..=self.hosts.len()).map(host_id).collect(), slots, budget);
        let mut input = PlanInput {
            rollout: rollout(&spec),
            spec,
            fleet: Fleet::default(),
        };
        if self.has_started {
            input
                .rollout
                .attempt
                .started
                .insert("an-earlier-start".into(), Time(0));
        }
        if self.rolling_back {
            let failure = Failure {
                kind: FailureKind::Stuck,
                host: None,
                slot: None,
                detail: String::new(),
                waited: Duration::ZERO,
            };
            input.record(Event::RolloutFailed {
                failure,
                log: Vec::new(),
                then: FailureResponse::RollBack,
            });
        }
        for (at, (host_condition, contents)) in self.hosts.iter().enumerate() {
            input.add_host(&host_id(at + 1), *host_condition, &contents[..self.slots]);
        }
        input
    }
}

impl PlanInput {
    pub(crate) fn record(&mut self, event: Event) {
        self.rollout.apply(&Entry { at: NOW, event });
    }

    pub(crate) fn add_host(
        &mut self,
        id: &HostId,
        host_condition: HostCondition,
        contents: &[Content],
    ) {
        let mut host = Host {
            reach: match host_condition {
                HostCondition::NotSeen => Reach::NotSeen,
                HostCondition::Lost | HostCondition::LostWithUnknownAction => Reach::Lost {
                    since: NOW,
                    why: "timed out".into(),
                },
                _ => Reach::Reachable,
            },
            epoch: if host_condition == HostCondition::Unclaimed {
                Epoch(4)
            } else {
                EPOCH
            },
            releases: BTreeSet::new(),
            slots: BTreeMap::new(),
            armed: std::collections::BTreeSet::new(),
        };
        if host_condition != HostCondition::Unstaged {
            host.releases.extend(["old", "new"].map(ReleaseId::from));
        }
        for (number, content) in self.spec.slots.iter().zip(contents) {
            let occupant = match content {
                Content::Empty => continue,
                Content::Stranger => Occupant::OtherProcess("pid 1".into()),
                Content::Instance(release, condition) => {
                    Occupant::Instance(condition.instance(&format!("{id}-{number}"), release))
                }
            };
            host.slots.insert(*number, occupant);
        }
        let pending = self.pending_action(id, &host);
        self.fleet.hosts.insert(id.clone(), host);
        if !matches!(
            host_condition,
            HostCondition::Busy | HostCondition::LostWithUnknownAction
        ) {
            return;
        }
        let action = self.rollout.next_action_id();
        self.record(Event::ActionStarted {
            id: action,
            action: pending,
            instance: None,
        });
        if host_condition == HostCondition::LostWithUnknownAction {
            self.record(Event::ActionUnknown {
                id: action,
                why: "timed out".into(),
            });
        }
    }

    /// An action that may be in flight on the host: a start in a free slot, otherwise a stop.
    pub(crate) fn pending_action(&self, id: &HostId, host: &Host) -> Action {
        let number = self.spec.slots[0];
        let slot = Slot::new(id.clone(), number);
        match host.slots.get(&number) {
            None => Action::Start {
                slot,
                release: self.rollout.target_release().clone(),
                reloads: None,
            },
            Some(Occupant::Instance(instance)) => Action::Stop {
                slot,
                instance: instance.name.clone(),
                why: StopReason::Replaced,
                restore_after: None,
                ended: None,
            },
            Some(Occupant::OtherProcess(_)) => Action::Stage {
                host: id.clone(),
                release: self.rollout.target_release().clone(),
            },
        }
    }

    pub(crate) fn pending_actions(&self) -> impl Iterator<Item = &Action> {
        self.rollout
            .orders
            .in_flight
            .values()
            .map(|flight| &flight.action)
            .chain(&self.rollout.orders.unknown)
    }

    pub(crate) fn is_being_stopped(&self, instance: &Instance) -> bool {
        self.pending_actions()
            .any(|action| matches!(action, Action::Stop { instance: stopped, .. } if *stopped == instance.name))
    }

    pub(crate) fn is_available(&self, host: &Host, instance: &Instance) -> bool {
        let ready = instance
            .health
            .is_available(NOW, MIN_READY, &Thresholds::default());
        host.is_reachable() && instance.is_running() && ready && !self.is_being_stopped(instance)
    }

    pub(crate) fn available(&self) -> usize {
        self.fleet
            .instances()
            .filter(|(_, host, instance)| self.is_available(host, instance))
            .count()
    }

    /// Every instance that runs or may run: observed as running, on an unreachable host, or being
    /// started.
    pub(crate) fn running(&self) -> BTreeMap<Slot, ReleaseId> {
        let seen = self.fleet.instances().filter(|(_, host, instance)| {
            instance.is_running() || !host.is_reachable() && instance.lingering.is_none()
        });
        let mut running: BTreeMap<Slot, ReleaseId> = seen
            .map(|(slot, _, instance)| (slot, instance.release.clone()))
            .collect();
        for action in self.pending_actions() {
            if let Action::Start { slot, release, .. } = action {
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
            Condition::StaleProbe => (Some(long_ago), Some((long_ago, pass()))),
            Condition::Failing | Condition::Ended => {
                (None, Some((NOW, Verdict::Fail("refused".into()))))
            }
            Condition::Unprobed | Condition::Lingering => (None, None),
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
            lingering: matches!(self, Condition::Lingering).then(|| Lingering {
                since: long_ago,
                ends_by: NOW + Duration::from_hours(1),
                ended: None,
            }),
            restarts: 0,
            listeners: [(
                8081,
                Listener::Own {
                    address: "0.0.0.0".into(),
                },
            )]
            .into(),
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

pub(crate) fn spec(hosts: Vec<HostId>, slots: Vec<SlotNumber>, budget: Budget) -> Spec {
    Spec {
        service: "testpage".into(),
        hosts,
        slots,
        is_singleton: false,
        zones: Zones::default(),
        reload_groups: BTreeMap::new(),
        budget,
        release_slots: BTreeMap::new(),
        without_ports: BTreeSet::new(),
        slot_ports: BTreeMap::new(),
        rollback_budget: None,
        min_ready: MIN_READY,
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
        keep: BTreeSet::from(["old".into(), "new".into()]),
    }
}

pub(crate) fn rollout(spec: &Spec) -> Rollout {
    let revision_ref = |revision, release: &str| RevisionRef {
        revision: Revision(revision),
        release: release.into(),
        version: release.into(),
    };
    let event = Event::RolloutStarted(RolloutStart {
        verb: Verb::Deploy,
        service: spec.service.clone(),
        fleet: "test".into(),
        target: revision_ref(2, "new"),
        rollback_target: Some(revision_ref(1, "old")),
        replicas: spec.budget.replicas,
        rollback_replicas: None,
        epoch: EPOCH,
        is_proven: false,
        scaling: None,
        set: Vec::new(),
        hosts_from: None,
    });
    Rollout::begin(&Entry { at: NOW, event }).expect("the journal begins with RolloutStarted")
}
