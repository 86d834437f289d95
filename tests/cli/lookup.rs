//! Which inventory is meant where none is named.

use std::fs;

use snapbox::str;

use crate::project::{LocalProject, NODES};

#[test]
fn in_a_subfolder_of_a_deployed_project_it_is_the_one_that_was_deployed() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let deep = project.path("docs/deep");
    fs::create_dir_all(&deep).expect("our own directory");
    for args in [&["status"][..], &["history"], &["plan"], &["check"]] {
        project.ship(args).within(&deep).any_stdout().run();
    }
    project
        .ship(&["deploy", "--version", "0.9"])
        .within(&deep)
        .any_stderr()
        .run();
    project.ship(&["rollback"]).within(&deep).any_stderr().run();
    assert_eq!(
        project.history(),
        ["3 0.8 succeeded", "2 0.9 succeeded", "1 0.8 succeeded"]
    );
    assert!(!deep.join(".ship").exists());
}

#[test]
fn the_state_lies_with_the_inventory_wherever_ship_is_called_from() {
    let project = LocalProject::small();
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let inventory = project.path("inventory.toml").display().to_string();
    project
        .ship(&["deploy", &inventory])
        .within(elsewhere.path())
        .any_stderr()
        .run();
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
    assert_eq!(
        fs::read_dir(elsewhere.path())
            .expect("our own directory")
            .count(),
        0
    );
}

#[test]
fn inventory_of_a_subfolder_and_the_one_of_its_parent_are_both_listed() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let below = project.path("below");
    fs::create_dir(&below).expect("our own directory");
    fs::copy(project.path("inventory.toml"), below.join("inventory.toml"))
        .expect("our own directory");
    for verb in ["deploy", "status"] {
        let done = project
            .ship(&[verb])
            .within(&below)
            .any_stderr()
            .status(2)
            .run();
        let listed = format!(
            "name one:\n  inventory.toml\n  {}\n",
            project.path("inventory.toml").display()
        );
        assert!(done.stderr.ends_with(&listed), "{}", done.stderr);
    }
}

#[test]
fn of_two_fleets_one_must_be_named() {
    let project = LocalProject::small();
    fs::write(
        project.path("staging.toml"),
        project.inventory("staging", &NODES[3..]),
    )
    .expect("our own directory");
    project.deploy("0.8");
    project.ship(&["deploy", "staging.toml"]).any_stderr().run();
    let before = project.processes();
    for verb in ["rollback", "deploy", "plan", "status", "history", "check"] {
        project
            .ship(&[verb])
            .stderr(str![[r#"
error: which inventory? several fleets were deployed from here; name one:
  inventory.toml
  staging.toml

"#]])
            .status(2)
            .run();
    }
    assert_eq!(project.processes(), before);
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn where_nothing_was_deployed_the_files_that_look_like_inventories_are_listed() {
    let project = LocalProject::new();
    fs::create_dir(project.path("inventory")).expect("our own directory");
    fs::write(project.path("inventory/production.toml"), "").expect("our own directory");
    for verb in ["rollback", "deploy", "status"] {
        project
            .ship(&[verb])
            .stderr(str![[r#"
error: which inventory? nothing was deployed from here yet; name one:
  inventory/production.toml
  inventory.toml

"#]])
            .status(2)
            .run();
    }
    assert!(!project.path(".ship").exists());
}

#[test]
fn where_there_is_nothing_at_all_an_example_is_given() {
    let project = LocalProject::new();
    let empty = tempfile::tempdir().expect("a temporary directory");
    project
        .ship(&["deploy"])
        .within(empty.path())
        .stderr(str![[r#"
error: which inventory? nothing was deployed from here yet; name one, as in `ship deploy inventory.toml`

"#]])
        .status(2)
        .run();
}
