//! Waits: what the keys of a release permit, and what a wait without a person ends with.

use std::time::Duration;

use super::scenario::{ReporterSetup, Story, fleet_of, why_rollback_failed};
use ship::core::planner::Next;
use ship::core::release::waits::Waits;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::impossible::Impossible;

const NONE: Waits = Waits {
    initial_delay: Duration::ZERO,
    success_threshold: 1,
    interval: Duration::ZERO,
    start: Duration::ZERO,
    stop: Duration::ZERO,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One replica of 0.8 on two hosts; a rollout may stand still for 5 s.
fn impatient() -> ReporterSetup {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(5);
    setup
}

fn with_waits(version: &str, waits: Waits) -> ReporterSetup {
    let mut setup = impatient();
    setup.spec.waits.insert(version.into(), waits);
    setup
}

/// Up to the stop of the old instance, which is in flight.
fn stopping(setup: ReporterSetup) -> (Story, Action) {
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    let stop = it.gives(&["stop h1-0.8 at h1:8081 (replaced)"]).remove(0);
    (it, stop)
}

#[test]
fn planner_waits_for_a_stop_as_long_as_the_old_release_permits() {
    let (mut it, stop) = stopping(with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NONE
        },
    ));
    it.later(89);
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "{:?}",
        it.plan().next
    );
    it.is_done(&stop);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn planner_fails_a_stop_that_takes_longer_than_the_release_permits() {
    let (mut it, _) = stopping(with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NONE
        },
    ));
    it.later(90);
    let (why, _) = it.turns();
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
            ..NONE
        },
    );
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    let stop = it.gives(&["stop h1-0.8 at h1:8081 (replaced)"]).remove(0);
    it.later(19);
    it.is_done(&stop);
    it.does(&["start 0.9 at h1:8081"]);
    it.later(4);
    it.answers("h1:8081");
    it.does(&["disarm h1:8081"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn host_restores_only_after_the_stop_and_the_start_could_have_ended() {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.waits.insert(
        "0.8".into(),
        Waits {
            stop: seconds(40),
            ..NONE
        },
    );
    setup.spec.waits.insert(
        "0.9".into(),
        Waits {
            start: seconds(7),
            ..NONE
        },
    );
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    let Action::Stop { restore_after, .. } =
        it.gives(&["stop h1-0.8 at h1:8081 (replaced)"]).remove(0)
    else {
        panic!()
    };
    assert_eq!(restore_after, Some(seconds(600 + 40 + 7 + 10)));
}

#[test]
fn planner_waits_for_the_hooks_of_a_start() {
    let mut it = with_waits(
        "0.9",
        Waits {
            start: seconds(60),
            ..NONE
        },
    )
    .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = it.gives(&["start 0.9 at h2:8081"]).remove(0);
    it.notes_progress();
    it.later(60);
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "{:?}",
        it.plan().next
    );
    it.is_done(&start);
    it.later(4);
    it.does_nothing();
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "it has its own time to become ready: {:?}",
        it.plan().next
    );
    it.later(1);
    assert!(
        it.turns()
            .0
            .starts_with("h2:8081: the new instance is not ready after 5s")
    );
}

#[test]
fn planner_refuses_a_release_that_cannot_be_available_in_time() {
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
                ..NONE
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
                ..NONE
            },
            1
        ),
        format!(
            "{head} 5s (initial_delay 2s + 2 × interval 1s for 3 success_threshold + min_ready 1s)"
        )
    );
    assert_eq!(
        refusal(
            Waits {
                stop: seconds(30),
                start: seconds(30),
                ..NONE
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
            ..NONE
        },
    );
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let start = it.gives(&["start 0.9 at h1:8081"]).remove(0);
    it.fails(&start, "no such file");
    it.turns();
    it.does(&["disarm h1:8081"]);
    it.does(&["start 0.8 at h1:8081"]);
    it.later(34);
    it.answers("h1:8081");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn planner_waits_for_an_earlier_order_that_holds_the_lock_of_a_host() {
    let mut it = with_waits(
        "0.8",
        Waits {
            stop: seconds(60),
            ..NONE
        },
    )
    .deploy("0.9");
    let staged = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.is_done(&staged[1]);
    let id = *it
        .rollout
        .orders
        .in_flight
        .keys()
        .next()
        .expect("one is left");
    it.record(Event::ActionUnknown {
        id,
        why: "another script holds the lock".into(),
    });
    it.later(89);
    it.gives(&["stage 0.9 on h1"]);
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "{:?}",
        it.plan().next
    );
    it.later(1);
    assert!(it.turns().0.starts_with("h1: "));
}

