//! `ship logs` of instances.

use std::io::pipe;
use std::process::Stdio;

use snapbox::str;

use crate::call::json_lines;
use crate::project::{DEADLINE, LIGHT_PAGE, LocalProject};
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Running, ship_command};
use ship_testing::namespace::{until, write};

/// Waits until it has printed this text to stdout.
#[track_caller]
fn await_stdout(running: &mut Running, words: &str) {
    until(words, DEADLINE, || {
        running.stdout_so_far().contains(words).then_some(())
    });
}

/// Waits until nothing runs in the project's directory but these.
#[track_caller]
fn await_only(project: &LocalProject, processes: &[u32]) {
    until("nothing of it is left", DEADLINE, || {
        project
            .processes()
            .iter()
            .all(|pid| processes.contains(pid))
            .then_some(())
    });
}

#[test]
fn log_lines_show_their_slot() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["logs"])
        .stdout(str![[r#"
node1:8081  page 0.8 starts, its behaviour is good
node2:8081  page 0.8 starts, its behaviour is good
node3:8081  page 0.8 starts, its behaviour is good

"#]])
        .run();
}

#[test]
fn logs_select_instances_by_host_slot_or_name_prefix() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let name = project.status()["instances"][1]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let digits = &name[..name.len() - 1];
    for words in [
        &["node2"][..],
        &["inventory.toml", "node2"],
        &["node2:8081"],
        &["node2:8081", "inventory.toml"],
    ] {
        let done = project
            .ship(&[&["logs"], words].concat())
            .any_stdout()
            .run();
        assert_eq!(
            done.stdout, "node2:8081  page 0.8 starts, its behaviour is good\n",
            "{words:?}"
        );
    }
    let done = project.ship(&["logs", digits]).any_stdout().run();
    assert_eq!(
        done.stdout,
        "node2:8081  page 0.8 starts, its behaviour is good\n"
    );
    let done = project.ship(&["logs", "page-"]).any_stdout().run();
    assert_eq!(done.stdout.lines().count(), 3);
}

#[test]
fn logs_of_an_unknown_instance_are_refused_with_the_known_ones() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project
        .ship(&["logs", "node1", "node7", "node1:80"])
        .stderr(str![[r#"
error: no instance, host or slot matches `node7`, `node1:80`; known instances:
  [INSTANCE] at node1:8081

"#]])
        .status(2)
        .run();
}

#[test]
fn logs_print_only_the_last_lines() {
    let project = LocalProject::small();
    let chatty = format!("for n in range(300): print('line', n, flush=True)\n{LIGHT_PAGE}");
    write(&project.path("page-0.8/page.py"), &chatty);
    project.deploy("0.8");
    let lines = |args: &[&str]| {
        project
            .ship(&[&["logs"], args].concat())
            .any_stdout()
            .run()
            .stdout
    };
    assert_eq!(lines(&[]).lines().count(), 100);
    assert_eq!(lines(&["--since", "1h"]).lines().count(), 301);
    assert_eq!(
        lines(&["-n", "2"]),
        "node1:8081  line 299\nnode1:8081  page 0.8 starts, its behaviour is good\n"
    );
}

#[test]
fn logs_remove_control_sequences() {
    let project = LocalProject::small();
    let rude = format!(
        "print('\\x1b[2J\\x1b[31mred\\x1b[0m\\r\\tnode9:1  forged', flush=True)\n{LIGHT_PAGE}"
    );
    write(&project.path("page-0.8/page.py"), &rude);
    project.deploy("0.8");
    let done = project.ship(&["logs"]).any_stdout().run();
    assert_eq!(
        done.stdout.lines().next(),
        Some("node1:8081  red  node9:1  forged")
    );
    // A program gets it as it was.
    let done = project
        .ship(&["logs", "--output", "json"])
        .any_stdout()
        .run();
    let first = &json_lines(&done.stdout)[0];
    assert_eq!(
        first["text"],
        "\u{1b}[2J\u{1b}[31mred\u{1b}[0m\r\tnode9:1  forged"
    );
    assert_eq!(
        (first["host"].as_str(), first["port"].as_u64()),
        (Some("node1"), Some(8081))
    );
}

#[test]
fn logs_include_instances_that_failed_and_stopped() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    project
        .ship(&["logs", "--since", "1h"])
        .stdout(str![[r#"
node1:8081  page 0.8 starts, its behaviour is good
node1:8082  page 0.9 starts, its behaviour is exits
node1:8082  fatal: the frobnicator is missing

"#]])
        .run();
    project
        .ship(&["logs", "node1:8082", "-n", "1"])
        .stdout(str![[r#"
node1:8082  fatal: the frobnicator is missing

"#]])
        .run();
}

#[test]
fn logs_reject_an_invalid_since() {
    LocalProject::small()
        .ship(&["logs", "inventory.toml", "--since", "soon"])
        .stderr(str![[r#"
error: invalid --since `soon`: expected a duration before now (10m, 2h, 1d), a time of day (02:00), or a date and time (2026-11-25T02:00)

"#]])
        .status(2)
        .run();
}

#[test]
fn logs_without_instances_print_nothing() {
    LocalProject::small()
        .ship(&["logs", "inventory.toml"])
        .stderr(str![[r#"
no log output

"#]])
        .run();
}

#[test]
fn logs_follow_shows_new_instances_and_ends_at_ctrl_c() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let mut logs = project.ship(&["logs", "--follow"]).spawn();
    await_stdout(&mut logs, "node3:8081  page 0.8 starts");
    project.deploy("0.9");
    for words in [
        "node1:8081  page 0.9 starts",
        "node2:8081  page 0.9 starts",
        "node4:8081  page 0.9 starts",
    ] {
        await_stdout(&mut logs, words);
    }
    let services: Vec<_> = ["node1", "node2", "node4"]
        .map(|node| project.pid(node, 8081))
        .into();
    logs.signal("INT");
    let done = logs.wait().exits(0);
    assert_eq!(done.stderr, "");
    assert_eq!(done.stdout.lines().count(), 6, "{}", done.stdout);
    await_only(&project, &services);
}

#[test]
fn killed_logs_follow_leaves_no_process_on_the_host() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let mut logs = project.ship(&["logs", "-f"]).spawn();
    await_stdout(&mut logs, "page 0.8 starts");
    assert!(project.processes().len() > 2, "a process follows the log");
    logs.signal("KILL");
    assert_eq!(logs.wait().code, None);
    await_only(&project, &[project.pid("node1", 8081)]);
}

#[test]
fn logs_follow_ends_when_the_pipe_is_closed() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut ship = ship_command(project.root(), &["logs", "-f"]);
    let ship = ship
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("ship runs");
    let output = ship.wait_with_output().expect("our own child");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
    await_only(&project, &[project.pid("node1", 8081)]);
}

#[test]
fn logs_follow_waits_for_the_first_instance() {
    let project = LocalProject::small();
    let mut logs = project
        .ship(&["logs", "inventory.toml", "-f", "-n", "1"])
        .spawn();
    until("a process follows the log", DEADLINE, || {
        (project.processes().len() > 3).then_some(())
    });
    project.deploy("0.8");
    await_stdout(&mut logs, "node1:8081  page 0.8 starts");
    logs.signal("TERM");
    logs.wait().exits(0);
}
