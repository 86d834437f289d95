//! The playbook: its keys, the service, the artifact.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ship::config::{Overrides, Source, Transport, load_with};
use ship::core::release::{Check, Driver, Via};
use ship::core::spec::OnFailure;
use ship::core::spec::budget::Amount;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, INVENTORY, PLAYBOOK, files};

#[test]
fn unknown_key_is_refused_with_the_valid_keys() {
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
   = help: valid keys: replicas, max_surge, max_unavailable, min_ready, progress_deadline, soak, steps, history_limit, max_failed_hosts, on_failure, zones
"#]]
        .raw()
    );
}

#[test]
fn value_of_the_wrong_type_is_refused() {
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
  = help: write them in brackets: [8081, 8082]
"#]]
        .raw()
    );
}

#[test]
fn number_in_place_of_text_gets_a_hint_with_quotes() {
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
  = help: add quotes: "0.8"
"#]]
        .raw()
    );
}

#[test]
fn service_name_too_long_for_its_user_is_refused() {
    let name = "customer-notification-svc-v2";
    let named = |name: &str, more: &str| {
        files().playbook("name = \"web\"", &format!("name = \"{name}\"{more}"))
    };
    assert_data_eq!(
        named(name, "").report(),
        str![[r#"
error: the user of the service, `ship-customer-notification-svc-v2`, would have 33 characters; the maximum is 31
 --> web.toml:3:8
  |
3 | name = "customer-notification-svc-v2"
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: set `user`, or shorten the name
"#]]
        .raw()
    );
    for fine in [
        named(&name[..26], ""),
        named(name, "\nuser = \"app\""),
        named(name, "\ndriver = \"process\""),
    ] {
        fine.project();
    }
}

#[test]
fn missing_key_is_reported_at_its_table() {
    let files = files().playbook("name = \"web\"\n", "");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: missing key `name` in [service]
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
fn missing_table_is_refused() {
    let files = files().playbook("[artifact]\nsource = \"web-{{ version }}.tar.gz\"\n", "");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: missing table [artifact] in the playbook
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
fn service_name_in_capitals_is_refused() {
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
  = help: the name of a service may have up to 41 characters: a to z, 0 to 9 and -, beginning with a letter
"#]]
        .raw()
    );
}

#[test]
fn version_with_a_slash_is_refused() {
    let files = files().playbook(r#""0.8""#, r#""feature/x""#);
    assert_data_eq!(files.report(), str![[r#"
error: `version` cannot contain `/`: `feature/x`
 --> web.toml:1:11
  |
1 | version = "feature/x"
  |           ^^^^^^^^^^^
  |
  = help: a version may have up to 64 characters: letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or a digit
"#]].raw());
}

#[test]
fn invalid_variable_name_is_refused() {
    let files = files().playbook("VERSION =", r#""MY-VERSION" ="#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `env` cannot contain `-`: `MY-VERSION`
 --> web.toml:7:1
  |
7 | "MY-VERSION" = "{{ version }}"
  | ^^^^^^^^^^^^
  |
  = help: the name of a variable may have up to 255 characters: letters, digits and `_`, not beginning with a digit
"#]]
        .raw()
    );
}

#[test]
fn variable_with_two_lines_is_refused() {
    let files = files().playbook(r#"VERSION = "{{ version }}""#, r#"VERSION = "a\nb""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `VERSION` of `env` must not contain line breaks
 --> web.toml:7:11
  |
7 | VERSION = "a\nb"
  |           ^^^^^^
  |
  = help: encode it on one line, for example in base64, or put it in a file of the artifact
"#]]
        .raw()
    );
}

#[test]
fn invalid_and_duplicate_ports_are_refused() {
    let files = files().playbook("[8081, 8082]", r#"[8081, 0, 8081, "http"]"#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `ports` has an item that is not a port: it must be a number from 1 to 65535
 --> web.toml:5:16
  |
5 | ports = [8081, 0, 8081, "http"]
  |                ^

error: `ports` has port 8081 twice
 --> web.toml:5:19
  |
5 | ports = [8081, 0, 8081, "http"]
  |                   ^^^^
  |
  = help: each instance on a host needs its own ports

error: `ports` has an item that is not a port: it must be a whole number, not a string
 --> web.toml:5:25
  |
5 | ports = [8081, 0, 8081, "http"]
  |                         ^^^^^^
  |
  = help: write it without quotes and without a fraction
"#]]
        .raw()
    );
}

#[test]
fn duration_without_a_unit_is_refused() {
    let files = files().playbook(
        "max_surge = 1",
        "min_ready = 5\nprogress_deadline = \"10 minutes\"",
    );
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

error: `progress_deadline` is not a valid duration: `10 minutes`; expected a number and a unit, such as `10m`
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
fn command_with_an_unclosed_quote_is_refused() {
    let files = files().playbook(
        r#""./web --port {{ port }}""#,
        r#""./web --title 'two words""#,
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `command` has an unclosed quote, or ends in a backslash
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
fn checksum_of_the_wrong_length_is_refused() {
    let files = files().playbook("[readiness]", "sha256 = \"abc\"\n[readiness]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `sha256` must be 64 hexadecimal digits, not 3 characters
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
fn source_with_an_unsupported_scheme_is_refused() {
    let files = files().playbook("web-{{ version }}.tar.gz", "ftp://example.org/web.tar.gz");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `source` has an unsupported scheme: `ftp`
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
fn empty_playbook_is_refused_with_examples() {
    let files = files();
    let files = Files {
        playbook: String::new(),
        ..files
    };
    assert_data_eq!(
        files.report(),
        str![[r#"
error: missing key `version` in the playbook
 --> web.toml:1:1
  |
1 |
  | ^
  |
  = help: for example: version = "0.8"

error: missing table [service] in the playbook
 --> web.toml:1:1
  |
1 |
  | ^
  |
  = help: for example:
          [service]
          name = "testpage"

error: missing table [artifact] in the playbook
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
fn unknown_driver_is_refused() {
    let files = files().playbook(r#"name = "web""#, "name = \"web\"\ndriver = \"docker\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `driver` must be "systemd" or "process" or "link", not `docker`
 --> web.toml:4:10
  |
4 | driver = "docker"
  |          ^^^^^^^^
  |
  = help: write "systemd" or "process" or "link"
"#]]
        .raw()
    );
}

#[test]
fn rollout_that_is_not_a_table_is_refused() {
    let files = files()
        .playbook("[rollout]\nmax_surge = 1\n", "")
        .playbook("[service]", "rollout = 1\n[service]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `rollout` must be a table, not a whole number
 --> web.toml:2:11
  |
2 | rollout = 1
  |           ^
  |
  = help: start the table with the line [rollout]
"#]]
        .raw()
    );
}

#[test]
fn playbook_has_defaults() {
    let project = files()
        .playbook("[rollout]\nmax_surge = 1\n", "")
        .playbook("[readiness]\nhttp = \"/healthz\"\n", "")
        .project();
    let [web1, web2] = project.inventory.hosts.as_slice() else {
        panic!("two hosts")
    };
    assert_eq!(
        (web1.name.as_str(), web1.address.as_str()),
        ("web1", "web1")
    );
    assert_eq!(
        (web2.name.as_str(), web2.address.as_str()),
        ("web2", "10.0.0.2")
    );
    assert_eq!(
        (web1.transport, web1.base_dir.as_deref()),
        (Transport::Ssh, None)
    );
    assert_eq!(
        (
            web1.ssh.user.as_deref(),
            web1.ssh.port,
            web1.ssh.escalation.is_root()
        ),
        (Some("deploy"), None, false)
    );
    assert_eq!(web1.ssh.connect_timeout, Duration::from_secs(10));

    let playbook = project.playbook;
    assert_eq!(
        (playbook.service.driver, playbook.service.user),
        (Driver::Systemd, None)
    );
    assert_eq!(playbook.service.stop_timeout, Duration::from_secs(30));
    assert_eq!(
        (playbook.readiness.check, playbook.readiness.via),
        (Check::Tcp, Via::Direct)
    );
    assert_eq!(
        (playbook.readiness.interval, playbook.readiness.timeout),
        (Duration::from_secs(1), Duration::from_secs(1))
    );
    assert_eq!(
        (
            playbook.readiness.success_threshold,
            playbook.readiness.failure_threshold
        ),
        (1, 3)
    );
    assert_eq!(playbook.readiness.initial_delay, Duration::ZERO);
    assert_eq!(
        (playbook.rollout.max_surge, playbook.rollout.max_unavailable),
        (Amount::Count(1), Amount::Count(0))
    );
    assert_eq!(playbook.rollout.amounts(2).replicas, 2, "one a host");
    assert_eq!(
        (
            playbook.rollout.min_ready,
            playbook.rollout.progress_deadline
        ),
        (Duration::ZERO, Duration::from_mins(10))
    );
    assert_eq!(
        (playbook.rollout.history_limit, playbook.rollout.on_failure),
        (10, OnFailure::RollBack)
    );
}

#[test]
fn paths_are_relative_to_their_file() {
    let inventory = INVENTORY
        .replace("\"web.toml\"", "\"../books/web.toml\"")
        .replace("user = \"deploy\"", "identity_file = \"id\"")
        .replace(
            "name = \"web2\"",
            "name = \"web2\"\ntransport = \"local\"\nbase_dir = \"state\"",
        );
    let playbook = PLAYBOOK.replace("[service]", "[service]\nenv_file = \"web.env\"");
    let read = |path: &Path| match path.to_str() {
        Some("there/is/no/fleet.toml") => Ok(inventory.clone().into_bytes()),
        Some("there/is/no/../books/web.toml") => Ok(playbook.clone().into_bytes()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let project = load_with(
        Path::new("there/is/no/fleet.toml"),
        &Overrides::default(),
        read,
    )
    .unwrap();
    let host = &project.inventory.hosts[1];
    assert_eq!(
        host.ssh.identity_file,
        Some(PathBuf::from("there/is/no/id"))
    );
    let base_dir = std::env::current_dir().unwrap().join("there/is/no/state");
    assert_eq!(host.base_dir.as_deref(), base_dir.to_str());
    assert_eq!(
        project.playbook.artifact.source,
        Source::Path(PathBuf::from("there/is/no/../books/web-0.8.tar.gz"))
    );
    let env_file = project
        .playbook
        .service
        .secrets
        .env_file
        .map(|file| file.value);
    assert_eq!(
        env_file,
        Some(PathBuf::from("there/is/no/../books/web.env"))
    );
}

#[test]
fn command_is_split_into_words_around_templates() {
    let command = r#"command = '''./web --port={{ port }} "{{ labels['zone'] | default("a b") }}" 'it''s' a\ b''' "#;
    let project = files()
        .playbook("command = \"./web --port {{ port }}\"", command)
        .project();
    let words = [
        "./web",
        "--port={{ port }}",
        "{{ labels['zone'] | default(\"a b\") }}",
        "its",
        "a b",
    ];
    assert_eq!(project.playbook.service.command, words);
}

#[test]
fn late_errors_have_a_place() {
    let project = files()
        .playbook(
            "[readiness]",
            &format!("sha256 = \"{}\"\n[readiness]", "AB".repeat(32)),
        )
        .project();
    assert_eq!(project.playbook.artifact.sha256, Some("ab".repeat(32)));
    let place = project.playbook.artifact.places.source.unwrap();
    assert_eq!(
        (place.path(), place.line(), place.column()),
        ("web.toml", 9, 10)
    );
}
