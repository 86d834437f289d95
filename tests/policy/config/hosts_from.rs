//! `[hosts_from]`: the table, and the output of its command.

use std::io;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use ship::config::{
    HostsFrom, HostsOutput, Overrides, Project, Selection, Transport, load_service,
};
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, INVENTORY, files};

const FROM: &str =
    "[hosts_from]\ncommand = [\"terraform\", \"output\", \"-json\", \"ship_hosts\"]\n";

/// The files, with a command beside web1 and web2.
fn with_command() -> Files {
    let mut files = files();
    files.inventory = format!("{INVENTORY}{FROM}");
    files
}

fn from(files: &Files) -> HostsFrom {
    let project = files.project();
    project.inventory.hosts_from.expect("the table is there")
}

/// Reads the files with this output of the command.
fn read(files: &Files, output: &str) -> Result<Project, String> {
    let output = HostsOutput::printed(&from(files), output.to_owned(), String::new());
    let read = |path: &Path| match path.to_str() {
        Some("fleet.toml") => Ok(files.inventory.clone().into_bytes()),
        Some("web.toml") => Ok(files.playbook.clone().into_bytes()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let path = Path::new("fleet.toml");
    let selection = Selection {
        hosts: Some(&output),
        ..Selection::default()
    };
    load_service(path, &Overrides::default(), read, selection).map_err(|wrong| wrong.to_string())
}

fn names(project: &Project) -> Vec<&str> {
    let hosts = project.inventory.hosts.iter();
    hosts.map(|host| host.name.as_str()).collect()
}

#[test]
fn command_has_a_default_timeout_and_is_not_run_by_the_configuration() {
    let files = with_command();
    let from = from(&files);
    assert_eq!(from.command, ["terraform", "output", "-json", "ship_hosts"]);
    assert_eq!(from.timeout, Duration::from_secs(30));
    assert_eq!(from.printed, None);
    assert_eq!(names(&files.project()), ["web1", "web2"]);
    assert_eq!(
        files
            .inventory("[hosts_from]", "[hosts_from]\ntimeout = \"2m\"")
            .project()
            .inventory
            .hosts_from
            .expect("the table is there")
            .timeout,
        Duration::from_mins(2)
    );
}

#[test]
fn byte_order_mark_before_the_output_is_skipped() {
    let project = read(&with_command(), "\u{feff}[{\"name\": \"web3\"}]").expect("valid");
    assert_eq!(names(&project), ["web1", "web2", "web3"]);
}

#[test]
fn hosts_of_the_command_follow_those_of_the_inventory_and_have_the_same_keys() {
    let output = r#"[{"name": "web3", "port": 2222, "sudo": true, "drain": true,
        "labels": {"zone": "b", "rack": 12, "spot": false, "none": null}, "address": null},
        {"name": "here", "transport": "local", "base_dir": "hosts/here"}]"#;
    let project = read(&with_command(), output).expect("valid");
    assert_eq!(names(&project), ["web1", "web2", "web3", "here"]);
    let [web1, _, web3, here] = &project.inventory.hosts[..] else {
        panic!("four")
    };
    assert_eq!(
        (web3.address.as_str(), web3.ssh.port, web3.drain),
        ("web3", Some(2222), true)
    );
    assert_eq!(web3.ssh.user.as_deref(), Some("deploy"), "from [ssh]");
    let labels: Vec<_> = web3
        .labels
        .iter()
        .map(|(name, text)| format!("{name}={text}"))
        .collect();
    assert_eq!(labels, ["rack=12", "spot=false", "zone=b"]);
    assert_eq!(here.transport, Transport::Local);
    assert!(
        here.base_dir
            .as_ref()
            .is_some_and(|dir| dir.ends_with("/hosts/here"))
    );
    assert!(project.inventory.is_from_command(here) && !project.inventory.is_from_command(web1));
    // What the history keeps is read to the same hosts.
    let kept = project
        .inventory
        .hosts_from
        .clone()
        .and_then(|from| from.printed)
        .expect("read");
    assert_eq!(
        kept[1],
        json!({"name": "here", "transport": "local", "base_dir": "hosts/here"})
    );
    let again = read(&with_command(), &kept.to_string()).expect("valid");
    assert_eq!(again.inventory.hosts, project.inventory.hosts);
}

#[test]
fn hosts_by_name_and_toml_are_read_to_the_same_hosts() {
    let array = r#"[{"name": "a", "address": "10.0.0.1"}, {"name": "b", "labels": {"zone": "1"}}]"#;
    let project = read(&with_command(), array).expect("valid");
    for output in [
        r#" {"a": {"address": "10.0.0.1"}, "b": {"name": "b", "labels": {"zone": "1"}}} "#,
        "# hosts\n[[hosts]]\nname = \"a\"\naddress = \"10.0.0.1\"\n[[hosts]]\nname = \"b\"\nlabels = { zone = \"1\" }\n",
        "[[ hosts ]]\nname = \"a\"\naddress = \"10.0.0.1\"\n[[hosts]]\nname = \"b\"\nlabels.zone = \"1\"",
        "hosts = [{ name = \"a\", address = \"10.0.0.1\" }, { name = \"b\", labels = { zone = \"1\" } }]",
    ] {
        let other = read(&with_command(), output).unwrap_or_else(|why| panic!("{output}:\n{why}"));
        assert_eq!(other.inventory.hosts, project.inventory.hosts, "{output}");
    }
}

