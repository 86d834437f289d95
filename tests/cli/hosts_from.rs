//! `[hosts_from]`: hosts from a command. Every failure is reported with its place, and nothing is
//! touched; verbs that observe, stop or roll back continue with the hosts of the newest rollout.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use serde_json::{Value, json};
use snapbox::str;

use crate::call::json;
use crate::project::{DEADLINE, LocalProject};
use ship_testing::command::Done;
use ship_testing::namespace::{has_programs, until, write};

const PRINT_FILE: &str = "echo run >> runs; cat hosts.out";
const NOTE: &str = "warning: cannot get the hosts from `./hosts.sh`: it ended with exit status 1; \
                    using the hosts of revision 2\nhint: `ship inventory` shows the error\n";

/// A project whose hosts come from `hosts.sh`, with a short timeout. One instance runs on each host.
fn project(script: &str) -> LocalProject {
    let project = LocalProject::new().with("replicas = 3\n", "");
    set_script(&project, script);
    let inventory = project.inventory("local", &[]);
    write(
        &project.path("inventory.toml"),
        &format!("{inventory}\n[hosts_from]\ncommand = [\"./hosts.sh\"]\ntimeout = \"20s\"\n"),
    );
    project
}

/// A project whose command prints these hosts.
fn project_of(nodes: &[&str]) -> LocalProject {
    let project = project(PRINT_FILE);
    print_hosts(&project, nodes);
    project
}

