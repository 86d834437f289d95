//! `ship history`: what was deployed, by whom, when, why and how it ended.

use serde_json::json;
use snapbox::str;

use crate::call;
use crate::project::{Behaviour, Project};

#[test]
fn before_the_first_deploy_there_is_none() {
    let project = Project::small();
    project
        .ship(&["history", "inventory.toml"])
        .stdout(str![[r#"
nothing was deployed yet

"#]])
        .run();
    project.ship(&["history", "inventory.toml", "--output", "json"]).stdout("[]\n").run();
}

#[test]
fn the_newest_comes_first_with_its_cause_and_its_outcome() {
    let project = Project::small();
    project.release("1.0", Behaviour::Exits);
    project.deploy("0.8");
    project.ship(&["deploy", "--version", "0.9", "--cause", "ticket 42"]).any_stderr().run();
    project.ship(&["deploy", "--version", "1.0"]).any_stderr().status(3).run();
    project
        .ship(&["history"])
        .stdout(str![[r#"
REVISION   VERSION   DIGEST   WHEN   DURATION   WHO   OUTCOME   CAUSE
3   1.0   [DIGEST]   [WHEN]   [TOOK]   [WHO]   rolled-back   deploy 1.0
2   0.9   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   ticket 42
1   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.8

"#]])
        .run();
}

#[test]
fn the_keys_for_programs_are_a_contract() {
    let project = Project::small();
    project.ship(&["deploy", "inventory.toml", "--cause", "ticket 42"]).any_stderr().run();
    let history = call::json(&project.ship(&["history", "--output", "json"]).any_stdout().run().stdout);
    let entry = &history[0];
    for (key, value) in [
        ("revision", json!(1)),
        ("version", json!("0.8")),
        ("cause", json!("ticket 42")),
        ("outcome", json!("succeeded")),
    ] {
        assert_eq!(entry[key], value, "{key}");
    }
    assert!(entry["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{entry}");
    assert!(entry["who"].as_str().is_some_and(|who| who.starts_with("tester@")), "{entry}");
    assert!(entry["when"].as_str().is_some_and(|when| when.ends_with('Z')), "{entry}");
    assert!(entry["duration_s"].is_f64(), "{entry}");
}

#[test]
fn one_revision_is_shown_whole_with_what_differs_now() {
    let project = Project::small();
    project.deploy("0.8");
    project
        .ship(&["history", "--revision", "1"])
        .stdout(str![[r#"
revision  1
version   0.8
digest    [SHA256]
who       [WHO]
when      [WHEN]
duration  [TOOK]
cause     deploy 0.8
outcome   succeeded
proven    yes

the playbook then:
  version = "0.8"

  [service]
  name = "page"
  command = "/usr/bin/env python3 -S page.py"
  ports = [8081, 8082]
  driver = "process"
  stop_timeout = "30s"

  [service.env]
  GATE = "[ROOT]/gate"
  HOST = "{{ address }}"
  PORT = "{{ port }}"
  VERSION = "{{ version }}"

  [artifact]
  source = "page-{{ version }}"

  [readiness]
  http = "/"
  interval = "100ms"
  timeout = "5s"

  [rollout]
  replicas = 1
  max_surge = 1
  max_unavailable = 0
  progress_deadline = "30s"

it is the same now

"#]])
        .run();
    let project = project.with("version = \"0.8\"", "version = \"0.9\"").with("timeout = \"5s\"\n", "");
    let done = project.ship(&["history", "--revision", "1"]).any_stdout().run();
    let (_, differs) = done.stdout.split_once("what differs now:\n").expect("it differs");
    snapbox::assert_data_eq!(
        differs,
        str![[r#"
  - version = "0.8"
  + version = "0.9"
  - timeout = "5s"

"#]]
    );
    let args = ["history", "--revision", "1", "--output", "json"];
    let entry = call::json(&project.ship(&args).any_stdout().run().stdout);
    assert_eq!(entry["differs"], json!(["- version = \"0.8\"", "+ version = \"0.9\"", "- timeout = \"5s\""]));
    assert_eq!(entry["proven"], true);
    assert!(entry["playbook"].as_str().is_some_and(|playbook| playbook.contains("version = \"0.8\"")), "{entry}");
}

#[test]
fn a_revision_that_is_not_there_is_refused() {
    let project = Project::small();
    project.deploy("0.8");
    project
        .ship(&["history", "--revision", "7"])
        .stderr(str![[r#"
error: unable to find specified revision 7 in history; `ship history` lists what there is

"#]])
        .status(2)
        .run();
}

#[test]
fn it_is_no_longer_than_its_limit_and_what_left_it_leaves_the_hosts_too() {
    let project = Project::small().with("[rollout]\n", "[rollout]\nhistory_limit = 2\n");
    for version in ["0.8", "0.9", "1.0", "1.1", "1.2"] {
        project.release(version, Behaviour::Good);
        project.deploy(version);
    }
    assert_eq!(project.history(), ["5 1.2 succeeded", "4 1.1 succeeded", "3 1.0 succeeded"]);
    let releases = std::fs::read_dir(project.path(".ship/hosts/node1/page/releases")).expect("releases").count();
    assert_eq!(releases, 3);
}
