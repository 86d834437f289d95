//! Behind balancers: an instance gets requests only when it is ready, and stops only when it has
//! none.

use std::time::Duration;

use super::scenario::{Story, fleet_of, slot_of};
use ship::core::fleet::traffic::SlotAdmission;
use ship::core::ids::HostId;
use ship::core::planner::Next;
use ship::core::rollout::event::FailureResponse;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::step::Step;

fn behind_one() -> Story {
    fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"])
        .deploy("0.9")
}

/// Up to the moment at which the first new instance is ready.
fn first_is_ready() -> Story {
    let mut it = behind_one();
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it
}

#[test]
fn it_admits_what_is_ready_and_drains_what_it_stops() {
    let mut it = first_is_ready();
    it.does(&["admit h3-0.9 at h3:8081"]);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.does_nothing();
    it.answers("h1:8081");
    it.does(&["admit h1-0.9 at h1:8081"]);
    it.does(&["drain h2-0.8 at h2:8081"]);
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn ready_is_not_enough_to_count() {
    let mut it = first_is_ready();
    let admits = it.gives(&["admit h3-0.9 at h3:8081"]);
    it.does_nothing();
    it.is_done(&admits[0]);
    it.does(&["drain h1-0.8 at h1:8081"]);
}

#[test]
fn a_drain_under_way_is_capacity_spent() {
    let mut it = first_is_ready();
    it.does(&["admit h3-0.9 at h3:8081"]);
    let drains = it.gives(&["drain h1-0.8 at h1:8081"]);
    it.does_nothing();
    it.is_done(&drains[0]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn what_a_reload_opens_again_is_drained_again_before_it_stops() {
    let mut it = first_is_ready();
    it.does(&["admit h3-0.9 at h3:8081"]);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.is_switched(&slot_of("h1:8081"), SlotAdmission::Open);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn what_a_reload_opens_too_early_is_closed() {
    let mut it = behind_one();
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.is_switched(&slot_of("h3:8081"), SlotAdmission::Open);
    it.does(&["drain h3-0.9 at h3:8081"]);
    it.does_nothing();
    it.answers("h3:8081");
    it.does(&["admit h3-0.9 at h3:8081"]);
}

#[test]
fn what_a_reload_closes_is_admitted_again() {
    let mut it = first_is_ready();
    it.does(&["admit h3-0.9 at h3:8081"]);
    it.is_switched(&slot_of("h3:8081"), SlotAdmission::Closed);
    it.does(&["admit h3-0.9 at h3:8081"]);
}

#[test]
fn while_a_balancer_is_out_of_reach_nothing_starts_and_nothing_stops() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1", "lb2"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.loses_balancer("lb2");
    it.does_nothing();
    assert_eq!(it.hold("h1"), "waiting for balancer lb2: no route to host");
    it.later(600);
    let Next::Fail(failure, FailureResponse::Hold { why }) = it.plan().next else {
        panic!("{:?}", it.plan().next)
    };
    assert!(
        failure.to_string().contains("lb2: no route to host"),
        "{failure}"
    );
    assert!(why.contains("no way back"), "{why}");
}

#[test]
fn on_the_way_back_the_old_that_was_drained_and_still_runs_is_admitted_again() {
    let mut it = first_is_ready();
    it.does(&["admit h3-0.9 at h3:8081"]);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.exits("h3:8081", "exit status 1");
    it.turns();
    it.does(&["admit h1-0.8 at h1:8081", "drain h3-0.9 at h3:8081"]);
    it.does(&["stop h3-0.9 at h3:8081 (dead)"]);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn a_hosts_own_port_goes_over_to_the_new_instance_in_one_step() {
    let mut it = fleet_of(2)
        .ports(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"]);
    it = it.behind_own_ports();
    let mut it = it.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.does(&["admit h1-0.9 at h1:8082"]);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8082"]);
    it.answers("h2:8082");
    it.does(&["admit h2-0.9 at h2:8082"]);
    it.does(&["drain h2-0.8 at h2:8081"]);
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

/// The first new instance is admitted with a fifth of the weight by a balancer that counts in
/// weights.
fn with_a_share(coarse: u32) -> Story {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"]);
    let step = |instances: &str, weight_percent| Step {
        instances: instances.parse().expect("an amount"),
        soak: Duration::from_mins(1),
        pause: false,
        weight_percent,
    };
    setup.spec.steps = vec![step("1", Some(20)), step("100%", None)];
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.does(&["admit h3-0.9 at h3:8081 with 25 % of the weight"]);
    weighs(&mut it, coarse);
    it
}

fn weighs(it: &mut Story, percent: u32) {
    let seen = it
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
fn a_step_gives_its_share_and_a_reload_that_forgets_it_is_told_again() {
    let mut it = with_a_share(25);
    it.does(&["drain h1-0.8 at h1:8081"]);
    weighs(&mut it, 100);
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "admit h3-0.9 at h3:8081 with 25 % of the weight",
    ]);
}

#[test]
fn a_balancer_that_comes_as_near_as_it_can_is_not_told_without_end() {
    let mut it = with_a_share(20);
    it.does(&["drain h1-0.8 at h1:8081"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does_nothing();
    assert!(
        matches!(it.plan().next, Next::StepReached(..)),
        "{:?}",
        it.plan().next
    );
}

#[test]
fn what_is_left_behind_gets_nothing_when_it_comes_back() {
    let setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .max_failed_hosts(1);
    let mut it = setup.behind(&["lb1"]).deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.does(&["admit h4-0.9 at h4:8081"]);
    it.loses("h2");
    it.later(600);
    it.leaves_behind();
    it.does(&["drain h2-0.8 at h2:8081"]);
}

#[test]
fn a_drain_has_its_own_deadline_and_its_end_is_progress() {
    let mut setup = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .behind(&["lb1"]);
    setup
        .spec
        .traffic
        .as_mut()
        .expect("a balancer")
        .drain_timeout = Duration::from_hours(1);
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.does(&["admit h3-0.9 at h3:8081"]);
    let drains = it.gives(&["drain h1-0.8 at h1:8081"]);
    it.later(3600);
    it.does_nothing();
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "{:?}",
        it.plan().next
    );
    it.is_done(&drains[0]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(
        matches!(it.plan().next, Next::Wake(_)),
        "{:?}",
        it.plan().next
    );
}

#[test]
fn what_is_too_much_is_drained_and_stays_so_until_it_stops() {
    let setup = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .behind(&["lb1"]);
    let mut it = setup.deploy("0.9");
    it.does(&["claim h1", "claim h2", "claim h3"]);
    it.does(&["drain h2-0.9 at h2:8081", "drain h3-0.9 at h3:8081"]);
    it.does(&[
        "stop h2-0.9 at h2:8081 (surplus)",
        "stop h3-0.9 at h3:8081 (surplus)",
    ]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn where_the_spread_is_evened_out_the_new_one_is_let_in_and_another_goes() {
    let setup = fleet_of(2)
        .ports(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h1:8082"]);
    let mut it = setup.behind(&["lb1"]).deploy("0.9");
    it.does(&["claim h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["admit h2-0.9 at h2:8081"]);
    let drained = it.orders();
    assert!(
        drained.len() == 1 && drained[0].starts_with("drain h1-0.9 at h1:"),
        "{drained:?}"
    );
}
