//! `[systemd.Service]` and `[systemd.Unit]`: directives of the instances' units.

use std::collections::BTreeMap;

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::names;
use super::templates::Templates;
use super::toml_tree::{Node, Value};
use super::value::{Faults, Located, ValueError, line, located, quoted, wrong_kind};
use crate::core::release::Driver;
use crate::core::release::unit::{Directives, UnitSection};

/// Reads the table; errors go to `sink`.
pub(super) fn read(
    fields: &Fields<'_>,
    driver: Option<Driver>,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Directives> {
    let mut directives = Directives::default();
    let mut is_valid = true;
    for section in UnitSection::ALL {
        let found = fields.map(
            section.name(),
            |name| check_name(section, name),
            located(values),
        );
        let Some(found) = found else {
            is_valid = false;
            continue;
        };
        for (name, value) in &found {
            is_valid &= check_value(section, name, value, sink);
            templates.extend(Some(value.place.clone()), &value.value);
        }
        let values: BTreeMap<_, _> = found
            .into_iter()
            .map(|(name, value)| (name, value.value))
            .collect();
        if !values.is_empty() {
            directives.0.insert(section, values);
        }
    }
    fields.finish();
    if driver.is_some_and(|driver| driver != Driver::Systemd) {
        let message = "[systemd] needs driver = \"systemd\"";
        let help = "leave out [systemd], or the `driver` of [service]";
        sink.push(Diagnostic::at(fields.place(), message).help(help));
        return None;
    }
    is_valid.then_some(directives)
}

/// Refuses a name that is not a directive, or one that ship writes.
fn check_name(section: UnitSection, name: &str) -> Result<(), ValueError> {
    names::DIRECTIVE.check(name).map_err(|fault| ValueError {
        message: format!("has a key that is not a directive: it {}", fault.message),
        ..fault
    })?;
    let why = ownership_reason(section, name);
    match why {
        Some(why) => Err(ValueError::new(format!("cannot set {name}: ship writes it")).help(why)),
        None => Ok(()),
    }
}

/// What to use instead of a directive that ship writes itself; `None` for any other.
pub(super) fn ownership_reason(section: UnitSection, name: &str) -> Option<&'static str> {
    // Both sections accept these, under several names.
    if name.starts_with("StartLimit") {
        return Some("systemd must not give up restarting an instance");
    }
    let mut owned = owned(section).iter();
    owned.find(|(owned, _)| *owned == name).map(|(_, why)| *why)
}

/// The directives that ship writes itself, with what to use instead.
fn owned(section: UnitSection) -> &'static [(&'static str, &'static str)] {
    match section {
        UnitSection::Service => &[
            ("ExecStart", "set `command` in [service]"),
            (
                "WorkingDirectory",
                "instances run in the directory of their release",
            ),
            ("User", "set `user` in [service]"),
            (
                "DynamicUser",
                "set `user` in [service], or leave it out: ship creates a user",
            ),
            ("Environment", "set `env` in [service]"),
            (
                "Restart",
                "ship counts on systemd to restart an instance that exits",
            ),
            (
                "RemainAfterExit",
                "ship must see when an instance has exited",
            ),
            (
                "PIDFile",
                "run the service in the foreground, without a PID file",
            ),
            ("KillSignal", "set `stop_signal` in [service]"),
            (
                "KillMode",
                "ship ends all processes of an instance: first `stop_signal` to the main process",
            ),
            (
                "SendSIGKILL",
                "ship kills what is left after `stop_timeout`",
            ),
            ("ExecReload", "set `reload` in [service]"),
            ("TimeoutStopSec", "set `stop_timeout` in [service]"),
            (
                "TimeoutSec",
                "set `stop_timeout` in [service], and TimeoutStartSec here",
            ),
            (
                "ExecStopPost",
                "use a hook: [[hooks]] with on = \"after_stop\"",
            ),
            ("SyslogIdentifier", "`ship logs` finds the log by it"),
            ("LogNamespace", "`ship logs` reads the default journal"),
        ],
        UnitSection::Unit => &[
            ("RefuseManualStart", "ship starts the unit"),
            ("RefuseManualStop", "ship stops the unit"),
        ],
    }
}

/// The types of service that ship can supervise.
const TYPES: [&str; 4] = ["simple", "exec", "notify", "notify-reload"];

fn check_value(
    section: UnitSection,
    name: &str,
    value: &Located<Vec<String>>,
    sink: &Sink,
) -> bool {
    let is_type = section == UnitSection::Service && name == "Type";
    let is_known = matches!(&value.value[..], [kind] if TYPES.contains(&kind.as_str()));
    if is_type && !is_known {
        let kind = value
            .value
            .last()
            .map(|kind| quoted(kind))
            .unwrap_or_default();
        let message = format!("ship cannot supervise a service of type {kind}");
        let help =
            "run the service in the foreground, with Type = \"simple\", \"exec\" or \"notify\"";
        sink.push(Diagnostic::at(&value.place, message).help(help));
        return false;
    }
    true
}

/// Reads the value of a directive, or a list of values for one that may be repeated.
fn values(node: &Node) -> Result<Vec<String>, Faults> {
    match &node.value {
        Value::Array(items) => items.iter().map(value).collect(),
        _ => Ok(vec![value(node)?]),
    }
}

fn value(node: &Node) -> Result<String, Faults> {
    match &node.value {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.to_owned()),
        Value::String(_) => {
            let text = line(node)?;
            // systemd would continue the directive on the next line.
            if text.ends_with('\\') {
                return Err(ValueError::new("must not end with a backslash")
                    .help("write the whole value on one line")
                    .into());
            }
            Ok(text)
        }
        _ => Err(wrong_kind(node, "a text, a number, true or false")
            .help("as after `=` in a unit file; a list repeats the directive")
            .into()),
    }
}
