//! The inventory: its keys and its hosts.

use std::path::PathBuf;
use std::time::Duration;

use ship::config::Escalation;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

#[test]
fn unknown_key_is_refused_with_a_suggestion() {
    let files = files().inventory(r#"user = "deploy""#, r#"usr = "deploy""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown key `usr` in [ssh]
 --> fleet.toml:5:1
  |
5 | usr = "deploy"
  | ^^^
  |
  = help: did you mean `user`?
"#]]
        .raw()
    );
}

#[test]
fn inventory_without_hosts_is_refused() {
    let files = files().inventory(
        "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \
         \"web2\"\naddress = \"10.0.0.2\"\n",
        "",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: missing [[hosts]] in the inventory
 --> fleet.toml:1:1
  |
1 | playbook = "web.toml"
  | ^
  |
  = help: for example:
          [[hosts]]
          name = "web1"
          address = "192.168.72.233"
"#]]
        .raw()
    );
}

#[test]
fn empty_list_of_hosts_is_refused() {
    let files = files()
        .inventory(
            "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" \
                                   }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n",
            "",
        )
        .inventory("[fleet]", "hosts = []\n[fleet]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `hosts` must not be empty
 --> fleet.toml:2:9
  |
2 | hosts = []
  |         ^^
  |
  = help: for example:
          [[hosts]]
          name = "web1"
          address = "192.168.72.233"
"#]]
        .raw()
    );
}

#[test]
fn hosts_that_are_not_tables_are_refused() {
    let files = files()
        .inventory(
            "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" \
                                   }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n",
            "",
        )
        .inventory("[fleet]", "hosts = [\"web1\"]\n[fleet]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `hosts` must be a table, not a string
 --> fleet.toml:2:10
  |
2 | hosts = ["web1"]
  |          ^^^^^^
  |
  = help: start the table with the line [[hosts]]
"#]]
        .raw()
    );
}

#[test]
fn drained_hosts_and_balancers_run_no_instances() {
    let drained = || files().inventory("name = \"web1\"", "name = \"web1\"\ndrain = true");
    let project = drained().load().expect("it is right");
    let schedulable: Vec<_> = project
        .inventory
        .schedulable_hosts()
        .map(|host| host.name.to_string())
        .collect();
    assert_eq!(
        (schedulable, project.inventory.hosts.len()),
        (vec!["web2".to_owned()], 2)
    );
    let report = drained()
        .inventory("drain = true", "drain = \"yes\"")
        .report();
    assert!(
        report.contains("`drain` must be true or false, not a string"),
        "{report}"
    );
    let balancer = files()
        .inventory(
            "[[hosts]]",
            "[[balancers]]\nname = \"lb1\"\ndrain = true\n[[hosts]]",
        )
        .report();
    assert!(balancer.contains("unknown key `drain`"), "{balancer}");
}

#[test]
fn duplicate_host_name_is_refused() {
    let files = files().inventory("web2", "web1");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: two hosts are named `web1`
  --> fleet.toml:10:8
   |
 7 | name = "web1"
   |        ------ first used here
...
10 | name = "web1"
   |        ^^^^^^
   |
   = help: give each host a unique name
"#]]
        .raw()
    );
}

#[test]
fn duplicate_local_address_is_refused() {
    let files = files()
        .inventory(r#"name = "web1""#, "name = \"web1\"\ntransport = \"local\"")
        .inventory(
            r#"address = "10.0.0.2""#,
            "transport = \"local\"\naddress = \"127.0.0.1\"",
        );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: two local hosts have the address 127.0.0.1 and would share its ports
  --> fleet.toml:13:11
   |
 7 | name = "web1"
   |        ------ first used here
...
13 | address = "127.0.0.1"
   |           ^^^^^^^^^^^
   |
   = help: give each local host its own loopback address, from 127.0.0.0/8
"#]]
        .raw()
    );
}

#[test]
fn host_name_with_a_blank_is_refused() {
    let files = files().inventory(r#""web2""#, r#""web 2""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `name` cannot contain ` `: `web 2`
  --> fleet.toml:10:8
   |
10 | name = "web 2"
   |        ^^^^^^^
   |
   = help: the name of a host may have up to 63 characters: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit
"#]]
        .raw()
    );
}

