//! The order of the services, and which of them roll out at the same time.

use serde_json::json;

use super::events::Events;
use super::project::{SERVICES, StackProject};
use crate::call::json_lines;
use ship_testing::behaviour::Behaviour;

#[test]
fn independent_services_roll_out_at_the_same_time_and_the_dependent_one_after_them() {
    let project = StackProject::deployed();
    for service in ["api", "worker"] {
        project.release(service, "2", Behaviour::Gated);
    }
    let mut deploy = project.start_deploy();
    // Neither can finish before the gate is open, so both run at the same time.
    for service in ["api", "worker"] {
        Events::await_event(&mut deploy, service, "rollout_started");
        Events::await_event(&mut deploy, service, "action_started");
    }
    project.open_gate();
    let events = Events::of(&deploy.wait().exits(0).stdout);
    let web = events.place("web", "rollout_started");
    for service in ["api", "worker"] {
        let finished = events.place(service, "rollout_finished");
        assert!(
            finished < web,
            "{service} ends at {finished}, web starts at {web}"
        );
    }
    project.assert_serves("2");
    assert_eq!(
        project.deployments(),
        ["2 deploy succeeded", "1 deploy succeeded"]
    );
}

#[test]
fn every_event_names_its_service_and_the_last_one_the_deployment() {
    let project = StackProject::new();
    let events = project.deploy_events(0);
    let (last, others) = events.all().split_last().expect("there are events");
    for event in others {
        let service = event["service"].as_str().unwrap_or_default();
        assert!(SERVICES.contains(&service), "{event}");
    }
    assert_eq!(last["event"], "deployment_finished");
    assert_eq!(
        (&last["deployment"], &last["outcome"]),
        (&json!(1), &json!("succeeded"))
    );
}

#[test]
fn later_events_have_later_times() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Deaf);
    project.change("web.toml", "timeout = \"5s\"", "timeout = \"6s\"");
    // The deployment takes longer than the difference that a clock of the state may have.
    let events = project.deploy_events(3);
    let first = events.all().first().and_then(|it| it["at"].as_u64());
    let undo = events.places("api", "rollout_started").pop();
    let undo = undo.and_then(|place| events.all()[place]["at"].as_u64());
    let (first, undo) = (first.expect("a time"), undo.expect("a time"));
    assert!(undo >= first + 6000, "began at {first}, undone at {undo}");
}

#[test]
fn second_deploy_has_nothing_to_do() {
    let project = StackProject::deployed();
    let pids = project.pids();
    let done = project.deploy("1");
    for service in SERVICES {
        let line = format!("nothing to do: {service} 1 (revision 1) is available on 1 of 1");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
    }
    assert_eq!(project.pids(), pids);
    assert_eq!(project.deployments(), ["1 deploy succeeded"]);
}

#[test]
fn selected_services_and_versions_change_and_the_others_stay() {
    let project = StackProject::deployed();
    let args = [
        "deploy",
        "--service",
        "api",
        "--service",
        "web",
        "--version",
        "2",
    ];
    project.run(&args, 0);
    assert_eq!(project.served(), ["api 2", "worker 1", "web 2"]);
    let args = ["deploy", "--version", "2", "--version", "web=1"];
    let done = project.run(&args, 0);
    assert!(
        done.stderr.contains("nothing to do: api 2"),
        "{}",
        done.stderr
    );
    assert_eq!(project.served(), ["api 2", "worker 2", "web 1"]);
}

#[test]
fn plan_shows_the_order_and_changes_nothing() {
    let project = StackProject::deployed();
    let pids = project.pids();
    for verb in [&["plan"][..], &["deploy", "--dry-run"]] {
        let args = [verb, &["stack.toml", "--version", "2"]].concat();
        project
            .ship(&args)
            .stdout_lines(&[
                "service 1: api",
                "start  2 at node1:8082",
                "service 2: worker",
                "service 3: web, after api, worker",
                "start  2 at node1:8282",
                "on failure: roll back to 1 (revision 1)",
            ])
            .run();
    }
    let plan = project.json(&["plan", "stack.toml", "--version", "2"]);
    assert_eq!(plan["fleet"], "shop");
    assert_eq!(
        plan["services"].as_array().map(Vec::len),
        Some(3),
        "{plan:#}"
    );
    assert_eq!(project.pids(), pids);
    let printed = project.run(&["history", "--output", "json"], 0).stdout;
    assert_eq!(
        json_lines(&printed.replace('\n', ""))[0]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}
