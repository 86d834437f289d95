//! Deploy windows and freezes.

use std::time::Duration;

use super::scenario::{Scenario, fleet_of};
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::spec::windows::{DeployWindows, OpenWindow};
use ship::core::time::Time;

/// A window that closes `seconds` after the start of the scenario. A replacement takes at least
/// `replacement_s`.
fn closing_after(seconds: u64, replacement_s: u64) -> DeployWindows {
    let begin = Time(1_000_000_000);
    let window = OpenWindow {
        from: begin - Duration::from_mins(1),
        until: begin + Duration::from_secs(seconds),
        window: "02:00-05:00".into(),
    };
    let replacement = Duration::from_secs(replacement_s);
    DeployWindows {
        upcoming: vec![window],
        is_limited: true,
        replacement_time_min: replacement,
        fastest_deploy: Duration::ZERO,
    }
}

/// A deploy with three replicas and a spare host.
fn deploy_within(windows: DeployWindows) -> Scenario {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.deploy_windows = windows;
    setup.deploy("0.9")
}

fn stage_all(scenario: &mut Scenario) {
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
}

fn closed_reason(scenario: &Scenario) -> String {
    match scenario.outcome() {
        Outcome::WindowClosed { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rollout_does_not_start_if_it_cannot_finish_in_the_window() {
    // Three replacements, one after another.
    let scenario = deploy_within(closing_after(299, 100));
    assert_eq!(
        closed_reason(&scenario),
        "window 02:00-05:00 closes in 4m59s, but work started now takes at least 5m"
    );
    let mut scenario = deploy_within(closing_after(300, 100));
    stage_all(&mut scenario);
}

#[test]
fn rollout_estimate_uses_the_fastest_deploy_if_longer_than_the_waits() {
    let mut windows = closing_after(300, 1);
    windows.fastest_deploy = Duration::from_secs(301);
    closed_reason(&deploy_within(windows.clone()));
    windows.fastest_deploy = Duration::from_mins(5);
    stage_all(&mut deploy_within(windows));
}

#[test]
fn window_lets_a_started_replacement_finish_and_blocks_the_next() {
    let mut scenario = deploy_within(closing_after(300, 100));
    stage_all(&mut scenario);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.advance(250);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(closed_reason(&scenario).starts_with("window 02:00-05:00 closes in 50s"));
    assert_eq!(scenario.rollout.step.passed, 0);
}

#[test]
fn window_estimate_uses_the_time_of_the_last_replacement() {
    let mut scenario = deploy_within(closing_after(300, 1));
    stage_all(&mut scenario);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.advance(160);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert!(closed_reason(&scenario).ends_with("work started now takes at least 2m40s"));
}

#[test]
fn window_lets_a_started_in_place_replacement_finish() {
    let mut setup = fleet_of(3)
        .budget(3, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.deploy_windows = closing_after(300, 100);
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.advance(250);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["disarm h1:8081"]);
    closed_reason(&scenario);
}

#[test]
fn freeze_lets_a_started_replacement_finish_and_names_its_author() {
    let mut scenario = deploy_within(DeployWindows::default());
    stage_all(&mut scenario);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.record(Event::Frozen {
        freeze: "frozen by anna@laptop until noon".into(),
    });
    scenario.expect_no_actions();
    scenario.pass_probe("h4:8081");
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting: frozen by anna@laptop until noon"
    );
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(closed_reason(&scenario), "frozen by anna@laptop until noon");
}

#[test]
fn rollback_ignores_windows() {
    let mut scenario = deploy_within(closing_after(300, 100));
    stage_all(&mut scenario);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.record(Event::Aborted {
        by: "anna@laptop".into(),
    });
    scenario.expect_failure();
    scenario.advance(400);
    scenario.run_actions(&["stop h4-0.9 at h4:8081 (replaced)"]);
}
