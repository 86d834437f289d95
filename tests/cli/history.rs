//! `ship history`.

use serde_json::json;
use snapbox::str;

use crate::call;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

#[test]
fn history_is_empty_before_the_first_deploy() {
    let project = LocalProject::small();
    project
        .ship(&["history", "inventory.toml"])
        .stdout(str![[r#"
nothing has been deployed from here yet
hint: `ship status` shows what the hosts run

"#]])
        .run();
    project
        .ship(&["history", "inventory.toml", "--output", "json"])
        .stdout("[]\n")
        .run();
}

#[test]
fn history_lists_the_newest_revision_first() {
    let project = LocalProject::small();
    project.release("1.0", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "--version", "0.9", "--reason", "ticket 42"])
        .any_stderr()
        .run();
    project
        .ship(&["deploy", "--version", "1.0"])
        .any_stderr()
        .status(3)
        .run();
    project
        .ship(&["history"])
        .stdout(str![[r#"
REVISION   VERSION   DIGEST   WHEN   DURATION   WHO   OUTCOME   REASON
3   1.0   [DIGEST]   [WHEN]   [TOOK]   [WHO]   rolled-back   deploy 1.0
2   0.9   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   ticket 42
1   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.8

"#]])
        .run();
}

#[test]
fn history_json_keys_are_stable() {
    let project = LocalProject::small();
    project
        .ship(&["deploy", "inventory.toml", "--reason", "ticket 42"])
        .any_stderr()
        .run();
    let history = call::json(
        &project
            .ship(&["history", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    let entry = &history[0];
    for (key, value) in [
        ("revision", json!(1)),
        ("version", json!("0.8")),
        ("reason", json!("ticket 42")),
        ("outcome", json!("succeeded")),
    ] {
        assert_eq!(entry[key], value, "{key}");
    }
    assert!(
        entry["digest"]
            .as_str()
            .is_some_and(|digest| digest.len() == 64),
        "{entry}"
    );
    assert!(
        entry["who"]
            .as_str()
            .is_some_and(|who| who.starts_with("tester@")),
        "{entry}"
    );
    assert!(
        entry["when"]
            .as_str()
            .is_some_and(|when| when.ends_with('Z')),
        "{entry}"
    );
    assert!(entry["duration_s"].is_f64(), "{entry}");
}

#[test]
fn history_shows_a_revision_and_its_differences() {
    let project = LocalProject::small();
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
reason    deploy 0.8
outcome   succeeded
proven    yes
replicas  1

playbook of this revision:
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

the fleet runs this release (revision 1 (0.8))

"#]])
        .run();
    // What the command line has set is part of the release, and in no playbook.
    let args = [
        "deploy",
        "--version",
        "0.9",
        "--set",
        "service.env.MODE=fast",
        "--set",
        "service.stop_timeout=9s",
    ];
    project.ship(&args).any_stderr().run();
    let done = project
        .ship(&["history", "--revision", "1"])
        .any_stdout()
        .run();
    let (_, differs) = done
        .stdout
        .split_once("the fleet runs revision 2 (0.9); differences:\n")
        .expect("a comparison");
    snapbox::assert_data_eq!(
        differs,
        str![[r#"
  + env.MODE = "fast"
  - stop_timeout = "30s"
  - version = "0.8"
  + stop_timeout = "9s"
  + version = "0.9"

"#]]
    );
    let args = ["history", "--revision", "1", "--output", "json"];
    let entry = call::json(&project.ship(&args).any_stdout().run().stdout);
    assert_eq!(entry["compared_with"], 2);
    let differs = entry["differs"].as_array().expect("lines");
    assert!(
        differs.contains(&json!("+ env.MODE = \"fast\"")),
        "{differs:?}"
    );
    assert_eq!(entry["proven"], true);
    assert!(
        entry["playbook"]
            .as_str()
            .is_some_and(|playbook| playbook.contains("version = \"0.8\"")),
        "{entry}"
    );
}

#[test]
fn history_of_an_unknown_revision_is_refused() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project
        .ship(&["history", "--revision", "7"])
        .stderr(str![[r#"
error: unable to find specified revision 7 in history
hint: list the revisions with `ship history`

"#]])
        .status(2)
        .run();
}

#[test]
fn history_limit_removes_revisions_here_and_on_the_hosts() {
    let project = LocalProject::small().with("[rollout]\n", "[rollout]\nhistory_limit = 2\n");
    for version in ["0.8", "0.9", "1.0", "1.1", "1.2"] {
        project.release(version, Behaviour::Good);
        project.deploy(version);
    }
    assert_eq!(
        project.history(),
        ["5 1.2 succeeded", "4 1.1 succeeded", "3 1.0 succeeded"]
    );
    let releases = std::fs::read_dir(project.path(".ship/hosts/node1/page/releases"))
        .expect("releases")
        .count();
    assert_eq!(releases, 3);
}

#[test]
fn history_has_a_row_for_every_rollout() {
    let project = LocalProject::new().with("replicas = 3", "replicas = 1");
    project
        .ship(&[
            "deploy",
            "inventory.toml",
            "--version",
            "0.8",
            "--reason",
            "ticket 42",
        ])
        .any_stderr()
        .run();
    let rows = || {
        call::json(
            &project
                .ship(&["history", "--output", "json"])
                .any_stdout()
                .run()
                .stdout,
        )
    };
    let first = rows()[0].clone();
    project
        .ship(&["restart", "--reason", "memory"])
        .any_stderr()
        .run();
    project
        .ship(&["scale", "inventory.toml", "--replicas", "2"])
        .any_stderr()
        .run();
    project
        .ship(&["deploy", "--version", "0.8", "--set", "rollout.replicas=1"])
        .any_stderr()
        .run();
    let rows = rows();
    assert_eq!(
        rows[3], first,
        "who, when, how long and how it ended are those of the deploy"
    );
    let listed: Vec<_> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| json!([row["verb"], row["reason"]]))
        .collect();
    let verbs = [
        ["deploy", "deploy 0.8"],
        ["scale", "scale to 2"],
        ["restart", "memory"],
        ["deploy", "ticket 42"],
    ];
    assert_eq!(listed, verbs.map(|row| json!(row)));
    // None of them is a rollback target.
    project.deploy("0.9");
    let done = project.ship(&["rollback"]).any_stderr().run();
    assert!(
        done.stderr.contains("page 0.8 (revision 6)"),
        "{}",
        done.stderr
    );
    assert_eq!(
        call::json(
            &project
                .ship(&["history", "--output", "json"])
                .any_stdout()
                .run()
                .stdout
        )[0]["reason"],
        "rollback to revision 4"
    );
}
