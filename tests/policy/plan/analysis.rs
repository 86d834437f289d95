//! What is measured of a new version, and what follows.

use std::time::Duration;

use super::scenario::{Story, fleet_of};
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

/// Three replicas, of which one by now is of 0.9; there is one step, at which it soaks for a
/// minute.
fn judged_by(analysis: Analysis, max_failed_hosts: u32) -> Story {
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
    let mut it = setup.deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does_nothing();
    it
}

fn measures(it: &mut Story, outcome: Finding) {
    let (analysis, detail) = ("errors".to_owned(), "it says so".to_owned());
    it.record(Event::Measured {
        analysis,
        outcome,
        detail,
        value: None,
        dry_run: false,
    });
}

fn reaches_the_step(it: &mut Story) {
    let Next::StepReached(Step { soak, pause, .. }, instances) = it.plan().next else {
        panic!("{:?}", it.plan())
    };
    it.record(Event::StepReached {
        step: 1,
        of: 1,
        instances,
        soak,
        pause,
    });
}

#[test]
fn a_breach_goes_back_and_no_host_is_to_blame() {
    let mut it = judged_by(analysis(OnInconclusive::Pass), 2);
    measures(&mut it, Finding::Success);
    it.does_nothing();
    measures(&mut it, Finding::Failure);
    let Next::Fail(failure, FailureResponse::RollBack) = it.plan().next else {
        panic!("{:?}", it.plan())
    };
    assert_eq!(
        (failure.kind, failure.to_string().as_str()),
        (FailureKind::Analysis, "analysis errors: it says so")
    );
    it.record(Event::RolloutFailed {
        failure,
        log: Vec::new(),
        then: FailureResponse::RollBack,
    });
    it.does(&["start 0.8 at h1:8081"]);
}

#[test]
fn a_step_that_has_soaked_waits_until_it_was_measured() {
    let mut it = judged_by(analysis(OnInconclusive::Pass), 0);
    measures(&mut it, Finding::Success);
    it.later(1);
    reaches_the_step(&mut it);
    it.later(60);
    it.does_nothing();
    assert_eq!(
        it.hold("h2"),
        "waiting for an analysis at step 1 of 1: errors has not been measured yet"
    );
    measures(&mut it, Finding::Error);
    it.does_nothing();
    measures(&mut it, Finding::Inconclusive);
    assert_eq!(it.plan().next, Next::StepPassed);
}

#[test]
fn unattended_step_that_an_analysis_holds_ends_at_the_deadline() {
    let mut it = judged_by(analysis(OnInconclusive::Hold), 0);
    for on_gate in [OnGate::Exit, OnGate::Promote] {
        it.spec.on_gate = on_gate;
        if it.rollout.step.reached.is_none() {
            reaches_the_step(&mut it);
            it.later(60 + 599);
        }
        measures(&mut it, Finding::Inconclusive);
        assert!(
            matches!(it.plan().next, Next::Wake(_)),
            "{:?}",
            it.plan().next
        );
    }
    it.later(1);
    measures(&mut it, Finding::Inconclusive);
    let by = "step 1 of 1, which waits for analysis errors: it says so".to_owned();
    assert_eq!(it.ending(), Outcome::Paused { by, since: it.now });
    it.spec.on_gate = OnGate::Wait;
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "a person decides: {:?}",
        it.plan().next
    );
}

#[test]
fn what_tells_nothing_holds_a_step_until_a_person_says_otherwise() {
    let mut it = judged_by(analysis(OnInconclusive::Hold), 0);
    reaches_the_step(&mut it);
    it.later(60);
    measures(&mut it, Finding::Inconclusive);
    it.does_nothing();
    assert_eq!(
        it.hold("h2"),
        "waiting for an analysis at step 1 of 1: errors: it says so"
    );
    it.record(Event::Promoted {
        by: "anna@here".into(),
        full: false,
    });
    assert_eq!(it.plan().next, Next::StepPassed);
}

#[test]
fn deploy_to_no_instances_ends_though_nothing_can_be_measured() {
    let mut setup = fleet_of(2).budget(0, 1, 0);
    let instances = "1".parse().expect("an amount");
    setup.spec.steps = vec![Step {
        instances,
        soak: Duration::from_mins(1),
        pause: true,
        weight_percent: None,
    }];
    setup.spec.analyses = vec![analysis(OnInconclusive::Hold)];
    let mut it = setup.deploy("0.9");
    it.does(&["claim h1", "claim h2"]);
    assert_eq!(
        it.ending(),
        ship::core::rollout::failure::Outcome::Succeeded
    );
}
