//! `ship rollback` and `ship history` of deployments.

use serde_json::json;

use super::project::{StackProject, text};
use ship_testing::behaviour::Behaviour;

#[test]
fn rollback_undoes_the_last_deployment_in_the_reverse_order() {
    let project = StackProject::deployed();
    project.deploy("2");
    let done = project.run(&["rollback", "stack.toml", "--output", "json"], 0);
    let events = super::events::Events::of(&done.stdout);
    let web = events.place("web", "rollout_finished");
    for service in ["api", "worker"] {
        assert!(web < events.place(service, "rollout_started"));
    }
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "3 rollback succeeded");

    let pids = project.pids();
    let done = project.run(&["rollback", "stack.toml"], 2);
    assert_eq!(
        done.stderr,
        "error: deployment 3 was a rollback; no changes were made\nhint: choose an earlier one from \
         `ship history` with --to-deployment\n"
    );
    assert_eq!(project.pids(), pids);
}

#[test]
fn rollback_changes_only_what_the_last_deployment_changed() {
    let project = StackProject::deployed();
    project.deploy("2");
    project.release("worker", "3", Behaviour::Good);
    project.run(&["deploy", "--service", "worker", "--version", "3"], 0);
    assert_eq!(project.served(), ["api 2", "worker 3", "web 2"]);
    project.run(&["undo", "stack.toml"], 0);
    project.assert_serves("2");
}

#[test]
fn rollback_to_a_deployment_restores_all_its_versions() {
    let project = StackProject::deployed();
    project.deploy("2");
    for service in ["api", "web"] {
        project.release(service, "3", Behaviour::Good);
    }
    project.run(
        &[
            "deploy",
            "--service",
            "api",
            "--service",
            "web",
            "--version",
            "3",
        ],
        0,
    );
    project.run(&["rollback", "--to-deployment", "1"], 0);
    project.assert_serves("1");
    project.run(&["rollback", "--to-deployment", "3"], 0);
    assert_eq!(project.served(), ["api 3", "worker 2", "web 3"]);
    let done = project.run(&["rollback", "--to-deployment", "9"], 2);
    assert!(
        done.stderr
            .contains("error: the history has no deployment 9\nhint: "),
        "{}",
        done.stderr
    );
}

#[test]
fn rollback_to_a_failed_deployment_is_refused() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    project.deploy_events(3);
    let pids = project.pids();
    for (args, why) in [
        (
            &["rollback", "--to-deployment", "2"][..],
            "it has not succeeded (rolled-back)",
        ),
        (
            &["rollback"],
            "deployment 2 has rolled back already; no changes were made",
        ),
    ] {
        let done = project.run(args, 2);
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
    assert_eq!(project.pids(), pids);
}

#[test]
fn rollback_without_a_deployment_is_refused() {
    let project = StackProject::new();
    let done = project.run(&["rollback", "stack.toml"], 2);
    assert!(
        done.stderr.contains("error: nothing has been deployed yet"),
        "{}",
        done.stderr
    );
    let done = project.deploy("1");
    assert!(
        done.stderr.contains("deployment 1 succeeded"),
        "{}",
        done.stderr
    );
    let done = project.run(&["rollback", "stack.toml"], 2);
    assert!(
        done.stderr
            .contains("cannot undo the last deployment: service `api` has no earlier"),
        "{}",
        done.stderr
    );
    project.assert_serves("1");
}

#[test]
fn history_lists_deployments_and_the_revisions_of_one_service() {
    let project = StackProject::deployed();
    project.run(&["deploy", "--version", "2", "--reason", "ticket 4711"], 0);
    let printed = project.run(&["history", "stack.toml"], 0).stdout;
    let printed = project.redacted(&printed);
    let rows: Vec<Vec<_>> = printed
        .lines()
        .map(|line| {
            line.split("   ")
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        rows[0],
        [
            "DEPLOYMENT",
            "WHEN",
            "TOOK",
            "WHO",
            "OUTCOME",
            "SERVICES",
            "REASON"
        ]
    );
    let services = "api 2 (2), worker 2 (2), web 2 (2)";
    assert_eq!(rows[1][0], "2");
    assert_eq!(
        rows[1][3..],
        ["[WHO]", "succeeded", services, "ticket 4711"]
    );
    assert_eq!(rows.len(), 3, "{printed}");

    let all = project.json(&["history", "stack.toml"]);
    let newest = &all[0];
    assert_eq!(newest["deployment"], 2);
    assert_eq!(newest["reason"], "ticket 4711");
    assert!(
        newest["duration_s"].as_f64().is_some_and(|took| took > 0.0),
        "{newest:#}"
    );
    let web = newest["services"].as_array().and_then(|all| all.last());
    let expected = json!({
        "service": "web", "version": "2", "revision": 2, "before": 1, "undo": null, "contract": null,
    });
    assert_eq!(web, Some(&expected));

    let api = project.json(&["history", "stack.toml", "--service", "api"]);
    let rows = api.as_array().expect("an array").iter();
    let rows: Vec<_> = rows
        .map(|it| {
            format!(
                "{} {} {}",
                it["deployment"],
                it["revision"],
                text(&it["version"])
            )
        })
        .collect();
    assert_eq!(rows, ["2 2 2", "1 1 1"]);
    let table = project
        .run(&["history", "stack.toml", "--service", "api"], 0)
        .stdout;
    assert!(table.starts_with("REVISION   VERSION "), "{table}");
}

#[test]
fn history_is_empty_before_the_first_deployment() {
    let project = StackProject::new();
    assert_eq!(project.json(&["history", "stack.toml"]), json!([]));
    let printed = project.run(&["history", "stack.toml"], 0).stdout;
    assert!(
        printed.starts_with("nothing has been deployed from here yet\n"),
        "{printed}"
    );
}

#[test]
fn deployments_of_another_inventory_of_the_fleet_are_not_undone() {
    let project = StackProject::deployed();
    project.deploy("2");
    let stack = std::fs::read_to_string(project.path("stack.toml")).expect("our own file");
    let (fleet, services) = stack.split_once("[[services]]").expect("a stack");
    let (_, hosts) = services.split_once("[[hosts]]").expect("a stack");
    let other = format!("{fleet}[[services]]\nplaybook = \"other.toml\"\n[[hosts]]{hosts}");
    std::fs::write(project.path("other-stack.toml"), other).expect("our own directory");
    let api = std::fs::read_to_string(project.path("api.toml")).expect("our own file");
    let playbook = api
        .replace("name = \"api\"", "name = \"other\"")
        .replace("ports = [8081, 8082]", "ports = [8381, 8382]")
        .replace("api-{{ version }}", "other-{{ version }}");
    std::fs::write(project.path("other.toml"), playbook).expect("our own directory");
    project.release("other", "1", Behaviour::Good);
    project.run(&["deploy", "other-stack.toml"], 0);

    assert_eq!(
        project.deployments(),
        ["2 deploy succeeded", "1 deploy succeeded"]
    );
    project.run(&["rollback", "stack.toml"], 0);
    project.assert_serves("1");
    project.run(
        &["deploy", "other-stack.toml", "--set", "rollout.replicas=0"],
        0,
    );
}
