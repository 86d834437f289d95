//! Pause, resume, abort, restart and unlock: what is said, and what the fleet is then.

use snapbox::str;

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
fn a_paused_deploy_starts_nothing_new_and_a_resume_finishes_it() {
    let (project, deploy) = under_way();
    project
        .ship(&["pause", "inventory.toml"])
        .stdout(str![[r#"
deployment "page" paused; `ship resume` goes on, `ship abort` goes back

"#]])
        .run();
    let done = deploy.wait().exits(8);
    let said = project.redacted(&done.stderr);
    let (_, end) = said.split_once("  paused by ").expect("it says so");
    assert!(!end.contains("started "), "{said}");
    assert!(
        end.ends_with(
            "was paused by [WHO] after [TOOK]: 1 of 3 updated, 3 of 3 available\n          hint: \
             run `ship resume` to continue, or `ship abort` to roll back"
        ),
        "{said}"
    );
    let status = project.status();
    assert_eq!(status["state"], "paused");
    assert_eq!(status["rollout"]["outcome"]["outcome"], "paused");
    assert!(status["rollout"]["outcome"]["since"].is_u64(), "{status:#}");
    let said = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    let line = said
        .lines()
        .find(|line| line.contains("is paused for"))
        .expect("it says so");
    snapbox::assert_data_eq!(
        project.redacted(line),
        str![
            "deploy of 0.9 (revision 2) is paused for [TOOK], by [WHO] with 1 of 3 updated and 3 \
             available; `ship resume` goes on, `ship abort` goes back"
        ]
    );
    project
        .ship(&["pause", "inventory.toml"])
        .stderr(str![[r#"
error: deployment "page" is already paused

"#]])
        .status(2)
        .run();
    project
        .ship(&["rollback", "inventory.toml"])
        .stderr(str![[r#"
error: you cannot rollback a paused deployment; resume it first with `ship resume` and try again, or go back with `ship abort`

"#]])
        .status(6)
        .run();

    project.open_gate();
    let done = project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(
        done.stderr.starts_with("deployment \"page\" resumed\n"),
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
error: deployment "page" is not paused

"#]])
        .status(2)
        .run();
}

#[test]
fn a_running_deploy_is_aborted_from_another_process() {
    let (project, deploy) = under_way();
    project
        .ship(&["abort", "inventory.toml"])
        .stderr(str![[r#"
deployment "page" aborted: it goes back to 0.8 (revision 1)
deployment "page" rolled back

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
fn a_restart_makes_every_instance_anew_and_is_in_the_history() {
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
    // What was restarted is what the playbook wants.
    let done = project.deploy("0.8");
    assert!(done.stderr.starts_with("nothing to do"), "{}", done.stderr);
}

#[test]
fn whoever_takes_the_lock_away_is_the_only_one_that_the_hosts_obey() {
    let (project, deploy) = under_way();
    project
        .ship(&["unlock", "inventory.toml"])
        .stderr(str![[r#"
error: locked by [WHO] (pid [PID], deploy 0.9) since [WHEN], [TOOK] ago; nobody can be asked here whether to take the lock away: say --yes

"#]])
        .status(2)
        .run();
    project
        .ship(&["unlock", "inventory.toml", "--yes"])
        .stdout(str![[r#"
unlocked: the lock of [WHO] (pid [PID], deploy 0.9) is gone, and hosts refuse its orders from now on
`ship status` shows where it stands

"#]])
        .run();
    // Ready now, 0.9 would be rolled out further by the other; it is not, and says why.
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
fn a_ship_that_another_calls_goes_on_under_its_lock() {
    let (project, deploy) = under_way();
    let database = rusqlite::Connection::open(project.path(".ship/ship.db")).expect("the state");
    let token: String = database
        .query_row("select token from leases", [], |row| row.get(0))
        .expect("a lease");
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
