//! Commands that need no fleet: help, version, completions, the manual page, and usage errors.

use std::io::pipe;
use std::process::{Command, Stdio};

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::command::ship_command;

#[test]
fn ship_without_arguments_prints_the_verbs_and_fails() {
    LocalProject::new()
        .ship(&[])
        .stderr(str![[r#"
Rolling deploys for bare VMs: what `kubectl rollout` gives a cluster, over plain SSH

Usage: ship [OPTIONS] <COMMAND>

Commands:
  init         Write an example inventory and playbook
  adopt        Write an inventory and a playbook from a systemd unit that runs
  deploy       Roll out a version across the fleet, one batch at a time
  plan         Show what a deploy would do, without making changes
  check        Validate the configuration and check every host
  status       Show which version runs on which host, and the state of the rollout
  history      List the revisions: who deployed what, when, why, and the outcome
  logs         Print the logs of instances or of a rollout
  rollback     Roll back to the latest proven revision, or to a given one [alias: undo]
  pause        Pause a running rollout after in-flight actions finish
  resume       Resume a stopped rollout
  promote      Continue a rollout that is waiting at a step
  abort        Abort the current rollout and roll back
  restart      Replace every instance with a new one of the same release, one batch at a time
  scale        Change the number of instances
  report       Write an HTML report about a rollout, or about a deployment of a stack
  migrate      Run the pending contract migrations
  freeze       Block new deploys; a running deploy stops after the current batch
  thaw         End a freeze [alias: unfreeze]
  unlock       Break the deploy lock and fence off its holder
  state        Show where the state is, or move it to a database that several operators share
  disconnect   Close the connections that are kept for the next command
  inventory    List the hosts, also those that the command of `[hosts_from]` prints
  cron         Print a crontab line and systemd units for nightly deploys
  completions  Print a shell completion script
  man          Print the manual page in roff format

Options:
  -v, --verbose...  Increase log verbosity (repeat for more)
  -h, --help        Print help (see more with '--help')
  -V, --version     Print version

Exit codes:
    0  done, or nothing to do
    1  internal error
    2  usage or configuration error, or refused; no changes were made
    3  failed and rolled back
    4  failed and held: mixed versions may run, a person must decide
    5  failed, and the rollback failed too
    6  locked, frozen, paused, or outside the deploy windows; try again later
    7  hosts or the state store are unusable; no changes were made
    8  paused, or waiting at a step for `ship promote`
  130  interrupted; the state is saved, `ship resume` continues

"#]])
        .status(2)
        .run();
}

#[test]
fn help_is_printed_to_stdout() {
    LocalProject::new()
        .ship(&["--help"])
        .stdout(str![[r#"
Rolling deploys for bare VMs: what `kubectl rollout` gives a cluster, over plain SSH

ship starts a new instance, waits until it is ready, then stops an old one, until the whole fleet
runs the new version. If the new version fails, ship rolls back.

Usage: ship [OPTIONS] <COMMAND>

Commands:
  init         Write an example inventory and playbook
  adopt        Write an inventory and a playbook from a systemd unit that runs
  deploy       Roll out a version across the fleet, one batch at a time
  plan         Show what a deploy would do, without making changes
  check        Validate the configuration and check every host
  status       Show which version runs on which host, and the state of the rollout
  history      List the revisions: who deployed what, when, why, and the outcome
  logs         Print the logs of instances or of a rollout
  rollback     Roll back to the latest proven revision, or to a given one [alias: undo]
  pause        Pause a running rollout after in-flight actions finish
  resume       Resume a stopped rollout
  promote      Continue a rollout that is waiting at a step
  abort        Abort the current rollout and roll back
  restart      Replace every instance with a new one of the same release, one batch at a time
  scale        Change the number of instances
  report       Write an HTML report about a rollout, or about a deployment of a stack
  migrate      Run the pending contract migrations
  freeze       Block new deploys; a running deploy stops after the current batch
  thaw         End a freeze [alias: unfreeze]
  unlock       Break the deploy lock and fence off its holder
  state        Show where the state is, or move it to a database that several operators share
  disconnect   Close the connections that are kept for the next command
  inventory    List the hosts, also those that the command of `[hosts_from]` prints
  cron         Print a crontab line and systemd units for nightly deploys
  completions  Print a shell completion script
  man          Print the manual page in roff format

Options:
  -v, --verbose...
          Increase log verbosity (repeat for more)

  -h, --help
          Print help (see a summary with '-h')

  -V, --version
          Print version

Exit codes:
    0  done, or nothing to do
    1  internal error
    2  usage or configuration error, or refused; no changes were made
    3  failed and rolled back
    4  failed and held: mixed versions may run, a person must decide
    5  failed, and the rollback failed too
    6  locked, frozen, paused, or outside the deploy windows; try again later
    7  hosts or the state store are unusable; no changes were made
    8  paused, or waiting at a step for `ship promote`
  130  interrupted; the state is saved, `ship resume` continues

"#]])
        .run();
}

#[test]
fn help_of_a_verb_lists_its_options_and_examples() {
    LocalProject::new()
        .ship(&["deploy", "--help"])
        .stdout(str![[r#"
Roll out a version across the fleet, one batch at a time

Usage: ship deploy [OPTIONS] [INVENTORY]

Arguments:
  [INVENTORY]  Inventory file [default: the one last deployed from this directory or a parent]

Options:
      --service <NAME>              Service of a stack; repeatable [default: all]
      --version <VERSION>           Version or channel to deploy [default: the playbook's];
                                    `api=VERSION` for one service of a stack, repeatable
      --set <KEY=VALUE>             Override a playbook key, for example `rollout.max_surge=2`;
                                    repeatable
      --dry-run                     Print the plan and exit
      --reason <TEXT>               Record why; `ship history` and `ship status` show it
      --unattended                  Run without prompts: skip quarantined releases, refuse unhealthy
                                    fleets, roll out one instance first, respect deploy windows; at
                                    a pausing step, exit 8 unless `[unattended] on_gate = "promote"`
      --lock-timeout <TIME>         Wait this long for another deploy to finish, for example 10m
      --force                       Deploy although the fleet is frozen, no window is open, the
                                    release is quarantined, or the fleet is unhealthy
      --monitor <URL|off>           Send requests to URL during the rollout; fail if any fails.
                                    `off` disables `[monitor]`
  -o, --output <text|json>          Output format; json prints one event per line to stdout
                                    [default: text]
      --progress <auto|live|plain>  Show progress on stderr [default: auto, or none with --output
                                    json]
  -v, --verbose...                  Increase log verbosity (repeat for more)
  -h, --help                        Print help

Examples:
  ship deploy inventory.toml --version 0.9 --reason "ticket 4711"
  ship deploy --dry-run
  ship deploy --set rollout.max_surge=2 --monitor http://example.org/
  ship deploy --service api --service worker --version api=0.9

"#]])
        .run();
}

#[test]
fn every_verb_has_help_with_examples() {
    let project = LocalProject::new();
    for verb in [
        "init",
        "adopt",
        "deploy",
        "plan",
        "check",
        "status",
        "history",
        "logs",
        "rollback",
        "undo",
        "pause",
        "resume",
        "promote",
        "abort",
        "restart",
        "scale",
        "report",
        "migrate",
        "freeze",
        "thaw",
        "unlock",
        "inventory",
        "cron",
        "completions",
        "man",
    ] {
        let done = project.ship(&[verb, "--help"]).any_stdout().run();
        assert!(
            done.stdout.contains("Usage: ship ") && done.stdout.contains("\nExamples:\n  ship "),
            "{verb}: {}",
            done.stdout
        );
    }
}

#[test]
fn version_is_the_version_of_the_crate() {
    let version = concat!("ship ", env!("CARGO_PKG_VERSION"), "\n");
    LocalProject::new()
        .ship(&["--version"])
        .stdout(version)
        .run();
}

#[test]
fn unknown_verb_is_refused_with_a_suggestion() {
    LocalProject::new()
        .ship(&["deplyo"])
        .stderr(str![[r#"
error: unrecognized subcommand 'deplyo'

  tip: a similar subcommand exists: 'deploy'

Usage: ship [OPTIONS] <COMMAND>

For more information, try '--help'.

"#]])
        .status(2)
        .run();
}

#[test]
fn unknown_option_is_refused_with_a_suggestion() {
    LocalProject::new()
        .ship(&["deploy", "--forse"])
        .stderr(str![[r#"
error: unexpected argument '--forse' found

  tip: a similar argument exists: '--force'

Usage: ship deploy --force [INVENTORY]

For more information, try '--help'.

"#]])
        .status(2)
        .run();
}

#[test]
fn completions_are_printed_for_each_shell() {
    let project = LocalProject::new();
    for (shell, mark) in [
        ("bash", "complete -F _ship"),
        ("zsh", "#compdef ship"),
        ("fish", "complete -c ship"),
    ] {
        let script = project
            .ship(&["completions", shell])
            .any_stdout()
            .run()
            .stdout;
        assert!(script.contains(mark), "{shell}: {script}");
        for verb in ["deploy", "rollback", "undo", "history"] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
}

#[test]
fn completions_for_an_unknown_shell_are_refused() {
    LocalProject::new()
        .ship(&["completions", "cmd"])
        .stderr(str![[r#"
error: invalid value 'cmd' for '<SHELL>'
  [possible values: bash, elvish, fish, powershell, zsh]

For more information, try '--help'.

"#]])
        .status(2)
        .run();
}

#[test]
fn manual_page_is_roff_with_every_verb() {
    let page = LocalProject::new().ship(&["man"]).any_stdout().run().stdout;
    assert!(page.contains(".TH ship 1"), "{page}");
    for verb in [
        "deploy",
        "plan",
        "check",
        "status",
        "history",
        "rollback",
        "Exit codes",
    ] {
        assert!(page.contains(verb), "the manual lacks {verb}");
    }
}

/// Runs `ship` with a closed stdout pipe, as in `ship history | head -0`.
fn unread(project: &LocalProject, args: &[&str]) {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut ship: Command = ship_command(project.root(), args);
    let output = ship
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("ship runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), stderr.as_ref()),
        (Some(0), ""),
        "{args:?}"
    );
}

#[test]
fn closed_stdout_pipe_is_not_an_error() {
    let project = LocalProject::small();
    project.deploy("0.8");
    for args in [
        &["history"][..],
        &["history", "--revision", "1"],
        &["history", "--output", "json"],
        &["status"],
        &["logs"],
        &["logs", "--rollout", "last"],
        &["inventory"],
        &["inventory", "--output", "json"],
        &["cron"],
        &["status", "--output", "json"],
        &["status", "--watch"],
        &["status", "--watch", "--output", "json"],
        &["plan"],
        &["plan", "--output", "json"],
        &["check"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
    ] {
        unread(&project, args);
    }
}

#[test]
fn deploy_continues_without_a_reader() {
    let project = LocalProject::new();
    unread(&project, &["deploy", "inventory.toml", "--output", "json"]);
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn reason_must_be_one_short_line() {
    let project = LocalProject::new();
    let refused = |reason: &str, why: &str| {
        let args = ["freeze", "inventory.toml", "--reason", reason];
        let printed = project.ship(&args).any_stderr().status(2).run().stderr;
        assert!(printed.contains(why), "{printed}");
    };
    refused(
        "a\u{1b}[31mred",
        "expected one line without control characters",
    );
    refused("two\nlines", "expected one line without control characters");
    refused(
        &"x".repeat(501),
        "expected at most 500 characters, found 501",
    );
    project
        .ship(&["freeze", "inventory.toml", "--reason", "-1 hour"])
        .any_stderr()
        .any_stdout()
        .run();
}
