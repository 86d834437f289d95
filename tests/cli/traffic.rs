//! Deploys behind a real balancer: admitting, draining, and a balancer that fails.

use std::fs;

use serde_json::Value;
use snapbox::str;

use crate::project::{DEADLINE, LocalProject, NODES};
use ship_testing::behaviour::Behaviour;
use ship_testing::haproxy::Haproxy;
use ship_testing::namespace::{until, write};
use ship_testing::probe_client::{Answers, Monitor, get};

/// A project behind a balancer that has a server for each slot. `None` where there is no `HAProxy`.
fn behind_haproxy() -> Option<(LocalProject, Haproxy)> {
    let project = LocalProject::new();
    let servers = NODES.iter().flat_map(|node| {
        let address = project.address(node);
        [8081, 8082].map(|port| format!("{node}-{port} {address}:{port} check weight 100"))
    });
    let haproxy = Haproxy::start(servers)?;
    let socket = haproxy.socket().display().to_string();
    let project = project.with(
        "[readiness]",
        &format!(
            "[traffic]\ndriver = \"haproxy\"\nsocket = \"{socket}\"\nbackend = \
                  \"web\"\n\n[readiness]"
        ),
    );
    let inventory = project.inventory("local", &NODES)
        + "\n[[balancers]]\nname = \"lb1\"\ntransport = \"local\"\n";
    write(&project.path("inventory.toml"), &inventory);
    Some((project, haproxy))
}

/// The receipts of the newest rollout, as its JSON lines tell.
fn receipts(events: &str) -> Vec<Value> {
    let events = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    events
        .filter_map(|event| {
            event
                .get("result")
                .filter(|receipt| !receipt.is_null())
                .cloned()
        })
        .collect()
}

