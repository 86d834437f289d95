//! Instances that were asked to stop and may finish their work.

use std::time::Duration;

use super::scenario::{FleetSetup, Scenario, fleet_of, slot_of};
use ship::core::fleet::lingering::Lingering;
use ship::core::ids::ReleaseId;
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::impossible::Impossible;

/// Lets an instance linger for a minute instead of ending after its stop.
fn linger(scenario: &mut Scenario, slot: &str) {
    let since = scenario.now;
    let instance = scenario.fleet.instance_mut(&slot_of(slot));
    instance.expect("an instance").lingering = Some(Lingering {
        since,
        ends_by: since + Duration::from_mins(1),
        ended: None,
    });
}

/// 0.8 in the only slot of a host, replaced in place, whose instance lingers.
fn with_the_only_slot_taken() -> Scenario {
    let mut scenario = fleet_of(1)
        .budget(1, 0, 1)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    linger(&mut scenario, "h1:8081");
    scenario
}

/// 0.8 on one of two hosts, whose instance lingers.
fn with_a_free_host() -> Scenario {
    let mut scenario = fleet_of(2)
        .budget(1, 0, 1)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    linger(&mut scenario, "h1:8081");
    scenario
}

#[test]
fn lingering_instance_does_not_hold_up_the_rollout() {
    let mut scenario = with_a_free_host();
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
    let progress = scenario.plan().progress;
    assert_eq!((progress.total, progress.available), (1, 1));
}

#[test]
fn start_waits_for_the_slot_of_a_lingering_instance() {
    let mut scenario = with_the_only_slot_taken();
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h1"),
        "waiting for a free slot: the instance in slot 8081 lingers"
    );
    scenario.exit_instance("h1:8081", "exit status 0");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (lingered)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
}

#[test]
fn missed_deadline_names_the_lingering_instance() {
    let mut scenario = with_the_only_slot_taken();
    scenario.spec.progress_deadline = Duration::from_secs(20);
    scenario.advance(20);
    let (failure, _) = scenario.expect_failure();
    let why = "no slot is free: the instance at h1:8081 lingers for up to another 40s";
    assert!(failure.ends_with(why), "{failure}");
}

#[test]
fn end_of_a_lingering_instance_fails_nothing() {
    let mut scenario = with_a_free_host();
    scenario.exit_instance("h1:8081", "signal KILL");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (lingered)", "start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn instance_that_cannot_have_been_ready_yet_may_not_linger() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let mut waits = scenario.spec.waits_of(&ReleaseId::from("0.9"));
    waits.running = Duration::from_secs(10);
    scenario.spec.waits.insert(ReleaseId::from("0.9"), waits);
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.record(Event::Aborted { by: "anna".into() });
    scenario.expect_failure();
    let planned = scenario.planned_actions();
    assert!(
        planned.len() == 1 && planned[0].ends_with("at h2:8081 (unhealthy)"),
        "{planned:?}"
    );
}

#[test]
fn rollout_needs_slots_for_old_and_new_instances_if_linger_exceeds_the_deadline() {
    let mut setup = fleet_of(2).budget(2, 0, 1);
    let goal = ReleaseId::from("0.9");
    let mut waits = setup.spec.waits_of(&goal);
    waits.linger = Duration::from_hours(1);
    setup.spec.waits.insert(goal.clone(), waits);
    setup.spec.progress_deadline = Duration::from_mins(10);
    let obstacles = |setup: &FleetSetup| setup.spec.obstacles(&goal, &setup.fleet);
    assert!(matches!(
        obstacles(&setup)[..],
        [Impossible::LingersTooLong { replicas: 2, .. }]
    ));
    let roomy = setup.slots(&[8081, 8082]);
    assert_eq!(obstacles(&roomy), []);
}
