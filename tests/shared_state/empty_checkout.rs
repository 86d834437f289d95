//! An empty checkout, as on a CI runner: it has the files of the repository, and nothing else.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::server::StateServer;
use crate::team::{Team, URL_VARIABLE};
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

/// Each verb from a checkout of its own.
fn check_verbs(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let team = Team::deployed_twice(server);
    let a = team.checkout("a2");
    let b = |name: &str| team.checkout_elsewhere(name);

    let status = b("status").json("status", &[]);
    let versions: Vec<_> = instances(&status)
        .iter()
        .map(|it| it["version"].clone())
        .collect();
    assert_eq!(versions, ["0.9", "0.9", "0.9"]);
    assert_eq!(b("history").json("history", &[]), a.json("history", &[]));
    let detail = ["--revision", "1"];
    b("revision")
        .run("history", &detail)
        .prints(&["ticket 4711", "0.8"]);
    assert_eq!(
        b("revision2").json("history", &detail),
        a.json("history", &detail)
    );
    b("plan")
        .run("plan", &["--version", "0.8"])
        .prints(&["0.8"]);

    b("rollback").run("rollback", &["--reason", "slow"]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
    b("deploy").deploy("0.9");
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
    let report = b("report");
    report.run(
        "report",
        &["--rollout", "2", "--output-file", "rollout.html"],
    );
    report.run("report", &["--rollout", "2"]);
    let mode = |name| {
        let metadata = std::fs::metadata(report.path(name)).expect("the state directory");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode(".ship"), mode(".ship/runs/2.html")), (0o700, 0o600));
    assert!(report.path(".ship/.gitignore").exists());
    let page = std::fs::read_to_string(report.path("rollout.html")).expect("the report");
    assert!(page.contains("<html") && page.contains("0.9"), "{page}");
    let freezing = b("freeze");
    freezing.run("freeze", &["--reason", "launch day"]);
    a.ship("deploy", &["--version", "0.8"])
        .exits(6)
        .prints(&["launch day"]);
    b("thaw").run("thaw", &[]);
    b("scale").run("scale", &["--replicas", "4"]);
    team.await_answers(&["node1 0.9", "node2 0.9", "node3 0.9", "node4 0.9"]);
    let before = team.instances();
    b("restart").run("restart", &["--reason", "new certificates"]);
    let after = team.instances();
    assert!(
        before
            .values()
            .all(|pid| !after.values().any(|other| other == pid))
    );
    assert_eq!(after.len(), 4);
    assert_eq!(a.json("history", &[]), b("last").json("history", &[]));
}

#[test]
fn empty_checkout_has_every_verb_with_postgres() {
    check_verbs(StateServer::postgres());
}

#[test]
fn empty_checkout_has_every_verb_with_etcd() {
    check_verbs(StateServer::etcd());
}

/// Nothing but the inventory and the playbook. The hosts have all releases.
fn check_without_artifacts(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let team = Team::deployed_twice(server);
    team.remove_artifacts();
    let b = team.checkout_elsewhere("b");
    b.run("rollback", &[]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
    let c = team.checkout_elsewhere("c");
    c.run("restart", &[]);
    c.run("scale", &["--replicas", "4"]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8", "node4 0.8"]);
    team.release("0.10", Behaviour::Good);
    team.checkout_elsewhere("d").deploy("0.10");
    assert_eq!(team.answers().len(), 4);
}

#[test]
fn empty_checkout_recovers_an_artifact_from_its_source() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::deployed_twice(server);
    // A new disk.
    team.remove_releases("node3");
    team.checkout_elsewhere("b").run("rollback", &[]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
}

#[test]
fn empty_checkout_rolls_back_without_artifacts_with_postgres() {
    check_without_artifacts(StateServer::postgres());
}

#[test]
fn empty_checkout_rolls_back_without_artifacts_with_etcd() {
    check_without_artifacts(StateServer::etcd());
}

#[test]
fn empty_checkout_has_the_logs_of_rollouts() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::deployed_twice(server);
    let b = team.checkout_elsewhere("b");
    b.run("logs", &["--rollout", "last"])
        .prints(&["page 0.9", "started", "3 of 3 available"]);
    b.run("logs", &["--rollout", "1"]).prints(&["page 0.8"]);
    // The inventory of the directory is used.
    b.bare("status", &[])
        .exits(0)
        .prints(&["successfully rolled out"]);
    b.run("logs", &["--lines", "5"])
        .prints(&["page 0.9 starts"]);
}

/// A checkout that had a history of its own before it used the shared state.
#[test]
fn history_and_logs_of_a_checkout_are_not_those_of_the_shared_state() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    let a = team.checkout("a");
    let inventory = a.path("inventory.toml");
    write(&inventory, &team.inventory());
    for version in ["0.8", "0.9", "0.8"] {
        a.deploy(version);
    }
    let shared = format!(
        "{}[state]\nurl_env = \"{URL_VARIABLE}\"\n",
        team.inventory()
    );
    write(&inventory, &shared);
    a.ship("history", &[]).prints(&[
        "the shared state has no history of service `page`",
        "hint: ",
    ]);
    team.checkout("b").deploy("0.9");
    let done = a.ship("history", &[]).exits(0);
    assert!(!done.stderr.contains("has no history"), "{}", done.stderr);
    // Each history has a third rollout: the first two of the shared one adopted 0.9 and 0.8.
    a.run("logs", &["--rollout", "3"])
        .prints(&["page 0.9 (revision 3)"]);
    let log = std::fs::read_to_string(a.path(".ship/runs/3.jsonl")).expect("the log");
    assert!(log.contains("page 0.8 (revision 3)"), "{log}");
}

fn instances(status: &Value) -> &Vec<Value> {
    status["instances"].as_array().expect("an array")
}
