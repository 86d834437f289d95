//! `ship scale`, and deploys with another number of replicas.

use crate::call::json;
use crate::project::LocalProject;

#[test]
fn history_shows_a_changed_number_of_replicas() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=0"])
        .any_stderr()
        .run();
    assert_eq!(project.processes(), Vec::<u32>::new());
    let history = json(
        &project
            .ship(&["history", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    let numbers: Vec<_> = history
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["replicas"].clone())
        .collect();
    assert_eq!(numbers, [0, 3]);
}

fn scale_verb(project: &LocalProject, replicas: &str) -> ship_testing::command::Done {
    project
        .ship(&["scale", "inventory.toml", "--replicas", replicas])
        .any_stderr()
        .run()
}

#[test]
fn scale_starts_missing_instances() {
    let project = LocalProject::small().on(&["node1", "node2"]);
    project.deploy("0.8");
    let done = scale_verb(&project, "2");
    assert!(
        done.stderr.starts_with("service `page` scaled\n"),
        "{}",
        done.stderr
    );
    assert_eq!(project.running().len(), 2);
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn scale_without_free_slots_is_refused() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let refused = project
        .ship(&["scale", "inventory.toml", "--replicas", "9"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        refused.stderr.contains("9 replicas need 9 slots"),
        "{}",
        refused.stderr
    );
    let done = project.deploy("0.8");
    assert!(done.stderr.starts_with("nothing to do"), "{}", done.stderr);
}

#[test]
fn version_deployed_to_no_instances_is_not_proven() {
    let project = LocalProject::small();
    project.deploy("0.8");
    scale_verb(&project, "0");
    project.deploy("0.9");
    let revision = json(
        &project
            .ship(&["history", "--revision", "3", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    assert_eq!(
        (&revision["proven"], &revision["outcome"]),
        (&false.into(), &"succeeded".into())
    );
}
