//! Contract migrations, which cannot be undone: they wait for the whole deployment.

use std::fs;

use super::events::Events;
use super::project::StackProject;
use ship_testing::behaviour::Behaviour;

/// Version 1 runs, and `api` has a contract migration that writes its version into a file.
fn contracting() -> StackProject {
    let project = StackProject::deployed();
    let file = project.path("contracts").display().to_string();
    let lines = format!(
        "\n[[migrations]]\nid = \"drop-name\"\nkind = \"contract\"\nsoak = \"100ms\"\ncommand = \
         \"/bin/sh -c 'echo {{{{ version }}}} >> {file}'\"\n"
    );
    project.append("api.toml", &lines);
    project
}

fn contracts(project: &StackProject) -> String {
    fs::read_to_string(project.path("contracts")).unwrap_or_default()
}

#[test]
fn contract_migration_waits_for_the_last_service() {
    let project = contracting();
    project.release("web", "2", Behaviour::Gated);
    let mut deploy = project.start_deploy();
    Events::await_event(&mut deploy, "web", "action_started");
    // `api` has finished, and its soak with it.
    assert_eq!(contracts(&project), "");
    project.open_gate();
    let events = Events::of(&deploy.wait().exits(0).stdout);
    assert_eq!(contracts(&project), "2\n");
    let contract = events.place("api", "task_started");
    for service in ["worker", "web"] {
        let finished = events.place(service, "rollout_finished");
        assert!(
            finished < contract,
            "{service} ends at {finished}, the contract at {contract}"
        );
    }
    let newest = &project.json(&["history", "stack.toml"])[0];
    assert_eq!(newest["services"][0]["contract"], 3, "{newest:#}");

    // It is not repeated.
    project.deploy("2");
    assert_eq!(contracts(&project), "2\n");
}

#[test]
fn contract_migration_does_not_run_if_another_service_fails() {
    let project = contracting();
    project.release("web", "2", Behaviour::Exits);
    let events = project.deploy_events(3);
    assert!(events.places("api", "task_started").is_empty());
    assert_eq!(contracts(&project), "");
    project.assert_serves("1");
}

#[test]
fn rollback_past_a_contract_changes_no_service() {
    let project = contracting();
    project.deploy("2");
    let pids = project.pids();
    let done = project.run(&["rollback", "stack.toml"], 2);
    assert!(
        done.stderr
            .contains("from before the contract \"drop-name\""),
        "{}",
        done.stderr
    );
    assert_eq!(project.pids(), pids);
    project.assert_serves("2");
}

#[test]
fn killed_deployment_runs_its_contract_migration_after_resume() {
    let project = contracting();
    project.release("web", "2", Behaviour::Gated);
    let mut deploy = project.start_deploy();
    Events::await_event(&mut deploy, "web", "action_started");
    deploy.signal("KILL");
    deploy.wait();
    assert_eq!(contracts(&project), "");
    project.open_gate();
    project.run(&["resume", "stack.toml"], 0);
    assert_eq!(contracts(&project), "2\n");
    project.assert_serves("2");
}
