//! The planner against a hostile environment: breadth-first over everything that can happen to
//! small fleets.
//!
//! Hosts vanish and return, starts fail, instances sicken, reports are lost, deadlines pass at bad
//! moments, and the controller dies at any point while its last commands are still on their way.
//! The world and the checks are the test's own: they count what is true, not what the controller
//! believes.
//!
//! `SHIP_LONG=1` explores with more adversity. `--nocapture` shows how many states each
//! configuration has.

mod check;
mod config;
mod controller;
mod explore;
mod quick;
mod state;
mod world;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use config::Config;
use controller::Planner;
use explore::{Report, Violation, explore};
use ship::core::fleet::Occupant;
use ship::core::fleet::health::Verdict;
use ship::core::planner::{Next, Plan, plan};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::OnFailure;
use ship::core::time::Time;
use world::{Adversity, Life, Release};

const CALM: Adversity = Adversity {
    bad_starts: 0,
    sickenings: 0,
    losses: 0,
    lost_reports: 0,
    crashes: 0,
    delays: 0,
};
const BAD_START: Adversity = Adversity {
    bad_starts: 1,
    delays: 1,
    ..CALM
};
const SICKENING: Adversity = Adversity {
    sickenings: 1,
    ..CALM
};
const LOSS: Adversity = Adversity { losses: 1, ..CALM };
const LOST_REPORT: Adversity = Adversity {
    lost_reports: 1,
    ..CALM
};
const CRASH: Adversity = Adversity { crashes: 1, ..CALM };

/// Both: what either has, at the same time.
const fn and(one: Adversity, other: Adversity) -> Adversity {
    Adversity {
        bad_starts: one.bad_starts + other.bad_starts,
        sickenings: one.sickenings + other.sickenings,
        losses: one.losses + other.losses,
        lost_reports: one.lost_reports + other.lost_reports,
        crashes: one.crashes + other.crashes,
        delays: if one.delays > other.delays {
            one.delays
        } else {
            other.delays
        },
    }
}

// ── the configurations ───────────────────────────────────────────────────────────────────────────

fn surge_onto_a_spare_host() -> Config {
    Config {
        name: "3 replicas on 4 hosts, surge 1",
        hosts: 4,
        ports: 1,
        replicas: 3,
        surge: 1,
        unavailable: 0,
        max_failed_hosts: 0,
        on_failure: OnFailure::RollBack,
        goals: vec![(Release::New, Some(Release::Old)), (Release::Old, None)],
        initial: (0..3)
            .map(|host| (host, 0, Release::Old, Life::Ready))
            .collect(),
        staged: vec![],
        adversity: CALM,
        fence: true,
        only_new_is_bad: false,
        reboots: false,
        drained: None,
        workers: false,
        own_ports: false,
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
        ports: 2,
        replicas: 2,
        initial: (0..2)
            .map(|host| (host, 0, Release::Old, Life::Ready))
            .collect(),
        ..surge_onto_a_spare_host()
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
            .map(|host| (host, 0, Release::Old, Life::Ready))
            .collect(),
        ..surge_onto_a_spare_host()
    }
}

/// A configuration, the adversities that it is explored with, and those that only a long run adds.
struct Case {
    config: Config,
    adversities: Vec<Adversity>,
    long: Vec<Adversity>,
    /// Fewest states in all: fewer means that the model has shrunk by accident.
    at_least: usize,
}

