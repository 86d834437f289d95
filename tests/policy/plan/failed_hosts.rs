//! Hosts that may be left behind (`max_failed_hosts`), and hosts that come back.

use ship::core::ids::Epoch;
use ship::core::rollout::event::FailureResponse;
use ship::core::rollout::failure::Outcome;

use super::scenario::{ReporterSetup, fleet_of};

/// Three hosts with room for two each, one old instance on each.
fn three() -> ReporterSetup {
    fleet_of(3)
        .ports(&[8081, 8082])
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
}

const STAGED: [&str; 3] = ["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"];

#[test]
fn a_lost_host_is_left_behind_at_the_deadline_and_the_rest_carries_the_replicas() {
    let mut it = three().max_failed_hosts(1).deploy("0.9");
    it.does(&STAGED);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.loses("h3");
    it.does_nothing();
    it.later(601);
    assert_eq!(
        it.leaves_behind(),
        "h3: unreachable for 10m1s: timed out after 10s"
    );
    assert_eq!(
        it.hold("h3"),
        "failed: h3: unreachable for 10m1s: timed out after 10s"
    );
    // What is on it is written off: there is room again.
    it.does(&["start 0.9 at h2:8082"]);
    it.answers("h2:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn without_a_budget_a_lost_host_fails_the_rollout() {
    let mut it = three().deploy("0.9");
    it.does(&STAGED);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.loses("h3");
    it.later(601);
    let (why, _) = it.turns();
    assert!(why.starts_with("h3: out of reach"), "{why}");
}

#[test]
fn one_more_than_may_be_left_behind_fails_the_rollout() {
    let mut it = three().max_failed_hosts(1).deploy("0.9");
    let orders = it.gives(&STAGED);
    it.is_done(&orders[0]);
    it.fails(&orders[1], "no space left on device");
    assert_eq!(
        it.leaves_behind(),
        "h2: cannot stage the release: no space left on device"
    );
    it.fails(&orders[2], "no space left on device");
    let (why, then) = it.turns();
    assert_eq!(
        (why.as_str(), then),
        (
            "h3: cannot stage the release: no space left on device",
            FailureResponse::RollBack
        )
    );
}

#[test]
fn what_runs_on_a_host_left_behind_is_replaced_elsewhere_under_the_same_rule() {
    let mut it = three().max_failed_hosts(1).deploy("0.9");
    let orders = it.gives(&STAGED);
    it.claims("h3");
    it.fails(&orders[2], "no space left on device");
    it.leaves_behind();
    it.is_done(&orders[0]);
    it.is_done(&orders[1]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8082"]);
    it.answers("h2:8082");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["stop h3-0.8 at h3:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn what_runs_on_a_host_that_could_not_even_be_claimed_is_not_counted_on() {
    let mut it = three().max_failed_hosts(1).deploy("0.9");
    let orders = it.gives(&STAGED);
    it.fails(&orders[2], "the epoch could not be stored");
    it.leaves_behind();
    it.is_done(&orders[0]);
    it.is_done(&orders[1]);
    // A late order of an earlier controller may still stop it.
    it.does(&["start 0.9 at h1:8082", "start 0.9 at h2:8082"]);
    it.answers("h1:8082");
    it.does_nothing();
    it.answers("h2:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn where_the_rest_has_no_room_the_old_instance_stays() {
    let setup = fleet_of(2)
        .budget(2, 0, 1)
        .max_failed_hosts(1)
        .running("0.8", &["h1:8081", "h2:8081"]);
    let mut it = setup.deploy("0.9");
    let orders = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.claims("h2");
    it.fails(&orders[1], "no space left on device");
    it.leaves_behind();
    it.is_done(&orders[0]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["disarm h1:8081"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_lost_host_that_comes_back_is_claimed_and_put_right() {
    let mut it = three().max_failed_hosts(1).deploy("0.9");
    it.loses("h3");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does_nothing();
    it.later(601);
    it.leaves_behind();
    it.does(&["start 0.9 at h1:8082", "start 0.9 at h2:8082"]);
    it.finds("h3", Epoch(6));
    // Nothing is begun elsewhere before it refuses the late orders of an earlier controller.
    it.does(&["stage 0.9 on h3"]);
    it.answers("h1:8082");
    it.answers("h2:8082");
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    it.does(&["start 0.9 at h3:8082"]);
    it.answers("h3:8082");
    it.does(&["stop h3-0.8 at h3:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn the_spread_is_evened_out_when_a_host_can_carry_its_part_again() {
    let running = ["h1:8081", "h1:8082", "h2:8081"];
    let mut it = fleet_of(3)
        .ports(&[8081, 8082])
        .running("0.9", &running)
        .deploy("0.9");
    it.does(&["claim h1", "claim h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.does_nothing();
    it.answers("h3:8081");
    it.does(&["stop h1-0.9 at h1:8082 (surplus)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}
