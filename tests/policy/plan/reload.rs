//! Reloads: an old instance that continues with the files of the new release.

use ship::core::ids::ReleaseId;
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::step::Step;

use super::scenario::{FleetSetup, Scenario, fleet_of};

/// Hosts that run 0.8, with one slot each, and releases that differ only in their files.
fn reloadable(hosts: u32) -> FleetSetup {
    let slots: Vec<_> = (1..=hosts).map(|n| format!("h{n}:8081")).collect();
    let slots: Vec<_> = slots.iter().map(String::as_str).collect();
    let mut setup = fleet_of(hosts).budget(hosts, 0, 1).running("0.8", &slots);
    setup.spec.reload_groups = ["0.8", "0.9"]
        .map(|release| (release.into(), "the same".into()))
        .into();
    setup
}

/// A deploy on two hosts whose files are staged.
fn staged() -> Scenario {
    let mut scenario = reloadable(2).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario
}

#[test]
fn instances_are_reloaded_one_batch_at_a_time() {
    let mut scenario = staged();
    scenario.run_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["reload h2-0.8 with 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn reload_in_flight_counts_as_running_and_not_as_available() {
    let mut scenario = staged();
    scenario.start_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    let progress = scenario.plan().progress;
    assert_eq!(
        (progress.total, progress.updated, progress.available),
        (2, 1, 1)
    );
}

#[test]
fn surge_starts_one_instance_and_reloads_the_others() {
    let mut scenario = reloadable(2)
        .slots(&[8081, 8082])
        .budget(2, 1, 0)
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["reload h2-0.8 with 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn reloaded_instance_is_drained_before_and_admitted_after() {
    let mut scenario = reloadable(2).behind_balancers(&["lb1"]).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["admit h1-0.9 at h1:8081"]);
    scenario.run_actions(&["drain h2-0.8 at h2:8081"]);
}

#[test]
fn step_limits_reloads() {
    let mut setup = reloadable(3).budget(3, 0, 3);
    setup.spec.steps = vec![Step {
        instances: "1".parse().expect("an amount"),
        soak: std::time::Duration::from_mins(5),
        pause: false,
        weight_percent: None,
    }];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.expect_no_actions();
}

#[test]
fn rollback_reloads_what_was_reloaded() {
    let mut scenario = staged();
    scenario.run_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.record(Event::Aborted { by: "anna".into() });
    scenario.expect_failure();
    scenario.run_actions(&["reload h1-0.9 with 0.8 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn failed_reload_fails_the_rollout_and_leaves_the_instance() {
    let mut scenario = staged();
    let reloads = scenario.start_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.fail(&reloads[0], "exit status 3");
    scenario.expect_failure();
    scenario.expect_no_actions();
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn instance_whose_reload_fails_in_a_rollback_is_replaced() {
    let mut scenario = staged();
    scenario.run_actions(&["reload h1-0.8 with 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.record(Event::Aborted { by: "anna".into() });
    scenario.expect_failure();
    let reloads = scenario.start_actions(&["reload h1-0.9 with 0.8 at h1:8081"]);
    scenario.fail(&reloads[0], "exit status 3");
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (replaced)"]);
    scenario.advance(10);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
}

#[test]
fn instance_that_is_not_ready_is_replaced() {
    let mut scenario = staged();
    scenario.fail_probes("h1:8081", "503");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (unhealthy)"]);
}

#[test]
fn release_that_differs_in_more_than_files_replaces_instances() {
    let mut setup = reloadable(1);
    setup.spec.reload_groups = [("0.8", "a"), ("0.9", "b")]
        .map(|(release, group)| (ReleaseId::from(release), group.into()))
        .into();
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    let planned = scenario.planned_actions();
    assert!(planned[0].starts_with("stop h1-0.8"), "{planned:?}");
}
