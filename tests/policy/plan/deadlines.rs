//! Deadlines: the timeouts of a release, retries, and waits that end without a person.

use std::time::Duration;

use super::scenario::{FleetSetup, Scenario, fleet_of, rollback_failure};
use ship::core::planner::Next;
use ship::core::release::waits::Waits;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::impossible::Impossible;

const NO_WAITS: Waits = Waits {
    running: Duration::ZERO,
    initial_delay: Duration::ZERO,
    success_threshold: 1,
    interval: Duration::ZERO,
    start: Duration::ZERO,
    stop: Duration::ZERO,
    linger: Duration::ZERO,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One replica of 0.8 on two hosts, with a progress deadline of 5 s.
fn with_short_deadline() -> FleetSetup {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(5);
    setup
}

fn with_waits(version: &str, waits: Waits) -> FleetSetup {
    let mut setup = with_short_deadline();
    setup.spec.waits.insert(version.into(), waits);
    setup
}

/// A deploy up to the stop of the old instance, which is in flight.
fn stopping(setup: FleetSetup) -> (Scenario, Action) {
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    let stop = scenario
        .start_actions(&["stop h1-0.8 at h1:8081 (replaced)"])
        .remove(0);
    (scenario, stop)
}

#[test]
fn planner_waits_for_a_stop_until_the_timeouts_of_the_old_release() {
    let (mut scenario, stop) = stopping(with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NO_WAITS
        },
    ));
    scenario.advance(89);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan().next
    );
    scenario.complete(&stop);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn planner_fails_a_stop_after_the_timeouts_of_the_old_release() {
    let (mut scenario, _) = stopping(with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NO_WAITS
        },
    ));
    scenario.advance(90);
    let (why, _) = scenario.expect_failure();
    assert_eq!(
        why,
        "h1:8081: cannot stop the old instance: the host has not answered yet"
    );
}

#[test]
fn planner_counts_the_end_of_a_stop_as_progress() {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(5);
    setup.spec.waits.insert(
        "0.8".into(),
        Waits {
            stop: seconds(20),
            ..NO_WAITS
        },
    );
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    let stop = scenario
        .start_actions(&["stop h1-0.8 at h1:8081 (replaced)"])
        .remove(0);
    scenario.advance(19);
    scenario.complete(&stop);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.advance(4);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["disarm h1:8081"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn dead_man_switch_leaves_time_for_the_stop_and_the_start() {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.waits.insert(
        "0.8".into(),
        Waits {
            stop: seconds(40),
            ..NO_WAITS
        },
    );
    setup.spec.waits.insert(
        "0.9".into(),
        Waits {
            start: seconds(7),
            ..NO_WAITS
        },
    );
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    let Action::Stop { restore_after, .. } = scenario
        .start_actions(&["stop h1-0.8 at h1:8081 (replaced)"])
        .remove(0)
    else {
        panic!()
    };
    assert_eq!(restore_after, Some(seconds(600 + 40 + 7 + 10)));
}

#[test]
fn planner_waits_for_the_hooks_of_a_start() {
    let mut scenario = with_waits(
        "0.9",
        Waits {
            start: seconds(60),
            ..NO_WAITS
        },
    )
    .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = scenario.start_actions(&["start 0.9 at h2:8081"]).remove(0);
    scenario.record_progress();
    scenario.advance(60);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan().next
    );
    scenario.complete(&start);
    scenario.advance(4);
    scenario.expect_no_actions();
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "a started instance has its own time to become ready: {:?}",
        scenario.plan().next
    );
    scenario.advance(1);
    assert!(
        scenario
            .expect_failure()
            .0
            .starts_with("h2:8081: the new instance is not ready after 5s")
    );
}

#[test]
fn planner_rejects_a_release_that_cannot_be_available_in_time() {
    let refusal = |waits: Waits, min_ready_s| {
        let mut setup = with_waits("0.9", waits);
        setup.spec.min_ready = seconds(min_ready_s);
        let obstacles = setup.spec.obstacles(&"0.9".into(), &setup.fleet);
        obstacles
            .iter()
            .map(Impossible::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let head = "no instance can be available within progress_deadline (5s): it takes at least";
    assert_eq!(
        refusal(
            Waits {
                initial_delay: seconds(30),
                ..NO_WAITS
            },
            0
        ),
        format!("{head} 30s (initial_delay 30s)")
    );
    assert_eq!(
        refusal(
            Waits {
                success_threshold: 3,
                interval: seconds(1),
                initial_delay: seconds(2),
                ..NO_WAITS
            },
            1
        ),
        format!(
            "{head} 5s (initial_delay 2s + 2 × interval 1s for success_threshold = 3 + min_ready 1s)"
        )
    );
    assert_eq!(
        refusal(
            Waits {
                stop: seconds(30),
                start: seconds(30),
                ..NO_WAITS
            },
            4
        ),
        ""
    );
}

#[test]
fn rollback_gives_an_older_release_the_time_that_it_needs() {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(5);
    setup.spec.waits.insert(
        "0.8".into(),
        Waits {
            initial_delay: seconds(30),
            ..NO_WAITS
        },
    );
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let start = scenario.start_actions(&["start 0.9 at h1:8081"]).remove(0);
    scenario.fail(&start, "no such file");
    scenario.expect_failure();
    scenario.run_actions(&["disarm h1:8081"]);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.advance(34);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn planner_waits_for_an_earlier_action_that_holds_the_lock_of_a_host() {
    let mut scenario = with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NO_WAITS
        },
    )
    .deploy("0.9");
    let staged = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.complete(&staged[1]);
    let id = *scenario
        .rollout
        .orders
        .in_flight
        .keys()
        .next()
        .expect("one action is left");
    scenario.record(Event::ActionUnknown {
        id,
        why: "another script holds the lock".into(),
    });
    scenario.advance(89);
    scenario.start_actions(&["stage 0.9 on h1"]);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan().next
    );
    scenario.advance(1);
    assert!(scenario.expect_failure().0.starts_with("h1: "));
}

