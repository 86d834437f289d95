//! Two operators at once: the lock, and the requests of one to the controller of the other.

use crate::checkout::Checkout;
use crate::journal;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;
use ship_testing::namespace::until;

/// A deploy of 0.9 from checkout A that waits until its first instance is ready, and checkout B.
struct Operators {
    team: Team,
    a: Checkout,
    b: Checkout,
    deploy: Running,
}

impl Operators {
    fn start(server: StateServer) -> Self {
        let team = Team::new(server);
        team.release("0.9", Behaviour::Gated);
        let a = team.checkout("a");
        a.deploy("0.8");
        let mut deploy = a.start_deploy("0.9");
        deploy.await_words("node4:8081  started");
        // The requests do not only arrive because the controller reads them every second.
        until("a watch for requests", crate::team::DEADLINE, || {
            (team.server.watcher_count() > 0).then_some(())
        });
        let b = team.checkout_elsewhere("laptop");
        Self { team, a, b, deploy }
    }
}

fn check_lock(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let Operators { team, a, b, deploy } = Operators::start(server);
    team.release("0.10", Behaviour::Good);
    let b2 = team.checkout_elsewhere("b2");
    let lock = format!(
        "locked by tester@{} (pid {}, deploy 0.9)",
        a.host(),
        deploy.pid()
    );
    for (verb, arguments) in [
        ("deploy", &["--version", "0.8"][..]),
        ("rollback", &[]),
        ("scale", &["--replicas", "4"]),
        ("restart", &[]),
    ] {
        b.ship(verb, arguments)
            .exits(6)
            .prints(&[&lock, "hint: wait with `--lock-timeout 10m`"]);
    }
    let status = b.run("status", &[]);
    let running = format!("deploy of 0.9 (revision 2) by tester@{}", a.host());
    status.prints(&[&running]);
    let mut second = b2.start("deploy", &["--version", "0.10", "--lock-timeout", "1m"]);
    second.await_words(&lock);
    assert!(!second.has_ended());
    team.open_gate();
    deploy.wait().exits(0);
    second.wait().exits(0);
    assert_eq!(
        b.history(),
        ["3 0.10 succeeded", "2 0.9 succeeded", "1 0.8 succeeded"]
    );
    journal::stored(&team.server, 2);
    journal::stored(&team.server, 3);
}

#[test]
fn second_operator_sees_the_lock_and_can_wait_with_postgres() {
    check_lock(StateServer::postgres());
}

#[test]
fn second_operator_sees_the_lock_and_can_wait_with_etcd() {
    check_lock(StateServer::etcd());
}

fn check_pause_and_abort(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let Operators {
        team, b, deploy, ..
    } = Operators::start(server);
    b.run("pause", &[]).prints(&["service `page` paused"]);
    let by = format!("paused by tester@{}", b.host());
    let done = deploy.wait().exits(8).prints(&[&by]);
    journal::assert_printed(&done.stdout, &journal::stored(&team.server, 2));

    let arguments = ["-o", "json", "--progress", "plain"];
    let mut resume = b.start("resume", &arguments);
    resume.await_words("Waiting for deployment");
    let c = team.checkout_elsewhere("c");
    c.run("abort", &[]).prints(&["service `page` rolled back"]);
    resume.wait().exits(3).prints(&["aborted by tester@"]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
    assert_eq!(c.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
}

#[test]
fn pause_and_abort_reach_the_controller_elsewhere_with_postgres() {
    check_pause_and_abort(StateServer::postgres());
}

#[test]
fn pause_and_abort_reach_the_controller_elsewhere_with_etcd() {
    check_pause_and_abort(StateServer::etcd());
}

fn check_freeze(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let Operators {
        team, b, deploy, ..
    } = Operators::start(server);
    b.run("freeze", &["--reason", "the sale"]);
    team.open_gate();
    deploy.wait().exits(6).prints(&["the sale"]);
    b.ship("deploy", &["--version", "0.8"])
        .exits(6)
        .prints(&["the sale"]);
    b.run("thaw", &[]);
    b.run("resume", &[]);
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
}

#[test]
fn freeze_reaches_the_controller_elsewhere_with_postgres() {
    check_freeze(StateServer::postgres());
}

#[test]
fn freeze_reaches_the_controller_elsewhere_with_etcd() {
    check_freeze(StateServer::etcd());
}

fn check_promote(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let steps =
        "[rollout]\nsteps = [{ instances = 1, soak = \"100ms\", pause = true }, \"100%\"]\n";
    let team = Team::new(server).with("[rollout]\n", steps);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    deploy.await_words("then waiting for `ship promote`");
    let b = team.checkout_elsewhere("laptop");
    b.run("promote", &[]).prints(&["service `page` promoted"]);
    deploy.wait().exits(0).prints(&["promoted by tester@"]);
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
}

#[test]
fn promote_reaches_the_controller_elsewhere_with_postgres() {
    check_promote(StateServer::postgres());
}

#[test]
fn promote_reaches_the_controller_elsewhere_with_etcd() {
    check_promote(StateServer::etcd());
}
