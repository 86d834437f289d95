//! `ship deploy` without failures.

use serde_json::Value;
use snapbox::str;

use crate::call::json_lines;
use crate::event_stream::Course;
use crate::project::LocalProject;

#[test]
fn first_deploy_needs_no_setup() {
    let project = LocalProject::small();
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr_lines(&[
            "page 0.8 (revision 1) on local: 1 replica",
            "node1       staged    0.8 in [TOOK]",
            "node1:8081  started   0.8 as [INSTANCE]",
            "node1:8081  ready     0.8 after [TOOK]: \"I am: [NET].11, the version is: 0.8\"",
            "deployment \"page\" successfully rolled out",
            "page 0.8 (revision 1): 1 of 1 available in [TOOK]",
        ])
        .run();
    assert_eq!(project.running(), ["node1:8081 0.8"]);
}

#[test]
fn first_deploy_spreads_replicas_over_the_hosts() {
    let project = LocalProject::new();
    let done = project
        .ship(&["deploy", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let course = Course::of(
        &serde_json::json!({ "instances": [] }),
        &json_lines(&done.stdout),
    );
    let starts: Vec<_> = course
        .steps
        .iter()
        .filter(|step| step.starts_with("start "))
        .collect();
    assert_eq!(
        starts,
        ["start node1:8081", "start node2:8081", "start node3:8081"]
    );
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn upgrade_prints_the_progress_of_kubectl() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .stderr(str![[r#"
[MOMENT]  page 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 0 out of 3 new replicas have been updated...
[MOMENT]  staging 0.9 on the hosts
[MOMENT]  node1       staged    0.9 in [TOOK]
[MOMENT]  node2       staged    0.9 in [TOOK]
[MOMENT]  node3       staged    0.9 in [TOOK]
[MOMENT]  node4       staged    0.9 in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 out of 3 new replicas have been updated...
[MOMENT]  node4:8081  started   0.9 as [INSTANCE]
[MOMENT]  node4:8081  ready     0.9 after [TOOK]: "I am: [NET].14, the version is: 0.9"
[MOMENT]  node1:8081  stopped   0.8 (replaced) in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 2 out of 3 new replicas have been updated...
[MOMENT]  node1:8081  started   0.9 as [INSTANCE]
[MOMENT]  node1:8081  ready     0.9 after [TOOK]: "I am: [NET].11, the version is: 0.9"
[MOMENT]  node2:8081  stopped   0.8 (replaced) in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 old replicas are pending termination...
[MOMENT]  node2:8081  started   0.9 as [INSTANCE]
[MOMENT]  node2:8081  ready     0.9 after [TOOK]: "I am: [NET].12, the version is: 0.9"
[MOMENT]  node3:8081  stopped   0.8 (replaced) in [TOOK]
[MOMENT]  deployment "page" successfully rolled out
[MOMENT]  page 0.9 (revision 2): 3 of 3 available in [TOOK]

"#]])
        .run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn upgrade_stops_no_instance_before_its_successor_is_ready() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let course = Course::of_deploy(&project, &["--version", "0.9"]);
    assert_eq!(
        course.steps,
        [
            "start node4:8081",
            "ready node4:8081",
            "stop node1:8081",
            "stopped node1:8081",
            "start node1:8081",
            "ready node1:8081",
            "stop node2:8081",
            "stopped node2:8081",
            "start node2:8081",
            "ready node2:8081",
            "stop node3:8081",
            "stopped node3:8081",
        ]
    );
    assert_eq!((course.most_running, course.fewest_ready), (4, 3));
    assert_eq!(course.outcome, "succeeded");
}

#[test]
fn deploy_of_the_running_version_does_nothing() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let before = project.status()["instances"].clone();
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr("nothing to do: page 0.8 (revision 1) is available on 3 of 3\n")
        .run();
    let names = |instances: &Value| -> Vec<Value> {
        instances
            .as_array()
            .expect("an array")
            .iter()
            .map(|instance| instance["name"].clone())
            .collect()
    };
    assert_eq!(names(&project.status()["instances"]), names(&before));
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn json_output_has_an_event_for_nothing_to_do() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let done = project
        .ship(&["deploy", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let events = json_lines(&done.stdout);
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(event["event"], "nothing_to_do");
    assert_eq!(
        (&event["version"], &event["revision"], &event["replicas"]),
        (&"0.8".into(), &1.into(), &1.into())
    );
}

#[test]
fn json_output_prints_one_event_per_line_to_stdout() {
    let project = LocalProject::small();
    let done = project
        .ship(&["deploy", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let events = json_lines(&done.stdout);
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!(
        (&first["event"], &last["event"]),
        (&"rollout_started".into(), &"rollout_finished".into())
    );
    for event in &events {
        assert!(event["at"].is_u64() && event["time"].is_string(), "{event}");
    }
}

#[test]
fn pipe_receives_plain_progress() {
    let project = LocalProject::small();
    project
        .ship(&["deploy", "inventory.toml", "--progress", "plain"])
        .stderr_lines(&[
            "[MOMENT]  page 0.8 (revision 1) on local: 1 replica",
            "[MOMENT]  node1:8081  started   0.8 as [INSTANCE]",
            "[MOMENT]  page 0.8 (revision 1): 1 of 1 available in [TOOK]",
        ])
        .run();
}

#[test]
fn set_overrides_a_playbook_key() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let course = Course::of_deploy(
        &project,
        &["--version", "0.9", "--set", "rollout.max_surge=3"],
    );
    assert_eq!((course.most_running, course.fewest_ready), (6, 3));
}

#[test]
fn set_of_an_unknown_key_is_refused() {
    let project = LocalProject::new();
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.max_surges=3"])
        .stderr(str![[r#"
error: unknown key `max_surges` in [rollout]
 --> command line:1:15
  |
1 | --set rollout.max_surges=3
  |               ^^^^^^^^^^
  |
  = help: did you mean `max_surge`?

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
}

#[test]
fn changed_configuration_of_a_version_is_a_new_revision() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let project = project.with("[service.env]\n", "[service.env]\nCOLOUR = \"blue\"\n");
    project.deploy("0.8");
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn deploy_restarts_dead_instances_and_adds_a_history_entry() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.end_instance("node2", 8081);
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(
        done.stderr.contains("node2:8081  stopped   0.8 (exited: "),
        "{}",
        done.stderr
    );
    assert_eq!(project.pages().len(), 3);
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn fresh_control_directory_replaces_unknown_releases() {
    let project = LocalProject::new();
    project.deploy("0.8");
    for file in ["ship.db", "ship.db-wal", "ship.db-shm"] {
        // The last two exist only while a client reads.
        let _ = std::fs::remove_file(project.path(".ship").join(file));
    }
    // As an earlier version of ship has left the hosts.
    for node in ["node1", "node2", "node3", "node4"] {
        for release in std::fs::read_dir(project.path(&format!(".ship/hosts/{node}/page/releases")))
            .expect("releases")
        {
            std::fs::remove_file(release.expect("release").path().join("definition"))
                .expect("definition");
        }
    }
    let done = project.deploy("0.9");
    assert!(
        done.stderr.contains("note: unknown releases are running ("),
        "{}",
        done.stderr
    );
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
}
