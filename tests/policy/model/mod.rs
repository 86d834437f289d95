//! Model checking of the planner: a breadth-first search over everything that can happen to small
//! fleets.
//!
//! Hosts become unreachable and return, starts fail, instances become unhealthy, reports are lost,
//! deadlines pass early, and the controller crashes at any point while its last commands are still
//! in flight. The model of the hosts and the invariants share no code with the planner: they count
//! the actual state, not the view of the controller.
//!
//! `SHIP_LONG=1` explores more combinations of faults. `--nocapture` prints the number of states of
//! each configuration.

mod config;
mod controller;
mod explorer;
mod fast_map;
mod invariants;
mod state;
mod world;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use config::Config;
use controller::Planner;
use explorer::{Report, Violation, explore};
use ship::core::fleet::Occupant;
use ship::core::fleet::health::Verdict;
use ship::core::planner::{Next, Plan, plan};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::OnFailure;
use ship::core::spec::zones::Zones;
use ship::core::time::Time;
use world::{Faults, HOSTS, ProcessState, Release};

const NO_FAULTS: Faults = Faults {
    bad_starts: 0,
    instance_failures: 0,
    host_losses: 0,
    lost_reports: 0,
    crashes: 0,
    early_deadlines: 0,
};
const BAD_START: Faults = Faults {
    bad_starts: 1,
    early_deadlines: 1,
    ..NO_FAULTS
};
const INSTANCE_FAILURE: Faults = Faults {
    instance_failures: 1,
    ..NO_FAULTS
};
const HOST_LOSS: Faults = Faults {
    host_losses: 1,
    ..NO_FAULTS
};
const LOST_REPORT: Faults = Faults {
    lost_reports: 1,
    ..NO_FAULTS
};
const CRASH: Faults = Faults {
    crashes: 1,
    ..NO_FAULTS
};

/// The faults of both, except that early deadlines are not added up.
const fn both(one: Faults, other: Faults) -> Faults {
    Faults {
        bad_starts: one.bad_starts + other.bad_starts,
        instance_failures: one.instance_failures + other.instance_failures,
        host_losses: one.host_losses + other.host_losses,
        lost_reports: one.lost_reports + other.lost_reports,
        crashes: one.crashes + other.crashes,
        early_deadlines: if one.early_deadlines > other.early_deadlines {
            one.early_deadlines
        } else {
            other.early_deadlines
        },
    }
}

// ── the configurations ───────────────────────────────────────────────────────────────────────────

fn surge_onto_a_spare_host() -> Config {
    Config {
        name: "3 replicas on 4 hosts, surge 1",
        hosts: 4,
        slots: 1,
        replicas: 3,
        surge: 1,
        unavailable: 0,
        max_failed_hosts: 0,
        on_failure: OnFailure::RollBack,
        goals: vec![(Release::New, Some(Release::Old)), (Release::Old, None)],
        initial: (0..3)
            .map(|host| (host, 0, Release::Old, ProcessState::Ready))
            .collect(),
        staged: vec![],
        faults: NO_FAULTS,
        fence: true,
        only_new_fails: false,
        reboots: false,
        drained: None,
        workers: false,
        own_ports: false,
        is_singleton: false,
        zones: [0; HOSTS],
    }
}

/// Two zones, of two hosts and of one, and a budget that would allow both of them.
fn two_zones() -> Config {
    Config {
        name: "3 replicas in place, in 2 zones",
        unavailable: 2,
        zones: [0, 1, 0, 0],
        ..in_place(3)
    }
}

fn surge_and_unavailable() -> Config {
    Config {
        name: "3 replicas on 4 hosts, surge 1, unavailable 1",
        unavailable: 1,
        ..surge_onto_a_spare_host()
    }
}

fn side_by_side() -> Config {
    Config {
        name: "2 replicas on 2 hosts with 2 ports, surge 1",
        hosts: 2,
        slots: 2,
        replicas: 2,
        initial: (0..2)
            .map(|host| (host, 0, Release::Old, ProcessState::Ready))
            .collect(),
        ..surge_onto_a_spare_host()
    }
}

fn singleton() -> Config {
    Config {
        name: "a singleton on 2 hosts with 2 ports",
        replicas: 1,
        surge: 0,
        unavailable: 1,
        max_failed_hosts: 1,
        initial: vec![(0, 0, Release::Old, ProcessState::Ready)],
        is_singleton: true,
        ..side_by_side()
    }
}

