//! Whether the planner requires a recent observation of a process before it relies on a probe.

use super::scenario::{FleetSetup, Scenario, fleet_of};

/// Three hosts with a free slot each, and version 0.8 on all.
fn side_by_side() -> FleetSetup {
    let olds = ["h1:8081", "h2:8081", "h3:8081"];
    fleet_of(3).slots(&[8081, 8082]).running("0.8", &olds)
}

/// A deploy of workers that has started its first new instance. Workers have no listener, and their
/// probe is a command.
fn with_new_worker(setup: FleetSetup) -> Scenario {
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    for slot in ["h1:8081", "h2:8081", "h3:8081", "h1:8082"] {
        scenario.set_listener(slot, None);
    }
    scenario
}

#[test]
fn planner_observes_workers_before_stopping_an_old_one() {
    let mut scenario = with_new_worker(side_by_side());
    scenario.advance_without_observing(1);
    scenario.pass_probe("h1:8082");
    scenario.expect_no_actions();
    assert_eq!(scenario.hosts_to_observe(), ["h1", "h2", "h3"]);
    scenario.observe_host("h1");
    assert_eq!(scenario.hosts_to_observe(), ["h2", "h3"]);
    scenario.observe_host("h2");
    scenario.observe_host("h3");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn rollout_fails_when_a_ready_worker_has_exited() {
    let mut scenario = with_new_worker(side_by_side());
    scenario.advance_without_observing(1);
    scenario.pass_probe("h1:8082");
    scenario.exit_instance("h1:8082", "exit status 0");
    scenario.expect_no_actions();
    let (why, _) = scenario.expect_failure();
    assert_eq!(
        why,
        "h1:8082: the new instance exited unexpectedly after 1s: exit status 0"
    );
}

#[test]
fn observation_of_a_worker_expires_after_ten_seconds() {
    let mut scenario = with_new_worker(side_by_side());
    scenario.advance(1);
    scenario.pass_probe("h1:8082");
    scenario.advance_without_observing(10);
    assert_eq!(
        scenario.planned_actions(),
        ["stop h1-0.8 at h1:8081 (replaced)"]
    );
    scenario.advance_without_observing(1);
    scenario.expect_no_actions();
    assert_eq!(scenario.hosts_to_observe(), ["h1", "h2", "h3"]);
}

#[test]
fn planner_needs_no_observation_of_an_instance_that_listens() {
    let mut scenario = side_by_side().deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.advance_without_observing(1);
    scenario.pass_probe("h1:8082");
    assert_eq!(scenario.hosts_to_observe(), Vec::<String>::new());
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn planner_observes_the_process_again_after_min_ready() {
    let mut scenario = side_by_side().min_ready(5).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.advance_without_observing(4);
    assert_eq!(scenario.hosts_to_observe(), Vec::<String>::new());
    scenario.advance_without_observing(1);
    scenario.expect_no_actions();
    assert_eq!(scenario.hosts_to_observe(), ["h1"]);
    scenario.observe_host("h1");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn restart_of_a_new_instance_fails_the_rollout_even_if_it_is_ready_again() {
    for listener in [None, Some("0.0.0.0")] {
        let mut scenario = side_by_side().deploy("0.9");
        scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
        scenario.run_actions(&["start 0.9 at h1:8082"]);
        scenario.set_listener("h1:8082", listener);
        scenario.pass_probe("h1:8082");
        scenario.advance(3);
        scenario.restart_instance("h1:8082");
        let (why, _) = scenario.expect_failure();
        assert_eq!(
            why,
            "h1:8082: the new instance exited unexpectedly after 3s: systemd restarted it once"
        );
    }
}

#[test]
fn restart_of_an_old_instance_does_not_fail_the_rollout() {
    let mut scenario = side_by_side().deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.restart_instance("h2:8081");
    scenario.run_actions(&["start 0.9 at h1:8082"]);
}

#[test]
fn rollout_succeeds_only_after_an_observation_of_every_new_process() {
    let mut scenario = fleet_of(1)
        .slots(&[8081, 8082])
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.advance_without_observing(1);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.advance_without_observing(1);
    scenario.expect_no_actions();
    assert_eq!(scenario.hosts_to_observe(), ["h1"]);
    scenario.observe_host("h1");
    assert_eq!(scenario.outcome().word(), "succeeded");
}
