//! Requests that were lost while a rollout was carried out.

use ship::core::availability::{Answer, Tally};
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::time::Time;

use super::scenario::{ReporterSetup, Story, fleet_of};

/// So many requests fail of which one may, after one that did not.
fn loses(it: &mut Story, failures: u64) {
    let mut tally = Tally::new(1);
    tally.take(
        Time(0),
        Answer::Served {
            took: std::time::Duration::ZERO,
            version: None,
        },
    );
    (1..=failures).for_each(|at| {
        tally.take(
            Time(at * 1000),
            Answer::Lost {
                why: "connection reset".into(),
            },
        );
    });
    it.record(Event::AvailabilityReported(tally.report()));
}

fn setup() -> ReporterSetup {
    fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
}

/// A deploy of 0.9 whose first instance is being started.
fn under_way() -> Story {
    let mut it = setup().deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it
}

const WHY: &str =
    "too many requests failed: 2 of 3 requests failed (limit 1); first failure: connection reset";

#[test]
fn as_many_as_may_fail_change_nothing() {
    let mut it = under_way();
    loses(&mut it, 1);
    it.answers("h3:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
}

#[test]
fn one_more_turns_the_rollout_back_and_on_the_way_back_they_are_only_counted() {
    let mut it = under_way();
    loses(&mut it, 2);
    assert_eq!(it.turns(), (WHY.into(), FailureResponse::RollBack));
    loses(&mut it, 9);
    it.does(&["stop h3-0.9 at h3:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn it_is_not_too_late_when_all_is_in_place() {
    let mut it = setup()
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["claim h1", "claim h2", "claim h3"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
    loses(&mut it, 2);
    assert_eq!(it.turns(), (WHY.into(), FailureResponse::RollBack));
}

#[test]
fn what_explains_it_is_told_in_its_place() {
    let mut it = under_way();
    loses(&mut it, 2);
    it.exits("h3:8081", "exit status 1");
    let (why, then) = it.turns();
    assert_eq!(then, FailureResponse::RollBack);
    assert!(
        why.starts_with("h3:8081: the new instance exited unexpectedly"),
        "{why}"
    );
}

#[test]
fn a_rollback_goes_on_and_only_counts() {
    let mut it = setup().begin("0.9", None, |start| start.verb = Verb::Rollback);
    loses(&mut it, 2);
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
}

#[test]
fn a_restart_is_held() {
    let mut it = setup().begin("0.8", None, |start| start.verb = Verb::Restart);
    loses(&mut it, 2);
    let (why, then) = it.turns();
    assert_eq!(why, WHY);
    assert!(matches!(then, FailureResponse::Hold { .. }), "{then:?}");
}