fn in_place(hosts: usize) -> Config {
    Config {
        name: if hosts == 2 {
            "2 replicas in place"
        } else {
            "3 replicas in place"
        },
        hosts,
        replicas: hosts,
        surge: 0,
        unavailable: 1,
        initial: (0..hosts)
            .map(|host| (host, 0, Release::Old, ProcessState::Ready))
            .collect(),
        ..surge_onto_a_spare_host()
    }
}

/// A configuration, the faults that it is explored with, and those that only a long run adds.
struct Case {
    config: Config,
    fault_sets: Vec<Faults>,
    long: Vec<Faults>,
    /// The minimum number of states. Fewer mean that the model has become smaller by accident.
    at_least: usize,
}

fn cases() -> Vec<Case> {
    let case = |config, fault_sets: &[Faults], long: &[Faults], at_least| Case {
        config,
        fault_sets: fault_sets.to_vec(),
        long: long.to_vec(),
        at_least,
    };
    let named = |name, config| Config { name, ..config };
    let reboots = |config: Config| Config {
        reboots: true,
        ..config
    };
    let two_of_three = || {
        (0..2)
            .map(|host| (host, 0, Release::Old, ProcessState::Ready))
            .collect()
    };
    let one_unhealthy = |release| {
        vec![
            (0, 0, release, ProcessState::Ready),
            (1, 0, release, ProcessState::Unhealthy),
        ]
    };
    vec![
        case(
            surge_onto_a_spare_host(),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                HOST_LOSS,
                LOST_REPORT,
                CRASH,
            ],
            &[
                both(CRASH, BAD_START),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(LOST_REPORT, CRASH),
            ],
            150_000,
        ),
        case(
            surge_and_unavailable(),
            &[BAD_START, INSTANCE_FAILURE, HOST_LOSS],
            &[both(BAD_START, HOST_LOSS), CRASH],
            40_000,
        ),
        case(
            side_by_side(),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(BAD_START, CRASH),
                both(CRASH, CRASH),
                both(both(BAD_START, BAD_START), LOST_REPORT),
                both(INSTANCE_FAILURE, CRASH),
                both(LOST_REPORT, CRASH),
            ],
            &[
                both(both(INSTANCE_FAILURE, HOST_LOSS), BAD_START),
                both(both(HOST_LOSS, CRASH), INSTANCE_FAILURE),
            ],
            200_000,
        ),
        case(
            reboots(named("side by side, hosts may reboot", side_by_side())),
            &[HOST_LOSS, both(HOST_LOSS, CRASH)],
            &[
                both(HOST_LOSS, INSTANCE_FAILURE),
                both(HOST_LOSS, HOST_LOSS),
            ],
            90_000,
        ),
        case(
            named(
                "side by side, surge 2",
                Config {
                    surge: 2,
                    ..side_by_side()
                },
            ),
            &[BAD_START, HOST_LOSS, CRASH, both(BAD_START, LOST_REPORT)],
            &[
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(INSTANCE_FAILURE, CRASH),
            ],
            15_000,
        ),
        case(
            named(
                "side by side, surge 1, unavailable 1",
                Config {
                    unavailable: 1,
                    ..side_by_side()
                },
            ),
            &[BAD_START, HOST_LOSS, INSTANCE_FAILURE, CRASH, LOST_REPORT],
            &[
                both(BAD_START, HOST_LOSS),
                both(INSTANCE_FAILURE, CRASH),
                both(HOST_LOSS, CRASH),
            ],
            20_000,
        ),
        case(
            in_place(2),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(HOST_LOSS, CRASH),
                both(BAD_START, CRASH),
                both(HOST_LOSS, LOST_REPORT),
            ],
            &[
                both(both(BAD_START, INSTANCE_FAILURE), HOST_LOSS),
                both(both(INSTANCE_FAILURE, HOST_LOSS), CRASH),
            ],
            100_000,
        ),
        case(
            in_place(3),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, HOST_LOSS),
                CRASH,
                LOST_REPORT,
            ],
            &[
                both(INSTANCE_FAILURE, CRASH),
                both(INSTANCE_FAILURE, HOST_LOSS),
            ],
            100_000,
        ),
        case(
            two_zones(),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, HOST_LOSS),
                CRASH,
                LOST_REPORT,
            ],
            &[
                both(INSTANCE_FAILURE, CRASH),
                both(INSTANCE_FAILURE, HOST_LOSS),
            ],
            50_000,
        ),
        case(
            named(
                "side by side in 2 zones, surge 2, unavailable 1",
                Config {
                    surge: 2,
                    unavailable: 1,
                    zones: [0, 1, 0, 0],
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                HOST_LOSS,
                CRASH,
                LOST_REPORT,
            ],
            &[both(HOST_LOSS, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            10_000,
        ),
        case(
            named(
                "side by side in 2 zones, a host may fail",
                Config {
                    surge: 2,
                    max_failed_hosts: 1,
                    zones: [0, 1, 0, 0],
                    ..side_by_side()
                },
            ),
            &[both(BAD_START, HOST_LOSS), INSTANCE_FAILURE],
            &[both(HOST_LOSS, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            5_000,
        ),
        case(
            named(
                "scaling down from 2 to 1",
                Config {
                    replicas: 1,
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(HOST_LOSS, CRASH),
            ],
            &[both(both(INSTANCE_FAILURE, HOST_LOSS), CRASH)],
            30_000,
        ),
        case(
            named(
                "scaling down to nothing",
                Config {
                    replicas: 0,
                    ..side_by_side()
                },
            ),
            &[
                both(both(BAD_START, INSTANCE_FAILURE), HOST_LOSS),
                both(HOST_LOSS, CRASH),
                both(CRASH, CRASH),
            ],
            &[both(both(INSTANCE_FAILURE, HOST_LOSS), CRASH)],
            20_000,
        ),
        case(
            named(
                "from nothing",
                Config {
                    initial: vec![],
                    goals: vec![(Release::New, None)],
                    ..side_by_side()
                },
            ),
            &[
                both(both(BAD_START, INSTANCE_FAILURE), HOST_LOSS),
                both(HOST_LOSS, CRASH),
                both(BAD_START, CRASH),
            ],
            &[both(both(INSTANCE_FAILURE, HOST_LOSS), CRASH)],
            15_000,
        ),
        case(
            named(
                "on_failure = hold",
                Config {
                    on_failure: OnFailure::Hold,
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, HOST_LOSS),
                both(BAD_START, CRASH),
            ],
            &[both(both(BAD_START, INSTANCE_FAILURE), HOST_LOSS)],
            15_000,
        ),
        case(
            named(
                "an old instance is unhealthy",
                Config {
                    initial: one_unhealthy(Release::Old),
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, HOST_LOSS),
                CRASH,
            ],
            &[both(HOST_LOSS, CRASH)],
            25_000,
        ),
        case(
            named(
                "`ship rollback` from an unhealthy version",
                Config {
                    initial: one_unhealthy(Release::New),
                    goals: vec![(Release::Old, None), (Release::New, Some(Release::Old))],
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(BAD_START, CRASH),
            ],
            &[both(HOST_LOSS, CRASH)],
            10_000,
        ),
        case(
            named(
                "side by side, a host may fail",
                Config {
                    max_failed_hosts: 1,
                    ..side_by_side()
                },
            ),
            &[HOST_LOSS, both(BAD_START, INSTANCE_FAILURE)],
            &[
                both(BAD_START, HOST_LOSS),
                both(HOST_LOSS, CRASH),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(BAD_START, CRASH),
            ],
            5_000,
        ),
        case(
            singleton(),
            &[
                both(BAD_START, HOST_LOSS),
                both(HOST_LOSS, CRASH),
                both(INSTANCE_FAILURE, HOST_LOSS),
            ],
            &[both(HOST_LOSS, HOST_LOSS), both(BAD_START, CRASH)],
            10_000,
        ),
        case(
            named(
                "in place, a host may fail",
                Config {
                    max_failed_hosts: 1,
                    ..in_place(2)
                },
            ),
            &[both(BAD_START, HOST_LOSS), both(HOST_LOSS, CRASH)],
            &[both(INSTANCE_FAILURE, HOST_LOSS), both(BAD_START, CRASH)],
            10_000,
        ),
        case(
            named(
                "a host is drained",
                Config {
                    replicas: 2,
                    drained: Some(0),
                    initial: two_of_three(),
                    ..in_place(3)
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                HOST_LOSS,
                LOST_REPORT,
                CRASH,
            ],
            &[both(BAD_START, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            20_000,
        ),
        case(
            named(
                "a host is drained by a deploy of the running release",
                Config {
                    drained: Some(0),
                    goals: vec![(Release::Old, None)],
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                HOST_LOSS,
                both(LOST_REPORT, CRASH),
            ],
            &[both(BAD_START, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            5_000,
        ),
        case(
            named(
                "workers without a listener",
                Config {
                    workers: true,
                    ..side_by_side()
                },
            ),
            &[BAD_START, INSTANCE_FAILURE],
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(INSTANCE_FAILURE, HOST_LOSS),
                both(INSTANCE_FAILURE, CRASH),
            ],
            5_000,
        ),
        case(
            named(
                "each release has its own port",
                Config {
                    own_ports: true,
                    ..side_by_side()
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, CRASH),
                HOST_LOSS,
                LOST_REPORT,
            ],
            &[both(HOST_LOSS, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            10_000,
        ),
        case(
            named(
                "in place, each release has its own port",
                Config {
                    own_ports: true,
                    slots: 2,
                    ..in_place(2)
                },
            ),
            &[
                both(BAD_START, INSTANCE_FAILURE),
                both(BAD_START, CRASH),
                HOST_LOSS,
            ],
            &[both(HOST_LOSS, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            5_000,
        ),
        case(
            named(
                "an ancient release to prune",
                Config {
                    staged: vec![Release::Ancient],
                    ..side_by_side()
                },
            ),
            &[both(BAD_START, HOST_LOSS), CRASH],
            &[both(BAD_START, CRASH), both(INSTANCE_FAILURE, HOST_LOSS)],
            5_000,
        ),
    ]
}

/// What the exploration must reach in some state; otherwise it proves nothing about that case.
const MUST_REACH: [&str; 8] = [
    "succeeded",
    "rolled-back",
    "held",
    "rollback-failed",
    "a late command rejected by its epoch",
    "a host that returned with both versions",
    "a failed host",
    "an unhealthy old instance stopped before a healthy one",
];

// ── exploration ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn planner_keeps_every_invariant_and_finishes_every_rollout() {
    let long = std::env::var_os("SHIP_LONG").is_some();
    let cases = cases();
    let jobs = cases.iter().enumerate().flat_map(|(at, case)| {
        let long = if long { &case.long[..] } else { &[] };
        let fault_sets = case.fault_sets.iter().chain(long);
        fault_sets.map(move |faults| {
            (
                at,
                Config {
                    faults: *faults,
                    ..case.config.clone()
                },
            )
        })
    });
    let reports = in_parallel(jobs.collect());

    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut all_states, mut all_steps) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let case_reports: Vec<&Report> = reports
            .iter()
            .filter(|(of, _)| *of == at)
            .map(|(_, report)| report)
            .collect();
        let states: usize = case_reports.iter().map(|report| report.states).sum();
        let steps: usize = case_reports.iter().map(|report| report.transitions).sum();
        println!("{states:>9} states {steps:>9} steps  {}", case.config.name);
        assert!(
            states >= case.at_least,
            "{}: explored only {states} states",
            case.config.name
        );
        case_reports
            .iter()
            .flat_map(|report| &report.reached)
            .for_each(|(what, n)| *reached.entry(*what).or_default() += n);
        all_states += states;
        all_steps += steps;
    }
    println!("{all_states:>9} states {all_steps:>9} steps  in total\nreached: {reached:#?}");
    for what in MUST_REACH {
        assert!(reached.contains_key(what), "never reached: {what}");
    }
}

#[test]
fn version_that_never_starts_is_always_rolled_back() {
    let always_bad = Faults {
        bad_starts: 3,
        ..NO_FAULTS
    };
    let configs = [
        Config {
            unavailable: 2,
            ..in_place(3)
        },
        Config {
            surge: 2,
            ..side_by_side()
        },
        surge_and_unavailable(),
    ];
    for config in configs {
        let config = Config {
            faults: always_bad,
            only_new_fails: true,
            ..config
        };
        let report =
            explore(&config, &plan).unwrap_or_else(|violation| panic!("{}", violation.path));
        let ends: Vec<_> = report
            .reached
            .keys()
            .copied()
            .filter(|what| MUST_REACH[..4].contains(what))
            .collect();
        assert_eq!(ends, ["rolled-back", "succeeded"], "{}", config.name);
    }
}

/// Explores the configurations on all cores.
fn in_parallel(mut jobs: Vec<(usize, Config)>) -> Vec<(usize, Report)> {
    // The largest jobs come first in the list, and jobs are taken from its end.
    jobs.reverse();
    let jobs = Mutex::new(jobs);
    let reports = Mutex::new(Vec::new());
    let next = || jobs.lock().expect("no worker panics with the lock").pop();
    let work = || {
        while let Some((at, config)) = next() {
            match explore(&config, &plan) {
                Ok(report) => reports
                    .lock()
                    .expect("no worker panics with the lock")
                    .push((at, report)),
                Err(violation) => panic!("{}", violation.path),
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    reports
        .into_inner()
        .expect("no worker panics with the lock")
}

// ── broken planners ──────────────────────────────────────────────────────────────────────────────

#[track_caller]
fn expect_violation(config: &Config, planner: &Planner<'_>) -> Violation {
    explore(config, planner).expect_err("the violation must be found")
}

/// Adds an action to the plan, unless its host has one.
fn with_action(mut plan: Plan, action: Action) -> Plan {
    if plan.wait_reasons.remove(action.host()).is_some() {
        plan.actions.push(action);
    }
    plan
}

#[test]
fn model_finds_a_planner_that_stops_one_instance_too_many() {
    let planner: &Planner<'_> = &|spec, rollout, fleet, now| {
        let mut planned = plan(spec, rollout, fleet, now);
        let stops = planned
            .actions
            .iter()
            .any(|action| matches!(action, Action::Stop { .. }));
        let another = fleet.instances().find(|(slot, _, instance)| {
            instance.release != *rollout.target_release()
                && planned.wait_reasons.contains_key(&slot.host)
        });
        if let Some((slot, _, instance)) = another.filter(|_| stops) {
            planned.wait_reasons.remove(&slot.host);
            planned.actions.push(Action::Stop {
                slot,
                instance: instance.name.clone(),
                why: StopReason::Replaced,
                restore_after: None,
                ended: None,
            });
        }
        planned
    };
    let violation = expect_violation(&surge_onto_a_spare_host(), planner);
    assert_eq!(
        violation.what,
        "after the planned stops 2 instances would serve, expected at least 3"
    );
    assert!(
        violation
            .path
            .contains("the controller plans: h4: start new at slot 0"),
        "{}",
        violation.path
    );
    assert!(
        violation
            .path
            .contains("action: stop i0 at h1:8081 (replaced)"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_trusts_the_probe_of_an_exited_worker() {
    let config = Config {
        workers: true,
        faults: INSTANCE_FAILURE,
        ..side_by_side()
    };
    let planner: &Planner<'_> = &|spec, rollout, fleet, now| {
        let mut fleet = fleet.clone();
        for occupant in fleet
            .hosts
            .values_mut()
            .flat_map(|host| host.slots.values_mut())
        {
            if let Occupant::Instance(instance) = occupant {
                instance.sighting.at = now;
            }
        }
        plan(spec, rollout, &fleet, now)
    };
    let violation = expect_violation(&config, planner);
    assert!(
        violation.what.contains("would serve, expected at least 2"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_ignores_max_unavailable() {
    let violation = expect_violation(&surge_onto_a_spare_host(), &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.budget.unavailable = spec.budget.replicas;
        plan(&spec, rollout, fleet, now)
    });
    assert!(
        violation.what.contains("would serve, expected at least 3"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_replaces_in_two_zones_at_a_time() {
    let violation = expect_violation(&two_zones(), &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.zones = Zones::default();
        plan(&spec, rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "h2 stops a serving instance in zone 1 while zone 0 is disturbed"
    );
}

#[test]
fn model_finds_a_planner_that_exceeds_max_surge() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.budget.surge += 1;
        plan(&spec, rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the planned starts 4 instances may run, expected at most 3"
    );
}

#[test]
fn model_finds_a_late_command_without_fencing() {
    let config = Config {
        fence: false,
        faults: CRASH,
        ..side_by_side()
    };
    let violation = expect_violation(&config, &plan);
    assert!(
        violation
            .path
            .contains("a dead controller's command arrives"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_does_not_claim_hosts() {
    let config = Config {
        faults: CRASH,
        ..side_by_side()
    };
    let violation = expect_violation(&config, &|spec, rollout, fleet, now| {
        let mut fleet = fleet.clone();
        fleet
            .hosts
            .values_mut()
            .for_each(|host| host.epoch = rollout.epoch);
        plan(spec, rollout, &fleet, now)
    });
    assert!(
        violation.path.contains("the controller crashes"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_forgets_actions_with_unknown_results() {
    let config = Config {
        faults: LOST_REPORT,
        surge: 1,
        ..side_by_side()
    };
    let violation = expect_violation(&config, &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout.orders.unknown.clear();
        plan(spec, &rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the planned starts 4 instances may run, expected at most 3"
    );
}

#[test]
fn model_finds_a_planner_that_takes_an_observation_for_a_result() {
    let config = Config {
        faults: LOST_REPORT,
        ..in_place(3)
    };
    let violation = expect_violation(&config, &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout
            .orders
            .unknown
            .retain(|action| !fleet.hosts[action.host()].is_reachable());
        plan(spec, &rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the planned stops 1 instances would serve, expected at least 2"
    );
    assert!(
        violation.path.contains("the result of the command is lost"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_forgets_actions_in_flight() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout.orders.in_flight.clear();
        plan(spec, &rollout, fleet, now)
    });
    assert!(
        violation
            .what
            .starts_with("the planner plans more actions without a change"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_sends_two_actions_to_a_host() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let planned = plan(spec, rollout, fleet, now);
        match rollout.orders.in_flight.values().next() {
            Some(flight) if rollout.orders.in_flight.len() == 1 => with_action(
                planned,
                Action::Claim {
                    host: flight.action.host().clone(),
                },
            ),
            _ => planned,
        }
    });
    assert!(
        violation
            .what
            .contains("has an action in flight and gets another"),
        "{}",
        violation.path
    );
}

#[test]
fn model_finds_a_planner_that_treats_unprobed_instances_as_unhealthy() {
    let config = Config {
        faults: INSTANCE_FAILURE,
        ..surge_onto_a_spare_host()
    };
    let violation = expect_violation(&config, &|spec, rollout, fleet, now| {
        let mut fleet = fleet.clone();
        for occupant in fleet
            .hosts
            .values_mut()
            .flat_map(|host| host.slots.values_mut())
        {
            if let Occupant::Instance(instance) = occupant
                && instance.health.last.is_none()
            {
                instance.health.last = Some((now, Verdict::Fail(String::new())));
                instance.health.failures = u32::MAX;
            }
        }
        plan(spec, rollout, &fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the planned stops 2 instances would serve, expected at least 3"
    );
}

#[test]
fn model_finds_a_planner_without_a_wait_reason() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut planned = plan(spec, rollout, fleet, now);
        planned.wait_reasons.pop_last();
        planned
    });
    assert_eq!(
        violation.what,
        "h2 must have either an action or a wait reason"
    );
}

#[test]
fn model_finds_a_planner_that_prunes_needed_releases() {
    let config = Config {
        staged: vec![Release::Ancient],
        ..side_by_side()
    };
    let violation = expect_violation(&config, &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.keep = BTreeSet::new();
        plan(&spec, rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "old is pruned on h1, although it runs or must be kept"
    );
}

#[test]
fn model_finds_a_planner_that_finishes_too_early() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut planned = plan(spec, rollout, fleet, now);
        if planned.progress.updated_available > 0
            && planned.actions.is_empty()
            && rollout.orders.in_flight.is_empty()
        {
            planned.next = Next::Finish(Outcome::Succeeded);
        }
        planned
    });
    assert_eq!(
        violation.what,
        "the rollout finishes as succeeded, but the fleet does not match"
    );
}

#[test]
fn model_finds_a_planner_that_never_finishes() {
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut planned = plan(spec, rollout, fleet, now);
        if let Next::Finish(_) = planned.next {
            planned.next = Next::Wake(Time(u64::MAX));
        }
        planned
    });
    assert_eq!(
        violation.what,
        "no step is left, and the rollout has not finished"
    );
}

#[test]
fn model_finds_a_planner_that_repeats_itself() {
    // This planner claims the first host again and again instead of finishing.
    let violation = expect_violation(&in_place(2), &|spec, rollout, fleet, now| {
        let planned = plan(spec, rollout, fleet, now);
        if let Next::Finish(_) = planned.next {
            let again = Action::Claim {
                host: spec.hosts[0].clone(),
            };
            return with_action(
                Plan {
                    next: Next::AwaitInFlight,
                    ..planned
                },
                again,
            );
        }
        planned
    });
    assert_eq!(violation.what, "from this state the rollout never finishes");
}

#[test]
fn model_finds_a_planner_that_is_not_deterministic() {
    let is_second_call = Cell::new(false);
    let violation = expect_violation(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut planned = plan(spec, rollout, fleet, now);
        if is_second_call.replace(!is_second_call.get()) {
            planned.actions.reverse();
        }
        planned
    });
    assert_eq!(
        violation.what,
        "the same inputs produce two different plans"
    );
}