#[test]
fn checks_that_depend_on_the_number_of_hosts_wait_for_the_output() {
    // Two hosts have four slots.
    let files = with_command().playbook("max_surge = 1", "max_surge = 1\nreplicas = 5");
    files.project();
    assert_eq!(
        names(&read(&files, r#"[{"name": "web3"}]"#).expect("six slots")).len(),
        3
    );
    let many = with_command().playbook("max_surge = 1", "max_surge = 1\nreplicas = 7");
    let why = read(&many, r#"[{"name": "web3"}]"#).expect_err("six slots");
    assert!(why.contains("replicas"), "{why}");
}

#[test]
fn inventory_needs_no_hosts_of_its_own_beside_a_command() {
    let mut files = with_command();
    let hosts = files.inventory.find("[[hosts]]").expect("there are hosts");
    files.inventory = format!("{}{FROM}", &files.inventory[..hosts]);
    assert_eq!(names(&files.project()), [] as [&str; 0]);
    assert_eq!(
        names(&read(&files, r#"[{"name": "web3"}]"#).expect("valid")),
        ["web3"]
    );
}

#[test]
fn invalid_table_is_refused() {
    let report = |right: &str, wrong: &str| with_command().inventory(right, wrong).report();
    let command = "[\"terraform\", \"output\", \"-json\", \"ship_hosts\"]";
    assert_data_eq!(
        report(command, "\"terraform output\""),
        str![[r#"
error: `command` must be a list of words, not a string
  --> fleet.toml:13:11
   |
13 | command = "terraform output"
   |           ^^^^^^^^^^^^^^^^^^
   |
   = help: for example: command = ["terraform", "output", "-json", "ship_hosts"]
"#]]
        .raw()
    );
    assert_data_eq!(
        report(command, "[]"),
        str![[r#"
error: `command` must not be empty
  --> fleet.toml:13:11
   |
13 | command = []
   |           ^^
   |
   = help: for example: command = ["terraform", "output", "-json", "ship_hosts"]
"#]]
        .raw()
    );
    assert_data_eq!(
        report("[hosts_from]", "[hosts_from]\ntimeout = \"0s\""),
        str![[r#"
error: `timeout` must be longer than 0
  --> fleet.toml:13:11
   |
13 | timeout = "0s"
   |           ^^^^
   |
   = help: for example "1s"
"#]]
        .raw()
    );
    assert_data_eq!(
        report("[hosts_from]\ncommand", "[hosts_from]\ncomand"),
        str![[r#"
error: missing key `command` in [hosts_from]
  --> fleet.toml:12:1
   |
12 | [hosts_from]
   | ^^^^^^^^^^^^
   |
   = help: for example: command = ["terraform", "output", "-json", "ship_hosts"]

error: unknown key `comand` in [hosts_from]
  --> fleet.toml:13:1
   |
13 | comand = ["terraform", "output", "-json", "ship_hosts"]
   | ^^^^^^
   |
   = help: did you mean `command`?
"#]]
        .raw()
    );
}

#[test]
fn error_in_the_output_has_its_place() {
    let output = "[\n  {\"name\": \"web3\", \"labels\": {\"zone\": \"a\"}, \"portt\": 22}\n]\n";
    assert_data_eq!(
        read(&with_command(), output).expect_err("a wrong key"),
        str![[r#"
error: unknown key `portt` in [[hosts]]
 --> output of `terraform output -json ship_hosts`:2:45
  |
2 |   {"name": "web3", "labels": {"zone": "a"}, "portt": 22}
  |                                             ^^^^^^^
  |
  = help: did you mean `port`?
"#]]
        .raw()
    );
    let output = "[\n  {\"name\": \"web2\"}\n]\n";
    assert_data_eq!(
        read(&with_command(), output).expect_err("web2 is listed"),
        str![[r#"
error: two hosts are named `web2`
  --> output of `terraform output -json ship_hosts`:2:12
   |
 2 |   {"name": "web2"}
   |            ^^^^^^
   |
  ::: fleet.toml:10:8
   |
10 | name = "web2"
   |        ------ first used here
   |
   = help: give each host a unique name
"#]]
        .raw()
    );
    let output = "{\"value\": [{\"name\": \"web3\"}]}";
    assert_data_eq!(
        read(&with_command(), output).expect_err("not guessed"),
        str![[r#"
error: the output is an object whose values are not all hosts
  --> output of `terraform output -json ship_hosts`:1:1
   |
 1 | {"value": [{"name": "web3"}]}
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
  ::: fleet.toml:13:11
   |
13 | command = ["terraform", "output", "-json", "ship_hosts"]
   |           ---------------------------------------------- printed by this command
   |
   = help: print the list itself, for example with `jq .value`
"#]]
        .raw()
    );
    let output = "[{\"name\": \"web3\", \"labels\": {\"version\": 1.10}}]";
    assert_data_eq!(
        read(&with_command(), output).expect_err("a fraction"),
        str![[r#"
error: `version` of `labels` must be a string, not a number with a fraction
 --> output of `terraform output -json ship_hosts`:1:41
  |
1 | [{"name": "web3", "labels": {"version": 1.10}}]
  |                                         ^^^^
  |
  = help: add quotes: "1.10"
"#]]
        .raw()
    );
}

proptest! {
    #[test]
    fn any_output_is_read_or_refused(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "{", "}", "[[hosts]]", "\n", ",", ":", "=", "\"name\"", "name", "\"a\"",
                "\"labels\"", "null", "true", "1e9", "-0", "12", "\"\\ud800\"", "ä", "\u{0}", " ", "#",
                "[{\"name\":\"web3\"}]", "\u{fffd}",
            ]),
            0..12,
        ),
    ) {
        let output: String = pieces.concat();
        if let Ok(project) = read(&with_command(), &output) {
            prop_assert!(project.inventory.hosts.len() > 2);
        }
    }
}
