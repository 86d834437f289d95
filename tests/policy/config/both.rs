//! Errors in both files, or in a file as a whole.

use std::path::Path;

use ship::config::{Overrides, load, load_with};
use snapbox::{IntoData, assert_data_eq, str};

use super::files;

#[test]
fn syntax_error_is_shown() {
    let files = files().playbook("ports = [8081, 8082]", "ports = [8081, 8082");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: invalid TOML: missing comma between array elements
 --> web.toml:6:1
  |
6 | [service.env]
  | ^
  |
  = help: expected `,`; see https://toml.io for the format
"#]]
        .raw()
    );
}

#[test]
fn duplicate_key_is_refused() {
    let files = files().playbook(r#"name = "web""#, "name = \"web\"\nname = \"api\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: invalid TOML: duplicate key
 --> web.toml:4:1
  |
4 | name = "api"
  | ^^^^
  |
  = help: keep one of the two: a key may occur only once in a table
"#]]
        .raw()
    );
}

#[test]
fn errors_of_both_files_are_reported_at_once() {
    let files = files()
        .inventory(r#"user = "deploy""#, "user = 7")
        .inventory(r#""web2""#, r#""web1""#)
        .playbook("ports = [8081, 8082]", "ports = []")
        .playbook("max_surge = 1", "max_surg = 1\non_failure = \"rollbak\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `user` must be a string, not a whole number
 --> fleet.toml:5:8
  |
5 | user = 7
  |        ^
  |
  = help: add quotes: "7"

error: two hosts are named `web1`
  --> fleet.toml:10:8
   |
 7 | name = "web1"
   |        ------ first used here
...
10 | name = "web1"
   |        ^^^^^^
   |
   = help: give each host a unique name

error: `ports` must have at least one port
 --> web.toml:5:9
  |
5 | ports = []
  |         ^^
  |
  = help: for example: [8081, 8082]

error: unknown key `max_surg` in [rollout]
  --> web.toml:13:1
   |
13 | max_surg = 1
   | ^^^^^^^^
   |
   = help: did you mean `max_surge`?

error: `on_failure` must be "rollback" or "hold", not `rollbak`
  --> web.toml:14:14
   |
14 | on_failure = "rollbak"
   |              ^^^^^^^^^
   |
   = help: did you mean "rollback"?
"#]]
        .raw()
    );
}

#[test]
fn invalid_inventory_does_not_hide_errors_of_the_playbook() {
    let files = files()
        .inventory("[[hosts]]", "[[hosts]")
        .playbook("max_surge = 1", r#"max_surge = "1.5""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: invalid TOML: unclosed array table
 --> fleet.toml:6:9
  |
6 | [[hosts]
  |         ^
  |
  = help: expected `]`; see https://toml.io for the format

error: `max_surge` is not a count or percentage: `1.5` is neither a count such as 2 nor a percentage such as "25%"
  --> web.toml:13:13
   |
13 | max_surge = "1.5"
   |             ^^^^^
   |
   = help: write a count such as 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn missing_playbook_is_refused() {
    let files = files().inventory(r#""web.toml""#, r#""wbe.toml""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: cannot read wbe.toml: entity not found
 --> fleet.toml:1:12
  |
1 | playbook = "wbe.toml"
  |            ^^^^^^^^^^
  |
  = help: the path is relative to the inventory
"#]]
        .raw()
    );
}

#[test]
fn file_that_is_not_utf8_is_refused() {
    let read = |_: &Path| Ok(b"playbook = \"a\"\nfleet = \"\xff\"".to_vec());
    let report = load_with(Path::new("fleet.toml"), &Overrides::default(), read)
        .unwrap_err()
        .to_string();
    assert_data_eq!(
        report,
        str![[r#"
error: the file is not valid UTF-8 here
--> fleet.toml:2:10
 = help: save it as UTF-8
"#]]
        .raw()
    );
}

#[test]
fn missing_inventory_is_refused() {
    let report = load(Path::new("no/such/fleet.toml"), &Overrides::default())
        .unwrap_err()
        .to_string();
    assert_data_eq!(
        report,
        str![[r#"
error: cannot read no/such/fleet.toml: No such file or directory (os error 2)
--> no/such/fleet.toml
 = help: name an inventory, as in `ship deploy inventory/production.toml`
"#]]
        .raw()
    );
}

#[test]
fn report_in_colour_has_the_same_text() {
    let files = files().playbook("max_surge = 1", "max_surg = 1");
    let read = |path: &Path| match path.to_str() {
        Some("fleet.toml") => Ok(files.inventory.clone().into_bytes()),
        _ => Ok(files.playbook.clone().into_bytes()),
    };
    let wrong = load_with(Path::new("fleet.toml"), &files.overrides, read).unwrap_err();
    assert!(wrong.render(true).contains("\u{1b}["));
    assert!(!wrong.render(false).contains('\u{1b}'));
    let found: Vec<_> = wrong
        .iter()
        .map(|it| (it.path(), it.line_and_column(), it.message()))
        .collect();
    assert_eq!(
        found,
        [(
            "web.toml",
            Some((13, 1)),
            "unknown key `max_surg` in [rollout]"
        )]
    );
}

#[test]
fn report_shows_a_limited_number_of_errors() {
    let hosts = "[[hosts]]\nname = \"-\"\n".repeat(1000);
    let report = files()
        .inventory("[[hosts]]", &format!("{hosts}[[hosts]]"))
        .report();
    assert_eq!(report.matches("error: ").count(), 50);
    assert!(report.ends_with("... and 950 more"));
}
