//! Pause, abort, restart and scale.

use std::collections::BTreeMap;

use ship::core::rollout::event::{Event, FailureResponse, RolloutStart, Scaling};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;

use super::scenario::{Scenario, fleet_of};

const BY: &str = "anna@laptop";

fn pause(scenario: &mut Scenario) {
    scenario.record(Event::Paused { by: BY.into() });
}

fn abort(scenario: &mut Scenario) {
    scenario.record(Event::Aborted { by: BY.into() });
}

#[test]
fn paused_rollout_stops_after_the_actions_in_flight() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    let start = scenario.start_actions(&["start 0.9 at h3:8081"]).remove(0);
    pause(&mut scenario);
    scenario.advance(1);
    scenario.expect_no_actions();
    scenario.complete(&start);
    assert_eq!(
        scenario.outcome(),
        Outcome::Paused {
            by: BY.into(),
            since: scenario.now - std::time::Duration::from_secs(1)
        }
    );
}

#[test]
fn abort_rolls_back_even_with_on_failure_hold() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .hold_on_failure()
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    abort(&mut scenario);
    assert_eq!(
        scenario.expect_failure(),
        ("aborted by anna@laptop".into(), FailureResponse::RollBack)
    );
    scenario.run_actions(&["stop h3-0.9 at h3:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn abort_rolls_back_a_complete_rollout() {
    let mut scenario = fleet_of(2)
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    abort(&mut scenario);
    assert_eq!(
        scenario.expect_failure(),
        ("aborted by anna@laptop".into(), FailureResponse::RollBack)
    );
}

#[test]
fn abort_without_rollback_target_holds() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .deploy_without_rollback_target("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    abort(&mut scenario);
    let (_, then) = scenario.expect_failure();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "no other revision has been proven healthy".into()
        }
    );
}

#[test]
fn restart_replaces_every_instance_with_the_same_release() {
    let restart = |start: &mut RolloutStart| start.verb = Verb::Restart;
    let mut scenario = fleet_of(2)
        .slots(&[8081, 8082])
        .running("0.9", &["h1:8081", "h2:8081"])
        .start_rollout("0.9", None, restart);
    scenario.run_actions(&["claim h1", "claim h2"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h2-0.9 at h2:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn failed_restart_holds() {
    let restart = |start: &mut RolloutStart| start.verb = Verb::Restart;
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.9", &["h1:8081"])
        .start_rollout("0.9", None, restart);
    scenario.run_actions(&["claim h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.exit_instance("h2:8081", "exit status 1");
    let (_, then) = scenario.expect_failure();
    assert!(
        matches!(then, FailureResponse::Hold { why } if why.contains("nothing to roll back to"))
    );
}

#[test]
fn failed_deploy_of_a_proven_release_holds() {
    let proven = |start: &mut RolloutStart| start.is_proven = true;
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .start_rollout("0.9", Some("0.8"), proven);
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 1");
    let (_, then) = scenario.expect_failure();
    assert!(matches!(then, FailureResponse::Hold { why } if why.contains("proven healthy before")));
}

/// Scales the service during a paused rollout from 0.8 to 0.9.
fn scale_paused(setup: super::scenario::FleetSetup, shares: [(&str, u32); 2]) -> Scenario {
    let then = Outcome::Paused {
        by: BY.into(),
        since: ship::core::time::Time(5),
    };
    let shares: BTreeMap<_, _> = shares
        .into_iter()
        .map(|(release, share)| (release.into(), share))
        .collect();
    setup.start_rollout("0.9", Some("0.8"), |start| {
        start.scaling = Some(Scaling {
            shares,
            then: Box::new(then),
        });
    })
}

#[test]
fn scaling_up_a_paused_rollout_keeps_the_shares_of_both_releases() {
    let setup = fleet_of(3).slots(&[8081, 8082]).budget(6, 1, 0);
    let setup = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .running("0.9", &["h3:8081"]);
    let mut scenario = scale_paused(setup, [("0.8", 4), ("0.9", 2)]);
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    scenario.run_actions(&[
        "start 0.8 at h1:8082",
        "start 0.8 at h2:8082",
        "start 0.9 at h3:8082",
    ]);
    for slot in ["h1:8082", "h2:8082", "h3:8082"] {
        scenario.pass_probe(slot);
    }
    assert!(matches!(scenario.outcome(), Outcome::Paused { .. }));
}

#[test]
fn scaling_down_a_paused_rollout_keeps_the_minimum_of_the_new_replicas() {
    let setup = fleet_of(3).slots(&[8081, 8082]).budget(2, 1, 0);
    let setup = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .running("0.9", &["h3:8081", "h3:8082"]);
    let mut scenario = scale_paused(setup, [("0.8", 1), ("0.9", 1)]);
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    scenario.run_actions(&[
        "stop h2-0.8 at h2:8081 (surplus)",
        "stop h3-0.9 at h3:8082 (surplus)",
    ]);
    assert!(matches!(scenario.outcome(), Outcome::Paused { .. }));
}

#[test]
fn rollback_can_be_paused() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.exit_instance("h3:8081", "exit status 1");
    scenario.expect_failure();
    pause(&mut scenario);
    scenario.expect_no_actions();
    assert!(matches!(scenario.outcome(), Outcome::Paused { .. }));
}
