//! `ship status`.

use serde_json::{Value, json};
use snapbox::str;

use crate::call::{json, json_lines};
use crate::project::{DEADLINE, LocalProject};
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::until;

#[test]
fn status_before_the_first_deploy_shows_no_instances() {
    let project = LocalProject::new();
    project
        .ship(&["status", "inventory.toml"])
        .stdout(str![[r#"
service `page` has not been deployed on fleet `local` yet

"#]])
        .run();
    let status = project.status();
    assert_eq!(
        (&status["state"], &status["revision"], &status["version"]),
        (&json!("idle"), &Value::Null, &Value::Null)
    );
    project.assert_hosts_untouched();
}

#[test]
fn status_of_a_settled_fleet_is_a_table() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["status", "inventory.toml"])
        .stdout(str![[r#"
INSTANCE   READY   STATUS   RESTARTS   AGE   ADDRESS   HOST   VERSION   REVISION
[INSTANCE]   1/1   Running   0   [AGE]   [NET].11:8081   node1   0.8   1
[INSTANCE]   1/1   Running   0   [AGE]   [NET].12:8081   node2   0.8   1
[INSTANCE]   1/1   Running   0   [AGE]   [NET].13:8081   node3   0.8   1

deployment "page" successfully rolled out

"#]])
        .run();
}

#[test]
fn status_json_keys_are_stable() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let status = project.status();
    for (key, value) in [
        ("service", json!("page")),
        ("fleet", json!("local")),
        ("state", json!("idle")),
        ("revision", json!(1)),
        ("version", json!("0.8")),
        ("holds", json!([])),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    for key in ["desired", "updated", "available", "total"] {
        assert_eq!(status["replicas"][key], 3, "{key}");
    }
    let instance = &status["instances"][0];
    for (key, value) in [
        ("host", json!("node1")),
        ("address", json!(project.address("node1"))),
        ("port", json!(8081)),
        ("version", json!("0.8")),
        ("revision", json!(1)),
        ("ready", json!(true)),
        ("status", json!("Running")),
        ("restarts", json!(0)),
    ] {
        assert_eq!(instance[key], value, "{key}");
    }
    assert!(
        instance["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("page-")),
        "{instance}"
    );
    assert!(instance["age_s"].is_u64(), "{instance}");
}

#[test]
fn status_after_a_failure_shows_the_outcome() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    project
        .ship(&["status", "inventory.toml"])
        .stdout_lines(&[
            "deployment \"page\" successfully rolled back",
            "deploy of 0.9 (revision 2) ended [TOOK] ago: rolled-back",
            "reason: node4:8081: the new instance exited unexpectedly after [TOOK]: exit status 7",
        ])
        .run();
    let status = project.status();
    assert_eq!(
        (&status["state"], &status["version"]),
        (&json!("failed"), &json!("0.8"))
    );
}

#[test]
fn status_shows_a_dead_instance() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.end_instance("node2", 8081);
    project
        .ship(&["status", "inventory.toml"])
        .stdout_lines(&[
            "1/1   Running   0   [AGE]   [NET].11:8081   node1   0.8   1",
            "0/1   Exited   0   [AGE]   [NET].12:8081   node2   0.8   1",
            "1/1   Running   0   [AGE]   [NET].13:8081   node3   0.8   1",
            "deployment \"page\" was rolled out; 2 of 3 replicas are available now",
        ])
        .run();
    assert_eq!(project.status()["replicas"]["available"], 2);
}

#[test]
fn status_watch_refreshes_until_ctrl_c() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let mut watch = project
        .ship(&["status", "--watch", "--output", "json"])
        .spawn();
    until("a second look", DEADLINE, || {
        (watch.stdout_so_far().lines().count() >= 2).then_some(())
    });
    watch.signal("INT");
    let done = watch.wait().exits(0);
    assert_eq!(done.stderr, "");
    for look in json_lines(&done.stdout) {
        assert_eq!(
            (&look["version"], &look["replicas"]["available"]),
            (&json!("0.8"), &json!(1))
        );
    }
}

#[test]
fn status_watch_shows_a_release_deployed_after_it_started() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let mut watch = project
        .ship(&["status", "--watch", "--output", "json"])
        .spawn();
    until("a first look", DEADLINE, || {
        watch.stdout_so_far().contains('\n').then_some(())
    });
    project.release("0.9", Behaviour::Good);
    project.deploy("0.9");
    until("the new release", DEADLINE, || {
        let shown = watch.stdout_so_far();
        let (whole, _) = shown.rsplit_once('\n')?;
        let status = json(whole.lines().last()?);
        let instance = &status["instances"][0];
        let is_shown =
            status["version"] == "0.9" && instance["version"] == "0.9" && instance["ready"] == true;
        is_shown.then_some(())
    });
    watch.signal("INT");
    watch.wait().exits(0);
}

#[test]
fn success_is_not_reported_before_the_rollout_has_ended() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.release("0.9", Behaviour::Good);
    let project = project.with(
        "[rollout]",
        "[[hooks]]\non = \"after_all\"\ncommand = \"/bin/false\"\n\n[rollout]",
    );
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert!(
        !done.stderr.contains("successfully rolled out"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains("deployment \"page\" successfully rolled back"),
        "{}",
        done.stderr
    );
    let status = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    assert!(
        status.contains("deployment \"page\" successfully rolled back"),
        "{status}"
    );
    assert!(!status.contains("successfully rolled out"), "{status}");
}
