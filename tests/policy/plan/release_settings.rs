//! Settings of a release that roll back with it: its ports and the number of instances.

use ship::core::ids::SlotNumber;
use ship::core::planner::Next;
use ship::core::rollout::event::{Event, FailureResponse, RolloutStart};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::budget::Budget;

use super::scenario::{FleetSetup, fleet_of};

/// Sets the ports of 0.8 (`old`) and of 0.9 (`new`).
fn with_ports(mut setup: FleetSetup, old: &[SlotNumber], new: &[SlotNumber]) -> FleetSetup {
    setup.spec.slots = new.to_vec();
    setup.spec.release_slots = [("0.8".into(), old.to_vec()), ("0.9".into(), new.to_vec())].into();
    setup
}

#[test]
fn rollback_restores_the_ports_of_the_old_release() {
    let setup = with_ports(fleet_of(1).budget(1, 0, 1), &[8531], &[8541]);
    let mut scenario = setup.running("0.8", &["h1:8531"]).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8531 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8541"]);
    scenario.exit_instance("h1:8541", "exit status 1");
    assert_eq!(scenario.expect_failure().1, FailureResponse::RollBack);
    scenario.run_actions(&["disarm h1:8531"]);
    scenario.run_actions(&["stop h1-0.9 at h1:8541 (exited)"]);
    scenario.run_actions(&["start 0.8 at h1:8531"]);
    scenario.pass_probe("h1:8531");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn deploy_to_other_ports_starts_new_instances_beside_the_old_ones() {
    let setup = with_ports(fleet_of(2).budget(2, 1, 0), &[8081], &[9081]);
    let mut scenario = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind_balancers(&["lb1"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    for (host, last) in [("h1", false), ("h2", true)] {
        let (old, new) = (format!("{host}:8081"), format!("{host}:9081"));
        scenario.run_actions(&[&format!("start 0.9 at {new}")]);
        scenario.pass_probe(&new);
        scenario.run_actions(&[&format!("admit {host}-0.9 at {new}")]);
        scenario.run_actions(&[&format!("drain {host}-0.8 at {old}")]);
        scenario.run_actions(&[&format!("stop {host}-0.8 at {old} (replaced)")]);
        assert_eq!(
            matches!(scenario.plan().next, Next::Finish(Outcome::Succeeded)),
            last
        );
    }
}

#[test]
fn slot_is_not_used_while_an_instance_of_another_slot_has_one_of_its_ports() {
    let mut setup = with_ports(fleet_of(1).budget(1, 1, 0), &[8081, 8082], &[9081, 9082]);
    setup.spec.slot_ports = [
        (
            "0.8".into(),
            [(8081, vec![8081, 9081]), (8082, vec![8082, 9082])].into(),
        ),
        (
            "0.9".into(),
            [(9081, vec![9081, 8081]), (9082, vec![9082, 8082])].into(),
        ),
    ]
    .into();
    let mut scenario = setup.running("0.8", &["h1:8081"]).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["start 0.9 at h1:9082"]);
    scenario.pass_probe("h1:9082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn port_of_both_releases_is_free_after_the_old_instance_stopped() {
    let setup = with_ports(fleet_of(1).budget(2, 0, 1), &[8081, 8082], &[8082, 8083]);
    let mut scenario = setup.running("0.8", &["h1:8081"]).deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8083"]);
    scenario.pass_probe("h1:8083");
    scenario.run_actions(&["disarm h1:8081"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn instance_on_a_port_that_its_release_no_longer_has_is_moved() {
    let setup = with_ports(fleet_of(1).budget(1, 1, 0), &[8081], &[9081]);
    let mut scenario = setup.running("0.9", &["h1:8081"]).deploy("0.9");
    scenario.run_actions(&["claim h1"]);
    scenario.run_actions(&["start 0.9 at h1:9081"]);
    scenario.pass_probe("h1:9081");
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn foreign_process_on_an_old_port_does_not_block_the_new_release() {
    let setup = with_ports(fleet_of(1).budget(1, 1, 0), &[8081], &[9081])
        .foreign_process("h1:8081", "pid 7 (nginx)");
    assert!(setup.spec.obstacles(&"0.9".into(), &setup.fleet).is_empty());
    assert_eq!(setup.spec.obstacles(&"0.8".into(), &setup.fleet).len(), 1);
}

#[test]
fn rollback_restores_the_number_of_instances_of_the_old_release() {
    let mut setup = fleet_of(4).slots(&[8081, 8082]).budget(2, 1, 0);
    setup.spec.rollback_budget = Some(Budget {
        replicas: 4,
        surge: 1,
        unavailable: 0,
    });
    let number = |start: &mut RolloutStart| start.rollback_replicas = Some(4);
    let setup = setup.running("0.8", &["h1:8081", "h2:8081", "h3:8081", "h4:8081"]);
    let mut scenario = setup.start_rollout("0.9", Some("0.8"), number);
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 1");
    assert_eq!(scenario.expect_failure().1, FailureResponse::RollBack);
    assert_eq!(scenario.plan().progress.desired, 4);
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (exited)", "start 0.8 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    assert_eq!(scenario.plan().progress.available, 4);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn planner_never_gives_up_the_last_host() {
    let mut scenario = fleet_of(2)
        .budget(2, 1, 0)
        .max_failed_hosts(2)
        .deploy_without_rollback_target("0.9");
    let orders = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.fail(&orders[0], "no space left on device");
    scenario.expect_failed_host();
    scenario.fail(&orders[1], "no space left on device");
    assert!(
        matches!(scenario.expect_failure().1, FailureResponse::Hold { .. }),
        "no instance would be left"
    );
    let mut scenario = fleet_of(1)
        .budget(1, 1, 0)
        .max_failed_hosts(1)
        .deploy_without_rollback_target("0.9");
    scenario.lose_host("h1");
    let failure = ship::core::rollout::failure::Failure {
        kind: ship::core::rollout::failure::FailureKind::Stage,
        host: Some("h1".into()),
        slot: None,
        detail: "no space left on device".into(),
        waited: std::time::Duration::ZERO,
    };
    scenario.record(Event::HostFailed {
        failure,
        log: Vec::new(),
    });
    assert!(
        !matches!(scenario.plan().next, Next::Finish(Outcome::Succeeded)),
        "{:?}",
        scenario.plan()
    );
}