fn set_script(project: &LocalProject, script: &str) {
    let path = project.path("hosts.sh");
    write(&path, &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

fn set_timeout(project: &LocalProject, timeout: &str) {
    let path = project.path("inventory.toml");
    let inventory = fs::read_to_string(&path).expect("our own file");
    write(
        &path,
        &inventory.replace("\"20s\"", &format!("\"{timeout}\"")),
    );
}

fn print_hosts(project: &LocalProject, nodes: &[&str]) {
    let host = |node: &&str| {
        let address = project.address(node);
        json!({ "name": node, "address": address, "transport": "local" })
    };
    let hosts: Vec<_> = nodes.iter().map(host).collect();
    write(&project.path("hosts.out"), &Value::from(hosts).to_string());
}

/// How often the command ran.
fn runs(project: &LocalProject) -> usize {
    let runs = fs::read_to_string(project.path("runs")).unwrap_or_default();
    runs.lines().count()
}

/// The error of a refused `ship deploy`, which left nothing behind.
#[track_caller]
fn refusal(project: &LocalProject) -> String {
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
    assert!(!project.path(".ship").exists(), "state was made");
    // The supervisor of the command ends a moment after ship.
    until("the end of the command", DEADLINE, || {
        project.processes().is_empty().then_some(())
    });
    project.redacted(&done.stderr)
}

#[track_caller]
fn run(project: &LocalProject, args: &[&str]) -> Done {
    project.ship(args).any_stdout().any_stderr().run()
}

#[test]
fn hosts_of_a_command_join_and_leave_the_fleet() {
    let project = project_of(&["node1", "node2"]);
    project.deploy("0.8");
    assert_eq!(runs(&project), 1, "once in a process");
    assert_eq!(project.running(), ["node1:8081 0.8", "node2:8081 0.8"]);

    print_hosts(&project, &["node1", "node2", "node3"]);
    project.deploy("0.8");
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );

    // As a host that was removed from `[[hosts]]`: see drain.rs.
    print_hosts(&project, &["node2", "node3"]);
    let warning =
        "warning: node1 was removed from the inventory but may still run 0.8 in slot 8081\n";
    let plan = || run(&project, &["plan", "inventory.toml"]).stderr;
    assert!(plan().contains(warning), "{}", plan());
    let done = project.deploy("0.9");
    assert!(done.stderr.starts_with(warning), "{}", done.stderr);
    assert!(!plan().contains("warning: "), "{}", plan());
    assert_eq!(project.running(), ["node2:8082 0.9", "node3:8082 0.9"]);

    // As the hint says: a host of the inventory itself, beside those of the command.
    let path = project.path("inventory.toml");
    let inventory = fs::read_to_string(&path).expect("our own file");
    let drained = format!(
        "\n[[hosts]]\nname = \"node1\"\naddress = \"{}\"\ntransport = \"local\"\ndrain = true\n",
        project.address("node1")
    );
    write(&path, &(inventory + &drained));
    project.deploy("0.9");
    assert_eq!(project.processes().len(), 2);
}

#[test]
fn history_has_the_hosts_of_each_revision() {
    let project = project_of(&["node1"]);
    project.deploy("0.8");
    print_hosts(&project, &["node1", "node2"]);
    project.deploy("0.9");
    let before = runs(&project);
    let done = run(&project, &["history", "inventory.toml", "--output", "json"]);
    let hosts = |row: &Value| row["hosts_from"].clone();
    let rows: Vec<_> = json(&done.stdout)
        .as_array()
        .expect("rows")
        .iter()
        .map(hosts)
        .collect();
    assert_eq!(rows, [json!(["node1", "node2"]), json!(["node1"])]);
    let done = run(&project, &["history", "inventory.toml", "--revision", "2"]);
    assert!(
        done.stdout.contains("\nhosts     node1, node2\n"),
        "{}",
        done.stdout
    );
    for verb in ["report", "freeze", "thaw"] {
        run(&project, &[verb, "inventory.toml"]);
    }
    run(&project, &["state", "show", "inventory.toml"]);
    assert_eq!(runs(&project), before, "these verbs use only the state");
}

#[test]
fn broken_command_permits_status_and_rollback_but_no_deploy() {
    let project = project_of(&["node1", "node2"]);
    project.deploy("0.8");
    project.deploy("0.9");
    set_script(&project, "exit 1");
    for verb in ["status", "logs"] {
        assert_eq!(
            run(&project, &[verb, "inventory.toml"]).stderr,
            NOTE,
            "{verb}"
        );
    }
    for verb in ["history", "report"] {
        assert_eq!(
            run(&project, &[verb, "inventory.toml"]).stderr,
            "",
            "{verb}"
        );
    }
    for args in [
        &["deploy", "inventory.toml"][..],
        &["plan", "inventory.toml"],
        &["check", "inventory.toml"],
        &["restart", "inventory.toml"],
        &["scale", "inventory.toml", "--replicas", "1"],
        &["inventory", "inventory.toml"],
    ] {
        let done = project.ship(args).any_stdout().any_stderr().status(2).run();
        assert!(
            done.stderr.contains("--> inventory.toml:"),
            "{args:?}: {}",
            done.stderr
        );
    }
    let done = run(&project, &["rollback", "inventory.toml"]);
    assert!(done.stderr.starts_with(NOTE), "{}", done.stderr);
    // The rollback has kept the hosts in turn.
    let done = run(&project, &["status", "inventory.toml", "--output", "json"]);
    let note = NOTE.replace("revision 2", "revision 3");
    assert_eq!(done.stderr, note);
    let hosts = |row: &Value| format!("{} {}", row["host"], row["version"]);
    let rows: Vec<_> = json(&done.stdout)["instances"]
        .as_array()
        .expect("rows")
        .iter()
        .map(hosts)
        .collect();
    assert_eq!(rows, ["\"node1\" \"0.8\"", "\"node2\" \"0.8\""]);
}

#[test]
fn broken_command_permits_abort_and_resume() {
    use ship_testing::behaviour::Behaviour;
    for (verb, version) in [("abort", "0.8"), ("resume", "0.9")] {
        let project = project_of(&["node1", "node2"]);
        project.release("0.9", Behaviour::Gated);
        project.deploy("0.8");
        let mut deploy = project.start_deploy("0.9");
        deploy.await_words("started   0.9");
        write(&project.path("hosts.out"), "[]");
        run(&project, &["pause", "inventory.toml"]);
        deploy.wait().exits(8);
        project.open_gate();
        let done = run(&project, &[verb, "inventory.toml"]);
        let warning = "warning: `./hosts.sh` printed no hosts; using the hosts of revision 2\n";
        assert!(done.stderr.starts_with(warning), "{}", done.stderr);
        assert_eq!(done.stderr.matches(warning).count(), 1, "{}", done.stderr);
        print_hosts(&project, &["node1", "node2"]);
        let running = project.running();
        assert!(running.len() == 2, "{running:?}");
        assert!(
            running.iter().all(|row| row.ends_with(version)),
            "{running:?}"
        );
    }
}

#[test]
fn failing_command_is_refused_with_its_output() {
    let project = project("echo half; echo 'token expired' >&2; exit 3");
    assert_eq!(
        refusal(&project),
        "error: cannot get the hosts from `./hosts.sh`: it ended with exit status 3
 --> inventory.toml:7:11
  |
7 | command = [\"./hosts.sh\"]
  |           ^^^^^^^^^^^^^^
  |
  = note: output:
          half
          token expired
  = help: run it yourself in the directory of the inventory"
    );
    for (script, why) in [
        ("kill -9 $$", "it was killed by signal 9"),
        (
            "head -c 5000000 /dev/zero | tr '\\0' x",
            "it printed more than 4 MiB",
        ),
        (
            "head -c 5000000 /dev/zero >&2; echo '[]'",
            "it printed more than 4 MiB",
        ),
        ("exec nosuch-program", "it was not found (exit status 127)"),
    ] {
        set_script(&project, script);
        let error = refusal(&project);
        let expected = format!(
            "error: cannot get the hosts from `./hosts.sh`: {why}\n --> inventory.toml:7:11\n"
        );
        assert!(error.starts_with(&expected), "{script}: {error}");
    }
    fs::set_permissions(project.path("hosts.sh"), fs::Permissions::from_mode(0o644))
        .expect("our own file");
    assert!(refusal(&project).contains("it cannot be executed (exit status 126)"));
    fs::remove_file(project.path("hosts.sh")).expect("our own file");
    assert!(refusal(&project).contains("it was not found (exit status 127)"));
}

#[test]
fn output_that_is_not_a_list_of_hosts_is_refused() {
    let project = project(PRINT_FILE);
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    for (output, message, place) in [
        ("", "`./hosts.sh` printed nothing", "inventory.toml:7:11"),
        (" \n", "`./hosts.sh` printed nothing", "inventory.toml:7:11"),
        ("[]", "`./hosts.sh` printed no hosts", "inventory.toml:7:11"),
        ("{}", "`./hosts.sh` printed no hosts", "inventory.toml:7:11"),
        (
            "# none",
            "`./hosts.sh` printed no hosts",
            "inventory.toml:7:11",
        ),
        (
            "null",
            "the output must be a list of hosts, not null",
            "output:1:1",
        ),
        (
            "3",
            "the output must be a list of hosts, not a whole number",
            "output:1:1",
        ),
        (
            "[\"a\", \"b\"]",
            "a host must be a table, not a string",
            "output:1:2",
        ),
        ("[null]", "a host must be a table, not null", "output:1:2"),
        ("[[]]", "a host must be a table, not a list", "output:1:2"),
        (
            "[{\"name\": \"a\"",
            "invalid JSON: EOF while parsing an object",
            "output:1:13",
        ),
        (
            "[{\"name\": \"a\"}] done",
            "invalid JSON: trailing characters",
            "output:1:17",
        ),
        (
            "[{\"name\": \"a\", \"name\": \"b\"}]",
            "duplicate key `name`",
            "output:1:16",
        ),
        (
            "No outputs found",
            "invalid TOML: key with no value",
            "output:1:4",
        ),
        ("a\0b", "invalid TOML: ", "output:1:4"),
        (
            &deep,
            "invalid JSON: EOF while parsing a list",
            "output:1:100000",
        ),
        (
            &closed,
            "lists and objects are nested more than 16 deep",
            "output:1:18",
        ),
        (
            "[{\"name\": \"a\", \"port\": 99999999999999999999999999999999999999999}]",
            "`port` must be a number from 1 to 65535",
            "output:1:24",
        ),
        (
            "[{\"name\": \"a\", \"port\": 1e400}]",
            "`port` must be a whole number",
            "output:1:24",
        ),
        (
            "[{\"name\": \"a\", \"adress\": \"b\"}]",
            "unknown key `adress` in [[hosts]]",
            "output:1:16",
        ),
        (
            "[\n {\"address\": \"b\"}\n]",
            "missing key `name` in [[hosts]]",
            "output:2:2",
        ),
        (
            "[{\"name\": \"a\"},\n{\"name\": \"a\"}]",
            "two hosts are named `a`",
            "output:2:10",
        ),
        (
            "{\"name\": \"a\"}",
            "the output is an object whose values are not all hosts",
            "output:1:1",
        ),
        (
            "{\"ship_hosts\": {\"sensitive\": false, \"type\": [], \"value\": []}}",
            "the output is an object whose values are not all hosts",
            "output:1:1",
        ),
        (
            "{\"a\": {\"name\": \"b\"}}",
            "the host `a` has the name `b`",
            "output:1:16",
        ),
        (
            "[fleet]\nname = \"x\"",
            "unknown key `fleet` in the output",
            "output:1:2",
        ),
        (
            "[hosts]\nname = \"x\"",
            "`hosts` must be written as [[hosts]]",
            "output:1:1",
        ),
        (
            "[[hosts]]\nname = \"a\"\nports = 1",
            "unknown key `ports` in [[hosts]]",
            "output:3:1",
        ),
    ] {
        write(&project.path("hosts.out"), output);
        let error = refusal(&project).replace("output of `./hosts.sh`", "output");
        let place = format!("--> {place}\n");
        let shown: String = error.chars().take(2000).collect();
        assert!(
            error.starts_with(&format!("error: {message}")),
            "{output:.40}: {shown}"
        );
        assert!(error.contains(&place), "{output:.40}: {shown}");
    }
    set_script(&project, "printf '[{\"name\": \"caf\\351\"}]'");
    assert!(refusal(&project).starts_with("error: the output is not valid UTF-8 here\n"));
}

#[test]
fn host_that_the_inventory_has_is_refused() {
    let project = project_of(&["node1", "node2"]);
    let path = project.path("inventory.toml");
    let inventory = fs::read_to_string(&path).expect("our own file");
    write(&path, &(inventory + "\n[[hosts]]\nname = \"node2\"\n"));
    project
        .ship(&["check", "inventory.toml"])
        .stderr(str![[r#"
error: two hosts are named `node2`
  --> output of `./hosts.sh`:1:101
   |
 1 | [{"address":"[NET].11","name":"node1","transport":"local"},{"address":"[NET].12","name":"node2","transport":"local"}]
   |                                                                                                     ^^^^^^^
   |
  ::: inventory.toml:11:8
   |
11 | name = "node2"
   |        ------- first used here
   |
   = help: give each host a unique name

"#]])
        .status(2)
        .run();
}

#[test]
fn hanging_command_is_ended_with_its_children() {
    // stdout that is closed, or kept by a child, and SIGTERM that is ignored.
    for script in [
        "trap '' TERM; sleep 1000 & wait; sleep 1000",
        "exec >&-; sleep 1000",
        "sleep 1000 & echo '[{\"name\": \"a\"}]'",
        "while :; do :; done",
    ] {
        let project = project(&format!("echo $$ > pid; echo busy >&2; {script}"));
        set_timeout(&project, "500ms");
        let error = refusal(&project);
        assert!(
            error.starts_with(
                "error: cannot get the hosts from `./hosts.sh`: it did not finish within 500ms; last \
                 output: busy\n"
            ),
            "{script}: {error}"
        );
        assert!(project.path("pid").exists(), "{script}: it did not run");
    }
}

#[test]
fn interrupted_ship_ends_the_command() {
    // A test runner in the background of a shell, and with it ship, may ignore SIGINT.
    for signal in ["TERM", "KILL"] {
        let project = project("trap '' INT TERM; echo $$ > pid; sleep 1000 & wait; sleep 1000");
        let deploy = project.ship(&["deploy", "inventory.toml"]).spawn();
        until("the command", DEADLINE, || {
            project.path("pid").exists().then_some(())
        });
        deploy.signal(signal);
        assert_eq!(deploy.wait().code, None, "ended by the signal");
        until("the end of the command", DEADLINE, || {
            project.processes().is_empty().then_some(())
        });
        assert!(!project.path(".ship").exists());
    }
}

#[test]
fn invalid_files_are_refused_before_the_command_runs() {
    let project = project_of(&["node1"]).with("[readiness]", "[readyness]");
    refusal(&project);
    assert_eq!(runs(&project), 0);
}

#[test]
fn command_of_another_user_does_not_run() {
    let project = project_of(&["node1"]);
    if chown(project.path("hosts.sh"), Some(4711), None).is_err() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    for verb in ["plan", "deploy", "status", "inventory"] {
        let done = project.ship(&[verb]).any_stderr().status(2).run();
        assert!(
            done.stderr.contains(
                "hosts.sh belongs to uid 4711, not to root, and ship found it automatically\nhint: "
            ),
            "{verb}: {}",
            done.stderr
        );
    }
    assert_eq!(runs(&project), 0);
    // The user named it.
    run(&project, &["inventory", "inventory.toml"]);
    assert_eq!(runs(&project), 1);
}

#[test]
fn command_inherits_no_secrets_of_ship() {
    let project = project_of(&["node1"]).with(
        "[service.env]\n",
        "secrets = [\"TOKEN\"]\n\n[service.env]\n",
    );
    set_script(&project, &format!("env > env.out; {PRINT_FILE}"));
    project
        .ship(&["inventory", "inventory.toml"])
        .env("TOKEN", "s3cret")
        .env("PGPASSWORD", "s3cret")
        .env("CLOUD_TOKEN", "for the command")
        .any_stdout()
        .run();
    let environment = fs::read_to_string(project.path("env.out")).expect("the command ran");
    assert!(!environment.contains("s3cret"), "{environment}");
    assert!(
        environment.contains("CLOUD_TOKEN=for the command"),
        "{environment}"
    );
}

#[test]
fn outputs_of_real_tools_are_read() {
    let list = include_str!("hosts_from/terraform_list.json");
    let map = include_str!("hosts_from/terraform_map.json");
    let project = project(PRINT_FILE);
    let table =
        "NAME   ADDRESS      USER    PORT   TRANSPORT   DRAIN   LABELS                     FROM
web1   10.20.1.11   -       -      ssh         no      role=app,spot=true,zone=a  [hosts_from]
web2   10.20.2.12   admin   2222   ssh         no      role=app,weight=2,zone=b   [hosts_from]
";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for output in [list, map] {
        write(&project.path("hosts.out"), output);
        let done = run(&project, &["inventory", "inventory.toml"]);
        assert_eq!(squeeze(&done.stdout), squeeze(table));
    }
    if !has_programs(&[("jq", "jq")]) {
        return;
    }
    let aws = r#"jq '[.Reservations[].Instances[] | select(.State.Name == "running") | {
        name: (.Tags[] | select(.Key == "Name") | .Value),
        address: .PrivateIpAddress,
        labels: {zone: .Placement.AvailabilityZone}
    }]' aws.json"#;
    let hcloud = "jq '[.[] | {name, address: .public_net.ipv4.ip, labels}]' hcloud.json";
    for (file, text, script, expected) in [
        (
            "aws.json",
            include_str!("hosts_from/aws_describe_instances.json"),
            aws,
            "web1 10.20.1.11 - - ssh no zone=eu-central-1a [hosts_from] \
             web2 10.20.2.12 - - ssh no zone=eu-central-1b [hosts_from]",
        ),
        (
            "hcloud.json",
            include_str!("hosts_from/hcloud_server_list.json"),
            hcloud,
            "web1 203.0.113.11 - - ssh no role=app [hosts_from]",
        ),
    ] {
        write(&project.path(file), text);
        set_script(&project, script);
        let done = run(&project, &["inventory", "inventory.toml"]);
        let mut shown = String::new();
        for line in done.stdout.lines().skip(1) {
            write!(shown, "{} ", squeeze(line)).expect("memory");
        }
        assert_eq!(shown.trim_end(), expected);
    }
}
