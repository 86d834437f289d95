//! What an answer is worth: whether the process that gave it still runs.

use super::scenario::{ReporterSetup, Story, fleet_of};

/// Three hosts with room for one more instance each, and version 0.8 on all.
fn side_by_side() -> ReporterSetup {
    let olds = ["h1:8081", "h2:8081", "h3:8081"];
    fleet_of(3).ports(&[8081, 8082]).running("0.8", &olds)
}

/// A rollout of workers to 0.9 that has started its first: the probe is a command, and nobody
/// listens.
fn with_a_new_worker(setup: ReporterSetup) -> Story {
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h1:8082"]);
    for slot in ["h1:8081", "h2:8081", "h3:8081", "h1:8082"] {
        it.listens(slot, None);
    }
    it
}

#[test]
fn planner_looks_at_workers_again_before_it_stops_an_old_one() {
    let mut it = with_a_new_worker(side_by_side());
    it.later_by_answers(1);
    it.answers("h1:8082");
    it.does_nothing();
    assert_eq!(it.wants_looks(), ["h1", "h2", "h3"]);
    it.looks_at("h1");
    assert_eq!(it.wants_looks(), ["h2", "h3"]);
    it.looks_at("h2");
    it.looks_at("h3");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn rollout_fails_when_a_worker_that_passed_is_found_dead() {
    let mut it = with_a_new_worker(side_by_side());
    it.later_by_answers(1);
    it.answers("h1:8082");
    it.exits("h1:8082", "exit status 0");
    it.does_nothing();
    let (why, _) = it.turns();
    assert_eq!(
        why,
        "h1:8082: the new instance exited unexpectedly after 1s: exit status 0"
    );
}

#[test]
fn look_at_a_worker_is_good_for_ten_seconds() {
    let mut it = with_a_new_worker(side_by_side());
    it.later(1);
    it.answers("h1:8082");
    it.later_by_answers(10);
    assert_eq!(it.orders(), ["stop h1-0.8 at h1:8081 (replaced)"]);
    it.later_by_answers(1);
    it.does_nothing();
    assert_eq!(it.wants_looks(), ["h1", "h2", "h3"]);
}

#[test]
fn planner_needs_no_look_where_the_instance_itself_answers() {
    let mut it = side_by_side().deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.later_by_answers(1);
    it.answers("h1:8082");
    assert_eq!(it.wants_looks(), Vec::<String>::new());
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn planner_looks_at_the_process_again_after_min_ready() {
    let mut it = side_by_side().min_ready(5).deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.later_by_answers(4);
    assert_eq!(it.wants_looks(), Vec::<String>::new());
    it.later_by_answers(1);
    it.does_nothing();
    assert_eq!(it.wants_looks(), ["h1"]);
    it.looks_at("h1");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn one_restart_of_a_new_instance_fails_the_rollout_though_it_is_ready_again() {
    for listener in [None, Some("0.0.0.0")] {
        let mut it = side_by_side().deploy("0.9");
        it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
        it.does(&["start 0.9 at h1:8082"]);
        it.listens("h1:8082", listener);
        it.answers("h1:8082");
        it.later(3);
        it.restarts("h1:8082");
        let (why, _) = it.turns();
        assert_eq!(
            why,
            "h1:8082: the new instance exited unexpectedly after 3s: systemd restarted it once"
        );
    }
}

#[test]
fn restart_of_an_old_instance_does_not_fail_the_rollout() {
    let mut it = side_by_side().deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.restarts("h2:8081");
    it.does(&["start 0.9 at h1:8082"]);
}

#[test]
fn rollout_is_complete_only_after_a_look_at_every_new_process() {
    let mut it = fleet_of(1)
        .ports(&[8081, 8082])
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.later_by_answers(1);
    it.answers("h1:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.later_by_answers(1);
    it.does_nothing();
    assert_eq!(it.wants_looks(), ["h1"]);
    it.looks_at("h1");
    assert_eq!(it.ending().word(), "succeeded");
}
