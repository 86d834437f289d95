//! The log of a rollout.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::call::json_lines;
use crate::project::{DEADLINE, LocalProject};
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::until;

/// The lines of a rollout's log.
fn log(project: &LocalProject, rollout: u32) -> Vec<Value> {
    let path = project.path(&format!(".ship/runs/{rollout}.jsonl"));
    json_lines(&fs::read_to_string(path).expect("a log"))
}

/// What is in the directory of the logs, but for the pages.
fn logs(project: &LocalProject) -> Vec<String> {
    let files = fs::read_dir(project.path(".ship/runs"))
        .expect("our own directory")
        .flatten();
    let files = files.filter(|file| {
        file.path()
            .extension()
            .is_none_or(|extension| extension != "html")
    });
    let mut names: Vec<_> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn rollout_log_has_all_events_and_attempts() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    let done = project
        .ship(&["deploy", "--version", "0.9", "-o", "json"])
        .any_stdout()
        .status(3)
        .run();
    let lines = log(&project, 2);
    let without = |line: &Value, keys: &[&str]| {
        let mut line = line.clone();
        for key in keys {
            line.as_object_mut().expect("an object").remove(*key);
        }
        line
    };
    let printed: Vec<_> = json_lines(&done.stdout)
        .iter()
        .map(|line| without(line, &["time"]))
        .collect();
    let events = lines.iter().filter(|line| line.get("event").is_some());
    let events: Vec<_> = events
        .map(|line| without(line, &["time", "level", "message"]))
        .collect();
    assert_eq!(events, printed);
    let others: Vec<_> = lines
        .iter()
        .filter(|line| line.get("event").is_none())
        .collect();
    assert!(others.iter().all(|line| {
        line["module"]
            .as_str()
            .is_some_and(|module| module.starts_with("ship::"))
    }));
    // From before the rollout had a number.
    assert!(
        others
            .iter()
            .any(|line| line["module"] == "ship::remote::connector" && line["host"] == "node4")
    );
    let path = project.path(".ship/runs/2.jsonl");
    assert_eq!(
        fs::metadata(path).expect("a log").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn rollout_log_is_readable_text() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    let done = project
        .ship(&["logs", "--rollout", "last"])
        .any_stdout()
        .run();
    for words in [
        "  INFO   page 0.9 (revision 2) on local: 1 replica (now 1 on 0.8)\n",
        "  DEBUG  action 2: start ",
        "  ERROR  node1:8082  FAILED    0.9 exited unexpectedly after ",
        "                       | fatal: the frobnicator is missing\n",
        "  ERROR  page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1)",
    ] {
        assert!(
            done.stdout.contains(words),
            "no {words:?} in\n{}",
            done.stdout
        );
    }
    let last = project
        .ship(&["logs", "--rollout", "2", "-n", "1"])
        .any_stdout()
        .run()
        .stdout;
    assert!(
        done.stdout.ends_with(&last) && last.contains("rolled back to"),
        "{last}"
    );
    let json = project
        .ship(&["logs", "--rollout", "1", "-o", "json"])
        .any_stdout()
        .run()
        .stdout;
    assert_eq!(json_lines(&json), log(&project, 1));
    assert!(
        !project
            .ship(&["logs", "--rollout", "1"])
            .any_stdout()
            .run()
            .stdout
            .contains("FAILED")
    );
}

#[test]
fn log_of_an_unknown_rollout_is_refused_with_the_known_ones() {
    let project = LocalProject::small();
    project
        .ship(&["logs", "inventory.toml", "--rollout", "last"])
        .any_stderr()
        .status(2)
        .run();
    project.deploy("0.8");
    for which in ["7", "newest"] {
        let stderr = format!(
            "error: service `page` has no rollout `{which}`; known rollouts:\n  1: 0.8 (revision 1), \
             started [WHEN], succeeded\n"
        );
        project
            .ship(&["logs", "--rollout", which])
            .stderr(stderr)
            .status(2)
            .run();
    }
}

#[test]
fn log_without_its_file_is_rebuilt_from_the_journal() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let logs = |args: &[&str]| {
        let args = [&["logs", "--rollout", "1"], args].concat();
        project.ship(&args).any_stdout().run().stdout
    };
    let (text, json) = (logs(&[]), logs(&["--output", "json"]));
    fs::remove_file(project.path(".ship/runs/1.jsonl")).expect("a log");
    let rebuilt = logs(&[]);
    assert!(rebuilt.contains("successfully rolled out"), "{rebuilt}");
    for line in rebuilt.lines() {
        // The time in the journal is that of the event, and in the file that of the line.
        let (_, words) = line.split_at(15.min(line.len()));
        assert!(text.contains(words), "{line} is not in:\n{text}");
    }
    // The journal has all events, but no lines of other modules.
    let events = |lines: &str| -> Vec<String> {
        let is_event = |line: &&str| line.contains("\"event\":\"");
        lines.lines().filter(is_event).map(str::to_owned).collect()
    };
    let without_time = |line: &String| line.split_once(',').map(|(_, rest)| rest.to_owned());
    let [before, after] = [json, logs(&["--output", "json"])]
        .map(|lines| events(&lines).iter().map(without_time).collect::<Vec<_>>());
    assert_eq!(before, after);
    // `--follow` ends with the rollout.
    assert_eq!(logs(&["--follow"]), rebuilt);
}

