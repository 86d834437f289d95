//! Hosts that leave the fleet: with `drain = true`, or removed from the inventory.

use crate::project::{LocalProject, NODES};
use ship_testing::probe_client::Monitor;

#[test]
fn deploy_moves_instances_off_a_drained_host() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let monitor =
        Monitor::start(["node2", "node3"].map(|node| format!("{}:8081", project.address(node))));
    monitor.await_answers(20);
    project.drain("node1");
    let planned = project
        .ship(&["plan", "inventory.toml", "--version", "0.8"])
        .any_stdout()
        .run()
        .stdout;
    assert!(
        planned.contains("worst case: 3 of 3 available"),
        "{planned}"
    );
    let status = || {
        project
            .ship(&["status", "inventory.toml"])
            .any_stdout()
            .run()
            .stdout
    };
    assert!(
        status().contains("node1   to be drained by the next deploy"),
        "{}",
        status()
    );
    let done = project.deploy("0.8");
    let order = ["node4:8081  ready", "node1:8081  stopped   0.8 (replaced)"]
        .map(|line| done.stderr.find(line));
    assert!(order[0].is_some() && order[0] < order[1], "{}", done.stderr);
    assert_eq!(
        project.running(),
        ["node2:8081 0.8", "node3:8081 0.8", "node4:8081 0.8"]
    );
    assert_eq!(monitor.stop().failures(), Vec::<String>::new());
    // It is an entry of its own, and nothing more is to be done.
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
    assert!(project.deploy("0.8").stderr.contains("nothing to do"));
    assert!(
        status().contains("node1   drained; safe to remove"),
        "{}",
        status()
    );
    project.deploy("0.9");
    assert_eq!(
        project.running(),
        ["node2:8082 0.9", "node3:8082 0.9", "node4:8082 0.9"]
    );

    let project = project.on(&["node2", "node3", "node4"]);
    let done = project.deploy("0.8");
    assert!(!done.stderr.contains("warning: "), "{}", done.stderr);
}

#[test]
fn orphaned_instances_are_reported_once() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let project = project.on(&["node2", "node3", "node4"]);
    let warning =
        "warning: node1 was removed from the inventory but may still run 0.8 in slot 8081\n";
    for args in [["plan", "inventory.toml"], ["deploy", "inventory.toml"]] {
        let done = project.ship(&args).any_stdout().any_stderr().run();
        assert!(done.stderr.contains(warning), "{}", done.stderr);
    }
    let done = project.deploy("0.9");
    assert!(!done.stderr.contains("warning: "), "{}", done.stderr);
    // As the hint says.
    let project = project.on(&NODES);
    project.drain("node1");
    project.deploy("0.9");
    assert_eq!(project.processes().len(), 3);
}
