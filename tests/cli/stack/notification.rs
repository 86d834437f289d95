//! The notification about a deployment.

use std::fs;

use serde_json::Value;

use super::project::{SERVICES, StackProject};
use crate::call::json_lines;
use ship_testing::behaviour::Behaviour;

/// Version 1 runs, and every playbook has the same command for notifications.
fn notifying() -> StackProject {
    let project = StackProject::deployed();
    let file = project.path("notifications").display().to_string();
    let lines = format!("\n[notify]\ncommand = \"/bin/sh -c 'cat >> {file}; echo >> {file}'\"\n");
    for service in SERVICES {
        project.append(&format!("{service}.toml"), &lines);
    }
    project
}

/// The only notification.
#[track_caller]
fn only(project: &StackProject) -> Value {
    let text = fs::read_to_string(project.path("notifications")).expect("the command ran");
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut all = json_lines(&lines.join("\n"));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn successful_deployment_sends_one_notification() {
    let project = notifying();
    project.deploy("2");
    let sent = only(&project);
    assert_eq!(sent["outcome"], "succeeded");
    assert_eq!(sent["occasion"], "success");
    assert_eq!(
        (&sent["service"], &sent["version"]),
        (&"api, worker, web".into(), &"2".into())
    );
    let summary = sent["summary"].as_str().unwrap_or_default();
    assert!(
        summary.starts_with("deployment 2 of api 2, worker 2, web 2 on shop: succeeded after "),
        "{summary}"
    );
    let page = sent["report"].as_str().unwrap_or_default();
    let page = fs::read_to_string(page).expect("the page of the deployment");
    assert!(page.contains("deployment 2"), "{page}");
    fs::remove_file(project.path("notifications")).expect("our own file");
    project.deploy("2");
    assert!(
        !project.path("notifications").exists(),
        "there was nothing to do"
    );
}

#[test]
fn failed_deployment_sends_one_notification_with_the_reason() {
    let project = notifying();
    project.release("web", "2", Behaviour::Exits);
    project.deploy_events(3);
    let sent = only(&project);
    assert_eq!(sent["outcome"], "rolled-back");
    assert_eq!(
        (&sent["occasion"], &sent["exit_code"]),
        (&"failure".into(), &3.into())
    );
    let why = sent["why"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("web: node1:8282: the new instance exited unexpectedly"),
        "{why}"
    );
}

#[test]
fn rollback_sends_one_notification() {
    let project = notifying();
    project.deploy("2");
    fs::remove_file(project.path("notifications")).expect("our own file");
    project.run(&["rollback", "stack.toml"], 0);
    let sent = only(&project);
    assert_eq!(
        (&sent["verb"], &sent["outcome"]),
        (&"rollback".into(), &"succeeded".into())
    );
}

#[test]
fn refused_unattended_deployment_sends_one_notification() {
    let project = notifying();
    let args = [
        "freeze",
        "stack.toml",
        "--service",
        "web",
        "--reason",
        "launch",
    ];
    project.run(&args, 0);
    let args = ["deploy", "stack.toml", "--version", "2", "--unattended"];
    project.run(&args, 6);
    let sent = only(&project);
    assert_eq!(
        (&sent["outcome"], &sent["exit_code"]),
        (&"refused".into(), &6.into())
    );
    let why = sent["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("web: ") && why.contains("frozen"), "{why}");
    project.assert_serves("1");
}
