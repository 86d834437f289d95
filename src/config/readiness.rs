//! `[readiness]`: when an instance counts as ready.

use std::time::Duration;

use crate::core::release::slots::Slots;
use crate::core::release::{Check, Driver, Readiness, Via};

use super::check::{self, CheckKind};
use super::diagnostic::SourceSpan;
use super::fields::{Fields, Sink};
use super::link;
use super::toml_tree::Node;
use super::value::{
    Faults, ValueError, choice, duration, line, number, positive_duration, string, times,
};
use crate::config::service::ServiceConfig;
use crate::config::templates::Templates;

/// How long a worker must run to be ready, if the playbook does not say.
const RUNNING: Duration = Duration::from_secs(10);

const SECOND: Duration = Duration::from_secs(1);

/// The places of the keys that delay the readiness of an instance.
#[derive(Default)]
pub(super) struct ReadinessPlaces {
    pub(super) initial_delay: Option<SourceSpan>,
    /// The key that affects repeated probes: the threshold, or else the interval.
    pub(super) repeats: Option<SourceSpan>,
}

impl ReadinessPlaces {
    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let repeats = fields
            .place_of("success_threshold")
            .or_else(|| fields.place_of("interval"));
        Self {
            initial_delay: fields.place_of("initial_delay"),
            repeats,
        }
    }
}

pub(super) fn read(
    fields: &Fields<'_>,
    service: Option<&ServiceConfig>,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Readiness> {
    let slots = service.map(|service| &service.slots);
    let checks = check::read_readiness(fields, templates, sink);
    let port = check::read_port(fields, slots);
    check::check_ports(
        fields,
        slots,
        "use running = \"10s\", notify = true or command = \"…\" instead",
    );
    let status = fields.optional("status", number(100, 599));
    let body = fields.optional("body", body);
    let host_header = fields.optional(check::HOST_HEADER, check::host_name);
    let header = fields.optional("header", header);
    let via = fields.optional_or(
        "via",
        Via::Direct,
        choice(&[("direct", Via::Direct), ("ssh", Via::Ssh)]),
    );
    let interval = fields.optional_or("interval", SECOND, positive_duration);
    let timeout = fields.optional_or("timeout", SECOND, positive_duration);
    let success_threshold = fields.optional_or("success_threshold", 1, times);
    let failure_threshold = fields.optional_or("failure_threshold", 3, times);
    let initial_delay = fields.optional_or("initial_delay", Duration::ZERO, duration);
    fields.finish();
    link::check_readiness(fields, service.map(|service| service.driver));
    check::check_http_keys(fields, &["status", "body", check::HOST_HEADER, "header"]);

    let (checks, status, body) = (checks?, status?, body?);
    let (host_header, header) = (host_header?, header?);
    templates.extend(fields.place_of("body"), body.as_slice());
    templates.extend(fields.place_of("header"), header.as_slice());
    let has_ports = slots.is_none_or(Slots::has_ports);
    let default = if has_ports {
        CheckKind::Tcp
    } else {
        CheckKind::Running(RUNNING)
    };
    let check = match checks.into_iter().next().unwrap_or(default) {
        CheckKind::Tcp => Check::Tcp,
        CheckKind::Http(path) => Check::Http {
            path,
            status,
            body,
            host_header,
            header,
        },
        CheckKind::Command(words) => Check::Command(words),
        CheckKind::Running(time) => Check::Running(time),
        CheckKind::Notify => {
            check_notify(fields, service);
            Check::Notify
        }
    };
    Some(Readiness {
        check,
        port: port?,
        via: via?,
        interval: interval?,
        timeout: timeout?,
        success_threshold: success_threshold?,
        failure_threshold: failure_threshold?,
        initial_delay: initial_delay?,
    })
}

/// Reports `notify` if no systemd unit of this type runs the service.
fn check_notify(fields: &Fields<'_>, service: Option<&ServiceConfig>) {
    let Some(service) = service else { return };
    if service.driver != Driver::Systemd {
        let fault = ValueError::new("needs driver = \"systemd\", which receives READY=1");
        fields.report(
            "notify",
            fault.help("use running = \"10s\" or a `command` instead"),
        );
    }
}

fn body(node: &Node) -> Result<String, Faults> {
    let text = string(node)?;
    if text.is_empty() {
        Err(ValueError::new("must not be empty: every body would match").into())
    } else {
        Ok(text)
    }
}

/// Reads a header with its value: `X-Version: {{ version }}`.
fn header(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    match text.split_once(':') {
        Some((name, value)) if is_name(name) && !value.trim().is_empty() => Ok(text),
        _ => Err(ValueError::new("is not a header with a value")
            .help("for example \"X-Version: {{ version }}\"")
            .into()),
    }
}
