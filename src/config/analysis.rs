//! `[[analysis]]`: measurements that fail a rollout if the new version is worse.

use std::time::Duration;

use crate::core::analysis::compare::Tolerance;
use crate::core::analysis::measurement::{Bound, Number};
use crate::core::analysis::{Analysis, MeasurementMethod, OnInconclusive};

use super::command::command;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::template::render_version;
use super::toml_tree::Node;
use super::value::{
    Faults, ValueError, boolean, choice, count, line, positive_duration, quoted, string, times,
};

/// An example for hints.
pub(super) const EXAMPLE: &str = "[[analysis]]\nname = \"errors\"\nkind = \"compare\"";

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const ERRORS: u32 = 4;
const MIN_REQUESTS: u32 = 20;
const ERROR_POINTS: f64 = 1.0;
const LATENCY_PERCENT: f64 = 50.0;
const SUCCESS_EXAMPLE: &str = "success = \">= 0.99\"";

#[derive(Clone, Copy)]
enum AnalysisKind {
    Http,
    Prometheus,
    Command,
    Compare,
}

/// Reads the analyses. Templates in them may use the `version`.
pub(super) fn read(
    tables: &[Fields<'_>],
    version: Option<&str>,
    sink: &Sink,
) -> Option<Vec<Analysis>> {
    let mut all: Vec<Analysis> = Vec::new();
    let mut is_valid = true;
    for fields in tables {
        let Some(analysis) = read_one(fields, version.unwrap_or("0")) else {
            is_valid = false;
            continue;
        };
        if all.iter().any(|other| other.name == analysis.name) {
            let place = fields
                .place_of("name")
                .unwrap_or_else(|| fields.place().clone());
            let message = format!("two analyses are named {}", quoted(&analysis.name));
            sink.push(Diagnostic::at(&place, message).help("give each analysis a unique name"));
        }
        all.push(analysis);
    }
    is_valid.then_some(all)
}

fn read_one(fields: &Fields<'_>, version: &str) -> Option<Analysis> {
    let kinds = choice(&[
        ("compare", AnalysisKind::Compare),
        ("http", AnalysisKind::Http),
        ("prometheus", AnalysisKind::Prometheus),
        ("command", AnalysisKind::Command),
    ]);
    let name = fields.required("name", "name = \"errors\"", line);
    let kind = fields.required("kind", "kind = \"compare\"", kinds);
    let interval = fields.optional_or("interval", INTERVAL, positive_duration);
    let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
    let failures = fields.optional_or("failure_limit", 0, count);
    let errors = fields.optional_or("consecutive_error_limit", ERRORS, count);
    let on_inconclusive = fields.optional_or(
        "on_inconclusive",
        OnInconclusive::Pass,
        choice(&[
            ("pass", OnInconclusive::Pass),
            ("hold", OnInconclusive::Hold),
            ("fail", OnInconclusive::Fail),
        ]),
    );
    let dry_run = fields.optional_or("dry_run", false, boolean);
    // The remaining keys depend on the kind.
    let method = method(fields, kind?, version);
    fields.finish();
    Some(Analysis {
        name: name?,
        method: method?,
        interval: interval?,
        timeout: timeout?,
        failure_limit: failures?,
        consecutive_error_limit: errors?,
        on_inconclusive: on_inconclusive?,
        dry_run: dry_run?,
    })
}

fn method(fields: &Fields<'_>, kind: AnalysisKind, version: &str) -> Option<MeasurementMethod> {
    let text = |node: &Node| rendered(&line(node)?, version);
    let address = |node: &Node| url(text(node)?);
    match kind {
        AnalysisKind::Http => {
            let url = fields.required("url", "url = \"http://metrics.example/testpage\"", address);
            let pointer = fields.optional_or("value", String::new(), pointer);
            let success = fields.required("success", SUCCESS_EXAMPLE, bound);
            Some(MeasurementMethod::Http {
                url: url?,
                pointer: pointer?,
                success: success?,
            })
        }
        AnalysisKind::Prometheus => {
            let address =
                fields.required("address", "address = \"http://prometheus:9090\"", address);
            let query =
                fields.required("query", "query = \"sum(rate(errors_total[1m]))\"", |node| {
                    rendered(&string(node)?, version)
                });
            let success = fields.required("success", SUCCESS_EXAMPLE, bound);
            Some(MeasurementMethod::Prometheus {
                address: address?,
                query: query?,
                success: success?,
            })
        }
        AnalysisKind::Command => {
            let words = fields.required(
                "command",
                "command = \"./judge --version {{ version }}\"",
                |node| {
                    command(node)?
                        .iter()
                        .map(|word| rendered(word, version))
                        .collect::<Result<Vec<_>, _>>()
                },
            );
            let success = fields.optional("success", bound);
            Some(MeasurementMethod::Command {
                words: words?,
                success: success?,
            })
        }
        AnalysisKind::Compare => {
            let default = |number| Number::new(number).unwrap_or(Number::ZERO);
            let error_points =
                fields.optional_or("max_error_rate_increase", default(ERROR_POINTS), percentage);
            let latency_percent =
                fields.optional_or("max_latency_increase", default(LATENCY_PERCENT), percentage);
            let min_requests = fields.optional_or("min_requests", MIN_REQUESTS, times);
            Some(MeasurementMethod::Compare(Tolerance {
                error_points: error_points?,
                latency_percent: latency_percent?,
                min_requests: min_requests?,
            }))
        }
    }
}

fn rendered(template: &str, version: &str) -> Result<String, Faults> {
    render_version(template, version).map_err(|fault| {
        let wrong = ValueError::new(format!("is not a valid template: {}", fault.message));
        match fault.help {
            Some(help) => wrong.help(help).into(),
            None => wrong.into(),
        }
    })
}

fn url(text: String) -> Result<String, Faults> {
    match reqwest::Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text),
        Ok(url) => Err(ValueError::new(format!(
            "has an unsupported scheme: {}",
            quoted(url.scheme())
        ))
        .help("use http:// or https://")
        .into()),
        Err(why) => Err(ValueError::new(format!("is not a URL: {why}"))
            .help("for example \"http://prometheus:9090\"")
            .into()),
    }
}

