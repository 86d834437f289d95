//! Failed requests of the availability monitor.

use ship::core::availability::{Answer, Tally};
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::time::Time;

use super::scenario::{FleetSetup, Scenario, fleet_of};

/// Reports one successful request and then `failures` failed ones; the limit is 1.
fn report_failed_requests(scenario: &mut Scenario, failures: u64) {
    let mut tally = Tally::new(1);
    tally.add(
        Time(0),
        Answer::Served {
            took: std::time::Duration::ZERO,
            version: None,
        },
    );
    (1..=failures).for_each(|at| {
        tally.add(
            Time(at * 1000),
            Answer::Failed {
                why: "connection reset".into(),
            },
        );
    });
    scenario.record(Event::AvailabilityReported(tally.report()));
}

fn setup() -> FleetSetup {
    fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
}

/// A deploy of 0.9 that has started its first instance.
fn with_first_start() -> Scenario {
    let mut scenario = setup().deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario
}

const FAILED_REQUESTS: &str =
    "too many requests failed: 2 of 3 requests failed (limit 1); first failure: connection reset";

#[test]
fn rollout_continues_at_the_limit_of_failed_requests() {
    let mut scenario = with_first_start();
    report_failed_requests(&mut scenario, 1);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn rollout_rolls_back_above_the_limit_and_the_rollback_only_counts() {
    let mut scenario = with_first_start();
    report_failed_requests(&mut scenario, 2);
    assert_eq!(
        scenario.expect_failure(),
        (FAILED_REQUESTS.into(), FailureResponse::RollBack)
    );
    report_failed_requests(&mut scenario, 9);
    scenario.run_actions(&["stop h3-0.9 at h3:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn failed_requests_roll_back_a_complete_rollout() {
    let mut scenario = setup()
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
    report_failed_requests(&mut scenario, 2);
    assert_eq!(
        scenario.expect_failure(),
        (FAILED_REQUESTS.into(), FailureResponse::RollBack)
    );
}

#[test]
fn instance_failure_is_reported_instead_of_failed_requests() {
    let mut scenario = with_first_start();
    report_failed_requests(&mut scenario, 2);
    scenario.exit_instance("h3:8081", "exit status 1");
    let (why, then) = scenario.expect_failure();
    assert_eq!(then, FailureResponse::RollBack);
    assert!(
        why.starts_with("h3:8081: the new instance exited unexpectedly"),
        "{why}"
    );
}

#[test]
fn rollback_continues_despite_failed_requests() {
    let mut scenario = setup().start_rollout("0.9", None, |start| start.verb = Verb::Rollback);
    report_failed_requests(&mut scenario, 2);
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
}

#[test]
fn restart_holds_on_failed_requests() {
    let mut scenario = setup().start_rollout("0.8", None, |start| start.verb = Verb::Restart);
    report_failed_requests(&mut scenario, 2);
    let (why, then) = scenario.expect_failure();
    assert_eq!(why, FAILED_REQUESTS);
    assert!(matches!(then, FailureResponse::Hold { .. }), "{then:?}");
}
