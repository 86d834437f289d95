//! `[monitor]`: the requests that ship makes to the service during a rollout.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderName;

use crate::core::availability::MonitorSettings;
use crate::core::time::Human;

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::tree::Node;
use super::value::{Faults, ValueError, count, line, number, positive_duration, quoted};

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(2);
const INTERVAL_MAX: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 2;
const CONNECTIONS_MAX: u32 = 100;
/// The limit of concurrent requests, if none is answered.
const TOGETHER_MAX: u128 = 1000;
/// The value of `url` that turns the requests off.
const OFF: &str = "off";

/// Reads the table; the inner `None` means that the monitor is off.
#[expect(
    clippy::option_option,
    reason = "the outer None is `wrong`, the inner one `nobody asks`"
)]
pub(super) fn read(fields: &Fields<'_>, sink: &Sink) -> Option<Option<MonitorSettings>> {
    let url = fields.required("url", "url = \"http://www.example.org/healthz\"", url);
    let interval = fields.or(
        "interval",
        INTERVAL,
        no_longer_than(INTERVAL_MAX, "what comes so seldom sees little"),
    );
    let why = "the end of a rollout waits so long for the last answers";
    let timeout = fields.or("timeout", TIMEOUT, no_longer_than(TIMEOUT_MAX, why));
    let max_failed_requests = fields.or("max_failed_requests", 0, count);
    let status = fields.optional("status", number(100, 599));
    let connections = fields.or("connections", CONNECTIONS, number(1, CONNECTIONS_MAX));
    let version_header = fields.optional("version_header", header);
    fields.finish();

    if let (Some(interval), Some(timeout)) = (interval, timeout) {
        refuse_too_many(fields, interval, timeout, sink)?;
    }
    let (interval, timeout, max_failed_requests, connections) =
        (interval?, timeout?, max_failed_requests?, connections?);
    let (status, version_header) = (status?, version_header?);
    let probing = |url| MonitorSettings {
        url,
        interval,
        timeout,
        max_failed_requests,
        status,
        connections,
        version_header,
    };
    Some(url?.map(probing))
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
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            wrong(format!("cannot be asked by {}", quoted(url.scheme())))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err(ValueError::new("must not hold a user or a password")
                .help("ask a page that everybody may see")
                .into())
        }
        Ok(_) => Ok(Some(text)),
        Err(why) => wrong(format!("is no URL: {why}")),
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
            ValueError::new(format!("is no name of a header: {}", quoted(&text)))
                .help("for example \"x-version\"")
                .into(),
        ),
    }
}

/// Each request lasts until its timeout at most, and each interval starts another one.
fn refuse_too_many(
    fields: &Fields<'_>,
    interval: Duration,
    timeout: Duration,
    sink: &Sink,
) -> Option<()> {
    let together = timeout.as_micros().div_ceil(interval.as_micros().max(1));
    if together <= TOGETHER_MAX {
        return Some(());
    }
    let place = fields
        .place_of("interval")
        .or_else(|| fields.place_of("timeout"));
    let message = format!(
        "with a request every {} and a timeout of {}, {together} requests may be under way at one \
         time; at most \
         {TOGETHER_MAX} may",
        Human(interval),
        Human(timeout)
    );
    let diagnostic = Diagnostic::at(place.as_ref().unwrap_or(fields.place()), message);
    sink.push(diagnostic.help("lengthen interval, or shorten timeout"));
    None
}
