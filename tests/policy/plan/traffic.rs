//! Balancers: an instance receives requests only when it is ready, and stops only after a drain.

use std::time::Duration;

use super::scenario::{Scenario, fleet_of, slot_of};
use ship::core::fleet::traffic::SlotAdmission;
use ship::core::ids::HostId;
use ship::core::planner::Next;
use ship::core::rollout::event::FailureResponse;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::step::Step;

fn behind_one_balancer() -> Scenario {
    fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"])
        .deploy("0.9")
}

/// A deploy through balancers, until the first new instance is ready.
fn with_first_ready() -> Scenario {
    let mut scenario = behind_one_balancer();
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario
}

#[test]
fn planner_admits_ready_instances_and_drains_before_stops() {
    let mut scenario = with_first_ready();
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["admit h1-0.9 at h1:8081"]);
    scenario.run_actions(&["drain h2-0.8 at h2:8081"]);
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn ready_instance_counts_only_once_admitted() {
    let mut scenario = with_first_ready();
    let admits = scenario.start_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.expect_no_actions();
    scenario.complete(&admits[0]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
}

#[test]
fn drain_in_progress_counts_against_capacity() {
    let mut scenario = with_first_ready();
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    let drains = scenario.start_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.complete(&drains[0]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn slot_reopened_by_a_reload_is_drained_again_before_the_stop() {
    let mut scenario = with_first_ready();
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.switch(&slot_of("h1:8081"), SlotAdmission::Open);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn slot_opened_early_by_a_reload_is_drained() {
    let mut scenario = behind_one_balancer();
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.switch(&slot_of("h3:8081"), SlotAdmission::Open);
    scenario.run_actions(&["drain h3-0.9 at h3:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
}

#[test]
fn slot_closed_by_a_reload_is_admitted_again() {
    let mut scenario = with_first_ready();
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.switch(&slot_of("h3:8081"), SlotAdmission::Closed);
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
}

#[test]
fn planner_waits_for_an_unreachable_balancer() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1", "lb2"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.mark_balancer_unreachable("lb2");
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h1"),
        "waiting for balancer lb2: no route to host"
    );
    scenario.advance(600);
    let Next::Fail(failure, FailureResponse::Hold { why }) = scenario.plan().next else {
        panic!("{:?}", scenario.plan().next)
    };
    assert!(
        failure.to_string().contains("lb2: no route to host"),
        "{failure}"
    );
    assert!(why.contains("would block the rollback too"), "{why}");
}

#[test]
fn rollback_admits_a_drained_old_instance_again() {
    let mut scenario = with_first_ready();
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.exit_instance("h3:8081", "exit status 1");
    scenario.expect_failure();
    scenario.run_actions(&["admit h1-0.8 at h1:8081", "drain h3-0.9 at h3:8081"]);
    scenario.run_actions(&["stop h3-0.9 at h3:8081 (exited)"]);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn public_port_moves_to_the_new_instance_in_one_action() {
    let mut scenario = fleet_of(2)
        .slots(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"]);
    scenario = scenario.behind_public_ports();
    let mut scenario = scenario.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["admit h1-0.9 at h1:8082"]);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["admit h2-0.9 at h2:8082"]);
    scenario.run_actions(&["drain h2-0.8 at h2:8081"]);
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

/// A deploy whose first new instance is admitted with 25 % of the weight. The balancer then reports
/// `percent`.
fn with_weight(percent: u32) -> Scenario {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"]);
    let step = |instances: &str, weight_percent| Step {
        instances: instances.parse().expect("an amount"),
        soak: Duration::from_mins(1),
        pause: false,
        weight_percent,
    };
    setup.spec.steps = vec![step("1", Some(20)), step("100%", None)];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["admit h3-0.9 at h3:8081 with 25 % of the weight"]);
    report_weight(&mut scenario, percent);
    scenario
}

fn report_weight(scenario: &mut Scenario, percent: u32) {
    let seen = scenario
        .fleet
        .balancers
        .get_mut(&HostId::from("lb1"))
        .expect("known");
    seen.view
        .servers
        .get_mut(&slot_of("h3:8081"))
        .expect("known")
        .weight_percent = Some(percent);
}

#[test]
fn step_sets_its_weight_again_after_a_reload() {
    let mut scenario = with_weight(25);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    report_weight(&mut scenario, 100);
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "admit h3-0.9 at h3:8081 with 25 % of the weight",
    ]);
}

#[test]
fn rounded_weight_of_a_balancer_is_accepted() {
    let mut scenario = with_weight(20);
    scenario.run_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.expect_no_actions();
    assert!(
        matches!(scenario.plan().next, Next::StepReached(..)),
        "{:?}",
        scenario.plan().next
    );
}

#[test]
fn instance_on_a_failed_host_is_drained() {
    let setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .max_failed_hosts(1);
    let mut scenario = setup.behind_balancers(&["lb1"]).deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["admit h4-0.9 at h4:8081"]);
    scenario.lose_host("h2");
    scenario.advance(600);
    scenario.expect_failed_host();
    scenario.run_actions(&["drain h2-0.8 at h2:8081"]);
}

#[test]
fn drain_has_its_own_deadline_and_counts_as_progress() {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"]);
    setup
        .spec
        .traffic
        .as_mut()
        .expect("a balancer")
        .drain_timeout = Duration::from_hours(1);
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["admit h3-0.9 at h3:8081"]);
    let drains = scenario.start_actions(&["drain h1-0.8 at h1:8081"]);
    scenario.advance(3600);
    scenario.expect_no_actions();
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan().next
    );
    scenario.complete(&drains[0]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan().next
    );
}

#[test]
fn surplus_instances_are_drained_before_the_stop() {
    let setup = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .behind_balancers(&["lb1"]);
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    scenario.run_actions(&["drain h2-0.9 at h2:8081", "drain h3-0.9 at h3:8081"]);
    scenario.run_actions(&[
        "stop h2-0.9 at h2:8081 (surplus)",
        "stop h3-0.9 at h3:8081 (surplus)",
    ]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn rebalancing_admits_the_new_instance_before_draining_another() {
    let setup = fleet_of(2)
        .slots(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h1:8082"]);
    let mut scenario = setup.behind_balancers(&["lb1"]).deploy("0.9");
    scenario.run_actions(&["claim h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["admit h2-0.9 at h2:8081"]);
    let drained = scenario.planned_actions();
    assert!(
        drained.len() == 1 && drained[0].starts_with("drain h1-0.9 at h1:"),
        "{drained:?}"
    );
}
