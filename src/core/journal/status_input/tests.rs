//! Tests of the status of a fleet.

use std::collections::BTreeSet;

use super::*;
use crate::core::fleet::health::{Health, Verdict};
use crate::core::fleet::{Occupant, Process, Sighting};
use crate::core::ids::{ActionId, Epoch, Revision, SlotNumber};
use crate::core::planner::census::Census;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::Rollout;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Entry, Event, RolloutStart};
use crate::core::rollout::verb::Verb;
use crate::core::spec::step::OnGate;
use crate::core::spec::zones::Zones;
use crate::core::spec::{OnFailure, Spec};

const NOW: Time = Time(600_000);

fn release(version: &str) -> ReleaseId {
    ReleaseId::from(format!("{}{:0<62}", version.replace('.', ""), ""))
}

fn instance(name: &str, version: &str, started: Time) -> Instance {
    Instance {
        name: InstanceId::from(name),
        release: release(version),
        revision: Revision(if version == "0.8" { 1 } else { 2 }),
        started,
        process: Process::Running,
        lingering: None,
        restarts: 0,
        listeners: BTreeMap::new(),
        health: Health::default(),
        sighting: Sighting {
            at: started,
            ..Sighting::default()
        },
    }
}

fn ready(mut instance: Instance, since: Time) -> Instance {
    instance.health.record(
        Verdict::Pass("ok".into()),
        since,
        since,
        &Thresholds::default(),
    );
    instance.health.last = Some((NOW, Verdict::Pass("ok".into())));
    instance.sighting.at = NOW;
    instance
}

fn fleet(instances: Vec<(&str, SlotNumber, Instance)>) -> Fleet {
    let mut fleet = Fleet::default();
    for (host, number, instance) in instances {
        let host = HostId::from(host);
        fleet.mark_unreachable(&host, NOW, "to be seen");
        let entry = fleet.hosts.get_mut(&host).unwrap();
        entry.reach = Reach::Reachable;
        entry.slots.insert(number, Occupant::Instance(instance));
    }
    fleet
}

fn started(id: u64, action: Action, instance: Option<&str>) -> Entry {
    let instance = instance.map(InstanceId::from);
    Entry {
        at: Time(590_000),
        event: Event::ActionStarted {
            id: ActionId(id),
            action,
            instance,
        },
    }
}

/// The stop of an instance on web2.
fn stop(instance: &str) -> Action {
    Action::Stop {
        slot: Slot::new("web2", 8081),
        instance: instance.into(),
        why: StopReason::Replaced,
        restore_after: None,
        ended: None,
    }
}

/// The status of a fleet whose inventory lists web2 before web1, on its way from 0.8 to 0.9.
fn status(fleet: &Fleet, pending: &PendingActions, min_ready: Duration) -> Status {
    let hosts: Vec<_> = [
        ("web2", "10.0.0.2"),
        ("web1", "10.0.0.1"),
        ("web3", "10.0.0.3"),
    ]
    .map(|(host, address)| (HostId::from(host), address.to_owned()))
    .to_vec();
    StatusInput {
        traffic: None,
        service: "testpage",
        fleet_name: "production",
        hosts: &hosts,
        fleet,
        versions: &BTreeMap::from([(release("0.8"), "0.8".to_owned())]),
        without_ports: &BTreeSet::new(),
        target: Some(&RevisionRef {
            revision: Revision(2),
            release: release("0.9"),
            version: "0.9".into(),
        }),
        budget: Budget {
            replicas: 2,
            surge: 1,
            unavailable: 0,
        },
        min_ready,
        thresholds: &BTreeMap::new(),
        service_state: ServiceState::Running,
        pending,
        failed_hosts: &[],
        holds: &BTreeMap::from([
            (
                HostId::from("web1"),
                WaitReason::Soaks {
                    number: 8081,
                    until: NOW + Duration::from_secs(4),
                },
            ),
            (HostId::from("web2"), WaitReason::UpToDate),
        ]),
        now: NOW,
    }
    .status()
}

