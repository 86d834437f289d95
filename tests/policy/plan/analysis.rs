//! Analyses of a new version, and the response to their results.

use std::time::Duration;

use super::scenario::{Scenario, fleet_of};
use ship::core::analysis::compare::Tolerance;
use ship::core::analysis::measurement::{Finding, Number};
use ship::core::analysis::{Analysis, MeasurementMethod, OnInconclusive};
use ship::core::planner::Next;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::{FailureKind, Outcome};
use ship::core::spec::step::{OnGate, Step};

fn analysis(on_inconclusive: OnInconclusive) -> Analysis {
    let tolerance = Tolerance {
        error_points: Number::ZERO,
        latency_percent: Number::ZERO,
        min_requests: 20,
    };
    Analysis {
        name: "errors".into(),
        method: MeasurementMethod::Compare(tolerance),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        failure_limit: 0,
        consecutive_error_limit: 4,
        on_inconclusive,
        dry_run: false,
    }
}

/// A deploy whose first of three instances runs 0.9. Its only step soaks for a minute.
fn with_analysis(analysis: Analysis, max_failed_hosts: u32) -> Scenario {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    let instances = "1".parse().expect("an amount");
    setup.spec.steps = vec![Step {
        instances,
        soak: Duration::from_mins(1),
        pause: false,
        weight_percent: None,
    }];
    (setup.spec.analyses, setup.spec.max_failed_hosts) = (vec![analysis], max_failed_hosts);
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.expect_no_actions();
    scenario
}

fn record_measurement(scenario: &mut Scenario, outcome: Finding) {
    let (analysis, detail) = ("errors".to_owned(), "the detail".to_owned());
    scenario.record(Event::Measured {
        analysis,
        outcome,
        detail,
        value: None,
        dry_run: false,
    });
}

fn reach_step(scenario: &mut Scenario) {
    let Next::StepReached(Step { soak, pause, .. }, instances) = scenario.plan().next else {
        panic!("{:?}", scenario.plan())
    };
    scenario.record(Event::StepReached {
        step: 1,
        of: 1,
        instances,
        soak,
        pause,
    });
}

#[test]
fn failed_analysis_rolls_back_without_failing_a_host() {
    let mut scenario = with_analysis(analysis(OnInconclusive::Pass), 2);
    record_measurement(&mut scenario, Finding::Success);
    scenario.expect_no_actions();
    record_measurement(&mut scenario, Finding::Failure);
    let Next::Fail(failure, FailureResponse::RollBack) = scenario.plan().next else {
        panic!("{:?}", scenario.plan())
    };
    assert_eq!(
        (failure.kind, failure.to_string().as_str()),
        (FailureKind::Analysis, "analysis errors: the detail")
    );
    scenario.record(Event::RolloutFailed {
        failure,
        log: Vec::new(),
        then: FailureResponse::RollBack,
    });
    scenario.run_actions(&["start 0.8 at h1:8081"]);
}

#[test]
fn step_waits_for_a_measurement_after_its_soak() {
    let mut scenario = with_analysis(analysis(OnInconclusive::Pass), 0);
    record_measurement(&mut scenario, Finding::Success);
    scenario.advance(1);
    reach_step(&mut scenario);
    scenario.advance(60);
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting for an analysis at step 1 of 1: errors has not been measured yet"
    );
    record_measurement(&mut scenario, Finding::Error);
    scenario.expect_no_actions();
    record_measurement(&mut scenario, Finding::Inconclusive);
    assert_eq!(scenario.plan().next, Next::StepPassed);
}

#[test]
fn unattended_step_with_an_inconclusive_analysis_pauses_at_the_deadline() {
    let mut scenario = with_analysis(analysis(OnInconclusive::Hold), 0);
    for on_gate in [OnGate::Exit, OnGate::Promote] {
        scenario.spec.on_gate = on_gate;
        if scenario.rollout.step.reached.is_none() {
            reach_step(&mut scenario);
            scenario.advance(60 + 599);
        }
        record_measurement(&mut scenario, Finding::Inconclusive);
        assert!(
            matches!(scenario.plan().next, Next::Wake(_)),
            "{:?}",
            scenario.plan().next
        );
    }
    scenario.advance(1);
    record_measurement(&mut scenario, Finding::Inconclusive);
    let by = "step 1 of 1, which waits for analysis errors: the detail".to_owned();
    assert_eq!(
        scenario.outcome(),
        Outcome::Paused {
            by,
            since: scenario.now
        }
    );
    scenario.spec.on_gate = OnGate::Wait;
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "a person decides: {:?}",
        scenario.plan().next
    );
}

#[test]
fn inconclusive_analysis_holds_a_step_until_promoted() {
    let mut scenario = with_analysis(analysis(OnInconclusive::Hold), 0);
    reach_step(&mut scenario);
    scenario.advance(60);
    record_measurement(&mut scenario, Finding::Inconclusive);
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting for an analysis at step 1 of 1: errors: the detail"
    );
    scenario.record(Event::Promoted {
        by: "anna@here".into(),
        full: false,
    });
    assert_eq!(scenario.plan().next, Next::StepPassed);
}

#[test]
fn deploy_without_instances_succeeds_without_a_measurement() {
    let mut setup = fleet_of(2).budget(0, 1, 0);
    let instances = "1".parse().expect("an amount");
    setup.spec.steps = vec![Step {
        instances,
        soak: Duration::from_mins(1),
        pause: true,
        weight_percent: None,
    }];
    setup.spec.analyses = vec![analysis(OnInconclusive::Hold)];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2"]);
    assert_eq!(
        scenario.outcome(),
        ship::core::rollout::failure::Outcome::Succeeded
    );
}
