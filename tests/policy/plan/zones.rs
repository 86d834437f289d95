//! Zones: the instances spread over them, and are replaced in one of them at a time.

use ship::core::planner::preview::{ZoneLoss, preview};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::zones::Zones;

use super::scenario::{FleetSetup, Scenario, fleet_of};

/// Hosts in these zones: the first is that of `h1`.
fn in_zones(zones: &[&str]) -> FleetSetup {
    let hosts = u32::try_from(zones.len()).expect("a small fleet");
    let mut setup = fleet_of(hosts);
    let zones = zones.iter().map(|zone| (*zone).to_owned());
    setup.spec.zones = Zones::new(setup.spec.hosts.iter().cloned().zip(zones));
    setup
}

/// Four hosts in two zones that run 0.8, after the files of 0.9 are staged.
fn staged(surge: u32, unavailable: u32) -> Scenario {
    let mut scenario = in_zones(&["a", "b", "a", "b"])
        .slots(&[8081, 8082])
        .budget(4, surge, unavailable)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081", "h4:8081"])
        .deploy("0.9");
    let hosts = ["h1", "h2", "h3", "h4"];
    let stages = hosts.map(|host| format!("stage 0.9 on {host}"));
    scenario.run_actions(&stages.each_ref().map(String::as_str));
    scenario
}

#[test]
fn instances_are_replaced_in_one_zone_at_a_time() {
    let mut scenario = staged(0, 4);
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h3-0.8 at h3:8081 (replaced)",
    ]);
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting for zone a: instances are replaced in one zone at a time"
    );
    scenario.run_actions(&["start 0.9 at h1:8081", "start 0.9 at h3:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["disarm h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&[
        "stop h2-0.8 at h2:8081 (replaced)",
        "disarm h3:8081",
        "stop h4-0.8 at h4:8081 (replaced)",
    ]);
    scenario.run_actions(&["start 0.9 at h2:8081", "start 0.9 at h4:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["disarm h2:8081", "disarm h4:8081"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn surge_starts_in_the_zone_that_is_replaced() {
    let mut scenario = staged(3, 0);
    scenario.run_actions(&["start 0.9 at h1:8082", "start 0.9 at h3:8082"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8082");
    scenario.pass_probe("h3:8082");
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h3-0.8 at h3:8081 (replaced)",
    ]);
    scenario.run_actions(&["start 0.9 at h2:8082", "start 0.9 at h4:8082"]);
}

#[test]
fn zone_that_has_lost_a_host_keeps_the_others_from_being_disturbed() {
    let mut scenario = staged(0, 4);
    scenario.lose_host("h4");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["disarm h2:8081"]);
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h1"),
        "waiting for zone b: instances are replaced in one zone at a time"
    );
    scenario.recover_host("h4", ship::core::ids::Epoch(7));
    scenario.run_actions(&["stop h4-0.8 at h4:8081 (replaced)"]);
}

#[test]
fn instances_spread_over_the_zones_first() {
    let mut scenario = in_zones(&["a", "b", "b", "b"])
        .slots(&[8081, 8082])
        .budget(4, 1, 0)
        .deploy_without_rollback_target("0.9");
    let hosts = ["h1", "h2", "h3", "h4"];
    let stages = hosts.map(|host| format!("stage 0.9 on {host}"));
    scenario.run_actions(&stages.each_ref().map(String::as_str));
    scenario.run_actions(&[
        "start 0.9 at h1:8081",
        "start 0.9 at h2:8081",
        "start 0.9 at h3:8081",
    ]);
    for slot in ["h1:8081", "h2:8081", "h3:8081"] {
        scenario.pass_probe(slot);
    }
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn uneven_zones_are_rebalanced() {
    let mut scenario = in_zones(&["a", "a", "b"])
        .slots(&[8081, 8082])
        .budget(3, 1, 0)
        .running("0.9", &["h1:8081", "h1:8082", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["stop h1-0.9 at h1:8082 (surplus)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn scaling_down_keeps_the_spread_over_the_zones() {
    let slots = [
        "h1:8081", "h2:8081", "h3:8081", "h4:8081", "h5:8081", "h6:8081",
    ];
    let mut scenario = in_zones(&["a", "a", "b", "b", "c", "c"])
        .budget(4, 0, 2)
        .running("0.9", &slots)
        .deploy("0.9");
    let hosts = ["h1", "h2", "h3", "h4", "h5", "h6"];
    let claims = hosts.map(|host| format!("claim {host}"));
    scenario.run_actions(&claims.each_ref().map(String::as_str));
    scenario.run_actions(&["stop h6-0.9 at h6:8081 (surplus)"]);
    scenario.run_actions(&["stop h4-0.9 at h4:8081 (surplus)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn zone_is_replaced_alone_even_if_there_are_more_zones_than_instances() {
    let mut scenario = in_zones(&["a", "b", "c"])
        .budget(2, 0, 2)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["disarm h1:8081", "stop h2-0.8 at h2:8081 (replaced)"]);
}

#[test]
fn preview_shows_the_worst_loss_of_a_zone() {
    let loss_of = |scenario: &Scenario| {
        let Scenario {
            spec,
            rollout,
            fleet,
            now,
        } = scenario;
        preview(spec, rollout, fleet, *now).worst_zone_loss
    };
    let loss = |zone: &str, available| {
        Some(ZoneLoss {
            zone: zone.into(),
            available,
        })
    };
    assert_eq!(loss_of(&staged(0, 1)), loss("b", 1));
    assert_eq!(loss_of(&staged(1, 0)), loss("a", 2));
    let without_zones = fleet_of(2).deploy_without_rollback_target("0.9");
    assert_eq!(loss_of(&without_zones), None);
}
