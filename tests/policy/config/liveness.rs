//! `[liveness]`.

use std::time::Duration;

use ship::core::release::{Liveness, LivenessCheck};
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// The files with a `[liveness]` table that contains these lines, from line 12 of the playbook on.
fn with(lines: &str) -> Files {
    files().playbook("[rollout]", &format!("[liveness]\n{lines}\n[rollout]"))
}

#[test]
fn config_has_no_liveness_by_default() {
    assert_eq!(files().project().playbook.liveness, None);
}

#[test]
fn liveness_needs_only_a_check() {
    let liveness = |lines| with(lines).project().playbook.liveness.expect("a table");
    let defaults = Liveness {
        check: LivenessCheck::Tcp,
        port: None,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        failure_threshold: 3,
        initial_delay: Duration::ZERO,
        host_header: None,
    };
    assert_eq!(liveness("tcp = true"), defaults);
    let http = LivenessCheck::Http("/healthz?deep=1".into());
    assert_eq!(
        liveness(r#"http = "/healthz?deep=1""#),
        Liveness {
            check: http,
            ..defaults.clone()
        }
    );
    let command = LivenessCheck::Command(["./alive", "{{ port }}"].map(String::from).to_vec());
    let all = "command = \"./alive {{ port }}\"\ninterval = \"5s\"\ntimeout = \"2s\"\nfailure_threshold = \
               1\ninitial_delay = \"1m\"";
    let second = Duration::from_secs(1);
    let expected = Liveness {
        check: command,
        port: None,
        interval: 5 * second,
        timeout: 2 * second,
        failure_threshold: 1,
        initial_delay: 60 * second,
        ..defaults
    };
    assert_eq!(liveness(all), expected);
}

#[test]
fn liveness_host_header_needs_http() {
    let named = |lines| {
        with(lines)
            .project()
            .playbook
            .liveness
            .expect("a table")
            .host_header
    };
    assert_eq!(
        named("http = \"/\"\nhost_header = \"www.example.org:80\"").as_deref(),
        Some("www.example.org:80")
    );
    let report = with("http = \"/\"\nhost_header = \"https://www.example.org\"").report();
    assert!(
        report.contains("`host_header` is not a valid host name"),
        "{report}"
    );
    let report = with("tcp = true\nhost_header = \"www.example.org\"").report();
    assert!(
        report.contains("`host_header` can only be used with `http`"),
        "{report}"
    );
    let readiness = files()
        .playbook(
            r#"http = "/healthz""#,
            "tcp = true\nhost_header = \"www.example.org\"",
        )
        .report();
    assert!(
        readiness.contains("`host_header` can only be used with `http`"),
        "{readiness}"
    );
}

#[test]
fn liveness_with_the_process_driver_is_refused() {
    let files = with("tcp = true").playbook("[service.env]", "driver = \"process\"\n[service.env]");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: liveness needs a supervisor that restarts instances
  --> web.toml:13:2
   |
 6 | driver = "process"
   |          --------- this driver does not restart instances
...
13 | [liveness]
   |  ^^^^^^^^
   |
   = help: write driver = "systemd", or leave out [liveness]
"#]]
        .raw()
    );
}

#[test]
fn liveness_without_a_check_is_refused() {
    assert_data_eq!(
        with("failure_threshold = 5").report(),
        str![[r#"
error: [liveness] has no check
  --> web.toml:12:1
   |
12 | [liveness]
   | ^^^^^^^^^^
   |
   = help: add tcp = true, http = "/healthz" or command = "…"
"#]]
        .raw()
    );
}

#[test]
fn liveness_with_two_checks_is_refused() {
    assert_data_eq!(
        with("http = \"/healthz\"\ntcp = true").report(),
        str![[r#"
error: liveness cannot have both `http` and `tcp`
  --> web.toml:14:1
   |
13 | http = "/healthz"
   | ---- first check
14 | tcp = true
   | ^^^
   |
   = help: keep one; a `command` can check several things
"#]]
        .raw()
    );
}

#[test]
fn liveness_with_keys_of_readiness_is_refused() {
    assert_data_eq!(
        with("http = \"/healthz\"\nstatus = 200").report(),
        str![[r#"
error: unknown key `status` in [liveness]
  --> web.toml:14:1
   |
14 | status = 200
   | ^^^^^^
   |
   = help: valid keys: tcp, http, command, port, interval, timeout, failure_threshold, initial_delay, host_header
"#]]
        .raw()
    );
}

#[test]
fn all_errors_in_liveness_are_reported() {
    let lines = "command = \"./alive {{ prot }}\"\ninterval = \"0s\"\ntimeout = \"soon\"\nfailure_threshold = 0";
    assert_data_eq!(
        with(lines).report(),
        str![[r#"
error: unknown variable `prot`
  --> web.toml:13:23
   |
13 | command = "./alive {{ prot }}"
   |                       ^^^^
   |
   = help: did you mean `{{ port }}`?

error: `interval` must be longer than 0
  --> web.toml:14:12
   |
14 | interval = "0s"
   |            ^^^^
   |
   = help: for example "1s"

error: `timeout` is not a valid duration: `soon`; expected a number and a unit, such as `10m`
  --> web.toml:15:11
   |
15 | timeout = "soon"
   |           ^^^^^^
   |
   = help: write a number and a unit (ms, s, m, h or d), for example "500ms", "30s" or "1h30m"

error: `failure_threshold` must be a number from 1 to 1000000
  --> web.toml:16:21
   |
16 | failure_threshold = 0
   |                     ^
"#]]
        .raw()
    );
}
