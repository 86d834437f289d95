//! `[[analysis]]`.

use std::time::Duration;

use ship::core::analysis::compare::Tolerance;
use ship::core::analysis::measurement::Number;
use ship::core::analysis::{Analysis, MeasurementMethod, OnInconclusive};
use ship::core::spec::budget::Amount;
use ship::core::spec::step::Step;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// The files with an `[[analysis]]` that contains these lines, from line 12 of the playbook on.
fn with(lines: &str) -> Files {
    files().playbook("[rollout]", &format!("[[analysis]]\n{lines}\n[rollout]"))
}

fn read(lines: &str) -> Analysis {
    with(lines).project().playbook.analyses.remove(0)
}

#[test]
fn config_has_no_analyses_by_default() {
    let playbook = files().project().playbook;
    assert_eq!(
        (playbook.analyses, playbook.rollout.steps),
        (Vec::new(), Vec::new())
    );
}

#[test]
fn compare_analysis_has_defaults() {
    let percent = |number| Number::new(number).expect("a number");
    let tolerance = |errors, latency, min_requests| {
        MeasurementMethod::Compare(Tolerance {
            error_points: percent(errors),
            latency_percent: percent(latency),
            min_requests,
        })
    };
    let defaults = Analysis {
        name: "beside".into(),
        method: tolerance(1.0, 50.0, 20),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        failure_limit: 0,
        consecutive_error_limit: 4,
        on_inconclusive: OnInconclusive::Pass,
        dry_run: false,
    };
    assert_eq!(read("name = \"beside\"\nkind = \"compare\""), defaults);
    let all = r#"name = "beside"
kind = "compare"
max_error_rate_increase = "0.5%"
max_latency_increase = "100%"
min_requests = 50
interval = "1m"
timeout = "1s"
failure_limit = 2
consecutive_error_limit = 0
on_inconclusive = "hold"
dry_run = true"#;
    let expected = Analysis {
        method: tolerance(0.5, 100.0, 50),
        interval: Duration::from_mins(1),
        timeout: Duration::from_secs(1),
        failure_limit: 2,
        consecutive_error_limit: 0,
        on_inconclusive: OnInconclusive::Hold,
        dry_run: true,
        ..defaults
    };
    assert_eq!(read(all), expected);
}

#[test]
fn analysis_reads_http_prometheus_and_command() {
    let bound = |text: &str| text.parse().expect("a bound");
    let way = |lines: &str| read(&format!("name = \"it\"\n{lines}")).method;
    for (value, pointer) in [
        ("", ""),
        ("value = \"$\"\n", ""),
        ("value = \"$.errors[0].rate\"\n", "/errors/0/rate"),
        ("value = \"$[1].a/b\"\n", "/1/a~1b"),
        ("value = \"/errors/0/rate\"\n", "/errors/0/rate"),
    ] {
        assert_eq!(
            way(&format!(
                "kind = \"http\"\nurl = \"http://m.example/{{{{ version }}}}\"\n{value}success = \
                 \"< 5%\""
            )),
            MeasurementMethod::Http {
                url: "http://m.example/0.8".into(),
                pointer: pointer.into(),
                success: bound("< 5%")
            },
            "{value}"
        );
    }
    assert_eq!(
        way(r#"kind = "prometheus"
address = "https://prom.example:9090"
query = 'sum(rate(errors{version="{{ version }}"}[1m]))'
success = "<= 0.01""#),
        MeasurementMethod::Prometheus {
            address: "https://prom.example:9090".into(),
            query: "sum(rate(errors{version=\"0.8\"}[1m]))".into(),
            success: bound("<= 0.01"),
        }
    );
    let words = ["./judge", "0.8", "two words"].map(String::from).to_vec();
    let command = "kind = \"command\"\ncommand = \"./judge {{ version }} 'two words'\"\n";
    assert_eq!(
        way(command),
        MeasurementMethod::Command {
            words: words.clone(),
            success: None
        }
    );
    let success = Some(bound("== 0"));
    assert_eq!(
        way(&format!("{command}success = \"== 0\"")),
        MeasurementMethod::Command { words, success }
    );
}

#[test]
fn analysis_adds_a_step_that_soaks() {
    let all = |soak_s| Step {
        instances: Amount::Percent(100),
        soak: Duration::from_secs(soak_s),
        pause: false,
        weight_percent: None,
    };
    let steps = |files: Files| files.project().playbook.rollout.steps;
    let analysed = || with("name = \"a\"\nkind = \"compare\"");
    assert_eq!(steps(analysed()), [all(0)]);
    assert_eq!(steps(analysed().set("rollout.soak=30s")), [all(30)]);
    assert_eq!(steps(files().set("rollout.soak=30s")), [all(30)]);
    assert_eq!(steps(analysed().set("rollout.steps=[1]")).len(), 1);
}

#[test]
fn invalid_analysis_is_reported_with_hints() {
    let wrong = r#"name = "a"
kind = "http"
url = "ftp://example.org"
value = "errors"
success = "0.99"
min_requests = 5
[[analysis]]
name = "a"
kind = "compare"
max_error_rate_increase = "a bit"
[[analysis]]
name = "b"
kind = "graphite""#;
    assert_data_eq!(
        with(wrong).report(),
        str![[r#"
error: `url` has an unsupported scheme: `ftp`
  --> web.toml:15:7
   |
15 | url = "ftp://example.org"
   |       ^^^^^^^^^^^^^^^^^^^
   |
   = help: use http:// or https://

error: `value` is not a path to a value: `errors`
  --> web.toml:16:9
   |
16 | value = "errors"
   |         ^^^^^^^^
   |
   = help: for example "$.errors[0].rate", or the JSON pointer "/errors/0/rate"

error: `success` is not a valid condition: expected <, <=, >, >=, == or != at the beginning
  --> web.toml:17:11
   |
17 | success = "0.99"
   |           ^^^^^^
   |
   = help: write a comparison and a number, for example ">= 0.99" or "< 5%" (0.05)

error: unknown key `min_requests` in [[analysis]]
  --> web.toml:18:1
   |
18 | min_requests = 5
   | ^^^^^^^^^^^^
   |
   = help: valid keys: name, kind, interval, timeout, failure_limit, consecutive_error_limit, on_inconclusive, dry_run, url, value, success

error: `max_error_rate_increase` is not a percentage: `a bit`
  --> web.toml:22:27
   |
22 | max_error_rate_increase = "a bit"
   |                           ^^^^^^^
   |
   = help: for example "1%" or "0.5%"

error: `kind` must be "compare" or "http" or "prometheus" or "command", not `graphite`
  --> web.toml:25:8
   |
25 | kind = "graphite"
   |        ^^^^^^^^^^
   |
   = help: write "compare" or "http" or "prometheus" or "command"
"#]]
        .raw()
    );
}

#[test]
fn duplicate_analysis_name_is_refused() {
    let two = "name = \"a\"\nkind = \"compare\"\n[[analysis]]\nname = \"a\"\nkind = \"compare\"";
    assert_data_eq!(
        with(two).report(),
        str![[r#"
error: two analyses are named `a`
  --> web.toml:16:8
   |
16 | name = "a"
   |        ^^^
   |
   = help: give each analysis a unique name
"#]]
        .raw()
    );
}
