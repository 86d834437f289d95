//! Verbs that need one service, verbs that run for each, and the status of a stack.

use super::project::{SERVICES, StackProject, text};
use ship_testing::behaviour::Behaviour;

#[test]
fn verbs_for_one_service_name_the_services_of_the_stack() {
    let project = StackProject::deployed();
    let pids = project.pids();
    for args in [
        &["scale", "stack.toml", "--replicas", "2"][..],
        &["logs", "stack.toml"],
        &["history", "stack.toml", "--revision", "1"],
        &["rollback", "stack.toml", "--to-revision", "1"],
    ] {
        let done = project.run(args, 2);
        assert_eq!(
            done.stderr,
            "error: this command needs one service, and the inventory has api, worker, web\nhint: \
             choose one with `--service`, for example `--service api`\n",
            "{args:?}"
        );
    }
    assert_eq!(project.pids(), pids);
}

#[test]
fn verbs_for_one_service_work_with_its_name() {
    let project = StackProject::deployed();
    let logs = project
        .run(&["logs", "--service", "web", "--lines", "9"], 0)
        .stdout;
    assert!(
        logs.contains("page 1 starts, its behaviour is good"),
        "{logs}"
    );
    let args = ["history", "--revision", "1", "--service", "web"];
    let revision = project.run(&args, 0).stdout;
    assert!(revision.contains("name = \"web\""), "{revision}");
    project.run(&["scale", "--replicas", "2", "--service", "worker"], 0);
    assert_eq!(project.served(), ["api 1", "worker 1", "worker 1", "web 1"]);
    project.run(&["restart", "--service", "worker"], 0);
    assert_eq!(project.served(), ["api 1", "worker 1", "worker 1", "web 1"]);
}

#[test]
fn service_is_taken_back_alone_to_a_revision() {
    let project = StackProject::deployed();
    project.deploy("2");
    let args = ["rollback", "--service", "api", "--to-revision", "1"];
    project.run(&args, 0);
    assert_eq!(project.served(), ["api 1", "worker 2", "web 2"]);
}

#[test]
fn status_of_a_stack_has_an_object_for_each_service() {
    let project = StackProject::deployed();
    let status = project.json(&["status", "stack.toml"]);
    let keys: Vec<_> = status.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["fleet", "services", "unfinished_deployment"]);
    assert_eq!(status["unfinished_deployment"], serde_json::Value::Null);
    assert_eq!(status["fleet"], "shop");
    let services = status["services"].as_array().expect("an array");
    let names: Vec<_> = services.iter().map(|it| text(&it["service"])).collect();
    assert_eq!(names, SERVICES);
    for service in services {
        assert_eq!(
            (&service["state"], &service["version"]),
            (&"idle".into(), &"1".into())
        );
        assert_eq!(service["replicas"]["available"], 1);
        assert_eq!(
            service["instances"].as_array().map(Vec::len),
            Some(1),
            "{service:#}"
        );
    }
    let status = project.json(&["status", "stack.toml", "--service", "web"]);
    assert_eq!(
        status["services"].as_array().map(Vec::len),
        Some(1),
        "{status:#}"
    );
}

#[test]
fn status_shows_which_service_has_failed() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    project.deploy_events(3);
    project
        .ship(&["status", "stack.toml"])
        .stdout_lines(&[
            "service api",
            "node1   1 ",
            "service worker",
            "service web",
            "deploy of 2 (revision 2) ended [TOOK] ago: rolled-back",
        ])
        .run();
    let shown = project.json(&["status", "stack.toml"]);
    let states: Vec<_> = SERVICES
        .iter()
        .enumerate()
        .map(|(index, _)| text(&shown["services"][index]["state"]))
        .collect();
    assert_eq!(states, ["idle", "idle", "failed"]);
}

#[test]
fn rollback_shows_its_plan_in_the_reverse_order() {
    let project = StackProject::deployed();
    project.deploy("2");
    let pids = project.pids();
    let done = project.run(&["rollback", "stack.toml", "--dry-run"], 0);
    let headings: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("service "))
        .collect();
    assert_eq!(headings[0], "service 1: web", "{}", done.stdout);
    assert_eq!(headings.len(), 3, "{}", done.stdout);
    assert!(done.stdout.contains("\nweb 1 on shop"), "{}", done.stdout);
    assert_eq!(project.pids(), pids);
}

#[test]
fn check_reports_the_problems_of_every_service() {
    let project = StackProject::deployed();
    for service in ["api", "web"] {
        let dir = project.path(&format!("{service}-3"));
        assert!(!dir.exists());
    }
    project.release("worker", "3", Behaviour::Good);
    let done = project.run(&["check", "stack.toml", "--version", "3"], 2);
    let failed: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("FAILED"))
        .collect();
    assert_eq!(failed.len(), 2, "{}", done.stdout);
    assert!(done.stdout.contains("service web"), "{}", done.stdout);
}