// ── retries of a start ───────────────────────────────────────────────────────────────────────────

/// A rollback in place on one host: 0.9 has failed and was stopped.
fn rolling_back() -> Scenario {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(90);
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 1");
    scenario.expect_failure();
    scenario.run_actions(&["disarm h1:8081"]);
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (exited)"]);
    scenario
}

#[test]
fn rollback_retries_with_backoff_until_the_deadline() {
    let mut scenario = rolling_back();
    let began = scenario.now;
    let mut tried_at_s = Vec::new();
    let outcome = loop {
        match scenario.plan() {
            plan if !plan.actions.is_empty() => {
                let action = plan.actions[0].clone();
                if let Action::Start { .. } = action {
                    tried_at_s.push(scenario.now.since(began).as_secs());
                }
                scenario.run_actions(&[&action.to_string()]);
                if let Action::Start { .. } = action {
                    scenario.exit_instance("h1:8081", "exit status 98");
                    scenario.record_progress();
                }
            }
            plan => match plan.next {
                Next::Wake(at) => {
                    assert!(at > scenario.now, "time must pass during a wait");
                    let attempt = tried_at_s.len() + 1;
                    let expected = format!(
                        "waiting before attempt {attempt} to start in slot 8081; last attempt: exit \
                         status 98"
                    );
                    assert_eq!(scenario.wait_reason("h1"), expected);
                    scenario.now = at;
                }
                Next::Finish(outcome) => break outcome,
                other => panic!("{other:?}"),
            },
        }
    };
    assert_eq!(tried_at_s, [0, 1, 3, 7, 15, 25, 35, 45, 55, 65, 75, 85]);
    let why = rollback_failure(&outcome);
    let expected = "h1:8081: cannot start the new instance: 12 attempts failed; last attempt: exit \
                    status 98";
    assert_eq!(why, expected);
}

#[test]
fn rollback_succeeds_after_a_retry() {
    let mut scenario = rolling_back();
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 98");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (exited)"]);
    scenario.expect_no_actions();
    scenario.advance(1);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn rollback_retries_a_refused_start() {
    let mut scenario = rolling_back();
    let start = scenario.start_actions(&["start 0.8 at h1:8081"]).remove(0);
    scenario.fail(&start, "slot 8081 is taken by pid 7");
    scenario.expect_no_actions();
    let expected =
        "waiting before attempt 2 to start in slot 8081; last attempt: slot 8081 is taken by pid 7";
    assert_eq!(scenario.wait_reason("h1"), expected);
    scenario.advance(1);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

// ── waits without a person ───────────────────────────────────────────────────────────────────────

#[test]
fn rollout_at_a_gate_fails_when_a_balancer_stays_unreachable() {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"]);
    let step = |instances: &str| ship::core::spec::step::Step {
        instances: instances.parse().expect("an amount"),
        soak: Duration::from_hours(1),
        pause: false,
        weight_percent: None,
    };
    setup.spec.steps = vec![step("1"), step("100%")];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let soak = Duration::from_hours(1);
    scenario.record(Event::StepReached {
        step: 1,
        of: 2,
        instances: 1,
        soak,
        pause: false,
    });
    scenario.advance(1800);
    scenario.mark_balancer_unreachable("lb1");
    let Next::Wake(at) = scenario.plan().next else {
        panic!("{:?}", scenario.plan().next)
    };
    assert_eq!(at, scenario.now + scenario.spec.progress_deadline);
    scenario.advance(600);
    let Next::Fail(failure, FailureResponse::Hold { .. }) = scenario.plan().next else {
        panic!("{:?}", scenario.plan().next)
    };
    assert!(
        failure.to_string().contains("lb1: no route to host"),
        "{failure}"
    );
}

#[test]
fn failure_names_the_check_of_the_balancer_that_never_passed() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.start_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.advance(600);
    let (why, _) = scenario.expect_failure();
    assert!(
        why.ends_with("the instance is ready, but the load balancer's check has not passed yet"),
        "{why}"
    );
}
