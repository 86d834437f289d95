//! Ownership of hosts: another fleet is refused, another control directory is reported.

use std::fs;

use serde_json::json;
use snapbox::str;

use crate::project::LocalProject;
use ship_testing::namespace::write;

/// A fleet `local` that runs 0.8 on one host, and an inventory `staging.toml` of another fleet on
/// the same host.
fn shared_host() -> LocalProject {
    let project = LocalProject::small();
    project.deploy("0.8");
    write(
        &project.path("staging.toml"),
        &project.inventory("staging", &["node1"]),
    );
    project
}

#[test]
fn host_of_another_fleet_is_refused_before_any_change() {
    let project = shared_host();
    let before = project.status()["instances"][0].clone();
    project
        .ship(&["deploy", "staging.toml", "--version", "0.9"])
        .stderr(str![[r#"
error: 1 of 1 hosts is unusable; no changes were made
  node1: runs service `page` for fleet `local`, last deployed by [WHO] [TOOK] ago
    hint: give fleet `staging` its own base_dir and ports; to move the host to fleet `staging`, remove [ROOT]/.ship/hosts/node1/page/owner there

"#]])
        .status(2)
        .run();
    for verb in ["plan", "check", "logs"] {
        let done = project
            .ship(&[verb, "staging.toml"])
            .any_stdout()
            .any_stderr()
            .status(2)
            .run();
        let printed = done.stdout + &done.stderr;
        assert!(
            printed.contains("runs service `page` for fleet `local`"),
            "{verb}: {printed}"
        );
    }
    project
        .ship(&["status", "staging.toml"])
        .stdout(str![[r#"
service `page` has not been deployed on fleet `staging` yet
node1   not counted: runs service `page` for fleet `local`, last deployed by [WHO] [TOOK] ago

"#]])
        .run();
    let after = project.status()["instances"][0].clone();
    assert_eq!(
        (&after["name"], &after["ready"]),
        (&before["name"], &json!(true))
    );
}

#[test]
fn host_is_moved_to_another_fleet_once_its_record_is_removed() {
    let project = shared_host();
    let record = project.path(".ship/hosts/node1/page/owner");
    fs::remove_file(&record).expect("the record that the refusal names");
    project
        .ship(&["deploy", "staging.toml", "--version", "0.9"])
        .any_stderr()
        .run();
    let owner = fs::read_to_string(&record).expect("the record");
    assert!(owner.contains("fleet=staging\nservice=page\n"), "{owner}");
    project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
}

#[test]
fn machine_listed_twice_is_refused_by_deploy_and_check() {
    let project = LocalProject::new().with("replicas = 3", "replicas = 2");
    let base_dir = format!("base_dir = \"{}\"\n", project.path("hosts").display());
    let inventory = project.inventory("local", &["node1", "node2"]);
    write(
        &project.path("inventory.toml"),
        &inventory.replace("transport =", &format!("{base_dir}transport =")),
    );
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: 1 of 2 hosts is unusable; no changes were made
  node2: is the same machine as node1: both store the service in [ROOT]/hosts/page
    hint: list each machine once

"#]])
        .status(2)
        .run();
    assert!(!project.path("hosts").exists(), "something was touched");
    let done = project
        .ship(&["check", "inventory.toml"])
        .any_stdout()
        .status(2)
        .run();
    assert!(
        done.stdout
            .contains("FAILED  node2: is the same machine as node1: both store"),
        "{}",
        done.stdout
    );

    // The second name of a machine that runs an instance does not count it again.
    let one = project
        .inventory("local", &["node1"])
        .replace("transport =", &format!("{base_dir}transport ="));
    write(&project.path("one.toml"), &one);
    project
        .ship(&["deploy", "one.toml", "--set", "rollout.replicas=1"])
        .any_stderr()
        .run();
    let done = project
        .ship(&["status", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let status = crate::call::json(&done.stdout);
    assert_eq!(status["replicas"]["total"], 1, "{status:#}");
    assert_eq!(status["holds"][0]["host"], "node2", "{status:#}");
}

#[test]
fn two_fleets_share_a_host_with_separate_directories() {
    let project = shared_host();
    let staging = project
        .inventory("staging", &["node1"])
        .replace("playbook.toml", "staging-page.toml");
    write(
        &project.path("staging.toml"),
        &format!(
            "{staging}base_dir = \"{}\"\n",
            project.path("other").display()
        ),
    );
    let playbook = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    write(
        &project.path("staging-page.toml"),
        &playbook.replace("[8081, 8082]", "[8083, 8084]"),
    );
    for (inventory, version) in [
        ("staging.toml", "0.9"),
        ("inventory.toml", "0.9"),
        ("staging.toml", "0.8"),
    ] {
        project
            .ship(&["deploy", inventory, "--version", version])
            .any_stderr()
            .run();
    }
    for (inventory, version) in [("staging.toml", "0.8"), ("inventory.toml", "0.9")] {
        let done = project
            .ship(&["status", inventory, "--output", "json"])
            .any_stdout()
            .run();
        let status = crate::call::json(&done.stdout);
        assert_eq!(
            (&status["version"], &status["replicas"]["available"]),
            (&json!(version), &json!(1)),
            "{status:#}"
        );
    }
}
