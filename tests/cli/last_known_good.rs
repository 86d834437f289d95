//! An invalid playbook does not prevent verbs that observe, stop or roll back.

use std::fs;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

const NOTE: &str = "warning: the playbook is invalid; using the copy of revision 2\nhint: `ship check` shows the errors\n";

#[test]
fn invalid_playbook_permits_status_and_rollback_but_no_deploy() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.deploy("0.9");
    let playbook = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    write(
        &project.path("playbook.toml"),
        &playbook.replace("[readiness]", "[readyness"),
    );
    for verb in ["status", "history", "report", "logs"] {
        let done = project
            .ship(&[verb, "inventory.toml"])
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(done.stderr, NOTE, "{verb}");
    }
    for args in [
        &["deploy"][..],
        &["plan"],
        &["check"],
        &["restart"],
        &["scale", "--replicas", "1"],
    ] {
        let args = [&args[..1], &["inventory.toml"], &args[1..]].concat();
        let output = project
            .ship(&args)
            .any_stdout()
            .any_stderr()
            .status(2)
            .run()
            .stderr;
        assert!(output.contains("--> playbook.toml:"), "{args:?}: {output}");
    }
    let done = project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(done.stderr.starts_with(NOTE), "{}", done.stderr);
    write(&project.path("playbook.toml"), &playbook);
    assert!(
        project.running().iter().all(|row| row.ends_with("0.8")),
        "{:?}",
        project.running()
    );
}

#[test]
fn invalid_playbook_permits_pause_and_abort() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("started   0.9");
    let playbook = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    write(&project.path("playbook.toml"), "version = ");
    project
        .ship(&["pause", "inventory.toml"])
        .any_stdout()
        .any_stderr()
        .run();
    deploy.wait().exits(8);
    project
        .ship(&["abort", "inventory.toml"])
        .any_stderr()
        .run();
    write(&project.path("playbook.toml"), &playbook);
    assert!(
        project.running().iter().all(|row| row.ends_with("0.8")),
        "{:?}",
        project.running()
    );
}

#[test]
fn playbook_without_a_version_is_used_for_status() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let project = project.with("version = \"0.8\"\n", "");
    project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run();
    project
        .ship(&["history", "inventory.toml"])
        .any_stdout()
        .run();
}

#[test]
fn deploy_with_overrides_is_resumed_without_repeating_them() {
    // There are only eight slots, so the playbook is invalid on its own.
    let project = LocalProject::new().with("replicas = 3", "replicas = 8");
    let set = ["--set", "rollout.replicas=3"];
    let deploy = |version: &'static str| {
        let args = ["deploy", "inventory.toml", "--version", version];
        project.ship(&[&args[..], &set].concat())
    };
    deploy("0.8").any_stderr().run();
    project.release("0.9", Behaviour::Gated);
    let mut deploying = deploy("0.9").spawn();
    deploying.await_words("started   0.9");
    for verb in ["status", "pause"] {
        project
            .ship(&[verb, "inventory.toml"])
            .any_stdout()
            .any_stderr()
            .run();
    }
    deploying.wait().exits(8);
    project.open_gate();
    project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    let running = project.running();
    assert_eq!(running.len(), 3, "{running:?}");
    assert!(
        running.iter().all(|row| row.ends_with("0.9")),
        "{running:?}"
    );
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
    assert!(done.stderr.contains("max_surge"), "{}", done.stderr);
}
