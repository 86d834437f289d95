//! `sudo = "password"`: who is asked for it, and what happens where no one can be asked.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use ship_testing::command::{Done, Running, in_environment_of, ship_command, started_by};
use ship_testing::namespace::{self, has_programs};

use crate::project::LocalProject;

/// A project whose hosts may ask for a password.
fn project() -> LocalProject {
    let project = LocalProject::small();
    let path = project.path("inventory.toml");
    let inventory = fs::read_to_string(&path).expect("our own file");
    let inventory = inventory.replace("[[hosts]]", "[ssh]\nsudo = \"password\"\n\n[[hosts]]");
    fs::write(path, inventory).expect("our own file");
    project
}

/// Runs ship without a terminal, also if the tests have one.
fn ship_without_terminal(project: &LocalProject, args: &[&str]) -> Done {
    let ship = ship_command(project.root(), args);
    Running::spawn(started_by("setsid", &["--wait"], &ship)).wait()
}

#[test]
fn password_that_cannot_be_asked_for_is_refused_before_anything_is_touched() {
    let project = project();
    for (args, why) in [
        (&["deploy", "inventory.toml"][..], "there is no terminal"),
        (&["status", "inventory.toml"], "there is no terminal"),
        (&["check", "inventory.toml"], "there is no terminal"),
        (
            &["deploy", "inventory.toml", "--unattended"],
            "this run is unattended",
        ),
        (&["cron", "inventory.toml"], "this run is unattended"),
    ] {
        let done = ship_without_terminal(&project, args).exits(2);
        let expected = format!(
            "error: cannot ask for the sudo password of node1: {why}; no changes were made\nhint: set \
             SHIP_SUDO_PASSWORD in the environment, or allow sudo without a password on the hosts and \
             set `sudo = true` in the inventory\n"
        );
        assert!(done.stderr.contains(&expected), "{args:?}: {}", done.stderr);
    }
    project.assert_hosts_untouched();
}

#[test]
fn verb_that_runs_no_script_needs_no_password() {
    let project = project();
    ship_without_terminal(&project, &["freeze", "inventory.toml", "--reason", "audit"]).exits(0);
    ship_without_terminal(&project, &["thaw", "inventory.toml"]).exits(0);
    ship_without_terminal(&project, &["history", "inventory.toml"]).exits(0);
}

#[test]
fn password_with_a_line_break_is_refused_and_not_printed() {
    let project = project();
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .env("SHIP_SUDO_PASSWORD", "geheim\nwort")
        .any_stderr()
        .status(2)
        .run();
    assert_eq!(
        done.stderr,
        "error: SHIP_SUDO_PASSWORD contains a line break, so it cannot be a password for sudo; no \
         changes were made\n"
    );
}

#[test]
fn interrupted_question_restores_the_terminal() {
    if !has_programs(&[("script", "bsdutils"), ("stty", "coreutils")]) {
        return;
    }
    let project = project();
    let ship = ship_command(project.root(), &[]);
    let output = project.path("terminal");
    // The terminal belongs to the shell, which reports how ship left it.
    let line = format!(
        "{} deploy inventory.toml; echo \"exit $?\"; stty -a",
        ship.get_program().display()
    );
    let mut command = in_environment_of(&ship, "script");
    command.args(["--quiet", "--flush", "--command", &line]);
    command.arg(&output);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut script = command.spawn().expect("script is installed");
    let shown = || fs::read_to_string(&output).unwrap_or_default();
    namespace::until("the question", Duration::from_secs(30), || {
        let question = "sudo password for node1: ";
        shown().contains(question).then_some(())
    });
    let mut keyboard = script.stdin.take().expect("a pipe");
    keyboard.write_all(b"gehe\x03").expect("script reads");
    script.wait().expect("our own child");
    drop(keyboard);
    let shown = shown();
    assert!(
        shown.contains("interrupted by SIGINT; no host was changed"),
        "{shown}"
    );
    assert!(shown.contains("exit 130"), "{shown}");
    assert!(!shown.contains("gehe"), "{shown}");
    let modes: Vec<_> = shown.split_whitespace().collect();
    for mode in ["echo", "isig", "icanon"] {
        assert!(modes.contains(&mode), "{mode} is off: {shown}");
    }
    assert!(shown.contains("eol = <undef>"), "{shown}");
    project.assert_hosts_untouched();
}
