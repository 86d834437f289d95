//! The store fails during a rollout.

use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::journal;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;
use ship_testing::namespace::until;

/// Requests to members that do not answer fail after some seconds, and are repeated.
const NOTICED_WITHIN: Duration = Duration::from_mins(1);
/// For so long nothing must happen.
const OBSERVED_FOR: Duration = Duration::from_secs(3);
const LEASE_EXPIRES_WITHIN: Duration = Duration::from_secs(50);

/// During the outage: the old version, and the first instance of the new one.
const ALL_SERVE: [&str; 4] = ["node1 0.8", "node2 0.8", "node3 0.8", "node4 0.9"];

/// A deploy of 0.9 that has noticed that the store has failed, when its first instance was ready.
fn fail_during_deploy(server: StateServer, progress_deadline: &str) -> (Team, Checkout, Running) {
    let deadline = format!("progress_deadline = \"{progress_deadline}\"");
    let mut team = Team::new(server).with("progress_deadline = \"60s\"", &deadline);
    team.release("0.9", Behaviour::Gated);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    team.server.fail();
    team.open_gate();
    deploy.await_words_within("nothing new starts", NOTICED_WITHIN);
    (team, a, deploy)
}

/// Asserts for a while that no instance starts or stops, and that all serve.
#[track_caller]
fn assert_hosts_rest(team: &Team) {
    let instances = team.instances();
    let since = Instant::now();
    while since.elapsed() < OBSERVED_FOR {
        assert_eq!(team.instances(), instances);
        assert_eq!(team.answers(), ALL_SERVE);
    }
}

fn check_return(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let (mut team, _a, mut deploy) = fail_during_deploy(server, "60s");
    assert_hosts_rest(&team);
    assert!(!deploy.has_ended());
    team.server.recover();
    let done = deploy
        .wait()
        .exits(0)
        .prints(&["the state can be used again"]);
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
    let stored = journal::stored(&team.server, 2);
    journal::assert_printed(&done.stdout, &stored);
    assert_eq!(journal::named(&stored, "rollout_finished").len(), 1);
    assert!(journal::named(&stored, "host_recovered").is_empty());
    let history = team.checkout_elsewhere("b").history();
    assert_eq!(history, ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn rollout_continues_when_postgres_returns() {
    check_return(StateServer::postgres());
}

#[test]
fn rollout_continues_when_etcd_has_a_majority_again() {
    check_return(StateServer::etcd());
}

#[test]
fn stop_in_flight_ends_while_postgres_is_down_and_nothing_starts() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let mut team = Team::new(server);
    team.release("0.8", Behaviour::Lingers);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    // The old instance stops as soon as the gate is open.
    until("a stop", NOTICED_WITHIN, || {
        let is_stopping = deploy.stdout_so_far().contains("\"do\":\"stop\"");
        is_stopping.then_some(())
    });
    assert_eq!(team.instances().len(), 4);
    team.server.fail();
    team.open_gate();
    deploy.await_words_within("nothing new starts", NOTICED_WITHIN);
    team.await_answers(&["node2 0.8", "node3 0.8", "node4 0.9"]);
    let instances = team.instances();
    let since = Instant::now();
    while since.elapsed() < OBSERVED_FOR {
        assert_eq!(team.instances(), instances);
    }
    team.server.recover();
    let done = deploy.wait().exits(0);
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
    journal::assert_printed(&done.stdout, &journal::stored(&team.server, 2));
}

fn check_end(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let (mut team, _a, deploy) = fail_during_deploy(server, "6s");
    let instances = team.instances();
    let done = deploy
        .wait()
        .exits(130)
        .prints(&["`ship resume` continues the rollout"]);
    assert_eq!(team.instances(), instances);
    assert_hosts_rest(&team);
    let b = team.checkout_elsewhere("b");
    b.ship("resume", &[]).exits(7);
    team.server.recover();
    // The controller could not release the lock.
    until("the lease expires", LEASE_EXPIRES_WITHIN, || {
        let done = b.ship("resume", &[]);
        if done.code == Some(6) {
            return None;
        }
        Some(done.exits(0))
    });
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
    assert_eq!(b.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    // Everything that was printed is in the journal.
    let stored = journal::stored(&team.server, 2);
    let printed = done.stdout.lines().count();
    journal::assert_printed(&done.stdout, &stored[..printed]);
}

#[test]
fn rollout_ends_as_interrupted_when_postgres_does_not_return() {
    check_end(StateServer::postgres());
}

#[test]
fn rollout_ends_as_interrupted_when_etcd_has_no_majority() {
    check_end(StateServer::etcd());
}

fn check_interrupt(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let (mut team, _a, deploy) = fail_during_deploy(server, "10m");
    deploy.signal("INT");
    let done = deploy.wait().exits(130);
    println!("interrupted {:?} after the signal", done.took);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert_hosts_rest(&team);
    team.server.recover();
}

#[test]
fn ctrl_c_ends_a_deploy_while_postgres_is_down() {
    check_interrupt(StateServer::postgres());
}

#[test]
fn ctrl_c_ends_a_deploy_while_etcd_has_no_majority() {
    check_interrupt(StateServer::etcd());
}
