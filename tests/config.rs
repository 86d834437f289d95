//! The user's files: what is right loads, and what is wrong is said with its place and its remedy.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use ship::config::{
    Overrides, Project, SlotVars, Source, Transport, definition, load, load_with, read_secrets, release_id, render,
};
use ship::core::budget::Amount;
use ship::core::names::HostId;
use ship::core::release::{Artifact, ArtifactForm, Check, Driver, Via};
use ship::core::spec::OnFailure;
use snapbox::{IntoData, assert_data_eq, str};

const INVENTORY: &str = r#"playbook = "web.toml"
[fleet]
name = "test"
[ssh]
user = "deploy"
[[hosts]]
name = "web1"
labels = { zone = "a" }
[[hosts]]
name = "web2"
address = "10.0.0.2"
"#;

const PLAYBOOK: &str = r#"version = "0.8"
[service]
name = "web"
command = "./web --port {{ port }}"
ports = [8081, 8082]
[service.env]
VERSION = "{{ version }}"
[artifact]
source = "web-{{ version }}.tar.gz"
[readiness]
http = "/healthz"
[rollout]
max_surge = 1
"#;

/// Files in memory, and what the command line says.
struct Files {
    inventory: String,
    playbook: String,
    overrides: Overrides,
}

/// The two files as they are right.
fn files() -> Files {
    Files { inventory: INVENTORY.to_owned(), playbook: PLAYBOOK.to_owned(), overrides: Overrides::default() }
}

impl Files {
    fn inventory(mut self, right: &str, wrong: &str) -> Self {
        assert!(self.inventory.contains(right), "{right}");
        self.inventory = self.inventory.replacen(right, wrong, 1);
        self
    }

    fn playbook(mut self, right: &str, wrong: &str) -> Self {
        assert!(self.playbook.contains(right), "{right}");
        self.playbook = self.playbook.replacen(right, wrong, 1);
        self
    }

    fn set(mut self, setting: &str) -> Self {
        self.overrides.set.push(setting.to_owned());
        self
    }

    fn version(mut self, version: &str) -> Self {
        self.overrides.version = Some(version.to_owned());
        self
    }

