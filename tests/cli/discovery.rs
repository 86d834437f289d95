//! Discovery of the inventory if the command line has none.

use std::fs;

use snapbox::str;

use crate::project::{LocalProject, NODES};

#[test]
fn deployed_inventory_is_found_from_a_subdirectory() {
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
fn state_directory_is_beside_the_inventory() {
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
fn inventories_of_subdirectory_and_parent_are_both_listed() {
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
fn two_deployed_fleets_need_a_named_inventory() {
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
error: cannot choose an inventory: several inventories were deployed from here or a parent directory
hint: name one:
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
fn candidates_are_listed_before_the_first_deploy() {
    let project = LocalProject::new();
    fs::create_dir(project.path("inventory")).expect("our own directory");
    fs::write(project.path("inventory/production.toml"), "").expect("our own directory");
    for verb in ["rollback", "deploy", "status"] {
        project
            .ship(&[verb])
            .stderr(str![[r#"
error: cannot choose an inventory: nothing has been deployed from here yet
hint: name one:
  inventory/production.toml
  inventory.toml

"#]])
            .status(2)
            .run();
    }
    assert!(!project.path(".ship").exists());
}

#[test]
fn missing_inventory_error_shows_an_example() {
    let project = LocalProject::new();
    let empty = tempfile::tempdir().expect("a temporary directory");
    project
        .ship(&["deploy"])
        .within(empty.path())
        .stderr(str![[r#"
error: cannot choose an inventory: nothing has been deployed from here yet
hint: name one, as in `ship deploy inventory.toml`

"#]])
        .status(2)
        .run();
}
