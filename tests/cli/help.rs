//! Without a fleet: help, version, completions, the manual, and what a wrong call is told.

use std::io::pipe;
use std::process::{Command, Stdio};

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::command::ship_command;

#[test]
fn without_arguments_the_verbs_are_shown_and_the_call_is_wrong() {
    LocalProject::new()
        .ship(&[])
        .stderr(str![[r#"
Rolling deploys for bare machines: what `kubectl rollout` gives a cluster, over plain SSH

Usage: ship [OPTIONS] <COMMAND>

Commands:
  init         Write an inventory and a playbook to begin with
  deploy       Bring the fleet to a version, one batch at a time
  plan         Show what a deploy would do, and touch nothing
  check        Check the files and every host, and say all problems at once
  status       Show what runs where
  history      Show what was deployed, by whom, when, why and how it ended
  logs         Show what the instances write, or what ship did in a rollout
  rollback     Go back to the newest revision proven healthy, or to a given one [alias: undo]
  pause        Let a running rollout start nothing new; what is in flight ends safely
  resume       Go on with a rollout that was paused, interrupted, cut off or held
  promote      Let a rollout go on from the step at which it waits
  abort        Go back to the revision proven healthy, from a rollout that runs or stands still
  restart      Replace every instance by a new one of the same release, one batch at a time
  scale        Change how many instances the service has
  report       Write a page about a rollout: what happened, host by host, and how to undo it
  migrate      Take away what only older versions needed: the playbook's contracts that are left to
               be made
  freeze       Let nothing new be deployed for a while, and a running deploy stop once what it has
               begun is done
  thaw         End a freeze [alias: unfreeze]
  unlock       Take the lock away from a ship that holds it, and make the hosts refuse its orders
  cron         Print what makes cron or systemd deploy every night
  completions  Print a completion script for a shell
  man          Print the manual page, in roff

Options:
  -v, --verbose...  Say more on stderr; twice for all
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
    7  hosts are unusable; no changes were made
    8  paused, or waiting at a step for `ship promote`
  130  interrupted; the state is saved, `ship resume` continues

"#]])
        .status(2)
        .run();
}

#[test]
fn help_goes_to_stdout() {
    LocalProject::new()
        .ship(&["--help"])
        .stdout(str![[r#"
Rolling deploys for bare machines: what `kubectl rollout` gives a cluster, over plain SSH.

A new instance is started, its port is checked, and only then an old one is stopped; again and again
until the fleet runs the new version. If the new version fails, the old one is brought back.

Usage: ship [OPTIONS] <COMMAND>

Commands:
  init         Write an inventory and a playbook to begin with
  deploy       Bring the fleet to a version, one batch at a time
  plan         Show what a deploy would do, and touch nothing
  check        Check the files and every host, and say all problems at once
  status       Show what runs where
  history      Show what was deployed, by whom, when, why and how it ended
  logs         Show what the instances write, or what ship did in a rollout
  rollback     Go back to the newest revision proven healthy, or to a given one [alias: undo]
  pause        Let a running rollout start nothing new; what is in flight ends safely
  resume       Go on with a rollout that was paused, interrupted, cut off or held
  promote      Let a rollout go on from the step at which it waits
  abort        Go back to the revision proven healthy, from a rollout that runs or stands still
  restart      Replace every instance by a new one of the same release, one batch at a time
  scale        Change how many instances the service has
  report       Write a page about a rollout: what happened, host by host, and how to undo it
  migrate      Take away what only older versions needed: the playbook's contracts that are left to
               be made
  freeze       Let nothing new be deployed for a while, and a running deploy stop once what it has
               begun is done
  thaw         End a freeze [alias: unfreeze]
  unlock       Take the lock away from a ship that holds it, and make the hosts refuse its orders
  cron         Print what makes cron or systemd deploy every night
  completions  Print a completion script for a shell
  man          Print the manual page, in roff

Options:
  -v, --verbose...
          Say more on stderr; twice for all

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
    7  hosts are unusable; no changes were made
    8  paused, or waiting at a step for `ship promote`
  130  interrupted; the state is saved, `ship resume` continues

"#]])
        .run();
}

#[test]
fn the_help_of_a_verb_tells_all_of_its_options() {
    LocalProject::new()
        .ship(&["deploy", "--help"])
        .stdout(str![[r#"
Bring the fleet to a version, one batch at a time

Usage: ship deploy [OPTIONS] [INVENTORY]

Arguments:
  [INVENTORY]
          The inventory file; left out, the one that was deployed from here (as git finds its
          repository)

Options:
      --version <VERSION>
          The version or channel to deploy, instead of the playbook's

      --set <KEY=VALUE>
          Set one of the playbook's keys, as in `rollout.max_surge=2`; may be given again

      --dry-run
          Show what would be done, and touch nothing

      --reason <TEXT>
          Record why in the history

      --unattended
          Nobody is there to be asked: what has failed before is skipped, an unhealthy fleet is left
          alone, one instance comes first, windows are kept; a step that waits for a person ends the
          command with exit 8, or is passed, as the playbook's `[unattended]` says

      --lock-timeout <TIME>
          Wait this long for another deploy to finish, for example 10m

      --force
          Go ahead though the fleet is frozen, no window is open, the release has failed before, or
          the fleet is not healthy

      --monitor <URL>
          Ask this URL all the while, and fail if a request does; `off` for the playbook's
          `[monitor]`

  -o, --output <OUTPUT>
          Print nothing to stdout, or one JSON event a line

          Possible values:
          - text: For people
          - json: For programs
          
          [default: text]

      --progress <PROGRESS>
          Show progress on stderr [default: auto, or none with --output json]

          Possible values:
          - auto:  Live on a terminal, else plain
          - live:  One screen on stderr, redrawn in place; plain where stderr is no terminal
          - plain: A line for each event worth one, on stderr

  -v, --verbose...
          Say more on stderr; twice for all

  -h, --help
          Print help (see a summary with '-h')

"#]])
        .run();
}

#[test]
fn every_verb_has_help() {
    let project = LocalProject::new();
    for verb in [
        "deploy",
        "plan",
        "check",
        "status",
        "history",
        "logs",
        "rollback",
        "undo",
        "cron",
        "completions",
        "man",
    ] {
        let done = project.ship(&[verb, "--help"]).any_stdout().run();
        assert!(
            done.stdout.contains("Usage: ship "),
            "{verb}: {}",
            done.stdout
        );
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let version = concat!("ship ", env!("CARGO_PKG_VERSION"), "\n");
    LocalProject::new()
        .ship(&["--version"])
        .stdout(version)
        .run();
}

#[test]
fn an_unknown_verb_is_refused_with_the_nearest_one() {
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
fn an_unknown_option_is_refused() {
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
fn completions_are_made_for_each_shell() {
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
fn completions_for_an_unknown_shell_name_the_known_ones() {
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
fn the_manual_page_is_roff_with_every_verb() {
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

/// Runs `ship` with a stdout that nobody reads, as in `ship history | head -0`.
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
fn a_reader_that_has_gone_is_no_error() {
    let project = LocalProject::small();
    project.deploy("0.8");
    for args in [
        &["history"][..],
        &["history", "--revision", "1"],
        &["history", "--output", "json"],
        &["status"],
        &["logs"],
        &["logs", "--rollout", "last"],
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
fn a_deploy_goes_on_without_a_reader() {
    let project = LocalProject::new();
    unread(&project, &["deploy", "inventory.toml", "--output", "json"]);
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}
