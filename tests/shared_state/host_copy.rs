//! The files of a release are copied from a host, because its artifact is gone.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::command::Running;
use ship_testing::namespace::write;

/// A lease expires 30 seconds after its last renewal.
const LEASE_WOULD_EXPIRE: Duration = Duration::from_secs(33);

/// A tar that sends an archive byte by byte, until there is the file `gate`.
const SLOW_TAR: &str = r#"#!/bin/sh
case $1 in
    -c*) ;;
    *) exec /usr/bin/tar "$@" ;;
esac
packed=$(mktemp)
/usr/bin/tar "$@" >"$packed"
sent=0
while [ ! -e "$GATE" ]; do
    dd if="$packed" bs=1 count=1 skip=$sent status=none
    sent=$((sent + 1))
    sleep 0.5
done
tail -c +$((sent + 1)) "$packed"
rm -f "$packed"
"#;

/// Two versions were deployed, their artifacts are gone, and node3 has no release.
fn team_without_artifacts() -> Option<Team> {
    let team = Team::deployed_twice(StateServer::postgres()?);
    team.remove_artifacts();
    team.remove_releases("node3");
    Some(team)
}

#[test]
fn artifact_is_recovered_from_a_host() {
    let Some(team) = team_without_artifacts() else {
        return;
    };
    // What the service wrote there does not count, and what another user changed does.
    for app in team.release_files("node2") {
        write(&app.join("__pycache__/page.pyc"), "bytes");
    }
    for app in team.release_files("node1") {
        write(&app.join("behaviour"), "good\n");
    }
    team.checkout_elsewhere("b").run("rollback", &[]).prints(&[
        "not available here; copying its files from node1",
        "not available here; copying its files from node2",
    ]);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
    for app in team.release_files("node3") {
        assert!(app.join("page.py").exists() && !app.join("__pycache__").exists());
    }
}

#[test]
fn files_of_hosts_that_were_changed_are_refused() {
    let Some(team) = team_without_artifacts() else {
        return;
    };
    for node in ["node1", "node2", "node4"] {
        for app in team.release_files(node) {
            write(&app.join("page.py"), "import evil");
        }
    }
    let before = team.answers();
    team.checkout_elsewhere("b")
        .ship("rollback", &[])
        .exits(2)
        .prints(&[
            "version 0.8 on node1 are not those that were deployed",
            "version 0.8 is needed on node3: ",
            "none of 3 hosts that have its files can send them unchanged",
        ]);
    for node in ["node1", "node2", "node4"] {
        team.remove_all_releases(node);
    }
    let c = team.checkout_elsewhere("c");
    for arguments in [&["--dry-run"][..], &[]] {
        c.ship("rollback", arguments).exits(2).prints(&[
            "version 0.8 is needed on ",
            "no reachable host has its files",
        ]);
    }
    assert_eq!(team.answers(), before);
}

#[test]
fn nothing_is_copied_for_a_host_that_is_drained() {
    let Some(team) = team_without_artifacts() else {
        return;
    };
    let b = team.checkout_elsewhere("b");
    let inventory = std::fs::read_to_string(b.path("inventory.toml")).expect("our own file");
    let name = "name = \"node3\"\n";
    assert!(inventory.contains(name), "{inventory}");
    let drained = inventory.replace(name, &format!("{name}drain = true\n"));
    write(&b.path("inventory.toml"), &drained);
    let done = b.run("rollback", &[]);
    assert!(!done.stderr.contains("copying"), "{}", done.stderr);
    team.await_answers(&["node1 0.8", "node2 0.8", "node4 0.8"]);
}

/// A rollback that needs the files of a host, which sends them slowly.
fn slow_rollback(team: &Team, checkout: &Checkout) -> Running {
    let tar = team.path("bin/tar");
    write(&tar, SLOW_TAR);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&tar, executable).expect("our own file");
    let mut command = checkout.command("rollback", &[]);
    let path = std::env::var("PATH").expect("a path");
    let bin = tar.with_file_name("");
    command.env("PATH", format!("{}:{path}", bin.display()));
    command.env("GATE", team.path("gate"));
    let mut rollback = Running::spawn(command);
    rollback.await_words("copying its files from");
    rollback
}

#[test]
fn lock_is_kept_while_the_files_of_a_host_are_copied() {
    let Some(team) = team_without_artifacts() else {
        return;
    };
    let rollback = slow_rollback(&team, &team.checkout("b"));
    let (other, since) = (team.checkout_elsewhere("c"), Instant::now());
    while since.elapsed() < LEASE_WOULD_EXPIRE {
        other.ship("restart", &[]).exits(6).prints(&["rollback)"]);
        std::thread::sleep(Duration::from_secs(1));
    }
    team.open_gate();
    rollback.wait().exits(0);
    team.await_answers(&["node1 0.8", "node2 0.8", "node3 0.8"]);
}

#[test]
fn copy_from_a_host_is_interrupted_without_a_change() {
    let Some(team) = team_without_artifacts() else {
        return;
    };
    let b = team.checkout("b");
    let (answers, history) = (team.answers(), b.history());
    for signal in ["INT", "TERM"] {
        let rollback = slow_rollback(&team, &b);
        rollback.signal(signal);
        rollback
            .wait()
            .exits(130)
            .prints(&["interrupted by SIG", "no host was changed"]);
    }
    assert_eq!((team.answers(), b.history()), (answers, history));
    // The lock is free.
    team.checkout_elsewhere("c").run("restart", &[]);
}
