//! Failed hosts (`max_failed_hosts`), and hosts that recover.

use ship::core::ids::Epoch;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;

use super::scenario::{FleetSetup, fleet_of, rollback_failure};

/// Three hosts with two slots each, and one old instance on each.
fn three_hosts() -> FleetSetup {
    fleet_of(3)
        .slots(&[8081, 8082])
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
}

const STAGED: [&str; 3] = ["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"];

#[test]
fn unreachable_host_fails_at_the_deadline_and_the_others_take_its_replicas() {
    let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
    scenario.run_actions(&STAGED);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.lose_host("h3");
    scenario.expect_no_actions();
    scenario.advance(601);
    assert_eq!(
        scenario.expect_failed_host(),
        "h3: unreachable for 10m1s: timed out after 10s"
    );
    assert_eq!(
        scenario.wait_reason("h3"),
        "failed: h3: unreachable for 10m1s: timed out after 10s"
    );
    // The instance on the failed host no longer counts, so there is capacity for another.
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn unreachable_host_fails_the_rollout_without_max_failed_hosts() {
    let mut scenario = three_hosts().deploy("0.9");
    scenario.run_actions(&STAGED);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.lose_host("h3");
    scenario.advance(601);
    let (why, _) = scenario.expect_failure();
    assert!(why.starts_with("h3: unreachable"), "{why}");
}

#[test]
fn rollout_fails_above_max_failed_hosts() {
    let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
    let orders = scenario.start_actions(&STAGED);
    scenario.complete(&orders[0]);
    scenario.fail(&orders[1], "no space left on device");
    assert_eq!(
        scenario.expect_failed_host(),
        "h2: cannot stage the release: no space left on device"
    );
    scenario.fail(&orders[2], "no space left on device");
    let (why, then) = scenario.expect_failure();
    assert_eq!(
        (why.as_str(), then),
        (
            "h3: cannot stage the release: no space left on device",
            FailureResponse::RollBack
        )
    );
}

#[test]
fn instance_on_a_failed_host_is_replaced_within_the_budget() {
    let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
    let orders = scenario.start_actions(&STAGED);
    scenario.claim_host("h3");
    scenario.fail(&orders[2], "no space left on device");
    scenario.expect_failed_host();
    scenario.complete(&orders[0]);
    scenario.complete(&orders[1]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["stop h3-0.8 at h3:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn instance_on_an_unclaimed_failed_host_does_not_count() {
    let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
    let orders = scenario.start_actions(&STAGED);
    scenario.fail(&orders[2], "the epoch could not be stored");
    scenario.expect_failed_host();
    scenario.complete(&orders[0]);
    scenario.complete(&orders[1]);
    // A late command of an earlier controller may still stop the instance on h3.
    scenario.run_actions(&["start 0.9 at h1:8082", "start 0.9 at h2:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.expect_no_actions();
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn old_instance_on_a_failed_host_stays_without_other_slots() {
    let setup = fleet_of(2)
        .budget(2, 0, 1)
        .max_failed_hosts(1)
        .running("0.8", &["h1:8081", "h2:8081"]);
    let mut scenario = setup.deploy("0.9");
    let orders = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.claim_host("h2");
    scenario.fail(&orders[1], "no space left on device");
    scenario.expect_failed_host();
    scenario.complete(&orders[0]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["disarm h1:8081"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn recovered_host_is_claimed_and_updated() {
    let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
    scenario.lose_host("h3");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.expect_no_actions();
    scenario.advance(601);
    scenario.expect_failed_host();
    scenario.run_actions(&["start 0.9 at h1:8082", "start 0.9 at h2:8082"]);
    scenario.recover_host("h3", Epoch(6));
    // Nothing starts elsewhere before h3 rejects late commands of an earlier controller.
    scenario.run_actions(&["stage 0.9 on h3"]);
    scenario.pass_probe("h1:8082");
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    scenario.run_actions(&["start 0.9 at h3:8082"]);
    scenario.pass_probe("h3:8082");
    scenario.run_actions(&["stop h3-0.8 at h3:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn planner_rebalances_instances_onto_a_recovered_host() {
    let running = ["h1:8081", "h1:8082", "h2:8081"];
    let mut scenario = fleet_of(3)
        .slots(&[8081, 8082])
        .running("0.9", &running)
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["stop h1-0.9 at h1:8082 (surplus)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn rollback_does_not_wait_for_host_that_rejects_its_claim() {
    let rolling_back = |max_failed_hosts| {
        let mut scenario = three_hosts().max_failed_hosts(1).deploy("0.9");
        let orders = scenario.start_actions(&STAGED);
        scenario.fail(&orders[2], "its disk is full");
        scenario.expect_failed_host();
        scenario.complete(&orders[0]);
        scenario.complete(&orders[1]);
        scenario.run_actions(&["start 0.9 at h1:8082", "start 0.9 at h2:8082"]);
        scenario.record(Event::Aborted { by: "anna".into() });
        scenario.expect_failure();
        scenario.spec.max_failed_hosts = max_failed_hosts;
        let orders = scenario.start_actions(&["claim h3"]);
        scenario.fail(&orders[0], "its disk is full");
        scenario
    };
    let why = "h3: cannot stage the release: its disk is full";
    assert_eq!(rolling_back(1).expect_failed_host(), why);
    assert_eq!(rollback_failure(&rolling_back(0).outcome()), why);
}