    fn load(&self) -> Result<Project, String> {
        let read = |path: &Path| match path.to_str() {
            Some("fleet.toml") => Ok(self.inventory.clone().into_bytes()),
            Some("web.toml") => Ok(self.playbook.clone().into_bytes()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        load_with(Path::new("fleet.toml"), &self.overrides, read).map_err(|wrong| wrong.to_string())
    }

    fn project(&self) -> Project {
        self.load().unwrap_or_else(|report| panic!("{report}"))
    }

    fn report(&self) -> String {
        self.load().expect_err("something is wrong with these files")
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
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
fn an_unknown_key_like_no_other_is_refused_with_those_that_are_known() {
    let files = files().playbook("max_surge = 1", "zzz = 1");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown key `zzz` in [rollout]
  --> web.toml:13:1
   |
13 | zzz = 1
   | ^^^
   |
   = help: known here: replicas, max_surge, max_unavailable, min_ready, progress_deadline, history_limit, on_failure
"#]]
        .raw()
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let files = files().playbook("ports = [8081, 8082]", "ports = 8081");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `ports` must be a list of ports, not a whole number
 --> web.toml:5:9
  |
5 | ports = 8081
  |         ^^^^
  |
  = help: in brackets: [8081, 8082]
"#]]
        .raw()
    );
}

#[test]
fn a_number_where_text_belongs_is_shown_in_quotes() {
    let files = files().playbook(r#"version = "0.8""#, "version = 0.8");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `version` must be a string, not a number with a fraction
 --> web.toml:1:11
  |
1 | version = 0.8
  |           ^^^
  |
  = help: write it in quotes: "0.8"
"#]]
        .raw()
    );
}

#[test]
fn a_missing_key_is_refused_where_its_table_begins() {
    let files = files().playbook("name = \"web\"\n", "");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `name` is missing in [service]
 --> web.toml:2:1
  |
2 | [service]
  | ^^^^^^^^^
  |
  = help: for example: name = "testpage"
"#]]
        .raw()
    );
}

#[test]
fn a_missing_table_is_refused() {
    let files = files().playbook("[artifact]\nsource = \"web-{{ version }}.tar.gz\"\n", "");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: [artifact] is missing in the playbook
 --> web.toml:1:1
  |
1 | version = "0.8"
  | ^
  |
  = help: for example:
          [artifact]
          source = "testpage.tar.gz"
"#]]
        .raw()
    );
}

#[test]
fn an_inventory_without_hosts_is_refused() {
    let files = files().inventory(
        "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n",
        "",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: there is no [[hosts]] in the inventory
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
fn an_empty_list_of_hosts_is_refused() {
    let files = files().inventory("[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n", "").inventory("[fleet]", "hosts = []\n[fleet]");
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
fn hosts_that_are_no_tables_are_refused() {
    let files = files().inventory("[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n", "").inventory("[fleet]", "hosts = [\"web1\"]\n[fleet]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `hosts` must be a table, not a string
 --> fleet.toml:2:10
  |
2 | hosts = ["web1"]
  |          ^^^^^^
  |
  = help: begin it with a line [[hosts]]
"#]]
        .raw()
    );
}

#[test]
fn two_hosts_of_one_name_are_refused() {
    let files = files().inventory("web2", "web1");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: two hosts are named `web1`
  --> fleet.toml:10:8
   |
 7 | name = "web1"
   |        ------ the first of them
...
10 | name = "web1"
   |        ^^^^^^
   |
   = help: give each host a name of its own
"#]]
        .raw()
    );
}

#[test]
fn two_local_hosts_of_one_address_are_refused() {
    let files = files()
        .inventory(r#"name = "web1""#, "name = \"web1\"\ntransport = \"local\"")
        .inventory(r#"address = "10.0.0.2""#, "transport = \"local\"\naddress = \"127.0.0.1\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: two local hosts have the address 127.0.0.1, and with it the same ports
  --> fleet.toml:13:11
   |
 7 | name = "web1"
   |        ------ the first of them
...
13 | address = "127.0.0.1"
   |           ^^^^^^^^^^^
   |
   = help: all of 127.0.0.0/8 is this machine: give each a loopback address of its own
"#]]
        .raw()
    );
}

#[test]
fn a_host_name_with_a_blank_is_refused() {
    let files = files().inventory(r#""web2""#, r#""web 2""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `name` cannot hold ` `: `web 2`
  --> fleet.toml:10:8
   |
10 | name = "web 2"
   |        ^^^^^^^
   |
   = help: a host's name has letters, digits, `.`, `_` and `-`, beginning with a letter or a digit; at most 63 of them
"#]]
        .raw()
    );
}

#[test]
fn an_address_that_could_be_an_option_is_refused() {
    let files = files().inventory(r#""10.0.0.2""#, r#""-oProxyCommand=id""#);
    assert_data_eq!(files.report(), str![[r#"
error: `address` cannot begin with `-`: `-oProxyCommand=id`
  --> fleet.toml:11:11
   |
11 | address = "-oProxyCommand=id"
   |           ^^^^^^^^^^^^^^^^^^^
   |
   = help: an address has letters, digits, `.`, `_`, `-`, `:` and `%`; the port has a key of its own, `port`; at most 253 of them
"#]].raw());
}

#[test]
fn a_user_that_could_be_an_option_is_refused() {
    let files = files().inventory(r#""deploy""#, r#""-l""#);
    assert_data_eq!(files.report(), str![[r#"
error: `user` cannot begin with `-`: `-l`
 --> fleet.toml:5:8
  |
5 | user = "-l"
  |        ^^^^
  |
  = help: a user's name has letters, digits, `.`, `_`, `-`, `@` and `\`, beginning with a letter, a digit or `_`; at most 255 of them
"#]].raw());
}

#[test]
fn a_base_directory_must_be_absolute_and_must_not_climb() {
    let files = files()
        .inventory(r#"name = "web1""#, "name = \"web1\"\nbase_dir = \"var/ship\"")
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
  = help: an absolute path without `..`, for example "/var/lib/ship"

error: `base_dir` must not climb with `..`
  --> fleet.toml:12:12
   |
12 | base_dir = "/var/../ship"
   |            ^^^^^^^^^^^^^^
   |
   = help: an absolute path without `..`, for example "/var/lib/ship"
"#]]
        .raw()
    );
}

#[test]
fn an_unknown_transport_is_refused() {
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
fn a_service_name_in_capitals_is_refused() {
    let files = files().playbook(r#""web""#, r#""Web""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `name` cannot begin with `W`: `Web`
 --> web.toml:3:8
  |
3 | name = "Web"
  |        ^^^^^
  |
  = help: a service's name has a to z, 0 to 9 and -, beginning with a letter; at most 41 of them
"#]]
        .raw()
    );
}

#[test]
fn a_version_with_a_slash_is_refused() {
    let files = files().playbook(r#""0.8""#, r#""feature/x""#);
    assert_data_eq!(files.report(), str![[r#"
error: `version` cannot hold `/`: `feature/x`
 --> web.toml:1:11
  |
1 | version = "feature/x"
  |           ^^^^^^^^^^^
  |
  = help: a version has letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit; at most 64 of them
"#]].raw());
}

#[test]
fn a_variable_that_no_shell_could_have_is_refused() {
    let files = files().playbook("VERSION =", r#""MY-VERSION" ="#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `env` cannot hold `-`: `MY-VERSION`
 --> web.toml:7:1
  |
7 | "MY-VERSION" = "{{ version }}"
  | ^^^^^^^^^^^^
  |
  = help: a variable's name has letters, digits and `_`, not beginning with a digit; at most 255 of them
"#]]
        .raw()
    );
}

#[test]
fn a_variable_of_two_lines_is_refused() {
    let files = files().playbook(r#"VERSION = "{{ version }}""#, r#"VERSION = "a\nb""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `VERSION` of `env` must not hold line breaks
 --> web.toml:7:11
  |
7 | VERSION = "a\nb"
  |           ^^^^^^
  |
  = help: encode it on one line (base64, say), or put it in a file of the artifact
"#]]
        .raw()
    );
}

#[test]
fn a_port_that_is_none_and_a_port_twice_are_refused() {
    let files = files().playbook("[8081, 8082]", r#"[8081, 0, 8081, "http"]"#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `ports` holds what is no port: it must be a number from 1 to 65535
 --> web.toml:5:16
  |
5 | ports = [8081, 0, 8081, "http"]
  |                ^

error: `ports` names port 8081 twice
 --> web.toml:5:19
  |
5 | ports = [8081, 0, 8081, "http"]
  |                   ^^^^
  |
  = help: each instance on a host needs a port of its own

error: `ports` holds what is no port: it must be a whole number, not a string
 --> web.toml:5:25
  |
5 | ports = [8081, 0, 8081, "http"]
  |                         ^^^^^^
  |
  = help: without quotes and without a fraction
"#]]
        .raw()
    );
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    let files = files().playbook("max_surge = 1", "min_ready = 5\nprogress_deadline = \"10 minutes\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `min_ready` must be a duration in quotes, not a whole number
  --> web.toml:13:13
   |
13 | min_ready = 5
   |             ^
   |
   = help: write a number and a unit (ms, s, m, h or d), for example "500ms", "30s" or "1h30m"

error: `progress_deadline` is no duration: `10 minutes`
  --> web.toml:14:21
   |
14 | progress_deadline = "10 minutes"
   |                     ^^^^^^^^^^^^
   |
   = help: write a number and a unit (ms, s, m, h or d), for example "500ms", "30s" or "1h30m"
"#]]
        .raw()
    );
}

#[test]
fn an_interval_of_nothing_is_refused() {
    let files = files().playbook(
        r#"http = "/healthz""#,
        "http = \"/healthz\"\ninterval = \"0s\"\ntimeout = \"0s\"\nsuccesses = 0\nfailures = 0",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `interval` must be longer than 0
  --> web.toml:12:12
   |
12 | interval = "0s"
   |            ^^^^
   |
   = help: for example "1s"

error: `timeout` must be longer than 0
  --> web.toml:13:11
   |
13 | timeout = "0s"
   |           ^^^^
   |
   = help: for example "1s"

error: `successes` must be a number from 1 to 1000000
  --> web.toml:14:13
   |
14 | successes = 0
   |             ^

error: `failures` must be a number from 1 to 1000000
  --> web.toml:15:12
   |
15 | failures = 0
   |            ^
"#]]
        .raw()
    );
}

#[test]
fn more_than_all_is_no_percentage() {
    let files = files().playbook("max_surge = 1", "max_surge = \"101%\"\nmax_unavailable = \"many\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` is no amount: 101% is more than 100%
  --> web.toml:13:13
   |
13 | max_surge = "101%"
   |             ^^^^^^
   |
   = help: a count, as in 2, or a percentage from "0%" to "100%"

error: `max_unavailable` is no amount: `many` is neither a count such as 2 nor a percentage such as "25%"
  --> web.toml:14:19
   |
14 | max_unavailable = "many"
   |                   ^^^^^^
   |
   = help: a count, as in 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn a_negative_amount_is_refused() {
    let files = files().playbook("max_surge = 1", "max_surge = -1\nreplicas = -3");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` cannot be -1
  --> web.toml:13:13
   |
13 | max_surge = -1
   |             ^^
   |
   = help: a count, as in 2, or a percentage from "0%" to "100%"

error: `replicas` must be a number from 0 to 1000000
  --> web.toml:14:12
   |
14 | replicas = -3
   |            ^^
"#]]
        .raw()
    );
}

#[test]
fn readiness_asked_in_two_ways_is_refused() {
    let files = files().playbook(r#"http = "/healthz""#, "http = \"/healthz\"\ncommand = \"true\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: readiness is asked in one way, not by `http` and `command`
  --> web.toml:12:1
   |
11 | http = "/healthz"
   | ---- the first way
12 | command = "true"
   | ^^^^^^^
   |
   = help: keep one of the two; a `command` can ask for several things
"#]]
        .raw()
    );
}

#[test]
fn a_body_without_http_is_refused() {
    let files = files().playbook(r#"http = "/healthz""#, "tcp = true\nbody = \"ok\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `body` has a meaning with `http` only
  --> web.toml:12:8
   |
12 | body = "ok"
   |        ^^^^
   |
   = help: for example: http = "/healthz"
"#]]
        .raw()
    );
}

#[test]
fn tcp_can_only_be_true() {
    let files = files().playbook(r#"http = "/healthz""#, "tcp = false");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `tcp` can only be true
  --> web.toml:11:7
   |
11 | tcp = false
   |       ^^^^^
   |
   = help: leave it out, or ask by `http` or `command` instead
"#]]
        .raw()
    );
}

#[test]
fn an_http_path_begins_with_a_slash() {
    let files = files().playbook(r#""/healthz""#, r#""healthz""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `http` must begin with `/`
  --> web.toml:11:8
   |
11 | http = "healthz"
   |        ^^^^^^^^^
   |
   = help: a path on the instance, for example "/healthz"
"#]]
        .raw()
    );
}

#[test]
fn a_command_with_an_open_quote_is_refused() {
    let files = files().playbook(r#""./web --port {{ port }}""#, r#""./web --title 'two words""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `command` has a quote that is not closed, or ends in a backslash
 --> web.toml:4:11
  |
4 | command = "./web --title 'two words"
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: quote words as in a shell: run --title 'two words'
"#]]
        .raw()
    );
}

#[test]
fn a_typo_in_a_template_is_underlined() {
    let files = files().playbook("{{ port }}", "{{ prot }}");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown variable `prot`
 --> web.toml:4:28
  |
4 | command = "./web --port {{ prot }}"
  |                            ^^^^
  |
  = help: did you mean `{{ port }}`?
"#]]
        .raw()
    );
}

#[test]
fn a_template_that_is_never_closed_is_refused() {
    let files = files().playbook(r#"VERSION = "{{ version }}""#, r#"VERSION = "{{ version""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: not a valid template: unexpected end of input, expected end of variable block
 --> web.toml:7:11
  |
7 | VERSION = "{{ version"
  |           ^^^^^^^^^^^^
  |
  = help: write variables as in "{{ version }}"
"#]]
        .raw()
    );
}

#[test]
fn a_label_that_not_every_host_has_is_refused() {
    let files = files().playbook(r#"VERSION = "{{ version }}""#, r#"ZONE = "{{ labels.zone }}""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: host `web2` has no label `zone`
 --> web.toml:7:19
  |
7 | ZONE = "{{ labels.zone }}"
  |                   ^^^^
  |
  = help: give every host one in the inventory: labels = { zone = "…" }
"#]]
        .raw()
    );
}

#[test]
fn a_source_may_use_the_version_alone() {
    let files = files().playbook("web-{{ version }}", "web-{{ host }}");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `source` cannot be filled in: unknown variable `host`
 --> web.toml:9:18
  |
9 | source = "web-{{ host }}.tar.gz"
  |                  ^^^^
  |
  = help: known here: version
"#]]
        .raw()
    );
}

#[test]
fn a_checksum_of_the_wrong_length_is_refused() {
    let files = files().playbook("[readiness]", "sha256 = \"abc\"\n[readiness]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `sha256` must be 64 hexadecimal digits; this has 3 characters
  --> web.toml:10:10
   |
10 | sha256 = "abc"
   |          ^^^^^
   |
   = help: print it with `sha256sum FILE`
"#]]
        .raw()
    );
}

#[test]
fn a_source_that_cannot_be_fetched_is_refused() {
    let files = files().playbook("web-{{ version }}.tar.gz", "ftp://example.org/web.tar.gz");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `source` cannot be fetched by `ftp`
 --> web.toml:9:10
  |
9 | source = "ftp://example.org/web.tar.gz"
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: for example "https://example.org/testpage-{{ version }}.tar.gz"
"#]]
        .raw()
    );
}

#[test]
fn a_secret_that_is_in_the_environment_as_well_is_refused() {
    let files = files().playbook("ports = [8081, 8082]", "ports = [8081, 8082]\nsecrets = [\"VERSION\"]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: variable `VERSION` is given twice
 --> web.toml:6:12
  |
6 | secrets = ["VERSION"]
  |            ^^^^^^^^^
7 | [service.env]
8 | VERSION = "{{ version }}"
  |           --------------- the first time
  |
  = help: keep one of the two
"#]]
        .raw()
    );
}

#[test]
fn a_secret_that_no_shell_could_have_is_refused() {
    let files = files().playbook("ports = [8081, 8082]", "ports = [8081, 8082]\nsecrets = [\"A B\"]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `secrets` cannot hold ` `: `A B`
 --> web.toml:6:12
  |
6 | secrets = ["A B"]
  |            ^^^^^
  |
  = help: a variable's name has letters, digits and `_`, not beginning with a digit; at most 255 of them
"#]]
        .raw()
    );
}

#[test]
fn hosts_in_a_table_of_their_own_are_refused() {
    let files = files().inventory(
        "[[hosts]]\nname = \"web1\"\nlabels = { zone = \"a\" }\n[[hosts]]\nname = \"web2\"\naddress = \"10.0.0.2\"\n",
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
fn an_empty_inventory_says_what_belongs_there() {
    let files = files();
    let files = Files { inventory: String::new(), ..files };
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `playbook` is missing in the inventory
 --> fleet.toml:1:1
  |
1 |
  | ^
  |
  = help: for example: playbook = "../playbooks/testpage.toml"

error: [fleet] is missing in the inventory
 --> fleet.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [fleet]
          name = "production"

error: there is no [[hosts]] in the inventory
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
fn an_empty_playbook_says_what_belongs_there() {
    let files = files();
    let files = Files { playbook: String::new(), ..files };
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `version` is missing in the playbook
 --> web.toml:1:1
  |
1 |
  | ^
  |
  = help: for example: version = "0.8"

error: [service] is missing in the playbook
 --> web.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [service]
          name = "testpage"

error: [artifact] is missing in the playbook
 --> web.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [artifact]
          source = "testpage.tar.gz"
"#]]
        .raw()
    );
}

#[test]
fn a_driver_that_nobody_knows_is_refused() {
    let files = files().playbook(r#"name = "web""#, "name = \"web\"\ndriver = \"docker\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `driver` must be "systemd" or "process", not `docker`
 --> web.toml:4:10
  |
4 | driver = "docker"
  |          ^^^^^^^^
  |
  = help: write "systemd" or "process"
"#]]
        .raw()
    );
}

#[test]
fn rollout_that_is_no_table_is_refused() {
    let files = files().playbook("[rollout]\nmax_surge = 1\n", "").playbook("[service]", "rollout = 1\n[service]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `rollout` must be a table, not a whole number
 --> web.toml:2:11
  |
2 | rollout = 1
  |           ^
  |
  = help: begin it with a line [rollout]
"#]]
        .raw()
    );
}

#[test]
fn a_template_that_never_ends_is_refused() {
    let files = files().playbook(
        r#"VERSION = "{{ version }}""#,
        r#"X = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}""#,
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: the template runs too long
 --> web.toml:7:5
  |
7 | X = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}"
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write variables as in "{{ version }}"
"#]]
        .raw()
    );
}

#[test]
fn a_label_in_a_readiness_body_is_checked_as_well() {
    let files = files().playbook(r#"http = "/healthz""#, "http = \"/healthz\"\nbody = \"{{ lables.zone }}\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown variable `lables`
  --> web.toml:12:12
   |
12 | body = "{{ lables.zone }}"
   |            ^^^^^^
   |
   = help: did you mean `{{ labels }}`?
"#]]
        .raw()
    );
}

#[test]
fn more_replicas_than_slots_are_refused_with_the_arithmetic() {
    let files = files().playbook("max_surge = 1", "replicas = 9");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: 9 replicas need 9 slots, but the fleet offers 4 (2 hosts × 2 ports)
  --> web.toml:13:12
   |
13 | replicas = 9
   |            ^
   |
   = help: add hosts or ports, or lower `replicas`
"#]]
        .raw()
    );
}

#[test]
fn a_surge_without_a_slot_is_refused_with_the_arithmetic() {
    let files = files().playbook("[8081, 8082]", "[8081]");
    assert_data_eq!(files.report(), str![[r#"
error: 2 replicas + 1 surge need at least 3 slots, but the fleet offers 2 (2 hosts × 1 port), and max_unavailable resolves to 0
  --> web.toml:13:13
   |
13 | max_surge = 1
   |             ^
   |
   = help: add a host or a second port, or set max_surge = 0 and max_unavailable = 1 to replace in place
"#]].raw());
}

#[test]
fn a_rollout_that_may_not_move_at_all_is_refused() {
    let files = files().playbook("max_surge = 1", "max_surge = 0");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: max_surge and max_unavailable are both 0: a rollout could neither start a new instance nor stop an old one
  --> web.toml:13:13
   |
13 | max_surge = 0
   |             ^
   |
   = help: allow at least 1 of either
"#]]
        .raw()
    );
}

#[test]
fn a_soak_as_long_as_the_deadline_is_refused() {
    let files = files().playbook("max_surge = 1", r#"min_ready = "10m""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: min_ready (10m) must be shorter than progress_deadline (10m), or no instance is ever available in time
  --> web.toml:13:13
   |
13 | min_ready = "10m"
   |             ^^^^^
   |
   = help: shorten min_ready, or lengthen progress_deadline (10m unless it is set)
"#]]
        .raw()
    );
}

#[test]
fn a_mistake_in_the_syntax_is_shown() {
    let files = files().playbook("ports = [8081, 8082]", "ports = [8081, 8082");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: this is not TOML: missing comma between array elements
 --> web.toml:6:1
  |
6 | [service.env]
  | ^
  |
  = help: expected `,`; the format is described at https://toml.io
"#]]
        .raw()
    );
}

#[test]
fn a_key_written_twice_is_refused() {
    let files = files().playbook(r#"name = "web""#, "name = \"web\"\nname = \"api\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: this is not TOML: duplicate key
 --> web.toml:4:1
  |
4 | name = "api"
  | ^^^^
  |
  = help: a key may be written once in a table; keep one of the two
"#]]
        .raw()
    );
}

#[test]
fn all_that_is_wrong_in_both_files_is_said_at_once() {
    let files = files()
        .inventory(r#"user = "deploy""#, "user = 7")
        .inventory(r#""web2""#, r#""web1""#)
        .playbook("ports = [8081, 8082]", "ports = []")
        .playbook("max_surge = 1", "max_surg = 1\non_failure = \"rollbak\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `user` must be a string, not a whole number
 --> fleet.toml:5:8
  |
5 | user = 7
  |        ^
  |
  = help: write it in quotes: "7"

error: two hosts are named `web1`
  --> fleet.toml:10:8
   |
 7 | name = "web1"
   |        ------ the first of them
...
10 | name = "web1"
   |        ^^^^^^
   |
   = help: give each host a name of its own

error: `ports` must name at least one port
 --> web.toml:5:9
  |
5 | ports = []
  |         ^^
  |
  = help: for example: [8081, 8082]

error: unknown key `max_surg` in [rollout]
  --> web.toml:13:1
   |
13 | max_surg = 1
   | ^^^^^^^^
   |
   = help: did you mean `max_surge`?

error: `on_failure` must be "rollback" or "hold", not `rollbak`
  --> web.toml:14:14
   |
14 | on_failure = "rollbak"
   |              ^^^^^^^^^
   |
   = help: did you mean "rollback"?
"#]]
        .raw()
    );
}

#[test]
fn a_broken_inventory_does_not_hide_what_is_wrong_in_the_playbook() {
    let files = files().inventory("[[hosts]]", "[[hosts]").playbook("max_surge = 1", r#"max_surge = "1.5""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: this is not TOML: unclosed array table
 --> fleet.toml:6:9
  |
6 | [[hosts]
  |         ^
  |
  = help: expected `]`; the format is described at https://toml.io

error: `max_surge` is no amount: `1.5` is neither a count such as 2 nor a percentage such as "25%"
  --> web.toml:13:13
   |
13 | max_surge = "1.5"
   |             ^^^^^
   |
   = help: a count, as in 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn a_playbook_that_is_not_there_is_refused() {
    let files = files().inventory(r#""web.toml""#, r#""wbe.toml""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: cannot read wbe.toml: entity not found
 --> fleet.toml:1:12
  |
1 | playbook = "wbe.toml"
  |            ^^^^^^^^^^
  |
  = help: the path is taken from the inventory's directory
"#]]
        .raw()
    );
}

#[test]
fn a_setting_is_refused_where_it_was_made() {
    let files = files().set("rollout.max_surge=two");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` is no amount: `two` is neither a count such as 2 nor a percentage such as "25%"
 --> command line:1:25
  |
1 | --set rollout.max_surge=two
  |                         ^^^
  |
  = help: a count, as in 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn a_setting_of_an_unknown_key_is_refused() {
    let files = files().set("rollout.max_surg=2");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: unknown key `max_surg` in [rollout]
 --> command line:1:15
  |
1 | --set rollout.max_surg=2
  |               ^^^^^^^^
  |
  = help: did you mean `max_surge`?
"#]]
        .raw()
    );
}

#[test]
fn a_setting_without_a_value_is_refused() {
    let files = files().set("rollout.max_surge");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: there is no `=` in this setting
 --> command line:1:7
  |
1 | --set rollout.max_surge
  |       ^^^^^^^^^^^^^^^^^
  |
  = help: write a key of the playbook, `=` and its value, for example: --set rollout.max_surge=2
"#]]
        .raw()
    );
}

#[test]
fn a_setting_below_something_that_is_no_table_is_refused() {
    let files = files().set("version.major=1");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `major` cannot be set: what it belongs to is no table
 --> command line:1:15
  |
1 | --set version.major=1
  |               ^^^^^
  |
  = help: for example: --set rollout.max_surge=2
"#]]
        .raw()
    );
}

#[test]
fn a_version_from_the_command_line_is_checked_as_well() {
    let files = files().version("1/2");
    assert_data_eq!(files.report(), str![[r#"
error: `version` cannot hold `/`: `1/2`
 --> command line:1:11
  |
1 | --version 1/2
  |           ^^^
  |
  = help: a version has letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit; at most 64 of them
"#]].raw());
}

#[test]
fn what_is_left_out_has_its_default() {
    let project =
        files().playbook("[rollout]\nmax_surge = 1\n", "").playbook("[readiness]\nhttp = \"/healthz\"\n", "").project();
    let [web1, web2] = project.inventory.hosts.as_slice() else { panic!("two hosts") };
    assert_eq!((web1.name.as_str(), web1.address.as_str()), ("web1", "web1"));
    assert_eq!((web2.name.as_str(), web2.address.as_str()), ("web2", "10.0.0.2"));
    assert_eq!((web1.transport, web1.base_dir.as_deref()), (Transport::Ssh, None));
    assert_eq!((web1.ssh.user.as_deref(), web1.ssh.port, web1.ssh.sudo), (Some("deploy"), None, false));
    assert_eq!(web1.ssh.connect_timeout, Duration::from_secs(10));

    let playbook = project.playbook;
    assert_eq!((playbook.service.driver, playbook.service.user), (Driver::Systemd, None));
    assert_eq!(playbook.service.stop_timeout, Duration::from_secs(30));
    assert_eq!((playbook.readiness.check, playbook.readiness.via), (Check::Tcp, Via::Direct));
    assert_eq!(
        (playbook.readiness.interval, playbook.readiness.timeout),
        (Duration::from_secs(1), Duration::from_secs(1))
    );
    assert_eq!((playbook.readiness.successes, playbook.readiness.failures), (1, 3));
    assert_eq!(playbook.readiness.initial_delay, Duration::ZERO);
    assert_eq!((playbook.rollout.max_surge, playbook.rollout.max_unavailable), (Amount::Count(1), Amount::Count(0)));
    assert_eq!(playbook.rollout.amounts(2).replicas, 2, "one a host");
    assert_eq!(
        (playbook.rollout.min_ready, playbook.rollout.progress_deadline),
        (Duration::ZERO, Duration::from_secs(600))
    );
    assert_eq!((playbook.rollout.history_limit, playbook.rollout.on_failure), (10, OnFailure::RollBack));
}

#[test]
fn a_host_overrides_the_ssh_defaults_key_by_key() {
    let project = files()
        .inventory(
            "user = \"deploy\"",
            "user = \"deploy\"\nport = 22\nsudo = true\nidentity_file = \"keys/id\"\nconnect_timeout = \"3s\"",
        )
        .inventory(
            "address = \"10.0.0.2\"",
            "user = \"root\"\nsudo = false\nport = 2222\nconfig = \"/etc/ssh/mine\"\nknown_hosts = \"~/hosts\"",
        )
        .project();
    let [web1, web2] = project.inventory.hosts.as_slice() else { panic!("two hosts") };
    assert_eq!((web1.ssh.user.as_deref(), web1.ssh.port, web1.ssh.sudo), (Some("deploy"), Some(22), true));
    assert_eq!((web2.ssh.user.as_deref(), web2.ssh.port, web2.ssh.sudo), (Some("root"), Some(2222), false));
    assert_eq!(web2.ssh.identity_file, Some(PathBuf::from("keys/id")));
    assert_eq!(web2.ssh.connect_timeout, Duration::from_secs(3));
    assert_eq!(web2.ssh.config, Some(PathBuf::from("/etc/ssh/mine")));
    assert_eq!(web2.ssh.known_hosts, std::env::home_dir().map(|home| home.join("hosts")));
}

#[test]
fn paths_are_found_from_the_file_that_names_them() {
    let inventory = INVENTORY
        .replace("\"web.toml\"", "\"../books/web.toml\"")
        .replace("user = \"deploy\"", "identity_file = \"id\"")
        .replace("name = \"web2\"", "name = \"web2\"\ntransport = \"local\"\nbase_dir = \"state\"");
    let playbook = PLAYBOOK.replace("[service]", "[service]\nenv_file = \"web.env\"");
    let read = |path: &Path| match path.to_str() {
        Some("there/is/no/fleet.toml") => Ok(inventory.clone().into_bytes()),
        Some("there/is/no/../books/web.toml") => Ok(playbook.clone().into_bytes()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let project = load_with(Path::new("there/is/no/fleet.toml"), &Overrides::default(), read).unwrap();
    let host = &project.inventory.hosts[1];
    assert_eq!(host.ssh.identity_file, Some(PathBuf::from("there/is/no/id")));
    assert_eq!(host.base_dir.as_deref(), Some("there/is/no/state"));
    assert_eq!(project.playbook.artifact.source, Source::Path(PathBuf::from("there/is/no/../books/web-0.8.tar.gz")));
    let env_file = project.playbook.service.secrets.env_file.map(|file| file.value);
    assert_eq!(env_file, Some(PathBuf::from("there/is/no/../books/web.env")));
}

#[test]
fn the_command_line_goes_before_the_playbook() {
    let project = files()
        .set("rollout.max_surge=25%")
        .set("rollout.replicas=1")
        .set("rollout.replicas=2")
        .set("rollout.min_ready=5s")
        .set("service.env.NOTE=half # of \"it\"")
        .set("service.env.QUOTED=\"a b\"")
        .set("service.ports=[9001, 9002]")
        .set("service.secrets=['TOKEN']")
        .set("version=0.85")
        .version("0.9")
        .project();
    assert_eq!(project.playbook.version, "0.9");
    assert_eq!(project.playbook.rollout.max_surge, Amount::Percent(25));
    assert_eq!(project.playbook.rollout.replicas, Some(2), "the last of two holds");
    assert_eq!(project.playbook.rollout.min_ready, Duration::from_secs(5));
    assert_eq!(project.playbook.service.env["NOTE"], "half # of \"it\"");
    assert_eq!(project.playbook.service.env["QUOTED"], "a b");
    assert_eq!(project.playbook.service.ports, [9001, 9002]);
    assert_eq!(project.playbook.artifact.source, Source::Path(PathBuf::from("web-0.9.tar.gz")));
}

#[test]
fn a_number_on_the_command_line_may_stand_for_text() {
    assert_eq!(files().set("version=0.90").project().playbook.version, "0.90");
}

#[test]
fn a_command_is_split_into_words_and_a_template_stays_in_its_word() {
    let command = r#"command = '''./web --port={{ port }} "{{ labels['zone'] | default("a b") }}" 'it''s' a\ b''' "#;
    let project = files().playbook("command = \"./web --port {{ port }}\"", command).project();
    let words = ["./web", "--port={{ port }}", "{{ labels['zone'] | default(\"a b\") }}", "its", "a b"];
    assert_eq!(project.playbook.service.command, words);
}

#[test]
fn readiness_by_command_is_split_as_well() {
    let project = files().playbook("http = \"/healthz\"", "command = \"./check {{ port }}\"\nvia = \"ssh\"").project();
    assert_eq!(project.playbook.readiness.check, Check::Command(vec!["./check".to_owned(), "{{ port }}".to_owned()]));
    assert_eq!(project.playbook.readiness.via, Via::Ssh);
}

#[test]
fn what_can_be_told_only_later_still_has_its_place() {
    let project = files().playbook("[readiness]", &format!("sha256 = \"{}\"\n[readiness]", "AB".repeat(32))).project();
    assert_eq!(project.playbook.artifact.sha256, Some("ab".repeat(32)));
    let place = project.playbook.artifact.places.source.unwrap();
    assert_eq!((place.path(), place.line(), place.column()), ("web.toml", 9, 10));
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let read = |_: &Path| Ok(b"playbook = \"a\"\nfleet = \"\xff\"".to_vec());
    let report = load_with(Path::new("fleet.toml"), &Overrides::default(), read).unwrap_err().to_string();
    assert_data_eq!(
        report,
        str![[r#"
error: the file is not UTF-8 text here
--> fleet.toml:2:10
 = help: save it as UTF-8
"#]]
        .raw()
    );
}

#[test]
fn an_inventory_that_is_not_there_is_refused() {
    let report = load(Path::new("no/such/fleet.toml"), &Overrides::default()).unwrap_err().to_string();
    assert_data_eq!(
        report,
        str![[r#"
error: cannot read no/such/fleet.toml: No such file or directory (os error 2)
--> no/such/fleet.toml
 = help: name an inventory, as in `ship deploy inventory/production.toml`
"#]]
        .raw()
    );
}

#[test]
fn a_report_in_colour_says_the_same() {
    let files = files().playbook("max_surge = 1", "max_surg = 1");
    let read = |path: &Path| match path.to_str() {
        Some("fleet.toml") => Ok(files.inventory.clone().into_bytes()),
        _ => Ok(files.playbook.clone().into_bytes()),
    };
    let wrong = load_with(Path::new("fleet.toml"), &files.overrides, read).unwrap_err();
    assert!(wrong.render(true).contains("\u{1b}["));
    assert!(!wrong.render(false).contains('\u{1b}'));
    let found: Vec<_> = wrong.iter().map(|it| (it.path(), it.line_and_column(), it.message())).collect();
    assert_eq!(found, [("web.toml", Some((13, 1)), "unknown key `max_surg` in [rollout]")]);
}

#[test]
fn a_thousand_mistakes_make_a_report_of_bearable_length() {
    let hosts = "[[hosts]]\nname = \"-\"\n".repeat(1000);
    let report = files().inventory("[[hosts]]", &format!("{hosts}[[hosts]]")).report();
    assert_eq!(report.matches("error: ").count(), 50);
    assert!(report.ends_with("... and 950 more"));
}

/// Secrets of the playbook with `keys` in its service, from `env_file` and an environment that holds TOKEN alone.
fn secrets(keys: &str, env_file: &str) -> Result<BTreeMap<String, String>, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secrets.env"), env_file).unwrap();
    std::fs::write(directory.path().join("fleet.toml"), INVENTORY).unwrap();
    std::fs::write(directory.path().join("web.toml"), PLAYBOOK.replace("[service]", &format!("[service]\n{keys}")))
        .unwrap();
    let project =
        load(&directory.path().join("fleet.toml"), &Overrides::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let variable = |name: &str| (name == "TOKEN").then(|| "t0ken $x".into());
    let report =
        |wrong: ship::config::Diagnostics| wrong.to_string().replace(&format!("{}/", directory.path().display()), "");
    read_secrets(&project.playbook.service, variable).map(|secrets| secrets.expose().clone()).map_err(report)
}

#[test]
fn secrets_come_from_a_file_and_from_the_environment() {
    let found =
        secrets("env_file = \"secrets.env\"\nsecrets = [\"TOKEN\"]", "# one\n\nDB_PASSWORD = no\n").unwrap_err();
    assert!(!found.contains("no\n"), "{found}");
    let found =
        secrets("env_file = \"secrets.env\"\nsecrets = [\"TOKEN\"]", "# one\n\nDB_PASSWORD=it's # $1\n").unwrap();
    let expected = [("DB_PASSWORD", "it's # $1"), ("TOKEN", "t0ken $x")];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!(secrets("", "").unwrap(), BTreeMap::new());
}

#[test]
fn what_is_wrong_with_secrets_is_said_without_showing_them() {
    let env_file = "TOKEN=a\nhunter2\nVERSION=1\nTOKEN=b\nKEY=\"hunter2\n  K2=hun\tter\u{1b}2\n";
    let keys = "env_file = \"secrets.env\"\nsecrets = [\"TOKEN\", \"MISSING\"]";
    let report = secrets(keys, env_file).unwrap_err();
    assert!(!report.contains("hun"), "{report}");
    assert_data_eq!(
        report,
        str![[r#"
error: this line is not KEY=VALUE
--> secrets.env:2:1
 = help: write KEY=VALUE, with letters, digits and `_` in the key

error: variable `VERSION` is given twice
--> secrets.env:3:1
 = help: keep it once, here or in `env`

error: variable `TOKEN` is given twice
--> secrets.env:4:1
 = help: keep it once, here or in `env`

error: this value begins or ends with a quote that is not closed
--> secrets.env:5:5
 = help: put the whole value into the other kind of quotes: KEY='a"b'

error: this value holds a control character
--> secrets.env:6:6
 = help: encode it, in base64 say

error: variable `TOKEN` is in `env_file` already
 --> web.toml:4:12
  |
4 | secrets = ["TOKEN", "MISSING"]
  |            ^^^^^^^
  |
  = help: keep it in one of the two

error: secret `MISSING` is not in the environment
 --> web.toml:4:21
  |
4 | secrets = ["TOKEN", "MISSING"]
  |                     ^^^^^^^^^
  |
  = help: set it for ship alone: MISSING=… ship deploy …
"#]]
        .raw()
    );
}

#[test]
fn a_file_of_secrets_that_is_not_there_is_refused() {
    assert_data_eq!(
        secrets("env_file = \"secrets.evn\"", "").unwrap_err(),
        str![[r#"
error: cannot read secrets.evn: No such file or directory (os error 2)
 --> web.toml:3:12
  |
3 | env_file = "secrets.evn"
  |            ^^^^^^^^^^^^^
  |
  = help: the path is taken from the playbook's directory
"#]]
        .raw()
    );
}

fn artifact() -> Artifact {
    Artifact { form: ArtifactForm::TarGz, sha256: "ab".repeat(32), size_bytes: 7, strip_components: 0 }
}

#[test]
fn a_release_is_named_by_all_that_it_is() {
    let id = |files: Files, artifact: Artifact, secrets: Option<&str>| {
        release_id(&definition(&files.project().playbook, artifact, secrets.map(str::to_owned))).to_string()
    };
    let name = id(files(), artifact(), None);
    assert_eq!(name.len(), 64);
    assert!(name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{name}");
    assert_eq!(id(files(), artifact(), None), name, "the same is named the same");
    assert_eq!(id(files().set("rollout.max_surge=2"), artifact(), None), name, "how it is rolled out does not matter");

    let others = [
        id(files().version("0.9"), artifact(), None),
        id(files().set("service.env.A=1"), artifact(), None),
        id(files().set("service.command=./other"), artifact(), None),
        id(files().set("readiness.http=/ready"), artifact(), None),
        id(files(), Artifact { sha256: "cd".repeat(32), ..artifact() }, None),
        id(files(), artifact(), Some("ef")),
    ];
    let different: std::collections::BTreeSet<_> = others.iter().chain([&name]).collect();
    assert_eq!(different.len(), 7);
}

fn example(inventory: &str) -> Project {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory").join(inventory);
    load(&path, &Overrides::default()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

#[test]
fn the_local_example_is_four_hosts_and_three_replicas_of_the_testpage() {
    let Project { inventory, playbook } = example("local.toml");
    let hosts: Vec<_> = inventory.hosts.iter().map(|host| (host.name.as_str(), host.address.as_str())).collect();
    let expected = [("node1", "127.0.0.11"), ("node2", "127.0.0.12"), ("node3", "127.0.0.13"), ("node4", "127.0.0.14")];
    assert_eq!(hosts, expected);
    assert!(inventory.hosts.iter().all(|host| host.transport == Transport::Local));
    assert_eq!((playbook.version.as_str(), playbook.service.driver), ("0.8", Driver::Process));
    assert_eq!(playbook.rollout.amounts(4).replicas, 3);
    let Source::Path(source) = playbook.artifact.source else { panic!("a directory") };
    assert!(source.join("testpage.py").is_file());

    let Check::Http { path, body: Some(body), .. } = playbook.readiness.check else { panic!("http") };
    let vars = SlotVars {
        version: "0.8",
        port: 8081,
        address: "127.0.0.11",
        host: &HostId::from("node1"),
        service: "testpage",
        fleet: "local",
        labels: &BTreeMap::new(),
    };
    assert_eq!((path.as_str(), render(&body, &vars)), ("/", Ok("the version is: 0.8".to_owned())));
}

#[test]
fn the_examples_for_real_machines_run_the_same_testpage_under_systemd() {
    let local = example("local.toml").playbook;
    for inventory in ["vagrant.toml", "production.toml"] {
        let Project { inventory, playbook } = example(inventory);
        assert!(inventory.hosts.iter().all(|host| host.ssh.sudo && host.ssh.user.is_some()));
        assert_eq!(playbook.service.driver, Driver::Systemd);
        assert_eq!(playbook.version, local.version);
        assert_eq!(playbook.service.env, local.service.env);
        assert_eq!(playbook.service.ports, local.service.ports);
        assert_eq!(playbook.rollout, local.rollout);
    }
    let vagrant: Vec<_> = example("vagrant.toml").inventory.hosts.into_iter().map(|host| host.address).collect();
    assert_eq!(vagrant, ["192.168.56.11", "192.168.56.12", "192.168.56.13", "192.168.56.14"]);
}

#[test]
fn the_service_with_a_fixed_port_is_replaced_in_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)?;
        Ok(text.replace("../playbooks/testpage.toml", "../playbooks/in-place.toml").into_bytes())
    };
    let project = load_with(&root.join("inventory/production.toml"), &Overrides::default(), read)
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    let budget = project.playbook.rollout.amounts(3).resolve(3, 1).unwrap();
    assert_eq!((budget.replicas, budget.surge, budget.unavailable), (3, 0, 1));
}

/// Reads two texts as an inventory and a playbook and renders what is wrong: neither may panic or hang.
fn read_and_report(inventory: &[u8], playbook: &[u8], overrides: &Overrides) {
    let read = |path: &Path| {
        let text = if path == Path::new("fleet.toml") { inventory } else { playbook };
        Ok(text.to_vec())
    };
    if let Err(wrong) = load_with(Path::new("fleet.toml"), overrides, read) {
        assert!(!wrong.is_empty());
        assert!(wrong.render(true).len() >= wrong.render(false).len());
    }
}

/// `text` with some of its bytes replaced, removed or doubled.
fn mutated(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let place = any::<proptest::sample::Index>();
    proptest::collection::vec((place, 0..4_u8, any::<u8>(), 1..20_usize), 0..6).prop_map(move |changes| {
        let mut bytes = text.as_bytes().to_vec();
        for (place, kind, byte, length) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, b"\"[]{}=.#\n\r\t%-9\\'"[usize::from(byte) % 16]),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    })
}

const EXAMPLE_INVENTORY: &str = include_str!("../inventory/production.toml");
const EXAMPLE_PLAYBOOK: &str = include_str!("../playbooks/testpage.toml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(
        inventory in proptest::collection::vec(any::<u8>(), 0..200),
        playbook in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        read_and_report(&inventory, EXAMPLE_PLAYBOOK.as_bytes(), &Overrides::default());
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), &playbook, &Overrides::default());
    }

    #[test]
    fn no_text_makes_it_panic(inventory in "\\PC{0,80}", playbook in "([a-z\\[\\]{}=\"'., \n\r\té\u{1F600}]){0,80}") {
        read_and_report(inventory.as_bytes(), EXAMPLE_PLAYBOOK.as_bytes(), &Overrides::default());
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), playbook.as_bytes(), &Overrides::default());
    }

    #[test]
    fn no_change_of_the_examples_makes_it_panic(
        inventory in mutated(EXAMPLE_INVENTORY),
        playbook in mutated(EXAMPLE_PLAYBOOK),
    ) {
        read_and_report(&inventory, &playbook, &Overrides::default());
    }

    #[test]
    fn no_setting_makes_it_panic(
        key in "(rollout|service|version|readiness|[a-z.\"]{0,8})(\\.[a-z_]{0,10}){0,3}",
        value in "\\PC{0,20}|[0-9a-z\"'\\[\\]{}#%\n.]{0,20}",
    ) {
        let overrides = Overrides { version: Some(value.clone()), set: vec![format!("{key}={value}"), value] };
        read_and_report(EXAMPLE_INVENTORY.as_bytes(), EXAMPLE_PLAYBOOK.as_bytes(), &overrides);
    }
}
