//! Zones: a deploy replaces instances in one of them at a time.

use std::fs;

use serde_json::{Value, json};

use crate::event_stream::Course;
use crate::project::LocalProject;
use ship_testing::inventory::with_zones;
use ship_testing::namespace::write;

/// Four hosts, of which two each are in a zone, with a budget that would allow all of them at once.
fn in_two_zones() -> LocalProject {
    let project = LocalProject::new()
        .with("replicas = 3", "replicas = 4\nzones = \"zone\"")
        .with("[8081, 8082]", "[8081]")
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 4");
    let path = project.path("inventory.toml");
    let inventory = fs::read_to_string(&path).expect("our own file");
    write(&path, &with_zones(&inventory, &["a", "b", "a", "b"]));
    project
}

#[test]
fn deploy_finishes_a_zone_before_the_next_one() {
    let project = in_two_zones();
    project.deploy("0.8");
    let plan = project
        .ship(&["plan", "inventory.toml", "--version", "0.9"])
        .any_stdout()
        .run();
    assert!(
        plan.stdout
            .contains("worst case if a zone fails: 0 of 4 available, without zone b\n"),
        "{}",
        plan.stdout
    );
    let course = Course::of_deploy(&project, &["--version", "0.9"]);
    let is_in = |zone: &[&str], step: &str| zone.iter().any(|host| step.contains(host));
    let in_a: Vec<_> = course
        .steps
        .iter()
        .map(|step| is_in(&["node1", "node3"], step))
        .collect();
    let (first, second) = in_a.split_at(in_a.len() / 2);
    assert!(
        first.iter().all(|in_a| *in_a) && second.iter().all(|in_a| !in_a),
        "{:?}",
        course.steps
    );
    assert_eq!((course.most_running, course.fewest_ready), (4, 2));
}

#[test]
fn plan_as_json_has_the_worst_loss_of_a_zone() {
    let project = in_two_zones();
    let args = ["plan", "inventory.toml", "--output", "json"];
    let plan = project.ship(&args).any_stdout().run();
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    assert_eq!(
        plan["worst_zone_loss"],
        json!({"zone": "a", "available": 0})
    );
}
