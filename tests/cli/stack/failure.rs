//! A service that fails: the others roll back, or wait for a person.

use super::project::StackProject;
use ship_testing::behaviour::Behaviour;

/// Version 1 runs, and `web` of version 2 exits.
fn broken() -> StackProject {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    project
}

#[test]
fn failed_service_takes_the_others_back_in_the_reverse_order() {
    let project = broken();
    project.change("stack.toml", "batch)\"\n", "batch)\"\nafter = [\"api\"]\n");
    let events = project.deploy_events(3);
    assert_eq!(
        events.rollouts(),
        [
            "deploy api 2",
            "deploy worker 2",
            "deploy web 2",
            "rollback worker 1",
            "rollback api 1"
        ]
    );
    assert_eq!(events.last()["outcome"], "rolled-back");
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "2 deploy rolled-back");
    assert_eq!(
        project.revisions("api")[..2],
        ["3 1 succeeded", "2 2 succeeded"]
    );
    assert_eq!(project.revisions("web")[0], "2 2 rolled-back");
}

#[test]
fn failure_is_explained_with_the_name_of_the_service() {
    let project = broken();
    project
        .ship(&["deploy", "stack.toml", "--version", "2"])
        .stderr_lines(&[
            "web     web 2 (revision 2) on shop",
            "FAILED    2 exited unexpectedly",
            "fatal: the frobnicator is missing",
            "deployment 2 rolled back in [TOOK]: every service runs its earlier revision",
        ])
        .status(3)
        .run();
}

#[test]
fn failed_service_aborts_one_that_still_rolls_out() {
    let project = StackProject::deployed();
    project.release("api", "2", Behaviour::Exits);
    // It is never ready, because no one opens the gate.
    project.release("worker", "2", Behaviour::Gated);
    project.change("worker.toml", "timeout = \"5s\"", "timeout = \"1m\"");
    project.change("worker.toml", "\"30s\"\n\n", "\"5s\"\n\n");
    let events = project.deploy_events(3);
    assert!(events.places("web", "rollout_started").is_empty());
    assert_eq!(
        events.place("worker", "rollout_finished") + 2,
        events.all().len()
    );
    project.assert_serves("1");
}

#[test]
fn first_deployment_that_fails_is_held_because_nothing_ran_before() {
    let project = StackProject::new();
    project.release("web", "2", Behaviour::Exits);
    let done = project.run(&["deploy", "--version", "2", "stack.toml"], 4);
    assert!(
        done.stderr.contains("deployment 1 is held"),
        "{}",
        done.stderr
    );
}

#[test]
fn held_deployment_is_undone_by_abort() {
    let project = broken().holding();
    let done = project.run(&["deploy", "stack.toml", "--version", "2"], 4);
    let hint = "deployment 2 is held: new and earlier revisions may run side by side\nhint: see \
                `ship status`; `ship resume` continues, `ship abort` undoes the deployment";
    assert!(done.stderr.contains(hint), "{}", done.stderr);
    assert_eq!(project.served(), ["api 2", "worker 2", "web 1"]);
    for mode in [&[][..], &["--unattended"]] {
        let args = [&["deploy", "stack.toml", "--version", "1"], mode].concat();
        let done = project.run(&args, 2);
        let why = "error: deployment 2 is not finished\n";
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
    project.run(&["abort", "stack.toml"], 0);
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "2 deploy rolled-back");
    let done = project.run(&["abort", "stack.toml"], 2);
    assert!(done.stderr.contains("nothing to abort"), "{}", done.stderr);
}

#[test]
fn held_deployment_is_finished_by_resume_after_the_repair() {
    let project = StackProject::deployed().holding();
    // It exits if it is started before the gate is open.
    project.release("web", "2", Behaviour::Needy);
    project.run(&["deploy", "stack.toml", "--version", "2"], 4);
    project.open_gate();
    project.run(&["resume", "stack.toml"], 0);
    project.assert_serves("2");
    assert_eq!(project.deployments()[0], "2 deploy succeeded");
}