fn words(status: &Status) -> Vec<String> {
    status
        .instances
        .iter()
        .map(|row| format!("{}:{} {}", row.host, row.slot, row.status))
        .collect()
}

#[test]
fn status_lists_instances_in_inventory_order_with_their_state() {
    let fleet = fleet(vec![
        ("web1", 8082, instance("starting", "0.9", Time(590_000))),
        (
            "web1",
            8081,
            ready(instance("running", "0.8", Time(0)), Time(0)),
        ),
        (
            "web2",
            8081,
            ready(instance("stopping", "0.8", Time(0)), Time(0)),
        ),
        ("web2", 8082, instance("sick", "0.8", Time(0))),
        ("web3", 8081, {
            let mut exited = instance("exited", "0.9", Time(0));
            exited.process = Process::Ended {
                how: "exit status 1".into(),
            };
            exited
        }),
    ]);
    let mut pending = PendingActions::default();
    let start = |number| Action::Start {
        slot: Slot::new("web1", number),
        release: release("0.9"),
        reloads: None,
    };
    pending.apply(&started(1, start(8082), Some("starting")));
    pending.apply(&Entry {
        at: NOW,
        event: Event::ActionDone { id: ActionId(1) },
    });
    pending.apply(&started(2, start(8083), Some("creating")));
    let stop = stop("stopping");
    pending.apply(&started(3, stop, None));
    let status = status(&fleet, &pending, Duration::ZERO);
    assert_eq!(
        words(&status),
        [
            "web2:8081 Stopping",
            "web2:8082 NotReady",
            "web1:8081 Running",
            "web1:8082 Starting",
            "web1:8083 Creating",
            "web3:8081 Exited"
        ]
    );
    assert_eq!(
        status.replicas.total, 5,
        "what is ordered counts, what has ended does not"
    );
    assert_eq!(
        status.replicas.available, 1,
        "what is being stopped no longer counts"
    );
}

/// The start of the rollout from 0.8 to 0.9.
fn begun() -> Entry {
    Entry {
        at: Time(580_000),
        event: Event::RolloutStarted(RolloutStart {
            verb: Verb::Deploy,
            service: "testpage".into(),
            fleet: "production".into(),
            target: RevisionRef {
                revision: Revision(2),
                release: release("0.9"),
                version: "0.9".into(),
            },
            rollback_target: None,
            replicas: 2,
            rollback_replicas: None,
            epoch: Epoch(1),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
        }),
    }
}

fn spec() -> Spec {
    Spec {
        service: "testpage".into(),
        hosts: ["web2", "web1", "web3"].map(HostId::from).to_vec(),
        slots: vec![8081, 8082],
        is_singleton: false,
        zones: Zones::default(),
        reload_groups: BTreeMap::new(),
        budget: Budget {
            replicas: 2,
            surge: 1,
            unavailable: 0,
        },
        release_slots: BTreeMap::new(),
        without_ports: BTreeSet::new(),
        slot_ports: BTreeMap::new(),
        rollback_budget: None,
        min_ready: Duration::from_secs(5),
        progress_deadline: Duration::from_mins(10),
        max_failed_hosts: 0,
        on_failure: OnFailure::RollBack,
        waits: BTreeMap::new(),
        thresholds: BTreeMap::new(),
        steps: Vec::new(),
        on_gate: OnGate::default(),
        deploy_windows: crate::core::spec::windows::DeployWindows::default(),
        tasks: Vec::new(),
        analyses: Vec::new(),
        traffic: None,
        keep: BTreeSet::new(),
    }
}

