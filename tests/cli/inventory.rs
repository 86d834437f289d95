//! `ship inventory`: the hosts as resolved, in three formats.

use std::fs;

use snapbox::str;

use crate::call::json;
use crate::project::LocalProject;
use ship_testing::namespace::write;

const INVENTORY: &str = r#"playbook = "playbook.toml"

[fleet]
name = "production"

[ssh]
user = "deploy"
identity_file = "keys/deploy"
connect_timeout = "1m30s"

[[hosts]]
name = "web1"
address = "10.0.0.1"
sudo = "password"
labels = { zone = "a", "team/name" = "web = \"1\"" }

[[hosts]]
name = "web2"
user = "admin"
port = 2222
sudo = true
connect_timeout = "1500ms"
persist = "10m"
drain = true
base_dir = "/srv/ship"

[hosts_from]
command = ["cat", "more.toml"]
"#;

const MORE: &str = r#"[[hosts]]
name = "local1"
transport = "local"
base_dir = "hosts/local1"
labels = { zone = "b" }
"#;

fn project() -> LocalProject {
    let project = LocalProject::new();
    write(&project.path("inventory.toml"), INVENTORY);
    write(&project.path("more.toml"), MORE);
    project
}

#[test]
fn inventory_lists_the_hosts_and_where_they_come_from() {
    // No version is needed.
    let project = project().with("version = \"0.8\"\n", "");
    project
        .ship(&["inventory", "inventory.toml"])
        .stdout(str![[r#"
NAME   ADDRESS   USER   PORT   TRANSPORT   DRAIN   LABELS   FROM
web1   10.0.0.1   deploy   -   ssh   no   team/name=web = "1",zone=a   [[hosts]]
web2   web2   admin   2222   ssh   yes   -   [[hosts]]
local1   127.0.0.1   deploy   -   local   no   zone=b   [hosts_from]

"#]])
        .run();
    assert!(!project.path(".ship").exists());
}

#[test]
fn inventory_prints_json_with_all_settings() {
    project()
        .ship(&["inventory", "inventory.toml", "--output", "json"])
        .stdout(str![[r#"
[
  {
    "name": "web1",
    "address": "10.0.0.1",
    "transport": "ssh",
    "drain": false,
    "user": "deploy",
    "identity_file": "[ROOT]/keys/deploy",
    "connect_timeout": "90s",
    "sudo": "password",
    "labels": {
      "team/name": "web = \"1\"",
      "zone": "a"
    }
  },
  {
    "name": "web2",
    "address": "web2",
    "transport": "ssh",
    "drain": true,
    "base_dir": "/srv/ship",
    "user": "admin",
    "port": 2222,
    "identity_file": "[ROOT]/keys/deploy",
    "connect_timeout": "1500ms",
    "persist": "600s",
    "sudo": true
  },
  {
    "name": "local1",
    "address": "127.0.0.1",
    "transport": "local",
    "drain": false,
    "base_dir": "[ROOT]/hosts/local1",
    "user": "deploy",
    "identity_file": "[ROOT]/keys/deploy",
    "connect_timeout": "90s",
    "sudo": false,
    "labels": {
      "zone": "b"
    }
  }
]

"#]])
        .run();
}

#[test]
fn inventory_in_toml_is_read_back_to_the_same_hosts() {
    let project = project();
    let print = |inventory: &str, format: &str| {
        project
            .ship(&["inventory", inventory, "--output", format])
            .any_stdout()
            .run()
            .stdout
    };
    let toml = print("inventory.toml", "toml");
    let own_hosts = INVENTORY.find("[[hosts]]").expect("there are hosts");
    let sub = project.path("sub");
    fs::create_dir(&sub).expect("our own directory");
    // In another directory: no path depends on it.
    let head = INVENTORY[..own_hosts].replace("playbook.toml", "../playbook.toml");
    write(&sub.join("inventory.toml"), &format!("{head}{toml}"));
    let again = print("sub/inventory.toml", "json");
    assert_eq!(json(&again), json(&print("inventory.toml", "json")));
    assert_eq!(json(&again).as_array().expect("a list").len(), 3);
    // The JSON is an output that [hosts_from] reads.
    write(&sub.join("hosts.json"), &again);
    let command = "[hosts_from]\ncommand = [\"cat\", \"hosts.json\"]\n";
    write(&sub.join("from.toml"), &format!("{head}{command}"));
    assert_eq!(json(&print("sub/from.toml", "json")), json(&again));
}

#[test]
fn inventory_with_errors_is_refused() {
    let project = project();
    write(&project.path("more.toml"), "[[hosts]]\nname = \"web1\"\n");
    project
        .ship(&["inventory", "inventory.toml"])
        .stderr(str![[r#"
error: two hosts are named `web1`
  --> output of `cat more.toml`:2:8
   |
 2 | name = "web1"
   |        ^^^^^^
   |
  ::: inventory.toml:12:8
   |
12 | name = "web1"
   |        ------ first used here
   |
   = help: give each host a unique name

"#]])
        .status(2)
        .run();
}
