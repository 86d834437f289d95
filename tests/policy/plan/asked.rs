//! What people ask for besides a deploy: pause, abort, restart, scale.

use std::collections::BTreeMap;

use ship::core::rollout::event::{Event, FailureResponse, RolloutStart, Scaling};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;

use super::scenario::{Story, fleet_of};

const BY: &str = "anna@laptop";

fn pause(it: &mut Story) {
    it.record(Event::Paused { by: BY.into() });
}

fn abort(it: &mut Story) {
    it.record(Event::Aborted { by: BY.into() });
}

#[test]
fn a_pause_starts_nothing_new_and_ends_when_what_is_in_flight_has() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    let start = it.gives(&["start 0.9 at h3:8081"]).remove(0);
    pause(&mut it);
    it.later(1);
    it.does_nothing();
    it.is_done(&start);
    assert_eq!(
        it.ending(),
        Outcome::Paused {
            by: BY.into(),
            since: it.now - std::time::Duration::from_secs(1)
        }
    );
}

#[test]
fn an_abort_goes_back_whatever_on_failure_says() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .holds_on_failure()
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    abort(&mut it);
    assert_eq!(
        it.turns(),
        ("aborted by anna@laptop".into(), FailureResponse::RollBack)
    );
    it.does(&["stop h3-0.9 at h3:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn an_abort_goes_back_though_all_is_in_place_by_now() {
    let mut it = fleet_of(2)
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    abort(&mut it);
    assert_eq!(
        it.turns(),
        ("aborted by anna@laptop".into(), FailureResponse::RollBack)
    );
}

#[test]
fn an_abort_with_nothing_to_go_back_to_holds() {
    let mut it = fleet_of(2).budget(1, 1, 0).deploy_without_fallback("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    abort(&mut it);
    let (_, then) = it.turns();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "no other revision has been proven healthy".into()
        }
    );
}

#[test]
fn a_restart_replaces_every_instance_by_one_of_the_same_release() {
    let restart = |start: &mut RolloutStart| start.verb = Verb::Restart;
    let mut it = fleet_of(2)
        .ports(&[8081, 8082])
        .running("0.9", &["h1:8081", "h2:8081"])
        .begin("0.9", None, restart);
    it.does(&["claim h1", "claim h2"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.does(&["stop h1-0.9 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8082"]);
    it.answers("h2:8082");
    it.does(&["stop h2-0.9 at h2:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_restart_that_fails_has_nothing_to_go_back_to() {
    let restart = |start: &mut RolloutStart| start.verb = Verb::Restart;
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.9", &["h1:8081"])
        .begin("0.9", None, restart);
    it.does(&["claim h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.exits("h2:8081", "exit status 1");
    let (_, then) = it.turns();
    assert!(
        matches!(then, FailureResponse::Hold { why } if why.contains("nothing to roll back to"))
    );
}

#[test]
fn what_was_proven_before_is_not_gone_back_from() {
    let proven = |start: &mut RolloutStart| start.is_proven = true;
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .begin("0.9", Some("0.8"), proven);
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.exits("h1:8081", "exit status 1");
    let (_, then) = it.turns();
    assert!(matches!(then, FailureResponse::Hold { why } if why.contains("proven healthy before")));
}

/// Scales a fleet that stands between 0.8 and 0.9, paused.
fn scaled(setup: super::scenario::ReporterSetup, shares: [(&str, u32); 2]) -> Story {
    let then = Outcome::Paused {
        by: BY.into(),
        since: ship::core::time::Time(5),
    };
    let shares: BTreeMap<_, _> = shares
        .into_iter()
        .map(|(release, share)| (release.into(), share))
        .collect();
    setup.begin("0.9", Some("0.8"), |start| {
        start.scaling = Some(Scaling {
            shares,
            then: Box::new(then),
        });
    })
}

#[test]
fn scaling_up_in_a_pause_keeps_each_releases_part_and_stays_paused() {
    let setup = fleet_of(3).ports(&[8081, 8082]).budget(6, 1, 0);
    let setup = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .running("0.9", &["h3:8081"]);
    let mut it = scaled(setup, [("0.8", 4), ("0.9", 2)]);
    it.does(&["claim h1", "claim h2", "claim h3"]);
    it.does(&[
        "start 0.8 at h1:8082",
        "start 0.8 at h2:8082",
        "start 0.9 at h3:8082",
    ]);
    for slot in ["h1:8082", "h2:8082", "h3:8082"] {
        it.answers(slot);
    }
    assert!(matches!(it.ending(), Outcome::Paused { .. }));
}

#[test]
fn scaling_down_in_a_pause_keeps_the_floor_of_the_new_number() {
    let setup = fleet_of(3).ports(&[8081, 8082]).budget(2, 1, 0);
    let setup = setup
        .running("0.8", &["h1:8081", "h2:8081"])
        .running("0.9", &["h3:8081", "h3:8082"]);
    let mut it = scaled(setup, [("0.8", 1), ("0.9", 1)]);
    it.does(&["claim h1", "claim h2", "claim h3"]);
    it.does(&[
        "stop h2-0.8 at h2:8081 (surplus)",
        "stop h3-0.9 at h3:8082 (surplus)",
    ]);
    assert!(matches!(it.ending(), Outcome::Paused { .. }));
}

#[test]
fn a_way_back_is_paused_too() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.exits("h3:8081", "exit status 1");
    it.turns();
    pause(&mut it);
    it.does_nothing();
    assert!(matches!(it.ending(), Outcome::Paused { .. }));
}
