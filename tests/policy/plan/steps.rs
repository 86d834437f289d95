//! Steps: a number of new instances, a soak or a gate, then more.

use std::time::Duration;

use super::scenario::{Scenario, fleet_of};
use ship::core::planner::Next;
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::spec::step::{OnGate, Step};

fn step(instances: &str, soak_s: u64, pause: bool) -> Step {
    let instances = instances.parse().expect("an amount");
    Step {
        instances,
        soak: Duration::from_secs(soak_s),
        pause,
        weight_percent: None,
    }
}

/// A deploy with three replicas and a spare host, up to the first replacement.
fn with_first_replacement(steps: &[Step], on_gate: OnGate) -> Scenario {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    (setup.spec.steps, setup.spec.on_gate) = (steps.to_vec(), on_gate);
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

fn reach_step(scenario: &mut Scenario) {
    let Next::StepReached(Step { soak, pause, .. }, instances) = scenario.plan().next else {
        panic!("no step is reached: {:?}", scenario.plan())
    };
    let (step, of) = (scenario.rollout.step.passed + 1, 3);
    scenario.record(Event::StepReached {
        step,
        of,
        instances,
        soak,
        pause,
    });
}

fn pass_step(scenario: &mut Scenario) {
    assert_eq!(
        scenario.plan().next,
        Next::StepPassed,
        "{:?}",
        scenario.plan().wait_reasons
    );
    let step = scenario.rollout.step.passed + 1;
    scenario.record(Event::StepPassed { step, of: 3 });
}

#[test]
fn step_stops_at_its_instances_and_continues_after_its_soak() {
    let mut scenario = with_first_replacement(
        &[step("1", 300, false), step("100%", 0, false)],
        OnGate::Wait,
    );
    reach_step(&mut scenario);
    scenario.expect_no_actions();
    assert_eq!(scenario.wait_reason("h2"), "waiting: step 1 of 2 soaks");
    scenario.advance(299);
    scenario.expect_no_actions();
    scenario.advance(1);
    pass_step(&mut scenario);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["stop h3-0.8 at h3:8081 (replaced)"]);
    reach_step(&mut scenario);
    pass_step(&mut scenario);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn gate_waits_for_a_promotion_without_a_deadline() {
    let mut scenario = with_first_replacement(&[step("1", 0, true)], OnGate::Wait);
    reach_step(&mut scenario);
    scenario.advance(100_000);
    scenario.expect_no_actions();
    assert!(
        matches!(scenario.plan().next, Next::Wake(at) if at > scenario.now),
        "{:?}",
        scenario.plan().next
    );
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting at step 1 of 1: `ship promote` continues, `ship abort` rolls back"
    );
    scenario.record(Event::Promoted {
        by: "anna".into(),
        full: false,
    });
    pass_step(&mut scenario);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
}

#[test]
fn promote_skips_the_rest_of_the_soak() {
    let mut scenario = with_first_replacement(&[step("1", 300, true)], OnGate::Wait);
    reach_step(&mut scenario);
    scenario.record(Event::Promoted {
        by: "anna".into(),
        full: false,
    });
    pass_step(&mut scenario);
}

#[test]
fn promote_full_skips_all_steps() {
    let mut scenario =
        with_first_replacement(&[step("1", 300, true), step("2", 300, true)], OnGate::Wait);
    reach_step(&mut scenario);
    scenario.record(Event::Promoted {
        by: "anna".into(),
        full: true,
    });
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
}

#[test]
fn unattended_gate_exits_or_promotes() {
    let mut scenario = with_first_replacement(&[step("1", 0, true)], OnGate::Exit);
    reach_step(&mut scenario);
    let Outcome::Paused { by, .. } = scenario.outcome() else {
        panic!("{:?}", scenario.outcome())
    };
    assert_eq!(
        by,
        "the gate of step 1 of 1, which waits for `ship promote`"
    );

    let mut scenario = with_first_replacement(&[step("1", 0, true)], OnGate::Promote);
    reach_step(&mut scenario);
    pass_step(&mut scenario);
}

#[test]
fn failure_during_a_soak_rolls_back_without_steps() {
    let mut scenario = with_first_replacement(&[step("1", 300, true)], OnGate::Wait);
    reach_step(&mut scenario);
    scenario.exit_instance("h4:8081", "exit status 1");
    scenario.expect_failure();
    scenario.run_actions(&["start 0.8 at h1:8081", "stop h4-0.9 at h4:8081 (exited)"]);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn in_place_step_stops_only_the_instances_that_it_replaces() {
    let mut setup = fleet_of(3)
        .budget(3, 0, 2)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.steps = vec![step("1", 60, false)];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.expect_no_actions();
}

#[test]
fn rollback_and_first_deploy_ignore_steps() {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.steps = vec![step("1", 300, true)];
    let mut scenario = setup.start_rollout("0.8", Some("0.9"), |start| start.verb = Verb::Rollback);
    scenario.run_actions(&[
        "stage 0.8 on h1",
        "stage 0.8 on h2",
        "stage 0.8 on h3",
        "stage 0.8 on h4",
    ]);
    scenario.run_actions(&["start 0.8 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.8 at h1:8081"]);

    let mut setup = fleet_of(3).budget(2, 1, 0);
    setup.spec.steps = vec![step("1", 300, true)];
    let mut scenario = setup.deploy_without_rollback_target("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h1:8081", "start 0.9 at h2:8081"]);
}

/// A deploy with three replicas, two slots on each host, and a first step of one instance. The host h3
/// fails.
fn with_failed_host(is_claimed: bool) -> Scenario {
    let mut setup = fleet_of(3)
        .slots(&[8081, 8082])
        .max_failed_hosts(1)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.steps = vec![step("1", 0, false), step("100%", 0, false)];
    let mut scenario = setup.deploy("0.9");
    let orders = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    if is_claimed {
        scenario.claim_host("h3");
    }
    scenario.fail(&orders[2], "no space left on device");
    scenario.expect_failed_host();
    scenario.complete(&orders[0]);
    scenario.complete(&orders[1]);
    scenario
}

#[test]
fn step_is_reached_with_an_old_instance_on_an_untrusted_host() {
    let mut scenario = with_failed_host(false);
    // The instance on h3 may end at any time. Until the step is passed, an old one replaces it.
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.expect_no_actions();
    reach_step(&mut scenario);
    pass_step(&mut scenario);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
}

#[test]
fn step_is_reached_although_a_failed_host_cannot_stop_its_instance() {
    let mut scenario = with_failed_host(true);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.expect_no_actions();
    reach_step(&mut scenario);
    pass_step(&mut scenario);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    let orders = scenario.start_actions(&["stop h3-0.8 at h3:8081 (replaced)"]);
    scenario.fail(&orders[0], "its disk is full");
    scenario.expect_no_actions();
    reach_step(&mut scenario);
    pass_step(&mut scenario);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}
