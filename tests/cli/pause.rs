//! `ship pause`, `resume`, `abort`, `restart` and `unlock`: their output and their effect.

use serde_json::{Value, json};
use snapbox::str;

use crate::call::json;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;

/// A deploy of 0.9 that waits for its first instance to become ready.
fn under_way() -> (LocalProject, Running) {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    (project, deploy)
}

#[test]
fn paused_deploy_is_finished_by_resume() {
    let (project, deploy) = under_way();
    project
        .ship(&["pause", "inventory.toml"])
        .stdout(str![[r#"
service `page` paused
hint: `ship resume` continues, `ship abort` rolls back

"#]])
        .run();
    let done = deploy.wait().exits(8);
    let printed = project.redacted(&done.stderr);
    let (_, end) = printed
        .split_once("  paused by ")
        .expect("the line is printed");
    assert!(!end.contains("started "), "{printed}");
    assert!(
        end.ends_with(
            "was paused by [WHO] after [TOOK]: 1 of 3 updated, 3 of 3 available\n          hint: \
             run `ship resume` to continue, or `ship abort` to roll back"
        ),
        "{printed}"
    );
    let status = project.status();
    assert_eq!(status["state"], "paused");
    assert_eq!(status["rollout"]["outcome"]["outcome"], "paused");
    assert!(status["rollout"]["outcome"]["since"].is_u64(), "{status:#}");
    let printed = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    let line = printed
        .lines()
        .find(|line| line.contains("was paused"))
        .expect("the line is printed");
    snapbox::assert_data_eq!(
        project.redacted(line),
        str![
            "deploy of 0.9 (revision 2) was paused [TOOK] ago by [WHO] with 1 of 3 updated and 3 \
             available; `ship resume` continues, `ship abort` rolls back"
        ]
    );
    project
        .ship(&["pause", "inventory.toml"])
        .stderr(str![[r#"
error: service `page` is already paused

"#]])
        .status(2)
        .run();
    project
        .ship(&["rollback", "inventory.toml"])
        .stderr(str![[r#"
error: cannot roll back service `page`: it is paused
hint: resume it first with `ship resume`, or roll back with `ship abort`

"#]])
        .status(6)
        .run();

    project.open_gate();
    let done = project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(
        done.stderr.starts_with("service `page` resumed\n"),
        "{}",
        done.stderr
    );
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    project
        .ship(&["resume", "inventory.toml"])
        .stderr(str![[r#"
error: service `page` is not paused

"#]])
        .status(2)
        .run();
}

#[test]
fn running_deploy_is_aborted_from_another_process() {
    let (project, deploy) = under_way();
    project
        .ship(&["abort", "inventory.toml"])
        .stderr(str![[r#"
service `page` aborted; rolling back to 0.8 (revision 1)
service `page` rolled back

"#]])
        .run();
    let done = deploy.wait().exits(3);
    assert!(done.stderr.contains("aborted by "), "{}", done.stderr);
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
}

#[test]
fn restart_replaces_every_instance_and_is_in_the_history() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let names = |project: &LocalProject| {
        let status = project.status();
        let rows = status["instances"].as_array().expect("an array").clone();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let before = names(&project);
    project
        .ship(&["restart", "inventory.toml", "--reason", "a leak"])
        .any_stderr()
        .run();
    let after = names(&project);
    assert_eq!(after.len(), 3);
    assert!(
        after.iter().all(|name| !before.contains(name)),
        "{before:?} {after:?}"
    );
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
    // The restarted release is the one in the playbook.
    let done = project.deploy("0.8");
    assert!(done.stderr.starts_with("nothing to do"), "{}", done.stderr);
}

#[test]
fn hosts_reject_the_old_controller_after_unlock() {
    let (project, deploy) = under_way();
    project
        .ship(&["unlock", "inventory.toml"])
        .stderr(str![[r#"
error: locked by [WHO] (pid [PID], deploy 0.9) since [WHEN], [TOOK] ago; last heartbeat [TOOK] ago; cannot prompt for confirmation
hint: pass --yes

"#]])
        .status(2)
        .run();
    project
        .ship(&["unlock", "inventory.toml", "--yes"])
        .stdout(str![[r#"
unlocked: broke the lock of [WHO] (pid [PID], deploy 0.9); hosts reject its commands from now on
hint: see the state of the rollout with `ship status`

"#]])
        .run();
    // 0.9 is ready now, but the old controller cannot continue and reports why.
    project.open_gate();
    let done = deploy.wait().exits(6);
    assert!(
        done.stderr.contains("taken over by another ship process"),
        "{}",
        done.stderr
    );
    assert_eq!(
        project.running(),
        [
            "node1:8081 0.8",
            "node2:8081 0.8",
            "node3:8081 0.8",
            "node4:8081 0.9"
        ],
        "as it was when the lock was taken"
    );
    project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
}

#[test]
fn ship_called_by_a_hook_shares_the_lock() {
    let (project, deploy) = under_way();
    let database = rusqlite::Connection::open(project.path(".ship/ship.db")).expect("the state");
    let lease: String = database
        .query_row(
            "select value from records where key like 'services/%/lease'",
            [],
            |row| row.get(0),
        )
        .expect("a lease");
    let lease: serde_json::Value = serde_json::from_str(&lease).expect("JSON");
    let token = lease["token"].as_str().expect("a token").to_owned();
    project
        .ship(&["deploy", "inventory.toml"])
        .env("SHIP_LEASE", "wrong")
        .any_stderr()
        .status(6)
        .run();
    project
        .ship(&["deploy", "inventory.toml"])
        .env("SHIP_LEASE", token)
        .any_stderr()
        .run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    deploy.wait().exits(6);
}

#[test]
fn pause_freeze_thaw_and_unlock_print_json() {
    let (project, deploy) = under_way();
    let print = |args: &[&str]| {
        let args = [args, &["inventory.toml", "--output", "json"]].concat();
        json(&project.ship(&args).any_stdout().run().stdout)
    };
    let paused = print(&["pause"]);
    deploy.wait().exits(8);
    assert_eq!(
        paused,
        json!({"service": "page", "fleet": "local", "paused": true})
    );

    let frozen = print(&["freeze", "--reason", "the sale"]);
    assert_eq!(frozen["frozen"], true);
    assert_eq!(frozen["reason"], "the sale");
    assert_eq!(frozen["until"], Value::Null);
    assert_eq!(frozen["stops_rollout"], false);
    let thawed = json!({
        "service": "page", "fleet": "local", "frozen": false, "was_frozen": true,
    });
    assert_eq!(print(&["thaw"]), thawed);
    assert_eq!(print(&["thaw"])["was_frozen"], false);

    let free = json!({
        "service": "page", "fleet": "local", "unlocked": false, "holder": null, "unreachable": {},
    });
    assert_eq!(print(&["unlock", "--yes"]), free);
}

#[test]
fn unlock_prints_the_holder_as_json() {
    let (project, deploy) = under_way();
    let args = ["unlock", "inventory.toml", "--yes", "--output", "json"];
    let unlocked = json(&project.ship(&args).any_stdout().run().stdout);
    assert_eq!(unlocked["unlocked"], true);
    assert_eq!(unlocked["holder"]["command"], "deploy 0.9");
    assert_eq!(unlocked["unreachable"], json!({}));
    project.open_gate();
    deploy.wait().exits(6);
}