#[test]
fn deploy_admits_and_drains_without_failed_requests() {
    let Some((project, haproxy)) = behind_haproxy() else {
        return;
    };
    project.deploy("0.8");
    let monitor = Monitor::start([haproxy.front().to_string()]);
    monitor.await_answers(20);
    let deploy = &[
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--output",
        "json",
    ];
    let done = project.ship(deploy).any_stdout().any_stderr().run();
    monitor.await_answers(20);
    let answers = monitor.stop();
    assert_eq!(answers.failures(), Vec::<String>::new());
    let receipts = receipts(&done.stdout);
    assert_eq!(receipts.len(), 3, "{}", done.stdout);
    assert!(
        receipts.iter().all(|receipt| receipt["cut"] == 0),
        "{receipts:?}"
    );
    assert!(
        get(haproxy.front())
            .expect("an answer")
            .contains("version is: 0.9")
    );
    project
        .ship(&["check", "inventory.toml", "--version", "0.9"])
        .stdout(str![[r#"
ok      inventory.toml
ok      playbook.toml
ok      artifact of 0.9 ([SIZE] bytes)
ok      node1: reached as [USER], [SIZE] MiB free, 1 instance, 2 releases (1 MiB)
ok      node2: reached as [USER], [SIZE] MiB free, 1 instance, 2 releases (1 MiB)
ok      node3: reached as [USER], [SIZE] MiB free, 0 instances, 2 releases (1 MiB)
ok      node4: reached as [USER], [SIZE] MiB free, 1 instance, 2 releases (1 MiB)
ok      lb1: reached as [USER], [SIZE] MiB free, 3 of 8 servers receive requests

"#]])
        .run();
}

#[test]
fn drained_host_causes_no_failed_requests() {
    let Some((project, haproxy)) = behind_haproxy() else {
        return;
    };
    project.deploy("0.8");
    project.drain("node1");
    let monitor = Monitor::start([haproxy.front().to_string()]);
    monitor.await_answers(20);
    let deploy = &[
        "deploy",
        "inventory.toml",
        "--version",
        "0.8",
        "--output",
        "json",
    ];
    let done = project.ship(deploy).any_stdout().any_stderr().run();
    monitor.await_answers(20);
    assert_eq!(monitor.stop().failures(), Vec::<String>::new());
    assert_eq!(receipts(&done.stdout).len(), 1, "{}", done.stdout);
    assert_eq!(
        project.running(),
        ["node2:8081 0.8", "node3:8081 0.8", "node4:8081 0.8"]
    );
}

#[test]
fn comparison_finds_a_version_that_fails_requests() {
    let Some((project, haproxy)) = behind_haproxy() else {
        return;
    };
    project.release("0.9", Behaviour::Leaky);
    project.deploy("0.8");
    let judged = "[[analysis]]\nname = \"beside\"\nkind = \"compare\"\ninterval = \
                  \"500ms\"\n\n[rollout]\n\
                  steps = [{ instances = 1, soak = \"1h\" }]\n";
    let project = project.with("[rollout]\n", judged);
    let monitors: Vec<_> = (0..4)
        .map(|_| Monitor::start([haproxy.front().to_string()]))
        .collect();
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    let answers: Vec<_> = monitors.into_iter().map(Monitor::stop).collect();
    // Clients saw nothing but what the canary leaks, one of twenty of its own share.
    let broken: Vec<_> = answers.iter().flat_map(Answers::interrupted).collect();
    assert!(
        broken
            .iter()
            .all(|why| why.ends_with(" 500 Internal Server Error")),
        "{broken:?}"
    );
    let served: usize = answers.iter().map(Answers::count).sum();
    assert!(
        !broken.is_empty() && broken.len() * 100 <= served * 5,
        "{} of {served}",
        broken.len()
    );
    let found = done
        .stderr
        .lines()
        .find(|line| line.contains("analysis beside: failed: "))
        .expect("a line");
    assert!(
        found.contains(" requests failed, against 0.0 % of "),
        "{found}"
    );
    assert_eq!(project.history()[0], "2 0.9 rolled-back");
}

#[test]
fn unreachable_balancer_is_refused_before_any_change() {
    let Some((project, mut haproxy)) = behind_haproxy() else {
        return;
    };
    haproxy.kill();
    let socket = haproxy.socket().display().to_string();
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .status(7)
        .run();
    snapbox::assert_data_eq!(
        project.redacted(&done.stderr).replace(&socket, "[SOCKET]"),
        str![[r#"
error: 1 of 1 balancers is unusable; no changes were made
  lb1: HAProxy does not respond at [SOCKET]; check that it is running, that its `stats socket` line names this socket, and that the login user may access it (Connection refused (os error 111))
"#]]
    );
    assert_eq!(project.history(), Vec::<String>::new());
    let done = project
        .ship(&["check", "inventory.toml"])
        .any_stdout()
        .status(7)
        .run();
    let line = done
        .stdout
        .lines()
        .find(|line| line.contains("lb1"))
        .expect("the line is printed");
    snapbox::assert_data_eq!(
        line.replace(&socket, "[SOCKET]"),
        str![
            "FAILED  lb1: HAProxy does not respond at [SOCKET]; check that it is running, that \
             its `stats socket` line names this socket, and that the login user may access it \
             (Connection refused (os error 111))"
        ]
    );
}

#[test]
fn deploy_waits_for_a_killed_balancer() {
    let Some((project, mut haproxy)) = behind_haproxy() else {
        return;
    };
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    haproxy.kill();
    deploy.await_words("lb1         lost");
    project.open_gate();
    // While the state of the balancer is unknown, no instance is admitted or stopped.
    deploy.await_words("node4:8081  ready");
    until("three of the old version", DEADLINE, || {
        (project
            .running()
            .iter()
            .filter(|row| row.ends_with("0.8"))
            .count()
            == 3)
            .then_some(())
    });
    haproxy.run();
    let done = deploy.wait().exits(0);
    assert!(
        done.stderr
            .contains("lb1         back      reachable again after"),
        "{}",
        done.stderr
    );
    assert!(project.running().iter().all(|row| row.ends_with("0.9")));
}

#[test]
fn check_reports_what_a_balancer_lacks() {
    let Some((project, haproxy)) = behind_haproxy() else {
        return;
    };
    let config = haproxy.socket().with_file_name("haproxy.cfg");
    let text = fs::read_to_string(&config)
        .expect("our own file")
        .replace("level admin", "level operator");
    let kept: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("node3-") && !line.contains("node4-8082"))
        .collect();
    write(&config, &(kept.join("\n") + "\n"));
    let mut haproxy = haproxy;
    haproxy.kill();
    haproxy.run();
    let done = project
        .ship(&["check", "inventory.toml"])
        .any_stdout()
        .status(2)
        .run();
    let socket = haproxy.socket().display().to_string();
    let lines: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.contains("lb1"))
        .collect();
    snapbox::assert_data_eq!(
        lines.join("\n").replace(&socket, "[SOCKET]"),
        str![[r#"
FAILED  lb1: HAProxy at [SOCKET] is read-only; its `stats socket` line needs `level admin`
FAILED  lb1: backend web has no server for 3 of 8 slots; add lines like `server node3-8081 ADDRESS:8081 check` to its configuration, or set servers = "dynamic" in [traffic]
"#]]
    );
}

#[test]
fn scale_drains_and_admits_instances() {
    let Some((project, haproxy)) = behind_haproxy() else {
        return;
    };
    project.deploy("0.8");
    let monitor = Monitor::start([haproxy.front().to_string()]);
    monitor.await_answers(20);
    let scale = |replicas| {
        [
            "scale",
            "inventory.toml",
            "--replicas",
            replicas,
            "--output",
            "json",
        ]
    };
    let done = project.ship(&scale("1")).any_stdout().any_stderr().run();
    assert_eq!(receipts(&done.stdout).len(), 2, "{}", done.stdout);
    assert_eq!(project.running().len(), 1);
    project.ship(&scale("3")).any_stdout().any_stderr().run();
    monitor.await_answers(20);
    assert_eq!(monitor.stop().failures(), Vec::<String>::new());
    assert_eq!(project.status()["replicas"]["available"], 3);
}
