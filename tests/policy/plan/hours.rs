//! Windows and freezes: what was begun ends, and what could not end in time does not begin.

use std::time::Duration;

use super::scenario::{Story, fleet_of};
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::windows::{DeployWindows, OpenWindow};
use ship::core::time::Time;

/// A window that closes so long after the stories' beginning.
fn closes_after(seconds: u64, turn_s: u64) -> DeployWindows {
    let begin = Time(1_000_000_000);
    let opening = OpenWindow {
        from: begin - Duration::from_mins(1),
        until: begin + Duration::from_secs(seconds),
        window: "02:00-05:00".into(),
    };
    let turn = Duration::from_secs(turn_s);
    DeployWindows {
        openings: vec![opening],
        are_limited: true,
        turn,
        usual: Duration::ZERO,
    }
}

/// Three replicas and a spare host.
fn within(hours: DeployWindows) -> Story {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.hours = hours;
    setup.deploy("0.9")
}

fn stages(it: &mut Story) {
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
}

fn closed(it: &Story) -> String {
    match it.ending() {
        Outcome::WindowClosed { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_end_within_the_window_does_not_begin() {
    // Three replacements, one after the other.
    let it = within(closes_after(299, 100));
    assert_eq!(
        closed(&it),
        "window 02:00-05:00 closes in 4m59s, but work started now takes at least 5m"
    );
    let mut it = within(closes_after(300, 100));
    stages(&mut it);
}

#[test]
fn the_last_deploys_time_counts_where_it_is_longer_than_the_waits() {
    let mut hours = closes_after(300, 1);
    hours.usual = Duration::from_secs(301);
    closed(&within(hours.clone()));
    hours.usual = Duration::from_mins(5);
    stages(&mut within(hours));
}

#[test]
fn a_replacement_that_was_begun_is_brought_to_its_end_and_the_next_does_not_begin() {
    let mut it = within(closes_after(300, 100));
    stages(&mut it);
    it.does(&["start 0.9 at h4:8081"]);
    it.later(250);
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(closed(&it).starts_with("window 02:00-05:00 closes in 50s"));
    assert_eq!(it.rollout.step.passed, 0);
}

#[test]
fn how_long_the_first_one_took_tells_what_the_next_one_takes() {
    let mut it = within(closes_after(300, 1));
    stages(&mut it);
    it.does(&["start 0.9 at h4:8081"]);
    it.later(160);
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(closed(&it).ends_with("work started now takes at least 2m40s"));
}

#[test]
fn in_place_too_what_was_begun_ends() {
    let mut setup = fleet_of(3)
        .budget(3, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.hours = closes_after(300, 100);
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.later(250);
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["disarm h1:8081"]);
    closed(&it);
}

#[test]
fn a_freeze_lets_end_what_was_begun_and_says_whose_it_is() {
    let mut it = within(DeployWindows::default());
    stages(&mut it);
    it.does(&["start 0.9 at h4:8081"]);
    it.record(Event::Frozen {
        freeze: "frozen by anna@laptop until noon".into(),
    });
    it.does_nothing();
    it.answers("h4:8081");
    assert_eq!(it.hold("h2"), "waits: frozen by anna@laptop until noon");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(closed(&it), "frozen by anna@laptop until noon");
}

#[test]
fn the_way_back_knows_no_hours() {
    let mut it = within(closes_after(300, 100));
    stages(&mut it);
    it.does(&["start 0.9 at h4:8081"]);
    it.record(Event::Aborted {
        by: "anna@laptop".into(),
    });
    it.turns();
    it.later(400);
    it.does(&["stop h4-0.9 at h4:8081 (replaced)"]);
}
