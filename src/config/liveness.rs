//! `[liveness]`: when an instance counts as stuck.

use std::time::Duration;

use crate::core::release::slots::Slots;
use crate::core::release::{Liveness, LivenessCheck};

use super::check::{self, CheckKind};
use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::value::{duration, positive_duration, times};
use crate::config::templates::Templates;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;

pub(super) fn read(
    fields: &Fields<'_>,
    slots: Option<&Slots>,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Liveness> {
    let checks = check::read(fields, "liveness", templates, sink);
    let port = check::read_port(fields, slots);
    check::check_ports(fields, slots, "use a `command` instead");
    let interval = fields.optional_or("interval", INTERVAL, positive_duration);
    let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
    let failure_threshold = fields.optional_or("failure_threshold", FAILURES, times);
    let initial_delay = fields.optional_or("initial_delay", Duration::ZERO, duration);
    let host_header = fields.optional(check::HOST_HEADER, check::host_name);
    fields.finish();
    check::check_http_keys(fields, &[check::HOST_HEADER]);

    let Some(check) = checks?.into_iter().next() else {
        let diagnostic = Diagnostic::at(fields.place(), "[liveness] has no check");
        sink.push(diagnostic.help("add tcp = true, http = \"/healthz\" or command = \"…\""));
        return None;
    };
    let check = match check {
        CheckKind::Tcp => LivenessCheck::Tcp,
        CheckKind::Http(path) => LivenessCheck::Http(path),
        CheckKind::Command(words) => LivenessCheck::Command(words),
        // `check::read` does not read these.
        CheckKind::Running(_) | CheckKind::Notify => return None,
    };
    Some(Liveness {
        check,
        port: port?,
        interval: interval?,
        timeout: timeout?,
        failure_threshold: failure_threshold?,
        initial_delay: initial_delay?,
        host_header: host_header?,
    })
}

/// Reports `[liveness]` without a supervisor, because nothing would restart an instance that fails.
pub(super) fn report_missing_supervisor(liveness: &SourceSpan, driver: &SourceSpan, sink: &Sink) {
    let diagnostic = Diagnostic::at(
        liveness,
        "liveness needs a supervisor that restarts instances",
    );
    let diagnostic = diagnostic.related(driver, "this driver does not restart instances");
    sink.push(diagnostic.help("write driver = \"systemd\", or leave out [liveness]"));
}
