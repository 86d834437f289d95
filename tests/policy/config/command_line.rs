//! `--version` and `--set`.

use std::path::PathBuf;
use std::time::Duration;

use ship::config::Source;
use ship::core::spec::budget::Amount;
use snapbox::{IntoData, assert_data_eq, str};

use super::files;

#[test]
fn invalid_override_is_reported_on_the_command_line() {
    let files = files().set("rollout.max_surge=two");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` is not a count or percentage: `two` is neither a count such as 2 nor a percentage such as "25%"
 --> command line:1:25
  |
1 | --set rollout.max_surge=two
  |                         ^^^
  |
  = help: write a count such as 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn override_of_an_unknown_key_is_refused() {
    let files = files().set("rollout.max_surg=2");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown key `max_surg` in [rollout]
 --> command line:1:15
  |
1 | --set rollout.max_surg=2
  |               ^^^^^^^^
  |
  = help: did you mean `max_surge`?
"#]]
        .raw()
    );
}

#[test]
fn override_without_a_table_gets_a_hint_with_the_full_key() {
    let files = files().set("max_surge=2");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown key `max_surge` in the playbook
 --> command line:1:7
  |
1 | --set max_surge=2
  |       ^^^^^^^^^
  |
  = help: did you mean `--set rollout.max_surge=2`?
"#]]
        .raw()
    );
    let report = self::files().set("service.http=/healthz").report();
    assert!(
        report.contains("did you mean `--set readiness.http=/healthz`?"),
        "{report}"
    );
    let report = self::files().set("address=web1").report();
    assert!(
        !report.contains("did you mean `--set"),
        "the inventory cannot be set: {report}"
    );
}

#[test]
fn override_without_a_value_is_refused() {
    let files = files().set("rollout.max_surge");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: this override has no `=`
 --> command line:1:7
  |
1 | --set rollout.max_surge
  |       ^^^^^^^^^^^^^^^^^
  |
  = help: write KEY=VALUE, for example: --set rollout.max_surge=2
"#]]
        .raw()
    );
}

#[test]
fn override_below_a_value_is_refused() {
    let files = files().set("version.major=1");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: cannot set `major`: its parent is not a table
 --> command line:1:15
  |
1 | --set version.major=1
  |               ^^^^^
  |
  = help: for example: --set rollout.max_surge=2
"#]]
        .raw()
    );
}

#[test]
fn version_override_is_validated() {
    let files = files().version("1/2");
    assert_data_eq!(files.report(), str![[r#"
error: `version` cannot contain `/`: `1/2`
 --> command line:1:11
  |
1 | --version 1/2
  |           ^^^
  |
  = help: a version may have up to 64 characters: letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit
"#]].raw());
}

#[test]
fn command_line_overrides_the_playbook() {
    let project = files()
        .set("rollout.max_surge=25%")
        .set("rollout.replicas=1")
        .set("rollout.replicas=2")
        .set("rollout.min_ready=5s")
        .set("service.env.NOTE=half # of \"it\"")
        .set("service.env.QUOTED=\"a b\"")
        .set("service.ports=[9001, 9002]")
        .set("service.secrets=['TOKEN']")
        .set("version=0.85")
        .version("0.9")
        .project();
    assert_eq!(project.playbook.version, "0.9");
    assert_eq!(project.playbook.rollout.max_surge, Amount::Percent(25));
    assert_eq!(
        project.playbook.rollout.replicas,
        Some(2),
        "the last of two holds"
    );
    assert_eq!(project.playbook.rollout.min_ready, Duration::from_secs(5));
    assert_eq!(project.playbook.service.env["NOTE"], "half # of \"it\"");
    assert_eq!(project.playbook.service.env["QUOTED"], "a b");
    assert_eq!(project.playbook.service.slots.numbers(), [9001, 9002]);
    assert_eq!(
        project.playbook.artifact.source,
        Source::Path(PathBuf::from("web-0.9.tar.gz"))
    );
}

#[test]
fn override_number_is_accepted_as_text() {
    assert_eq!(
        files().set("version=0.90").project().playbook.version,
        "0.90"
    );
}
