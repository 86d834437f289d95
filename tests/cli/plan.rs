//! `ship plan` and `ship deploy --dry-run`.

use serde_json::{Value, json};
use snapbox::str;

use crate::call;
use crate::project::LocalProject;

#[test]
fn plan_of_a_first_deploy_starts_everything() {
    let project = LocalProject::new();
    project
        .ship(&["plan", "inventory.toml"])
        .stdout(str![[r#"
page 0.8 on local (4 hosts × 2 slots): 3 replicas, at least 3 available, at most 4 running

batch 1: 0 available, 0 running
  stage  0.8 on node1
  stage  0.8 on node2
  stage  0.8 on node3
  stage  0.8 on node4

batch 2: 0 available, 3 running
  start  0.8 at node1:8081
  start  0.8 at node2:8081
  start  0.8 at node3:8081

worst case: 0 of 3 available (minimum 3), 3 running (maximum 4)
on failure: hold, because there is no other proven revision to roll back to

"#]])
        .run();
    project.assert_hosts_untouched();
    project
        .ship(&["history", "inventory.toml"])
        .stdout(str![[r#"
nothing has been deployed from here yet
hint: `ship status` shows what the hosts run

"#]])
        .run();
}

#[test]
fn plan_of_an_upgrade_shows_the_order_and_the_worst_case() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let before = project.processes();
    project
        .ship(&["plan", "inventory.toml", "--version", "0.9"])
        .stdout(str![[r#"
page 0.9 on local (4 hosts × 2 slots): 3 replicas, at least 3 available, at most 4 running

batch 1: 3 available, 3 running
  stage  0.9 on node1
  stage  0.9 on node2
  stage  0.9 on node3
  stage  0.9 on node4

batch 2: 3 available, 4 running
  start  0.9 at node4:8081

batch 3: 3 available, 4 running
  stop   0.8 at node1:8081

batch 4: 3 available, 4 running
  start  0.9 at node1:8081

batch 5: 3 available, 4 running
  stop   0.8 at node2:8081

batch 6: 3 available, 4 running
  start  0.9 at node2:8081

batch 7: 3 available, 4 running
  stop   0.8 at node3:8081

worst case: 3 of 3 available (minimum 3), 4 running (maximum 4)
on failure: roll back to 0.8 (revision 1)

"#]])
        .run();
    assert_eq!(project.processes(), before);
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn dry_run_prints_the_plan() {
    let project = LocalProject::new();
    project.deploy("0.8");
    for output in [&[][..], &["--output", "json"]] {
        let plan = project
            .ship(&[&["plan", "inventory.toml", "--version", "0.9"], output].concat())
            .any_stdout()
            .run();
        let args = [
            &["deploy", "inventory.toml", "--version", "0.9", "--dry-run"],
            output,
        ]
        .concat();
        project
            .ship(&args)
            .stdout(project.redacted(&plan.stdout) + "\n")
            .run();
    }
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn plan_json_has_batches_and_capacity() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let args = [
        "plan",
        "inventory.toml",
        "--version",
        "0.9",
        "--output",
        "json",
    ];
    let plan = call::json(&project.ship(&args).any_stdout().run().stdout);
    let actions = |batch: &Value| batch["actions"].as_array().expect("an array").clone();
    let steps: Vec<_> = plan["batches"]
        .as_array()
        .expect("an array")
        .iter()
        .flat_map(actions)
        .collect();
    let step = |action: &Value| {
        let place = action["slot"]["host"]
            .as_str()
            .or(action["host"].as_str())
            .unwrap_or_default();
        format!("{} {place}", action["do"].as_str().unwrap_or_default())
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    let staged = ["stage node1", "stage node2", "stage node3", "stage node4"];
    let moved = [
        "start node4",
        "stop node1",
        "start node1",
        "stop node2",
        "start node2",
        "stop node3",
    ];
    assert_eq!(steps, [&staged[..], &moved].concat());
    for (key, value) in [
        ("service", json!("page")),
        ("fleet", json!("local")),
        ("version", json!("0.9")),
        ("worst_available", json!(3)),
        ("min_available", json!(3)),
        ("most_running", json!(4)),
        ("max_running", json!(4)),
        ("outcome", json!("succeeded")),
    ] {
        assert_eq!(plan[key], value, "{key}");
    }
    let holds: Vec<_> = plan["holds"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|hold| hold["host"].clone())
        .collect();
    assert_eq!(holds, Vec::<Value>::new());
}

#[test]
fn plan_of_the_running_version_has_nothing_to_do() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["plan", "inventory.toml"])
        .stdout(str![[r#"
page 0.8 on local (4 hosts × 2 slots): 3 replicas, at least 3 available, at most 4 running
nothing to do

"#]])
        .run();
}

#[test]
fn impossible_plan_is_refused_with_the_numbers() {
    let project = LocalProject::new()
        .with("[8081, 8082]", "[8081]")
        .on(&["node1", "node2", "node3"]);
    for verb in ["plan", "deploy"] {
        project.ship(&[verb, "inventory.toml"]).stderr(str![[r#"
error: 3 replicas + 1 surge need at least 4 slots, but the fleet offers 3 (3 hosts × 1 slot), and max_unavailable resolves to 0
  --> playbook.toml:26:13
   |
26 | max_surge = 1
   |             ^
   |
   = help: add a host or a second port or slot, or replace in place with max_surge = 0 and max_unavailable = 1

"#]]).status(2).run();
    }
    project.assert_hosts_untouched();
}

#[test]
fn plan_with_more_replicas_than_slots_is_refused() {
    let project = LocalProject::new();
    project
        .ship(&["plan", "inventory.toml", "--set", "rollout.replicas=9"])
        .stderr(str![[r#"
error: 9 replicas need 9 slots, but the fleet offers 8 (4 hosts × 2 slots)
 --> command line:1:24
  |
1 | --set rollout.replicas=9
  |                        ^
  |
  = help: add hosts, ports or slots, or lower `replicas`

"#]])
        .status(2)
        .run();
}

#[test]
fn plan_without_surge_and_unavailable_is_refused() {
    let project = LocalProject::new().with("max_surge = 1", "max_surge = 0");
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: max_surge = 0 and max_unavailable = 0 leave no room for a rollout: it could neither start a new instance nor stop an old one
  --> playbook.toml:26:13
   |
26 | max_surge = 0
   |             ^
   |
   = help: set max_surge = 1, or allow one instance to be down with max_unavailable = 1

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
}