fn cases() -> Vec<Case> {
    let case = |config, adversities: &[Adversity], long: &[Adversity], at_least| Case {
        config,
        adversities: adversities.to_vec(),
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
            .map(|host| (host, 0, Release::Old, Life::Ready))
            .collect()
    };
    let sick = |release| vec![(0, 0, release, Life::Ready), (1, 0, release, Life::Sick)];
    vec![
        case(
            surge_onto_a_spare_host(),
            &[and(BAD_START, SICKENING), LOSS, LOST_REPORT, CRASH],
            &[
                and(CRASH, BAD_START),
                and(SICKENING, LOSS),
                and(LOST_REPORT, CRASH),
            ],
            150_000,
        ),
        case(
            surge_and_unavailable(),
            &[BAD_START, SICKENING, LOSS],
            &[and(BAD_START, LOSS), CRASH],
            40_000,
        ),
        case(
            side_by_side(),
            &[
                and(BAD_START, SICKENING),
                and(SICKENING, LOSS),
                and(BAD_START, CRASH),
                and(CRASH, CRASH),
                and(and(BAD_START, BAD_START), LOST_REPORT),
                and(SICKENING, CRASH),
                and(LOST_REPORT, CRASH),
            ],
            &[
                and(and(SICKENING, LOSS), BAD_START),
                and(and(LOSS, CRASH), SICKENING),
            ],
            200_000,
        ),
        case(
            reboots(named("side by side, hosts may reboot", side_by_side())),
            &[LOSS, and(LOSS, CRASH)],
            &[and(LOSS, SICKENING), and(LOSS, LOSS)],
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
            &[BAD_START, LOSS, CRASH, and(BAD_START, LOST_REPORT)],
            &[and(SICKENING, LOSS), and(SICKENING, CRASH)],
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
            &[BAD_START, LOSS, SICKENING, CRASH, LOST_REPORT],
            &[
                and(BAD_START, LOSS),
                and(SICKENING, CRASH),
                and(LOSS, CRASH),
            ],
            20_000,
        ),
        case(
            in_place(2),
            &[
                and(BAD_START, SICKENING),
                and(SICKENING, LOSS),
                and(LOSS, CRASH),
                and(BAD_START, CRASH),
                and(LOSS, LOST_REPORT),
            ],
            &[
                and(and(BAD_START, SICKENING), LOSS),
                and(and(SICKENING, LOSS), CRASH),
            ],
            100_000,
        ),
        case(
            in_place(3),
            &[
                and(BAD_START, SICKENING),
                and(BAD_START, LOSS),
                CRASH,
                LOST_REPORT,
            ],
            &[and(SICKENING, CRASH), and(SICKENING, LOSS)],
            100_000,
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
                and(BAD_START, SICKENING),
                and(SICKENING, LOSS),
                and(LOSS, CRASH),
            ],
            &[and(and(SICKENING, LOSS), CRASH)],
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
                and(and(BAD_START, SICKENING), LOSS),
                and(LOSS, CRASH),
                and(CRASH, CRASH),
            ],
            &[and(and(SICKENING, LOSS), CRASH)],
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
                and(and(BAD_START, SICKENING), LOSS),
                and(LOSS, CRASH),
                and(BAD_START, CRASH),
            ],
            &[and(and(SICKENING, LOSS), CRASH)],
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
                and(BAD_START, SICKENING),
                and(BAD_START, LOSS),
                and(BAD_START, CRASH),
            ],
            &[and(and(BAD_START, SICKENING), LOSS)],
            15_000,
        ),
        case(
            named(
                "an old instance is sick",
                Config {
                    initial: sick(Release::Old),
                    ..side_by_side()
                },
            ),
            &[and(BAD_START, SICKENING), and(BAD_START, LOSS), CRASH],
            &[and(LOSS, CRASH)],
            25_000,
        ),
        case(
            named(
                "`ship rollback` from a sick version",
                Config {
                    initial: sick(Release::New),
                    goals: vec![(Release::Old, None), (Release::New, Some(Release::Old))],
                    ..side_by_side()
                },
            ),
            &[
                and(BAD_START, SICKENING),
                and(SICKENING, LOSS),
                and(BAD_START, CRASH),
            ],
            &[and(LOSS, CRASH)],
            10_000,
        ),
        case(
            named(
                "side by side, a host may be left behind",
                Config {
                    max_failed_hosts: 1,
                    ..side_by_side()
                },
            ),
            &[LOSS, and(BAD_START, SICKENING)],
            &[
                and(BAD_START, LOSS),
                and(LOSS, CRASH),
                and(SICKENING, LOSS),
                and(BAD_START, CRASH),
            ],
            5_000,
        ),
        case(
            named(
                "in place, a host may be left behind",
                Config {
                    max_failed_hosts: 1,
                    ..in_place(2)
                },
            ),
            &[and(BAD_START, LOSS), and(LOSS, CRASH)],
            &[and(SICKENING, LOSS), and(BAD_START, CRASH)],
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
            &[and(BAD_START, SICKENING), LOSS, LOST_REPORT, CRASH],
            &[and(BAD_START, CRASH), and(SICKENING, LOSS)],
            20_000,
        ),
        case(
            named(
                "a host is drained, by a deploy of what runs",
                Config {
                    drained: Some(0),
                    goals: vec![(Release::Old, None)],
                    ..side_by_side()
                },
            ),
            &[and(BAD_START, SICKENING), LOSS, and(LOST_REPORT, CRASH)],
            &[and(BAD_START, CRASH), and(SICKENING, LOSS)],
            5_000,
        ),
        case(
            named(
                "workers: nobody listens",
                Config {
                    workers: true,
                    ..side_by_side()
                },
            ),
            &[BAD_START, SICKENING],
            &[
                and(BAD_START, SICKENING),
                and(SICKENING, LOSS),
                and(SICKENING, CRASH),
            ],
            5_000,
        ),
        case(
            named(
                "each release has a port of its own",
                Config {
                    own_ports: true,
                    ..side_by_side()
                },
            ),
            &[
                and(BAD_START, SICKENING),
                and(BAD_START, CRASH),
                LOSS,
                LOST_REPORT,
            ],
            &[and(LOSS, CRASH), and(SICKENING, LOSS)],
            10_000,
        ),
        case(
            named(
                "in place, each release has a port of its own",
                Config {
                    own_ports: true,
                    ports: 2,
                    ..in_place(2)
                },
            ),
            &[and(BAD_START, SICKENING), and(BAD_START, CRASH), LOSS],
            &[and(LOSS, CRASH), and(SICKENING, LOSS)],
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
            &[and(BAD_START, LOSS), CRASH],
            &[and(BAD_START, CRASH), and(SICKENING, LOSS)],
            5_000,
        ),
    ]
}

