//! Invalid files: every error is reported with its place and a hint, and nothing is changed.

use std::fs;

use snapbox::str;

use crate::project::LocalProject;

#[test]
fn missing_inventory_is_refused() {
    LocalProject::new()
        .ship(&["deploy", "production.toml"])
        .stderr(str![[r#"
error: cannot read production.toml: No such file or directory (os error 2)
--> production.toml
 = help: name an inventory, as in `ship deploy inventory/production.toml`

"#]])
        .status(2)
        .run();
}

#[test]
fn missing_playbook_is_refused() {
    let project = LocalProject::new();
    fs::remove_file(project.path("playbook.toml")).expect("our own file");
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: cannot read playbook.toml: No such file or directory (os error 2)
 --> inventory.toml:1:12
  |
1 | playbook = "playbook.toml"
  |            ^^^^^^^^^^^^^^^
  |
  = help: the path is relative to the inventory

"#]])
        .status(2)
        .run();
}

#[test]
fn invalid_toml_is_refused() {
    let project = LocalProject::new().with("[service]", "[service");
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: invalid TOML: unclosed table
 --> playbook.toml:3:9
  |
3 | [service
  |         ^
  |
  = help: expected `]`; see https://toml.io for the format

"#]])
        .status(2)
        .run();
    assert!(!project.path(".ship").exists());
}

#[test]
fn errors_of_both_files_are_reported_at_once() {
    let project = LocalProject::new()
        .with("driver = \"process\"", "driver = \"proces\"")
        .with("{{ version }}", "{{ versoin }}")
        .with("max_surge = 1", "max_surge = \"101%\"");
    let inventory = project.inventory("local", &["node1", "node1"]);
    fs::write(project.path("inventory.toml"), inventory).expect("our own file");
    for verb in ["deploy", "plan", "check"] {
        project
            .ship(&[verb, "inventory.toml"])
            .stderr(str![[r#"
error: two hosts are named `node1`
  --> inventory.toml:12:8
   |
 7 | name = "node1"
   |        ------- first used here
...
12 | name = "node1"
   |        ^^^^^^^
   |
   = help: give each host a unique name

error: `driver` must be "systemd" or "process" or "link", not `proces`
 --> playbook.toml:7:10
  |
7 | driver = "proces"
  |          ^^^^^^^^
  |
  = help: did you mean "process"?

error: unknown variable `versoin`
  --> playbook.toml:14:15
   |
14 | VERSION = "{{ versoin }}"
   |               ^^^^^^^
   |
   = help: did you mean `{{ version }}`?

error: `max_surge` is not a count or percentage: 101% is more than 100%
  --> playbook.toml:26:13
   |
26 | max_surge = "101%"
   |             ^^^^^^
   |
   = help: write a count such as 2, or a percentage from "0%" to "100%"

"#]])
            .status(2)
            .run();
    }
    assert!(!project.path(".ship").exists());
}

#[test]
fn empty_version_is_refused() {
    LocalProject::new().ship(&["deploy", "inventory.toml", "--version", ""]).stderr(str![[r#"
error: `version` must not be empty
 --> command line:1:11
  |
1 | --version 
  |           ^
  |
  = help: a version may have up to 64 characters: letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit

"#]]).status(2).run();
}

#[test]
fn override_without_a_value_is_refused() {
    LocalProject::new()
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas"])
        .stderr(str![[r#"
error: this override has no `=`
 --> command line:1:7
  |
1 | --set rollout.replicas
  |       ^^^^^^^^^^^^^^^^
  |
  = help: write KEY=VALUE, for example: --set rollout.max_surge=2

"#]])
        .status(2)
        .run();
}

#[test]
fn min_ready_beyond_the_deadline_is_refused() {
    let project = LocalProject::new().with("[rollout]\n", "[rollout]\nmin_ready = \"30s\"\n");
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: no instance can be available within progress_deadline (30s): it takes at least 30s (min_ready 30s)
  --> playbook.toml:25:13
   |
25 | min_ready = "30s"
   |             ^^^^^
   |
   = help: shorten min_ready, or lengthen progress_deadline (default 10m)

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
}
