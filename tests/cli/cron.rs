//! `ship cron`: the crontab and the systemd units. tests/hosts/nightly runs them with cron.

use std::fs;
use std::process::Command;

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::command::Running;
use ship_testing::namespace;

/// With the path of `ship` itself left out, which is another on every machine.
fn printed(project: &LocalProject, args: &[&str]) -> String {
    let done = project
        .ship(&[&["cron", "inventory.toml"], args].concat())
        .any_stdout()
        .run();
    project.redacted(&done.stdout.replace(env!("CARGO_BIN_EXE_ship"), "[SHIP]"))
}

#[test]
fn crontab_has_absolute_paths_and_needs_no_prompt() {
    let project = LocalProject::new();
    let text = printed(
        &project,
        &[
            "--crontab",
            "--at",
            "03:30",
            "--version",
            "nightly",
            "--mail",
            "ops@example.org",
        ],
    );
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("# ship: deploys page on local every night at 03:30 local time"),
        "{text}"
    );
    assert_eq!(
        lines[2..],
        [
            "MAILTO=ops@example.org",
            "30 3 * * * [SHIP] deploy [ROOT]/inventory.toml --version nightly --unattended \
             --lock-timeout 10m"
        ]
    );
    assert!(!project.path(".ship").exists(), "something was made");
}

#[test]
fn cron_prints_crontab_and_units_by_default() {
    let project = LocalProject::new();
    let (crontab, units) = (
        printed(&project, &["--crontab"]),
        printed(&project, &["--systemd"]),
    );
    assert_eq!(printed(&project, &[]), format!("{crontab}\n\n{units}"));
    assert!(
        !crontab.contains("--version") && !units.contains("--version"),
        "the playbook says which version"
    );
    project
        .ship(&["cron", "--crontab", "--systemd", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
}

#[test]
fn units_pass_systemd_analyze() {
    if !namespace::has_programs(&[("systemd-analyze", "systemd")]) {
        return;
    }
    let project = LocalProject::new();
    let odd = project.path("it's 50% of $HOME");
    fs::create_dir(&odd).expect("our own directory");
    for file in ["inventory.toml", "playbook.toml"] {
        fs::copy(project.path(file), odd.join(file)).expect("our own files");
    }
    let inventory = odd.join("inventory.toml").display().to_string();
    let done = project
        .ship(&["cron", &inventory, "--systemd", "--mail", "ops@example.org"])
        .any_stdout()
        .run();
    let mut files = Vec::new();
    for unit in done.stdout.split("# /etc/systemd/system/").skip(1) {
        let (name, text) = unit.split_once('\n').expect("a name and a unit");
        files.push(project.path(name));
        fs::write(project.path(name), text).expect("our own directory");
    }
    assert_eq!(files.len(), 3, "{}", done.stdout);
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").args(&files);
    let verified = Running::spawn(verify).wait().exits(0);
    assert_eq!(verified.stderr, "");
    let timer = fs::read_to_string(&files[1]).expect("a timer");
    let when = timer
        .lines()
        .find_map(|line| line.strip_prefix("OnCalendar="))
        .expect("a calendar");
    let mut calendar = Command::new("systemd-analyze");
    calendar.args(["calendar", when]);
    Running::spawn(calendar)
        .wait()
        .exits(0)
        .prints(&["02:00:00"]);
}

#[test]
fn cron_rejects_invalid_options() {
    let project = LocalProject::new();
    project
        .ship(&["cron", "inventory.toml", "--at", "2am"])
        .stderr(str![[r#"
error: invalid --at `2am`: expected HH:MM, for example 02:00

"#]])
        .status(2)
        .run();
    project
        .ship(&["cron", "inventory.toml", "--mail", "ops; rm -rf /"])
        .stderr(str![[r#"
error: invalid --mail `ops; rm -rf /`: expected an address, for example ops@example.org

"#]])
        .status(2)
        .run();
}
