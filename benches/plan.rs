//! Measures `plan()` for fleets of 100, 1,000 and 10,000 instances: `cargo bench --bench plan`.
//!
//! The goal is less than 10 ms for 10,000 instances. The planner iterates over sorted maps once, so
//! the time grows as n log n, and slightly faster once the fleet exceeds the processor's caches.

use ship::core::spec::step::OnGate;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use divan::{Bencher, black_box};
use ship::core::fleet::health::{Health, Verdict};
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Instance, Listener, Occupant, Process, Sighting};
use ship::core::ids::{Epoch, HostId, InstanceId, Port, Revision, Slot};
use ship::core::planner::plan;
use ship::core::rollout::Rollout;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Entry, Event, RevisionRef, RolloutStart};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::Budget;
use ship::core::spec::{OnFailure, Spec};
use ship::core::time::Time;

const NOW: Time = Time(1_000_000_000);
const PORTS: [Port; 4] = [8081, 8082, 8083, 8084];
const INSTANCES_PER_HOST: u32 = 2;

fn main() {
    divan::main();
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn halfway_through_a_rollout(bencher: Bencher<'_, '_>, instances: u32) {
    let (spec, rollout, fleet) = halfway(instances);
    let planned = plan(&spec, &rollout, &fleet, NOW);
    let has_action = |verb: &str| planned.actions.iter().any(|action| action.verb() == verb);
    assert!(
        has_action("start") && has_action("stop"),
        "the rollout must be in progress"
    );
    bencher.bench(|| {
        plan(
            black_box(&spec),
            black_box(&rollout),
            black_box(&fleet),
            NOW,
        )
    });
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn at_the_start(bencher: Bencher<'_, '_>, instances: u32) {
    let (spec, rollout, mut fleet) = halfway(instances);
    for host in fleet.hosts.values_mut() {
        host.releases.remove(&"new".into());
    }
    bencher.bench(|| {
        plan(
            black_box(&spec),
            black_box(&rollout),
            black_box(&fleet),
            NOW,
        )
    });
}

/// A rollout in progress: half of the hosts run the new release, some have an action in flight, and
/// a few are unreachable or unhealthy.
fn halfway(instances: u32) -> (Spec, Rollout, Fleet) {
    let hosts: Vec<HostId> = (0..instances / INSTANCES_PER_HOST)
        .map(|n| HostId::from(format!("host-{n:05}")))
        .collect();
    let spec = Spec {
        service: "testpage".into(),
        hosts: hosts.clone(),
        slots: PORTS.to_vec(),
        is_singleton: false,
        zones: ship::core::spec::zones::Zones::default(),
        reload_groups: BTreeMap::new(),
        budget: Budget {
            replicas: instances,
            surge: instances / 4,
            unavailable: instances / 4,
        },
        release_slots: std::collections::BTreeMap::new(),
        without_ports: std::collections::BTreeSet::new(),
        slot_ports: std::collections::BTreeMap::new(),
        rollback_budget: None,
        min_ready: Duration::from_secs(10),
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
    };
    let revision_ref = |number, release: &str| RevisionRef {
        revision: Revision(number),
        release: release.into(),
        version: release.into(),
    };
    let started = Event::RolloutStarted(RolloutStart {
        verb: Verb::Deploy,
        service: spec.service.clone(),
        fleet: "bench".into(),
        target: revision_ref(2, "new"),
        rollback_target: Some(revision_ref(1, "old")),
        replicas: instances,
        rollback_replicas: None,
        epoch: Epoch(5),
        is_proven: false,
        scaling: None,
        set: Vec::new(),
        hosts_from: None,
    });
    let mut rollout = Rollout::begin(&Entry {
        at: NOW,
        event: started,
    })
    .expect("the journal begins with RolloutStarted");
    let mut fleet = Fleet::default();
    for (n, id) in hosts.into_iter().enumerate() {
        fleet.hosts.insert(id.clone(), host(&id, n));
        if n % 11 == 10 {
            let action = Action::Start {
                slot: Slot::new(id, PORTS[3]),
                reloads: None,
                release: "new".into(),
            };
            let id = rollout.next_action_id();
            rollout.apply(&Entry {
                at: NOW,
                event: Event::ActionStarted {
                    id,
                    action,
                    instance: None,
                },
            });
        }
    }
    (spec, rollout, fleet)
}

fn host(id: &HostId, n: usize) -> Host {
    let release = if n.is_multiple_of(2) { "new" } else { "old" };
    let reach = if n % 97 == 96 {
        Reach::Lost {
            since: NOW,
            why: "timed out".into(),
        }
    } else {
        Reach::Reachable
    };
    let slots = PORTS.iter().take(INSTANCES_PER_HOST as usize);
    let slots = slots.map(|port| {
        (
            *port,
            Occupant::Instance(instance(&format!("{id}-{port}"), release, n)),
        )
    });
    Host {
        reach,
        epoch: Epoch(5),
        releases: BTreeSet::from(["old".into(), "new".into()]),
        slots: slots.collect(),
        armed: BTreeSet::new(),
    }
}

fn instance(name: &str, release: &str, n: usize) -> Instance {
    let long_ago = NOW - Duration::from_hours(1);
    let health = if n % 53 == 52 {
        Health {
            passes: 0,
            failures: 3,
            ready_since: None,
            last: Some((NOW, Verdict::Fail("refused".into()))),
        }
    } else {
        Health {
            passes: 9,
            failures: 0,
            ready_since: Some(long_ago),
            last: Some((NOW, Verdict::Pass("ok".into()))),
        }
    };
    Instance {
        name: InstanceId::from(name),
        release: release.into(),
        revision: Revision(1),
        started: long_ago,
        process: Process::Running,
        lingering: None,
        restarts: 0,
        listeners: [(
            PORTS[0],
            Listener::Own {
                address: "0.0.0.0".into(),
            },
        )]
        .into(),
        health,
        sighting: Sighting {
            at: NOW,
            ..Sighting::default()
        },
    }
}