#[test]
fn status_has_the_same_counts_as_the_planner() {
    let mut fleet = fleet(vec![
        (
            "web1",
            8081,
            ready(instance("old", "0.8", Time(0)), Time(0)),
        ),
        (
            "web2",
            8081,
            ready(instance("going", "0.8", Time(0)), Time(0)),
        ),
        (
            "web2",
            8082,
            ready(instance("new", "0.9", Time(590_000)), Time(591_000)),
        ),
        (
            "web3",
            8081,
            ready(instance("lost", "0.8", Time(0)), Time(0)),
        ),
    ]);
    fleet.mark_unreachable(&"web3".into(), NOW, "timed out");
    let stop = stop("going");
    let start = Action::Start {
        slot: Slot::new("web1", 8082),
        release: release("0.9"),
        reloads: None,
    };
    let (mut rollout, mut pending) = (Rollout::begin(&begun()).unwrap(), PendingActions::default());
    for entry in [started(1, start, Some("coming")), started(2, stop, None)] {
        rollout.apply(&entry);
        pending.apply(&entry);
    }
    let spec = spec();
    let census = Census::take(&spec, &rollout, &fleet, NOW);
    let status = status(&fleet, &pending, spec.min_ready);
    assert_eq!(status.replicas.progress(), census.progress(&spec, &rollout));
    assert_eq!((status.replicas.total, status.replicas.available), (5, 2));
}

#[test]
fn status_counts_only_soaked_instances_as_available() {
    let fleet = fleet(vec![
        (
            "web1",
            8081,
            ready(instance("old", "0.8", Time(0)), Time(0)),
        ),
        (
            "web2",
            8081,
            ready(instance("new", "0.9", Time(590_000)), Time(595_000)),
        ),
    ]);
    let soaking = status(&fleet, &PendingActions::default(), Duration::from_secs(6)).replicas;
    assert_eq!(
        (
            soaking.updated,
            soaking.updated_ready,
            soaking.updated_available,
            soaking.available
        ),
        (1, 1, 0, 1)
    );
    let soaked = status(&fleet, &PendingActions::default(), Duration::from_secs(5)).replicas;
    assert_eq!((soaked.updated_available, soaked.available), (1, 2));
    assert_eq!((soaked.min_available, soaked.max_running), (2, 3));
}

#[test]
fn status_shows_since_when_and_why_a_host_is_unreachable() {
    let mut fleet = fleet(vec![(
        "web3",
        8081,
        ready(instance("gone", "0.8", Time(0)), Time(0)),
    )]);
    fleet.mark_unreachable(
        &"web3".into(),
        Time(420_000),
        "connection timed out after 5s",
    );
    let status = status(&fleet, &PendingActions::default(), Duration::ZERO);
    assert_eq!(words(&status), ["web3:8081 Unknown"]);
    assert_eq!(status.replicas.available, 0);
    let holds: Vec<_> = status
        .holds
        .iter()
        .map(|held| format!("{}: {}", held.host, held.why))
        .collect();
    assert_eq!(
        holds,
        [
            "web1: slot 8081 is ready and soaks for another 4s",
            "web3: unreachable for 3m: connection timed out after 5s"
        ]
    );
}

#[test]
fn status_has_the_documented_json_keys() {
    let fleet = fleet(vec![(
        "web1",
        8081,
        ready(instance("testpage-1", "0.8", Time(0)), Time(0)),
    )]);
    let json =
        serde_json::to_string(&status(&fleet, &PendingActions::default(), Duration::ZERO)).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"service":"testpage","fleet":"production","state":"running","revision":2,"version":"0.9","#,
            r#""replicas":{"desired":2,"updated":0,"available":1,"total":1,"updated_ready":0,"updated_available":0,"#,
            r#""min_available":2,"max_running":3},"#,
            r#""instances":[{"name":"testpage-1","host":"web1","address":"10.0.0.1","port":8081,"slot":8081,"version":"0.8","#,
            r#""revision":1,"ready":true,"status":"Running","restarts":0,"age_s":600}],"#,
            r#""holds":[{"host":"web1","why":"slot 8081 is ready and soaks for another 4s"}],"failed_hosts":[]}"#
        )
    );
}

#[test]
fn status_reports_service_that_was_never_deployed() {
    let mut never = status(
        &Fleet::default(),
        &PendingActions::default(),
        Duration::ZERO,
    );
    never.version = None;
    assert_eq!(
        never.sentence(),
        "service `testpage` has not been deployed on fleet `production` yet"
    );
}
