//! `[readiness]`.

use ship::core::release::{Check, Via};
use snapbox::{IntoData, assert_data_eq, str};

use super::files;

#[test]
fn zero_interval_is_refused() {
    let files = files().playbook(
        r#"http = "/healthz""#,
        "http = \"/healthz\"\ninterval = \"0s\"\ntimeout = \"0s\"\nsuccess_threshold = 0\nfailure_threshold = 0",
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

error: `success_threshold` must be a number from 1 to 1000000
  --> web.toml:14:21
   |
14 | success_threshold = 0
   |                     ^

error: `failure_threshold` must be a number from 1 to 1000000
  --> web.toml:15:21
   |
15 | failure_threshold = 0
   |                     ^
"#]]
        .raw()
    );
}

#[test]
fn readiness_with_two_checks_is_refused() {
    let files = files().playbook(
        r#"http = "/healthz""#,
        "http = \"/healthz\"\ncommand = \"true\"",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: readiness cannot have both `http` and `command`
  --> web.toml:12:1
   |
11 | http = "/healthz"
   | ---- first check
12 | command = "true"
   | ^^^^^^^
   |
   = help: keep one; a `command` can check several things
"#]]
        .raw()
    );
}

#[test]
fn body_without_http_is_refused() {
    let files = files().playbook(r#"http = "/healthz""#, "tcp = true\nbody = \"ok\"");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `body` can only be used with `http`
  --> web.toml:12:8
   |
12 | body = "ok"
   |        ^^^^
   |
   = help: add, for example: http = "/healthz"
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
   = help: leave it out, or use `http` or `command` instead
"#]]
        .raw()
    );
}

#[test]
fn http_path_must_begin_with_a_slash() {
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
   = help: write a path on the instance, for example "/healthz"
"#]]
        .raw()
    );
}

#[test]
fn label_in_a_readiness_body_is_checked() {
    let files = files().playbook(
        r#"http = "/healthz""#,
        "http = \"/healthz\"\nbody = \"{{ lables.zone }}\"",
    );
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
fn readiness_header_needs_a_name_and_a_value() {
    let with = |header: &str| {
        let keys = format!("http = \"/healthz\"\nheader = \"{header}\"");
        files().playbook(r#"http = "/healthz""#, &keys)
    };
    with("X-Version: {{ version }}").project();
    for header in ["X-Version", ": 1", "X-Version: ", "X Version: 1"] {
        let report = with(header).report();
        assert!(
            report.contains("`header` is not a header with a value\n  --> web.toml:12:10"),
            "{report}"
        );
    }
    let report = with("X-Version: {{ verson }}").report();
    assert!(report.contains("unknown variable `verson`"), "{report}");
}

#[test]
fn readiness_command_is_split_into_words() {
    let project = files()
        .playbook(
            "http = \"/healthz\"",
            "command = \"./check {{ port }}\"\nvia = \"ssh\"",
        )
        .project();
    assert_eq!(
        project.playbook.readiness.check,
        Check::Command(vec!["./check".to_owned(), "{{ port }}".to_owned()])
    );
    assert_eq!(project.playbook.readiness.via, Via::Ssh);
}
