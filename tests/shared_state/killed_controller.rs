//! A deploy that was killed on one machine, and continues from an empty checkout on another.

use std::time::{Duration, Instant};

use crate::checkout::can_make_machines;
use crate::journal;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::behaviour::Behaviour;

/// A deploy of 0.9 that was killed when its first instance had been started.
struct Killed {
    team: Team,
    /// What ship says of its lock.
    lock: String,
    at: Instant,
}

/// Kills a deploy. `None` if this machine cannot do that, which is printed.
fn kill_deploy(server: Option<StateServer>) -> Option<Killed> {
    let server = server?;
    if !can_make_machines() {
        eprintln!("SKIPPED: only root can make a second machine");
        return None;
    }
    let team = Team::new(server);
    team.release("0.9", Behaviour::Gated);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    let lock = format!(
        "locked by tester@{} (pid {}, deploy 0.9)",
        a.host(),
        deploy.pid()
    );
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    team.open_gate();
    let at = Instant::now();
    Some(Killed { team, lock, at })
}

impl Killed {
    #[track_caller]
    fn assert_finished(&self) {
        self.team
            .await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
        let history = self.team.checkout("history").history();
        assert_eq!(history, ["2 0.9 succeeded", "1 0.8 succeeded"]);
        for rollout in 1.. {
            if self
                .team
                .server
                .records(&format!("events/{rollout:010}/"))
                .is_empty()
            {
                assert!(rollout > 2);
                break;
            }
            journal::stored(&self.team.server, rollout);
        }
    }
}

#[test]
fn killed_deploy_is_resumed_elsewhere_when_its_lease_has_expired() {
    let Some(killed) = kill_deploy(StateServer::postgres()) else {
        return;
    };
    let b = killed.team.checkout_elsewhere("runner");
    b.ship("resume", &[]).exits(6).prints(&[&killed.lock]);
    b.run("resume", &["--lock-timeout", "1m"])
        .prints(&[&killed.lock]);
    assert!(
        killed.at.elapsed() > Duration::from_secs(20),
        "the lease was broken"
    );
    killed.assert_finished();
}

#[test]
fn lock_timeout_waits_until_the_lease_of_a_dead_runner_expires() {
    let Some(killed) = kill_deploy(StateServer::etcd()) else {
        return;
    };
    let b = killed.team.checkout_elsewhere("runner");
    let deploy = ["--version", "0.9", "--lock-timeout"];
    b.ship("deploy", &deploy[..2])
        .exits(6)
        .prints(&[&killed.lock]);
    b.run("deploy", &[&deploy[..], &["1m"]].concat())
        .prints(&[&killed.lock]);
    killed.assert_finished();
}

fn check_unlock(server: Option<StateServer>) {
    let Some(killed) = kill_deploy(server) else {
        return;
    };
    let b = killed.team.checkout_elsewhere("runner");
    b.ship("resume", &[]).exits(6).prints(&[&killed.lock]);
    b.run("unlock", &["--yes"])
        .prints(&["broke the lock of tester@"]);
    b.run("resume", &[]);
    assert!(
        killed.at.elapsed() < Duration::from_secs(20),
        "it has waited"
    );
    killed.assert_finished();
}

#[test]
fn killed_deploy_is_resumed_elsewhere_after_unlock_with_postgres() {
    check_unlock(StateServer::postgres());
}

#[test]
fn killed_deploy_is_resumed_elsewhere_after_unlock_with_etcd() {
    check_unlock(StateServer::etcd());
}