// ── a start is tried again ───────────────────────────────────────────────────────────────────────

/// In place on one host: 0.9 has failed, and 0.8 is to come back.
fn on_the_way_back() -> Story {
    let mut setup = fleet_of(1).budget(1, 0, 1).running("0.8", &["h1:8081"]);
    setup.spec.progress_deadline = seconds(90);
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.exits("h1:8081", "exit status 1");
    it.turns();
    it.does(&["disarm h1:8081"]);
    it.does(&["stop h1-0.9 at h1:8081 (dead)"]);
    it
}

#[test]
fn rollback_tries_again_with_pauses_until_the_deadline() {
    let mut it = on_the_way_back();
    let began = it.now;
    let mut tried_at_s = Vec::new();
    let outcome = loop {
        match it.plan() {
            plan if !plan.actions.is_empty() => {
                let action = plan.actions[0].clone();
                if let Action::Start { .. } = action {
                    tried_at_s.push(it.now.since(began).as_secs());
                }
                it.does(&[&action.to_string()]);
                if let Action::Start { .. } = action {
                    it.exits("h1:8081", "exit status 98");
                    it.notes_progress();
                }
            }
            plan => match plan.next {
                Next::Wake(at) => {
                    assert!(at > it.now, "a wait passes time");
                    let attempt = tried_at_s.len() + 1;
                    let words = format!(
                        "waiting before attempt {attempt} to start on port 8081; last attempt: exit \
                         status 98"
                    );
                    assert_eq!(it.hold("h1"), words);
                    it.now = at;
                }
                Next::Finish(outcome) => break outcome,
                other => panic!("{other:?}"),
            },
        }
    };
    assert_eq!(tried_at_s, [0, 1, 3, 7, 15, 25, 35, 45, 55, 65, 75, 85]);
    let why = why_rollback_failed(&outcome);
    let words = "h1:8081: cannot start the new instance: 12 attempts failed; the last \
                 one: exit status 98";
    assert_eq!(why, words);
}

#[test]
fn rollback_succeeds_when_a_later_attempt_does() {
    let mut it = on_the_way_back();
    it.does(&["start 0.8 at h1:8081"]);
    it.exits("h1:8081", "exit status 98");
    it.does(&["stop h1-0.8 at h1:8081 (dead)"]);
    it.does_nothing();
    it.later(1);
    it.does(&["start 0.8 at h1:8081"]);
    it.answers("h1:8081");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn rollback_tries_a_refused_start_again() {
    let mut it = on_the_way_back();
    let start = it.gives(&["start 0.8 at h1:8081"]).remove(0);
    it.fails(&start, "port 8081 is taken by pid 7");
    it.does_nothing();
    let words =
        "waiting before attempt 2 to start on port 8081; last attempt: port 8081 is taken by pid 7";
    assert_eq!(it.hold("h1"), words);
    it.later(1);
    it.does(&["start 0.8 at h1:8081"]);
    it.answers("h1:8081");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

// ── waits without a person ───────────────────────────────────────────────────────────────────────

#[test]
fn rollout_at_a_gate_fails_when_a_balancer_stays_out_of_reach() {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"]);
    let step = |instances: &str| ship::core::spec::step::Step {
        instances: instances.parse().expect("an amount"),
        soak: Duration::from_hours(1),
        pause: false,
        weight_percent: None,
    };
    setup.spec.steps = vec![step("1"), step("100%")];
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.does(&["admit h3-0.9 at h3:8081"]);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let soak = Duration::from_hours(1);
    it.record(Event::StepReached {
        step: 1,
        of: 2,
        instances: 1,
        soak,
        pause: false,
    });
    it.later(1800);
    it.loses_balancer("lb1");
    let Next::Wake(at) = it.plan().next else {
        panic!("{:?}", it.plan().next)
    };
    assert_eq!(at, it.now + it.spec.progress_deadline);
    it.later(600);
    let Next::Fail(failure, FailureResponse::Hold { .. }) = it.plan().next else {
        panic!("{:?}", it.plan().next)
    };
    assert!(
        failure.to_string().contains("lb1: no route to host"),
        "{failure}"
    );
}

#[test]
fn instance_that_a_balancers_check_never_passes_is_reported_as_such() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.gives(&["admit h3-0.9 at h3:8081"]);
    it.later(600);
    let (why, _) = it.turns();
    assert!(
        why.ends_with("the instance is ready, but the load balancer's check has not passed yet"),
        "{why}"
    );
}