#[test]
fn address_that_looks_like_an_option_is_refused() {
    let files = files().inventory(r#""10.0.0.2""#, r#""-oProxyCommand=id""#);
    assert_data_eq!(files.report(), str![[r#"
error: `address` cannot begin with `-`: `-oProxyCommand=id`
  --> fleet.toml:11:11
   |
11 | address = "-oProxyCommand=id"
   |           ^^^^^^^^^^^^^^^^^^^
   |
   = help: an address may have up to 253 characters: letters, digits, `.`, `_`, `-`, `:` and `%` (the port is a separate key, `port`)
"#]].raw());
}

#[test]
fn user_that_looks_like_an_option_is_refused() {
    let files = files().inventory(r#""deploy""#, r#""-l""#);
    assert_data_eq!(files.report(), str![[r#"
error: `user` cannot begin with `-`: `-l`
 --> fleet.toml:5:8
  |
5 | user = "-l"
  |        ^^^^
  |
  = help: the name of a user may have up to 255 characters: letters, digits, `.`, `_`, `-`, `@` and `\`, beginning with a letter, a digit or `_`
"#]].raw());
}

#[test]
fn base_dir_must_be_absolute_without_parent_components() {
    let files = files()
        .inventory(
            r#"name = "web1""#,
            "name = \"web1\"\nbase_dir = \"var/ship\"",
        )
        .inventory(r#"address = "10.0.0.2""#, r#"base_dir = "/var/../ship""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `base_dir` must be an absolute path
 --> fleet.toml:8:12
  |
8 | base_dir = "var/ship"
  |            ^^^^^^^^^^
  |
  = help: write an absolute path without `..`, for example "/var/lib/ship"

error: `base_dir` must not contain `..`
  --> fleet.toml:12:12
   |
12 | base_dir = "/var/../ship"
   |            ^^^^^^^^^^^^^^
   |
   = help: write an absolute path without `..`, for example "/var/lib/ship"
"#]]
        .raw()
    );
}

#[test]
fn unknown_transport_is_refused() {
    let files = files().inventory(r#"address = "10.0.0.2""#, r#"transport = "locale""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `transport` must be "ssh" or "local", not `locale`
  --> fleet.toml:11:13
   |
11 | transport = "locale"
   |             ^^^^^^^^
   |
   = help: did you mean "local"?
"#]]
        .raw()
    );
}

#[test]
fn hosts_table_instead_of_an_array_is_refused() {
    let files = files().inventory(
        "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \
         \"web2\"\naddress = \"10.0.0.2\"\n",
        "[hosts]\nweb1 = \"10.0.0.1\"\n",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `hosts` must be written as [[hosts]], not as a table
 --> fleet.toml:6:1
  |
6 | [hosts]
  | ^^^^^^^
  |
  = help: for example:
          [[hosts]]
          name = "web1"
          address = "192.168.72.233"
"#]]
        .raw()
    );
}

#[test]
fn empty_inventory_is_refused_with_examples() {
    let files = files();
    let files = Files {
        inventory: String::new(),
        ..files
    };
    assert_data_eq!(
        files.report(),
        str![[r#"
error: missing key `playbook` in the inventory
 --> fleet.toml:1:1
  |
1 |
  | ^
  |
  = help: for example: playbook = "../playbooks/testpage.toml"

error: missing table [fleet] in the inventory
 --> fleet.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [fleet]
          name = "production"

error: missing [[hosts]] in the inventory
 --> fleet.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [[hosts]]
          name = "web1"
          address = "192.168.72.233"
"#]]
        .raw()
    );
}

#[test]
fn sudo_is_a_truth_value_or_the_word_of_an_escalation() {
    for (value, escalation) in [
        ("false", Escalation::None),
        ("true", Escalation::Sudo),
        ("\"password\"", Escalation::SudoPassword),
        ("\"doas\"", Escalation::Doas),
    ] {
        let lines = format!("user = \"deploy\"\nsudo = {value}");
        let project = files().inventory("user = \"deploy\"", &lines).project();
        let hosts = project.inventory.hosts.iter();
        let found: Vec<_> = hosts.map(|host| host.ssh.escalation).collect();
        assert_eq!(found, [escalation; 2], "{value}");
    }
    let wrong = |value: &str| {
        let lines = format!("user = \"deploy\"\nsudo = {value}");
        files().inventory("user = \"deploy\"", &lines).report()
    };
    assert_data_eq!(
        wrong("\"pasword\""),
        str![[r#"
error: `sudo` must be true, false, "password" or "doas", not `pasword`
 --> fleet.toml:6:8
  |
6 | sudo = "pasword"
  |        ^^^^^^^^^
  |
  = help: did you mean "password"?
"#]]
        .raw()
    );
    assert_data_eq!(
        wrong("\"sudo\""),
        str![[r#"
error: `sudo` must be true, false, "password" or "doas", not `sudo`
 --> fleet.toml:6:8
  |
6 | sudo = "sudo"
  |        ^^^^^^
  |
  = help: write it without quotes for sudo without a password: true
"#]]
        .raw()
    );
    assert_data_eq!(
        wrong("1"),
        str![[r#"
error: `sudo` must be true, false, "password" or "doas", not a whole number
 --> fleet.toml:6:8
  |
6 | sudo = 1
  |        ^
"#]]
        .raw()
    );
}

#[test]
fn host_overrides_single_ssh_keys() {
    let project = files()
        .inventory(
            "user = \"deploy\"",
            "user = \"deploy\"\nport = 22\nsudo = true\nidentity_file = \
             \"keys/id\"\nconnect_timeout = \"3s\"\npersist = \"10m\"",
        )
        .inventory(
            "address = \"10.0.0.2\"",
            "user = \"root\"\nsudo = false\npersist = \"0s\"\nport = 2222\nconfig = \"/etc/ssh/mine\"\nknown_hosts \
             = \"~/hosts\"",
        )
        .project();
    let [web1, web2] = project.inventory.hosts.as_slice() else {
        panic!("two hosts")
    };
    assert_eq!(
        (
            web1.ssh.user.as_deref(),
            web1.ssh.port,
            web1.ssh.escalation.is_root()
        ),
        (Some("deploy"), Some(22), true)
    );
    assert_eq!(
        (
            web2.ssh.user.as_deref(),
            web2.ssh.port,
            web2.ssh.escalation.is_root()
        ),
        (Some("root"), Some(2222), false)
    );
    assert_eq!(web2.ssh.identity_file, Some(PathBuf::from("keys/id")));
    assert_eq!(web2.ssh.connect_timeout, Duration::from_secs(3));
    assert_eq!(web1.ssh.persist, Duration::from_mins(10));
    assert_eq!(web2.ssh.persist, Duration::ZERO);
    assert_eq!(web2.ssh.config, Some(PathBuf::from("/etc/ssh/mine")));
    assert_eq!(
        web2.ssh.known_hosts,
        std::env::home_dir().map(|home| home.join("hosts"))
    );
}