/// What the exploration must reach in some state, or it proves nothing about it.
const SOMETIMES: [&str; 8] = [
    "succeeded",
    "rolled-back",
    "held",
    "rollback-failed",
    "a late command refused by the fence",
    "a host that returned with both versions",
    "a host left behind",
    "an unhealthy old instance stopped before a healthy one",
];

// ── the proof ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn nothing_that_can_happen_breaks_an_invariant_and_every_rollout_ends() {
    let long = std::env::var_os("SHIP_LONG").is_some();
    let cases = cases();
    let jobs = cases.iter().enumerate().flat_map(|(at, case)| {
        let long = if long { &case.long[..] } else { &[] };
        let adversities = case.adversities.iter().chain(long);
        adversities.map(move |adversity| {
            (
                at,
                Config {
                    adversity: *adversity,
                    ..case.config.clone()
                },
            )
        })
    });
    let reports = in_parallel(jobs.collect());

    let mut sometimes: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut all_states, mut all_steps) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let mine: Vec<&Report> = reports
            .iter()
            .filter(|(of, _)| *of == at)
            .map(|(_, report)| report)
            .collect();
        let states: usize = mine.iter().map(|report| report.states).sum();
        let steps: usize = mine.iter().map(|report| report.transitions).sum();
        println!("{states:>9} states {steps:>9} steps  {}", case.config.name);
        assert!(
            states >= case.at_least,
            "{}: only {states} states were explored",
            case.config.name
        );
        mine.iter()
            .flat_map(|report| &report.sometimes)
            .for_each(|(what, n)| *sometimes.entry(*what).or_default() += n);
        all_states += states;
        all_steps += steps;
    }
    println!("{all_states:>9} states {all_steps:>9} steps  in all\nreached: {sometimes:#?}");
    for what in SOMETIMES {
        assert!(sometimes.contains_key(what), "never reached: {what}");
    }
}

