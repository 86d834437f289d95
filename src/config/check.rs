//! The check of a probe: `tcp`, `http`, `command`, and for readiness `running` or `notify`.

use std::time::Duration;

use super::command::command;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::names;
use super::slots;
use super::toml_tree::{Node, Value};
use super::value::{Faults, ValueError, boolean, line, positive_duration, quoted, string};
use crate::config::templates::Templates;
use crate::core::release::slots::Slots;

#[derive(Clone, Debug)]
pub(super) enum CheckKind {
    Tcp,
    /// A GET of this path.
    Http(String),
    /// A command on the host, each word a template over the slot.
    Command(Vec<String>),
    /// The same process for this long.
    Running(Duration),
    /// systemd's `READY=1`.
    Notify,
}

/// Reads the checks of a table, and reports an error if there are several. The caller handles a
/// table without a check. `subject` is the name of the probe: `readiness`.
pub(super) fn read(
    fields: &Fields<'_>,
    subject: &str,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Vec<CheckKind>> {
    let checks = read_port_checks(fields, templates);
    check_single_kind(fields, subject, sink);
    checks
}

/// Reads the checks of `[readiness]`, as [`read`] does.
pub(super) fn read_readiness(
    fields: &Fields<'_>,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Vec<CheckKind>> {
    let checks = read_port_checks(fields, templates);
    let running = fields.optional("running", positive_duration);
    let notify = fields.optional("notify", only_true);
    check_single_kind(fields, "readiness", sink);
    let mut checks = checks?;
    checks.extend(running?.map(CheckKind::Running));
    checks.extend(notify?.map(|()| CheckKind::Notify));
    Some(checks)
}

fn read_port_checks(fields: &Fields<'_>, templates: &mut Templates) -> Option<Vec<CheckKind>> {
    let tcp = fields.optional("tcp", only_true);
    let http = fields.optional("http", http_path);
    let command = fields.optional("command", command);

    let (tcp, http, command) = (tcp?, http?, command?);
    templates.extend(
        fields.place_of("command"),
        command.as_deref().unwrap_or_default(),
    );
    let checks = [
        http.map(CheckKind::Http),
        command.map(CheckKind::Command),
        tcp.map(|()| CheckKind::Tcp),
    ];
    Some(checks.into_iter().flatten().collect())
}

/// Reads `port`: the name of the port to probe.
#[expect(
    clippy::option_option,
    reason = "the outer None means invalid, the inner one absent"
)]
pub(super) fn read_port(fields: &Fields<'_>, slots: Option<&Slots>) -> Option<Option<String>> {
    let name = fields.optional("port", port_name)?;
    if let Some(slots) = slots {
        slots::check_port_name(fields, name.as_deref(), slots);
    }
    for kind in ["command", "running", "notify"] {
        if name.is_some() && fields.key_place(kind).is_some() {
            let fault = ValueError::new(format!("cannot be used with `{kind}`"));
            fields.report("port", fault.help("leave it out: no port is probed"));
        }
    }
    Some(name)
}

fn port_name(node: &Node) -> Result<String, Faults> {
    if matches!(node.value, Value::Integer(_)) {
        return Err(
            ValueError::new("must be the name of a port, not its number")
                .help("for example: ports = [{ http = 8081, admin = 9081 }] and port = \"admin\"")
                .into(),
        );
    }
    let text = string(node)?;
    names::PORT.check(&text)?;
    Ok(text)
}

/// Reports checks of a port in a service without ports.
pub(super) fn check_ports(fields: &Fields<'_>, slots: Option<&Slots>, instead: &str) {
    if slots.is_none_or(Slots::has_ports) {
        return;
    }
    for key in ["tcp", "http", "port"] {
        if fields.key_place(key).is_some() {
            let fault = ValueError::new(format!(
                "needs a port, but the service has {} and no ports",
                quoted("slots")
            ));
            fields.report(key, fault.help(instead));
        }
    }
}

/// The key for the `Host` header of a GET, for services that respond only to their own names.
pub(super) const HOST_HEADER: &str = "host_header";

/// Reads a host name, with or without a port.
pub(super) fn host_name(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '/') {
        return Ok(text);
    }
    Err(ValueError::new("is not a valid host name")
        .help("for example \"www.example.org\" or \"www.example.org:8080\"")
        .into())
}

/// Reports keys that have no effect without `http`.
pub(super) fn check_http_keys(fields: &Fields<'_>, keys: &[&str]) {
    if fields.key_place("http").is_some() {
        return;
    }
    for key in keys {
        if fields.key_place(key).is_some() {
            fields.report(
                key,
                ValueError::new("can only be used with `http`")
                    .help("add, for example: http = \"/healthz\""),
            );
        }
    }
}

/// Accepts only `tcp = true`, because `false` would have no meaning.
fn only_true(node: &Node) -> Result<(), Faults> {
    if boolean(node)? {
        return Ok(());
    }
    Err(ValueError::new("can only be true")
        .help("leave it out, or use `http` or `command` instead")
        .into())
}

fn http_path(node: &Node) -> Result<String, Faults> {
    let path = line(node)?;
    let wrong = |why: &str| {
        Err(ValueError::new(why)
            .help("write a path on the instance, for example \"/healthz\"")
            .into())
    };
    if !path.starts_with('/') {
        return wrong("must begin with `/`");
    }
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return wrong(
            "must be plain ASCII: encode blanks and other characters, for example as %20",
        );
    }
    Ok(path)
}

fn check_single_kind(fields: &Fields<'_>, subject: &str, sink: &Sink) {
    let present = ["tcp", "http", "command", "running", "notify"]
        .into_iter()
        .filter_map(|kind| Some((kind, fields.key_place(kind)?)));
    let mut kinds: Vec<_> = present.collect();
    kinds.sort_by_key(|(_, place)| (place.is_command_line(), place.line(), place.column()));
    if let [(first, first_place), others @ ..] = kinds.as_slice() {
        for (other, place) in others {
            let message = format!("{subject} cannot have both `{first}` and `{other}`");
            let diagnostic = Diagnostic::at(place, message).related(first_place, "first check");
            sink.push(diagnostic.help("keep one; a `command` can check several things"));
        }
    }
}
