//! What belongs to a release goes back with it: its ports, and the number of instances.

use ship::core::ids::Port;
use ship::core::planner::Next;
use ship::core::rollout::event::{Event, FailureResponse, RolloutStart};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::budget::Budget;

use super::scenario::{ReporterSetup, fleet_of};

/// 0.8 has these ports, and 0.9 those.
fn moved(mut setup: ReporterSetup, old: &[Port], new: &[Port]) -> ReporterSetup {
    setup.spec.ports = new.to_vec();
    setup.spec.release_ports = [("0.8".into(), old.to_vec()), ("0.9".into(), new.to_vec())].into();
    setup
}

#[test]
fn rollback_restores_the_ports_of_the_old_release() {
    let setup = moved(fleet_of(1).budget(1, 0, 1), &[8531], &[8541]);
    let mut it = setup.running("0.8", &["h1:8531"]).deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    it.does(&["stop h1-0.8 at h1:8531 (replaced)"]);
    it.does(&["start 0.9 at h1:8541"]);
    it.exits("h1:8541", "exit status 1");
    assert_eq!(it.turns().1, FailureResponse::RollBack);
    it.does(&["disarm h1:8531"]);
    it.does(&["stop h1-0.9 at h1:8541 (dead)"]);
    it.does(&["start 0.8 at h1:8531"]);
    it.answers("h1:8531");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn deploy_to_other_ports_starts_beside_the_old_instances_and_drains_their_slots() {
    let setup = moved(fleet_of(2).budget(2, 1, 0), &[8081], &[9081]);
    let mut it = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    for (host, last) in [("h1", false), ("h2", true)] {
        let (old, new) = (format!("{host}:8081"), format!("{host}:9081"));
        it.does(&[&format!("start 0.9 at {new}")]);
        it.answers(&new);
        it.does(&[&format!("admit {host}-0.9 at {new}")]);
        it.does(&[&format!("drain {host}-0.8 at {old}")]);
        it.does(&[&format!("stop {host}-0.8 at {old} (replaced)")]);
        assert_eq!(
            matches!(it.plan().next, Next::Finish(Outcome::Succeeded)),
            last
        );
    }
}

#[test]
fn port_that_both_releases_have_is_free_for_the_new_one_after_the_old_instance_is_gone() {
    let setup = moved(fleet_of(1).budget(2, 0, 1), &[8081, 8082], &[8082, 8083]);
    let mut it = setup.running("0.8", &["h1:8081"]).deploy("0.9");
    it.does(&["stage 0.9 on h1"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8083"]);
    it.answers("h1:8083");
    it.does(&["disarm h1:8081"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn instance_on_a_port_that_its_release_no_longer_has_is_moved() {
    let setup = moved(fleet_of(1).budget(1, 1, 0), &[8081], &[9081]);
    let mut it = setup.running("0.9", &["h1:8081"]).deploy("0.9");
    it.does(&["claim h1"]);
    it.does(&["start 0.9 at h1:9081"]);
    it.answers("h1:9081");
    it.does(&["stop h1-0.9 at h1:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn stranger_on_a_port_of_the_old_release_is_no_obstacle_to_the_new_one() {
    let setup =
        moved(fleet_of(1).budget(1, 1, 0), &[8081], &[9081]).stranger("h1:8081", "pid 7 (nginx)");
    assert!(setup.spec.obstacles(&"0.9".into(), &setup.fleet).is_empty());
    assert_eq!(setup.spec.obstacles(&"0.8".into(), &setup.fleet).len(), 1);
}

#[test]
fn rollback_restores_the_number_of_instances_of_the_old_release() {
    let mut setup = fleet_of(4).ports(&[8081, 8082]).budget(2, 1, 0);
    setup.spec.budget_back = Some(Budget {
        replicas: 4,
        surge: 1,
        unavailable: 0,
    });
    let number = |start: &mut RolloutStart| start.fallback_replicas = Some(4);
    let setup = setup.running("0.8", &["h1:8081", "h2:8081", "h3:8081", "h4:8081"]);
    let mut it = setup.begin("0.9", Some("0.8"), number);
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    it.does(&["start 0.9 at h1:8081"]);
    it.exits("h1:8081", "exit status 1");
    assert_eq!(it.turns().1, FailureResponse::RollBack);
    assert_eq!(it.plan().progress.desired, 4);
    it.does(&["stop h1-0.9 at h1:8081 (dead)", "start 0.8 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["start 0.8 at h1:8081"]);
    it.answers("h1:8081");
    assert_eq!(it.plan().progress.available, 4);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn last_host_is_not_left_behind() {
    let mut it = fleet_of(2)
        .budget(2, 1, 0)
        .max_failed_hosts(2)
        .deploy_without_fallback("0.9");
    let orders = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.fails(&orders[0], "no space left on device");
    it.leaves_behind();
    it.fails(&orders[1], "no space left on device");
    assert!(
        matches!(it.turns().1, FailureResponse::Hold { .. }),
        "nobody would serve"
    );
    let mut it = fleet_of(1)
        .budget(1, 1, 0)
        .max_failed_hosts(1)
        .deploy_without_fallback("0.9");
    it.loses("h1");
    let failure = ship::core::rollout::failure::Failure {
        kind: ship::core::rollout::failure::FailureKind::Stage,
        host: Some("h1".into()),
        slot: None,
        detail: "no space left on device".into(),
        waited: std::time::Duration::ZERO,
    };
    it.record(Event::HostFailed {
        failure,
        log: Vec::new(),
    });
    assert!(
        !matches!(it.plan().next, Next::Finish(Outcome::Succeeded)),
        "{:?}",
        it.plan()
    );
}
