//! `[monitor]`.

use std::time::Duration;

use ship::core::availability::MonitorSettings;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// The files with a `[monitor]` table that contains these lines, from line 13 of the playbook on.
fn with(lines: &str) -> Files {
    files().playbook("[rollout]", &format!("[monitor]\n{lines}\n[rollout]"))
}

#[test]
fn config_has_no_monitor_by_default() {
    assert_eq!(files().project().playbook.monitor, None);
    assert_eq!(
        with("url = \"off\"\ntimeout = \"1s\"")
            .project()
            .playbook
            .monitor,
        None
    );
}

#[test]
fn monitor_needs_only_a_url() {
    let probe = |files: Files| files.project().playbook.monitor.expect("a table");
    let defaults = MonitorSettings {
        url: "http://lb.example:8080/healthz".to_owned(),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        max_failed_requests: 0,
        status: None,
        connections: 2,
        version_header: None,
    };
    assert_eq!(
        probe(with("url = \"http://lb.example:8080/healthz\"")),
        defaults
    );
    let all = "url = \"https://lb.example/\"\ninterval = \"10ms\"\ntimeout = \"5s\"\nmax_failed_requests = \
               3\n\
               status = 204\nconnections = 5\nversion_header = \"X-Build\"";
    let expected = MonitorSettings {
        url: "https://lb.example/".to_owned(),
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        max_failed_requests: 3,
        status: Some(204),
        connections: 5,
        version_header: Some("X-Build".to_owned()),
    };
    assert_eq!(probe(with(all)), expected);
    let set = files().set("monitor.url=http://lb.example:8080/healthz?a=b#c");
    let url = "http://lb.example:8080/healthz?a=b#c".to_owned();
    assert_eq!(probe(set), MonitorSettings { url, ..defaults });
    assert_eq!(
        with("url = \"http://lb.example/\"")
            .set("monitor.url=off")
            .project()
            .playbook
            .monitor,
        None
    );
}

#[test]
fn all_errors_in_the_monitor_are_reported() {
    let files = with(
        "url = \"ftp://lb.example/\"\ninterval = \"1m\"\ntimeout = \"11s\"\nstatus = \
         42\nconnections = 0\n\
         version_header = \"X Build\"\nmax_fail = 1",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `url` has an unsupported scheme: `ftp`
  --> web.toml:13:7
   |
13 | url = "ftp://lb.example/"
   |       ^^^^^^^^^^^^^^^^^^^
   |
   = help: for example "http://www.example.org/healthz", or "off"

error: `interval` must be at most 10s
  --> web.toml:14:12
   |
14 | interval = "1m"
   |            ^^^^
   |
   = help: longer intervals miss short outages

error: `timeout` must be at most 10s
  --> web.toml:15:11
   |
15 | timeout = "11s"
   |           ^^^^^
   |
   = help: at its end, a rollout waits this long for the last responses

error: `status` must be a number from 100 to 599
  --> web.toml:16:10
   |
16 | status = 42
   |          ^^

error: `connections` must be a number from 1 to 100
  --> web.toml:17:15
   |
17 | connections = 0
   |               ^

error: `version_header` is not a valid header name: `X Build`
  --> web.toml:18:18
   |
18 | version_header = "X Build"
   |                  ^^^^^^^^^
   |
   = help: for example "x-version"

error: unknown key `max_fail` in [monitor]
  --> web.toml:19:1
   |
19 | max_fail = 1
   | ^^^^^^^^
   |
   = help: did you mean `max_failed_requests`?
"#]]
        .raw()
    );
}

#[test]
fn monitor_without_a_url_is_refused() {
    assert_data_eq!(
        with("max_failed_requests = 1").report(),
        str![[r#"
error: missing key `url` in [monitor]
  --> web.toml:12:1
   |
12 | [monitor]
   | ^^^^^^^^^
   |
   = help: for example: url = "http://www.example.org/healthz"
"#]]
        .raw()
    );
}

#[test]
fn monitor_url_with_a_password_is_refused() {
    assert_data_eq!(
        with("url = \"http://me:secret@lb.example/\"").report(),
        str![[r#"
error: `url` must not contain a user or a password
  --> web.toml:13:7
   |
13 | url = "http://me:secret@lb.example/"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: use a page that needs no login
"#]]
        .raw()
    );
}

#[test]
fn monitor_with_too_many_concurrent_requests_is_refused() {
    assert_data_eq!(
        with("url = \"http://lb.example/\"\ninterval = \"1ms\"\ntimeout = \"2s\"").report(),
        str![[r#"
error: a request every 1ms with a timeout of 2s allows 2000 concurrent requests; the maximum is 1000
  --> web.toml:14:12
   |
14 | interval = "1ms"
   |            ^^^^^
   |
   = help: lengthen interval, or shorten timeout
"#]]
        .raw()
    );
}

#[test]
fn invalid_monitor_option_is_shown_as_typed() {
    assert_data_eq!(
        files().set("monitor.url=lb.example").report(),
        str![[r#"
error: `url` is not a URL: relative URL without a base
 --> command line:1:19
  |
1 | --set monitor.url=lb.example
  |                   ^^^^^^^^^^
  |
  = help: for example "http://www.example.org/healthz", or "off"
"#]]
        .raw()
    );
}