#[test]
fn a_version_that_never_works_is_always_rolled_back() {
    let always_bad = Adversity {
        bad_starts: 3,
        ..CALM
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
            adversity: always_bad,
            only_new_is_bad: true,
            ..config
        };
        let report =
            explore(&config, &plan).unwrap_or_else(|violation| panic!("{}", violation.path));
        let ends: Vec<_> = report
            .sometimes
            .keys()
            .copied()
            .filter(|what| SOMETIMES[..4].contains(what))
            .collect();
        assert_eq!(ends, ["rolled-back", "succeeded"], "{}", config.name);
    }
}

/// Explores each configuration, on every core.
fn in_parallel(mut jobs: Vec<(usize, Config)>) -> Vec<(usize, Report)> {
    // The largest come first, and jobs are taken from the end.
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

// ── the proof that the proof bites ───────────────────────────────────────────────────────────────

#[track_caller]
fn caught(config: &Config, planner: &Planner<'_>) -> Violation {
    explore(config, planner).expect_err("what is broken on purpose is caught")
}

/// The plan with one order more, unless its host has one.
fn with(mut plan: Plan, action: Action) -> Plan {
    if plan.holds.remove(action.host()).is_some() {
        plan.actions.push(action);
    }
    plan
}

#[test]
fn a_planner_that_orders_one_stop_too_many_is_caught() {
    let planner: &Planner<'_> = &|spec, rollout, fleet, now| {
        let mut made = plan(spec, rollout, fleet, now);
        let stops = made
            .actions
            .iter()
            .any(|action| matches!(action, Action::Stop { .. }));
        let another = fleet.instances().find(|(slot, _, instance)| {
            instance.release != *rollout.target_release() && made.holds.contains_key(&slot.host)
        });
        if let Some((slot, _, instance)) = another.filter(|_| stops) {
            made.holds.remove(&slot.host);
            made.actions.push(Action::Stop {
                slot,
                instance: instance.name.clone(),
                why: StopReason::Replaced,
                restore_after: None,
                ended: None,
            });
        }
        made
    };
    let violation = caught(&surge_onto_a_spare_host(), planner);
    assert_eq!(
        violation.what,
        "after the ordered stops 2 instances would serve, and at least 3 must"
    );
    assert!(
        violation
            .path
            .contains("the controller plans: h4: start new at port 0"),
        "{}",
        violation.path
    );
    assert!(
        violation
            .path
            .contains("order: stop i0 at h1:8081 (replaced)"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_trusts_the_answers_for_a_dead_worker_is_caught() {
    let config = Config {
        workers: true,
        adversity: SICKENING,
        ..side_by_side()
    };
    let trusting: &Planner<'_> = &|spec, rollout, fleet, now| {
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
    let violation = caught(&config, trusting);
    assert!(
        violation.what.contains("would serve, and at least 2 must"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_ignores_the_floor_is_caught() {
    let violation = caught(&surge_onto_a_spare_host(), &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.budget.unavailable = spec.budget.replicas;
        plan(&spec, rollout, fleet, now)
    });
    assert!(
        violation.what.contains("would serve, and at least 3 must"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_starts_though_the_room_is_used_up_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.budget.surge += 1;
        plan(&spec, rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the ordered starts 4 instances may run, and at most 3 may"
    );
}

#[test]
fn without_the_fence_a_late_command_does_harm() {
    let config = Config {
        fence: false,
        adversity: CRASH,
        ..side_by_side()
    };
    let violation = caught(&config, &plan);
    assert!(
        violation
            .path
            .contains("a dead controller's command arrives"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_does_not_make_hosts_refuse_late_commands_is_caught() {
    let config = Config {
        adversity: CRASH,
        ..side_by_side()
    };
    let violation = caught(&config, &|spec, rollout, fleet, now| {
        let mut fleet = fleet.clone();
        fleet
            .hosts
            .values_mut()
            .for_each(|host| host.epoch = rollout.epoch);
        plan(spec, rollout, &fleet, now)
    });
    assert!(
        violation.path.contains("the controller dies"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_forgets_orders_nobody_heard_of_again_is_caught() {
    let config = Config {
        adversity: LOST_REPORT,
        surge: 1,
        ..side_by_side()
    };
    let violation = caught(&config, &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout.orders.unknown.clear();
        plan(spec, &rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the ordered starts 4 instances may run, and at most 3 may"
    );
}

#[test]
fn a_planner_that_takes_a_look_for_the_end_of_an_order_is_caught() {
    let config = Config {
        adversity: LOST_REPORT,
        ..in_place(3)
    };
    let violation = caught(&config, &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout
            .orders
            .unknown
            .retain(|action| !fleet.hosts[action.host()].is_reachable());
        plan(spec, &rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "after the ordered stops 1 instances would serve, and at least 2 must"
    );
    assert!(
        violation
            .path
            .contains("nobody hears what became of the order"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_forgets_orders_in_flight_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut rollout = rollout.clone();
        rollout.orders.in_flight.clear();
        plan(spec, &rollout, fleet, now)
    });
    assert!(
        violation
            .what
            .starts_with("nothing has changed, and yet more is ordered"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_gives_a_busy_host_another_order_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let made = plan(spec, rollout, fleet, now);
        match rollout.orders.in_flight.values().next() {
            Some(flight) if rollout.orders.in_flight.len() == 1 => with(
                made,
                Action::Claim {
                    host: flight.action.host().clone(),
                },
            ),
            _ => made,
        }
    });
    assert!(
        violation
            .what
            .contains("has an order in flight and gets another"),
        "{}",
        violation.path
    );
}

#[test]
fn a_planner_that_takes_what_was_never_asked_for_unhealthy_is_caught() {
    let config = Config {
        adversity: SICKENING,
        ..surge_onto_a_spare_host()
    };
    let violation = caught(&config, &|spec, rollout, fleet, now| {
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
        "after the ordered stops 2 instances would serve, and at least 3 must"
    );
}

#[test]
fn a_planner_that_does_not_say_why_it_does_nothing_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut made = plan(spec, rollout, fleet, now);
        made.holds.pop_last();
        made
    });
    assert_eq!(violation.what, "h2 must have either an order or a hold");
}

#[test]
fn a_planner_that_prunes_what_is_needed_is_caught() {
    let config = Config {
        staged: vec![Release::Ancient],
        ..side_by_side()
    };
    let violation = caught(&config, &|spec, rollout, fleet, now| {
        let mut spec = spec.clone();
        spec.keep = BTreeSet::new();
        plan(&spec, rollout, fleet, now)
    });
    assert_eq!(
        violation.what,
        "old is pruned on h1, though it runs or is kept"
    );
}

#[test]
fn a_planner_that_says_done_too_early_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut made = plan(spec, rollout, fleet, now);
        if made.progress.updated_available > 0
            && made.actions.is_empty()
            && rollout.orders.in_flight.is_empty()
        {
            made.next = Next::Finish(Outcome::Succeeded);
        }
        made
    });
    assert_eq!(
        violation.what,
        "the rollout ends as succeeded, but that is not how the fleet stands"
    );
}

#[test]
fn a_planner_that_never_ends_is_caught() {
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut made = plan(spec, rollout, fleet, now);
        if let Next::Finish(_) = made.next {
            made.next = Next::Wake(Time(u64::MAX));
        }
        made
    });
    assert_eq!(
        violation.what,
        "nothing more can happen, and the rollout has not ended"
    );
}

#[test]
fn a_planner_that_runs_in_circles_is_caught() {
    // Instead of ending, it claims the first host again and again.
    let violation = caught(&in_place(2), &|spec, rollout, fleet, now| {
        let made = plan(spec, rollout, fleet, now);
        if let Next::Finish(_) = made.next {
            let again = Action::Claim {
                host: spec.hosts[0].clone(),
            };
            return with(
                Plan {
                    next: Next::AwaitInFlight,
                    ..made
                },
                again,
            );
        }
        made
    });
    assert_eq!(violation.what, "from here the rollout never ends");
}

#[test]
fn a_planner_that_throws_dice_is_caught() {
    let dice = Cell::new(false);
    let violation = caught(&side_by_side(), &|spec, rollout, fleet, now| {
        let mut made = plan(spec, rollout, fleet, now);
        if dice.replace(!dice.get()) {
            made.actions.reverse();
        }
        made
    });
    assert_eq!(violation.what, "the same inputs gave two different plans");
}
