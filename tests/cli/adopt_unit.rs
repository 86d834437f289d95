//! `ship adopt` where no unit can be adopted. `tests/hosts` adopts real ones.

use std::fs;
use std::path::Path;

use crate::project::LocalProject;

/// Runs `ship adopt ARGS` in a new directory and returns what it prints to stderr.
fn refused(args: &[&str], status: i32) -> String {
    let project = LocalProject::new();
    let dir = project.path("empty");
    fs::create_dir(&dir).expect("our own directory");
    let printed = project
        .ship(&[&["adopt"], args].concat())
        .within(&dir)
        .any_stderr()
        .status(status)
        .run()
        .stderr;
    assert_eq!(fs::read_dir(&dir).expect("our own directory").count(), 0);
    printed
}

#[test]
fn adopt_keeps_existing_files() {
    let project = LocalProject::new();
    let before = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    let printed = project
        .ship(&["adopt", "web", "other.toml"])
        .any_stderr()
        .status(2)
        .run()
        .stderr;
    let why = "playbook.toml already exists and was not changed";
    assert!(printed.contains(why), "{printed}");
    assert!(!project.path("other.toml").exists());
    let after = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    assert_eq!(after, before);
}

#[test]
fn adopt_refuses_what_is_not_a_service_before_it_connects() {
    for (unit, why) in [
        ("web.socket", "it is a socket, not a service"),
        ("backup.timer", "it is a timer, not a service"),
        (
            "worker@.service",
            "name one of its instances, such as `worker@main.service`",
        ),
        ("web*", "it is not the name of a unit"),
    ] {
        let printed = refused(&[unit, "--host", "no.such.host.invalid"], 2);
        assert!(printed.contains(why), "{unit}: {printed}");
        assert!(printed.contains("\nhint: "), "{unit}: {printed}");
    }
    for host in ["-oProxyCommand=touch x", "a@a@b c", ""] {
        let printed = refused(&["web", &format!("--host={host}")], 2);
        assert!(printed.contains("is not a host to log in at"), "{printed}");
    }
    let printed = refused(&["web", "--host", "web1", "--host", "me@web1"], 2);
    assert!(
        printed.contains("the host `web1` is named twice"),
        "{printed}"
    );
}

#[test]
fn adopt_names_a_host_that_cannot_be_reached() {
    let printed = refused(&["web", "--host", "no.such.host.invalid"], 7);
    assert!(printed.contains("no.such.host.invalid"), "{printed}");
    assert!(printed.contains("no changes were made"), "{printed}");
}

#[test]
fn adopt_reports_a_machine_without_systemd() {
    if Path::new("/run/systemd/system").exists() {
        eprintln!("not run: systemd runs on this machine");
        return;
    }
    let printed = refused(&["web"], 7);
    assert!(
        printed.contains("systemd is not running on this host"),
        "{printed}"
    );
}
