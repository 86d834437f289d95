//! `[monitor]`: the requests that ship sends to the service during a rollout.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderName;

use crate::core::availability::MonitorSettings;
use crate::core::time::Human;

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::toml_tree::Node;
use super::value::{Faults, ValueError, count, line, number, positive_duration, quoted};

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(2);
const INTERVAL_MAX: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 2;
const CONNECTIONS_MAX: u32 = 100;
/// The limit of concurrent requests, which is reached if no request gets a response.
const CONCURRENT_MAX: u128 = 1000;
/// The value of `url` that turns the monitor off.
const OFF: &str = "off";

/// Reads the table; the inner `None` means that the monitor is off.
#[expect(
    clippy::option_option,
    reason = "the outer None means invalid, the inner one that the monitor is off"
)]
pub(super) fn read(fields: &Fields<'_>, sink: &Sink) -> Option<Option<MonitorSettings>> {
    let url = fields.required("url", "url = \"http://www.example.org/healthz\"", url);
    let interval = fields.optional_or(
        "interval",
        INTERVAL,
        no_longer_than(INTERVAL_MAX, "longer intervals miss short outages"),
    );
    let why = "at its end, a rollout waits this long for the last responses";
    let timeout = fields.optional_or("timeout", TIMEOUT, no_longer_than(TIMEOUT_MAX, why));
    let max_failed_requests = fields.optional_or("max_failed_requests", 0, count);
    let status = fields.optional("status", number(100, 599));
    let connections = fields.optional_or("connections", CONNECTIONS, number(1, CONNECTIONS_MAX));
    let version_header = fields.optional("version_header", header);
    fields.finish();

    if let (Some(interval), Some(timeout)) = (interval, timeout) {
        check_concurrent_requests(fields, interval, timeout, sink)?;
    }
    let (interval, timeout, max_failed_requests, connections) =
        (interval?, timeout?, max_failed_requests?, connections?);
    let (status, version_header) = (status?, version_header?);
    let settings = |url| MonitorSettings {
        url,
        interval,
        timeout,
        max_failed_requests,
        status,
        connections,
        version_header,
    };
    Some(url?.map(settings))
}

fn url(node: &Node) -> Result<Option<String>, Faults> {
    let text = line(node)?;
    if text == OFF {
        return Ok(None);
    }
    let wrong = |why: String| {
        Err(ValueError::new(why)
            .help("for example \"http://www.example.org/healthz\", or \"off\"")
            .into())
    };
    match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong(format!(
            "has an unsupported scheme: {}",
            quoted(url.scheme())
        )),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err(ValueError::new("must not contain a user or a password")
                .help("use a page that needs no login")
                .into())
        }
        Ok(_) => Ok(Some(text)),
        Err(why) => wrong(format!("is not a URL: {why}")),
    }
}

fn no_longer_than(max: Duration, why: &'static str) -> impl Fn(&Node) -> Result<Duration, Faults> {
    move |node| match positive_duration(node)? {
        duration if duration > max => {
            Err(ValueError::new(format!("must be at most {}", Human(max)))
                .help(why)
                .into())
        }
        duration => Ok(duration),
    }
}

fn header(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => Err(
            ValueError::new(format!("is not a valid header name: {}", quoted(&text)))
                .help("for example \"x-version\"")
                .into(),
        ),
    }
}

/// Checks the number of concurrent requests: each interval starts one, and each lasts up to the
/// timeout.
fn check_concurrent_requests(
    fields: &Fields<'_>,
    interval: Duration,
    timeout: Duration,
    sink: &Sink,
) -> Option<()> {
    let concurrent = timeout.as_micros().div_ceil(interval.as_micros().max(1));
    if concurrent <= CONCURRENT_MAX {
        return Some(());
    }
    let place = fields
        .place_of("interval")
        .or_else(|| fields.place_of("timeout"));
    let message = format!(
        "a request every {} with a timeout of {} allows {concurrent} concurrent requests; the \
         maximum is {CONCURRENT_MAX}",
        Human(interval),
        Human(timeout)
    );
    let diagnostic = Diagnostic::at(place.as_ref().unwrap_or(fields.place()), message);
    sink.push(diagnostic.help("lengthen interval, or shorten timeout"));
    None
}
