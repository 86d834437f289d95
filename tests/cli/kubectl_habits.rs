//! Commands of other tools, and typing mistakes: the error shows the command to type.

use std::fs;

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::command::{Running, ship_command, started_by};

#[test]
fn value_in_place_of_the_inventory_gets_a_hint_with_the_option() {
    let project = LocalProject::small();
    let cases: [(&[&str], &str); 7] = [
        (
            &["deploy", "0.9"],
            "hint: to deploy version 0.9, run `ship deploy --version 0.9`\n",
        ),
        (
            &["deploy", "inventory.toml", "0.9"],
            "run `ship deploy inventory.toml --version 0.9`\n",
        ),
        (&["undo", "3"], "run `ship undo --to-revision 3`\n"),
        (
            &["undo", "inventory.toml", "3"],
            "run `ship undo inventory.toml --to-revision 3`\n",
        ),
        (
            &["scale", "5"],
            "hint: to run 5 instances, run `ship scale --replicas 5`\n",
        ),
        (&["rollout", "status"], "hint: run `ship status`\n"),
        (
            &["rollout", "undo", "deployment/page"],
            "hint: run `ship rollback`\n",
        ),
    ];
    for (args, hint) in cases {
        let done = project.ship(args).any_stderr().status(2).run();
        assert!(done.stderr.ends_with(hint), "{args:?}: {}", done.stderr);
    }
    assert!(!project.path(".ship").exists());
}

#[test]
fn mistyped_inventory_gets_a_hint_with_the_similar_file() {
    let project = LocalProject::small();
    fs::create_dir(project.path("inventory")).expect("our own directory");
    fs::write(project.path("inventory/local.toml"), "").expect("our own file");
    project
        .ship(&["deploy", "inventory/lcoal.toml", "--dry-run"])
        .stderr(str![[r#"
error: `inventory/lcoal.toml` is not an inventory: no such file
hint: did you mean `inventory/local.toml`? Run `ship deploy inventory/local.toml --dry-run`

"#]])
        .status(2)
        .run();
    for word in ["local", "local.toml", "inventory/local"] {
        let done = project.ship(&["status", word]).any_stderr().status(2).run();
        assert!(
            done.stderr
                .ends_with("Run `ship status inventory/local.toml`\n"),
            "{word}: {}",
            done.stderr
        );
    }
    project
        .ship(&["status", "inventory"])
        .stderr(str![[r#"
error: `inventory` is a directory; expected an inventory
hint: run `ship status inventory/local.toml`

"#]])
        .status(2)
        .run();
}

#[test]
fn playbook_in_place_of_the_inventory_gets_a_hint_with_its_inventories() {
    let project = LocalProject::small();
    project
        .ship(&["deploy", "playbook.toml"])
        .stderr(str![[r#"
error: `playbook.toml` is a playbook; expected the inventory that refers to it
hint: run `ship deploy inventory.toml`

"#]])
        .status(2)
        .run();
    fs::create_dir(project.path("inventory")).expect("our own directory");
    fs::write(
        project.path("inventory/b.toml"),
        "playbook = \"../playbook.toml\"\n",
    )
    .expect("our own file");
    project
        .ship(&["plan", "./playbook.toml"])
        .stderr(str![[r#"
error: `playbook.toml` is a playbook; expected the inventory that refers to it
hint: name the inventory:
  ship plan inventory.toml
  ship plan inventory/b.toml

"#]])
        .status(2)
        .run();
}

#[test]
fn set_without_a_table_gets_a_hint_with_the_full_key() {
    let project = LocalProject::small();
    let done = project
        .ship(&["plan", "--set", "max_surge=2"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        done.stderr
            .contains("did you mean `--set rollout.max_surge=2`?"),
        "{}",
        done.stderr
    );
    let done = project
        .ship(&["plan", "--set", "service.interval=2s"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        done.stderr
            .contains("did you mean `--set readiness.interval=2s`?"),
        "{}",
        done.stderr
    );
}

#[test]
fn only_inventory_is_used_by_default() {
    let project = LocalProject::small();
    project
        .ship(&["history"])
        .stdout("nothing has been deployed from here yet\nhint: `ship status` shows what the hosts run\n")
        .run();
    project.ship(&["deploy"]).any_stderr().run();
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn rollback_supports_dry_run_and_lock_timeout() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.deploy("0.9");
    let done = project.ship(&["rollback", "--dry-run"]).any_stdout().run();
    assert!(
        done.stdout.starts_with("page 0.8 on local"),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.contains("start  0.8 at node1:"),
        "{}",
        done.stdout
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    for (flag, revision) in [("--lock-timeout", "1"), ("--lock-timeout", "2")] {
        project
            .ship(&["rollback", flag, "1s", "--to-revision", revision])
            .any_stderr()
            .run();
    }
}

/// Runs `ship` with its stdout on a full disk.
fn to_a_full_disk(project: &LocalProject, args: &[&str]) -> ship_testing::command::Done {
    let ship = ship_command(project.root(), args);
    let to_full_disk = ["-c", "exec \"$@\" >/dev/full", "sh"];
    Running::spawn(started_by("sh", &to_full_disk, &ship)).wait()
}

#[test]
fn lost_output_is_an_error() {
    let project = LocalProject::small();
    let calls: [&[&str]; 6] = [
        &["deploy", "inventory.toml", "--output", "json"],
        &["deploy", "inventory.toml", "--output", "json"],
        &["status"],
        &["history"],
        &["--help"],
        &["man"],
    ];
    for args in calls {
        let done = to_a_full_disk(&project, args).exits(1);
        assert!(
            done.stderr
                .contains("error: cannot write to stdout: No space left"),
            "{args:?}: {}",
            done.stderr
        );
    }
    assert_eq!(
        project.history(),
        ["1 0.8 succeeded"],
        "the rollout continued"
    );
}

#[test]
fn broken_database_error_has_a_hint() {
    let project = LocalProject::small();
    project.deploy("0.8");
    fs::write(
        project.path(".ship/ship.db"),
        "this is not a database, and longer than a hundred bytes".repeat(10),
    )
    .expect("our own file");
    let done = project
        .ship(&["status", "inventory.toml"])
        .any_stderr()
        .status(1)
        .run();
    assert!(
        done.stderr
            .contains("hint: move the database away with `mv "),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains("the next deploy then adopts what runs on the hosts"),
        "{}",
        done.stderr
    );
}

#[test]
fn error_names_a_host_once() {
    let project = LocalProject::small();
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("our own file");
    let remote = inventory.replace(
        "transport = \"local\"",
        "transport = \"ssh\"\nport = 9\nconnect_timeout = \"1s\"",
    );
    fs::write(project.path("inventory.toml"), remote).expect("our own file");
    for (args, status) in [
        (&["check"][..], 7),
        (&["status"], 0),
        (&["deploy"], 7),
        (&["plan"], 7),
        (&["logs"], 7),
    ] {
        let done = project
            .ship(args)
            .any_stdout()
            .any_stderr()
            .status(status)
            .run();
        for line in done.stdout.lines().chain(done.stderr.lines()) {
            assert!(line.matches("node1").count() <= 1, "{args:?}: {line}");
        }
    }
}
