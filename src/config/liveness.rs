//! `[liveness]`: when an instance counts as stuck.

use std::time::Duration;

use crate::core::release::{Liveness, LivenessCheck};

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::value::{duration, positive_duration, times};
use super::ways::{self, CheckKind};
use crate::config::templates::Templates;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;

pub(super) fn read(
    fields: &Fields<'_>,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Liveness> {
    let ways = ways::read(fields, "liveness", templates, sink);
    let interval = fields.or("interval", INTERVAL, positive_duration);
    let timeout = fields.or("timeout", TIMEOUT, positive_duration);
    let failure_threshold = fields.or("failure_threshold", FAILURES, times);
    let initial_delay = fields.or("initial_delay", Duration::ZERO, duration);
    let host_header = fields.optional(ways::HOST_HEADER, ways::host_name);
    fields.finish();
    ways::refuse_without_http(fields, &[ways::HOST_HEADER]);

    let Some(way) = ways?.into_iter().next() else {
        let diagnostic = Diagnostic::at(fields.place(), "[liveness] does not say what to ask");
        sink.push(diagnostic.help("add tcp = true, http = \"/healthz\" or command = \"…\""));
        return None;
    };
    let check = match way {
        CheckKind::Tcp => LivenessCheck::Tcp,
        CheckKind::Http(path) => LivenessCheck::Http(path),
        CheckKind::Command(words) => LivenessCheck::Command(words),
    };
    Some(Liveness {
        check,
        interval: interval?,
        timeout: timeout?,
        failure_threshold: failure_threshold?,
        initial_delay: initial_delay?,
        host_header: host_header?,
    })
}

/// Without a supervisor, nothing starts an instance again that the liveness probe ended.
pub(super) fn refuse_without_supervisor(liveness: &SourceSpan, driver: &SourceSpan, sink: &Sink) {
    let diagnostic = Diagnostic::at(
        liveness,
        "liveness needs a supervisor that starts an instance again",
    );
    let diagnostic = diagnostic.related(driver, "this driver starts an instance once");
    sink.push(diagnostic.help("write driver = \"systemd\", or leave [liveness] out"));
}