#[test]
fn logs_follow_shows_a_rollout_to_its_end() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node1:8082  started");
    let mut logs = project.ship(&["logs", "--rollout", "last", "-f"]).spawn();
    until("a probe that fails", DEADLINE, || {
        logs.stdout_so_far()
            .contains("readiness probe did not pass")
            .then_some(())
    });
    project.open_gate();
    deploy.wait().exits(0);
    let done = logs.wait().exits(0);
    assert!(
        done.stdout
            .lines()
            .last()
            .is_some_and(|line| line.contains("1 of 1 available")),
        "{}",
        done.stdout
    );
}

#[test]
fn rollout_log_of_a_killed_ship_has_only_complete_lines() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node1:8082  started");
    let mut follower = project.ship(&["logs", "--rollout", "2", "-f"]).spawn();
    until("the start", DEADLINE, || {
        follower
            .stdout_so_far()
            .contains("node1:8082  started")
            .then_some(())
    });
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    let done = follower.wait().exits(0);
    assert_eq!(
        done.stderr,
        "the rollout has not ended, but its controller is gone\nhint: see its state with `ship status`\n"
    );
    assert!(
        log(&project, 2)
            .iter()
            .any(|line| line["event"] == "action_done")
    );
    // The resumed rollout has a number of its own.
    project.open_gate();
    project.ship(&["resume"]).any_stderr().run();
    assert_eq!(logs(&project), ["1.jsonl", "2.jsonl", "3.jsonl"]);
}

#[test]
fn rollout_log_is_removed_with_the_history() {
    let project = LocalProject::small().with("replicas = 1", "replicas = 1\nhistory_limit = 1");
    project.deploy("0.8");
    fs::write(project.path(".ship/runs/notes.txt"), "a person's").expect("our own directory");
    project.deploy("0.9");
    project.deploy("0.8");
    project.deploy("0.9");
    assert_eq!(project.history().len(), 2);
    assert_eq!(logs(&project), ["3.jsonl", "4.jsonl", "notes.txt"]);
}

#[test]
fn rollout_continues_without_a_writable_log() {
    let project = LocalProject::small();
    fs::create_dir(project.path(".ship")).expect("our own directory");
    fs::write(project.path(".ship/runs"), "in the way").expect("our own directory");
    let done = project.deploy("0.8");
    assert!(
        done.stderr
            .starts_with("warning: cannot write the log of this rollout ("),
        "{}",
        done.stderr
    );
    fs::remove_file(project.path(".ship/runs")).expect("our own file");
    fs::create_dir_all(project.path(".ship/runs/2.jsonl")).expect("our own directory");
    project.deploy("0.9");
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn rollout_log_contains_no_secrets() {
    let secrets = "secrets = [\"TOKEN\"]\n\n[service.env]\n";
    let project = LocalProject::small().with("[service.env]\n", secrets);
    project.release("0.9", Behaviour::Exits);
    for (version, status) in [("0.8", 0), ("0.9", 3)] {
        let args = ["deploy", "inventory.toml", "--version", version];
        project
            .ship(&args)
            .env("TOKEN", "s3cret-of-the-environment")
            .any_stderr()
            .status(status)
            .run();
    }
    for name in logs(&project) {
        let text = fs::read_to_string(project.path(&format!(".ship/runs/{name}"))).expect("a log");
        assert!(!text.contains("s3cret"), "{name}: {text}");
    }
    assert_eq!(logs(&project).len(), 2);
}

#[test]
fn verbose_prints_an_event_once() {
    let project = LocalProject::small();
    let done = project
        .ship(&["deploy", "inventory.toml", "-v"])
        .any_stderr()
        .run();
    assert_eq!(
        done.stderr.matches("successfully rolled out").count(),
        1,
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("connected in"), "{}", done.stderr);
}