fn bound(node: &Node) -> Result<Bound, Faults> {
    const HELP: &str =
        "write a comparison and a number, for example \">= 0.99\" or \"< 5%\" (0.05)";
    string(node)?.parse().map_err(|why| {
        ValueError::new(format!("is not a valid condition: {why}"))
            .help(HELP)
            .into()
    })
}

/// A percentage, which may have a fraction.
fn percentage(node: &Node) -> Result<Number, Faults> {
    let text = string(node)?;
    let number = text
        .strip_suffix('%')
        .and_then(|digits| digits.trim().parse().ok())
        .and_then(Number::new);
    number.filter(|number| number.get() >= 0.0).ok_or_else(|| {
        ValueError::new(format!("is not a percentage: {}", quoted(&text)))
            .help("for example \"1%\" or \"0.5%\"")
            .into()
    })
}

/// A JSON pointer, `/errors/0/rate`, or the same as a path, `$.errors[0].rate`.
pub(super) fn pointer(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    if text.starts_with('/') {
        return Ok(text);
    }
    let wrong = || {
        ValueError::new(format!("is not a path to a value: {}", quoted(&text)))
            .help("for example \"$.errors[0].rate\", or the JSON pointer \"/errors/0/rate\"")
    };
    let path = text.strip_prefix('$').ok_or_else(wrong)?;
    let mut pointer = String::new();
    for (nth, part) in path.split('.').enumerate() {
        let mut pieces = part.split('[');
        let key = pieces.next().unwrap_or_default();
        // There is no key before the first dot, and one after each dot.
        let is_key = !key.is_empty() && !key.contains([']', '*', '?', '\'', '"', ' ']);
        if (nth == 0) != key.is_empty() || nth > 0 && !is_key {
            return Err(wrong().into());
        }
        if nth > 0 {
            pointer.extend(["/", &key.replace('~', "~0").replace('/', "~1")]);
        }
        for index in pieces {
            let index: usize = index
                .strip_suffix(']')
                .and_then(|index| index.parse().ok())
                .ok_or_else(wrong)?;
            pointer.extend(["/", &index.to_string()]);
        }
    }
    Ok(pointer)
}
