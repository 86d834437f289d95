//! Operators whose clocks are wrong.

use std::path::Path;
use std::process::Command;

use crate::checkout::{Checkout, can_make_machines};
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::fake_clock::fake_clock_library;

/// Runs a command whose clock is off by this many seconds: `+3600`.
fn with_clock(mut command: Command, library: &Path, offset: &str) -> Done {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", format!("{offset}s"));
    command
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Running::spawn(command).wait()
}

fn check_clocks(server: Option<StateServer>) {
    let Some(library) = fake_clock_library() else {
        eprintln!("SKIPPED: libfaketime is missing (Debian: apt-get install faketime)");
        return;
    };
    let Some(server) = server.filter(|_| can_make_machines()) else {
        return;
    };
    let team = Team::new(server);
    team.release("0.9", Behaviour::Gated);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    let b = team.checkout_elsewhere("laptop");
    let ship = |checkout: &Checkout, offset: &str, verb: &str, arguments: &[&str]| {
        with_clock(checkout.command(verb, arguments), &library, offset)
    };
    let lock = format!(
        "locked by tester@{} (pid {}, deploy 0.9)",
        a.host(),
        deploy.pid()
    );
    for offset in ["+3600", "-3600"] {
        for verb in ["deploy", "resume", "rollback"] {
            ship(&b, offset, verb, &[])
                .exits(6)
                .prints(&[&lock, "last heartbeat"]);
        }
    }
    team.open_gate();
    deploy.wait().exits(0);

    // An hour ahead, the freeze would have ended; an hour behind, it would last longer.
    a.run("freeze", &["--until", "30m", "--reason", "the sale"]);
    ship(&b, "+3600", "deploy", &["--version", "0.8"])
        .exits(6)
        .prints(&["the sale"]);
    ship(&b, "+3600", "status", &[])
        .exits(0)
        .prints(&["the sale"]);
    a.run("thaw", &[]);
    ship(
        &b,
        "-3600",
        "freeze",
        &["--until", "30m", "--reason", "behind"],
    )
    .exits(0);
    a.ship("deploy", &["--version", "0.8"])
        .exits(6)
        .prints(&["behind"]);
    a.run("thaw", &[]);
    for (offset, version) in [("+3600", "0.8"), ("-3600", "0.9")] {
        ship(&b, offset, "deploy", &["--version", version]).exits(0);
    }
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
}

#[test]
fn clock_of_an_operator_breaks_no_lease_and_ends_no_freeze_with_postgres() {
    check_clocks(StateServer::postgres());
}

#[test]
fn clock_of_an_operator_breaks_no_lease_and_ends_no_freeze_with_etcd() {
    check_clocks(StateServer::etcd());
}
