//! The driver `link`: refuses what has no meaning without a process of ship.

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::value::ValueError;
use crate::core::release::Driver;
use crate::core::release::slots::Slots;
use crate::core::spec::budget::Amount;

/// The keys of `[service]` that are about a process, with what to use instead.
const PROCESS_KEYS: [(&str, &str); 6] = [
    (
        "command",
        "leave it out; the command that makes the server use the files is `activate`",
    ),
    (
        "slots",
        "write the port of the server instead, for example ports = [80]",
    ),
    ("stop_signal", "leave it out: ship stops no process"),
    ("stop_timeout", "leave it out: ship stops no process"),
    ("linger", "leave it out: ship stops no process"),
    ("singleton", "leave it out: ship runs no process"),
];

/// Reports the keys of `[service]` that do not fit the driver.
pub(super) fn check_service(
    fields: &Fields<'_>,
    driver: Option<Driver>,
    slots: Option<&Slots>,
    sink: &Sink,
) {
    if driver != Some(Driver::Link) {
        if driver.is_some() && fields.key_place("activate").is_some() {
            let fault = ValueError::new("needs driver = \"link\"");
            let help = "leave it out, or use a hook: [[hooks]] with on = \"after_start\"";
            fields.report("activate", fault.help(help));
        }
        return;
    }
    for (key, help) in PROCESS_KEYS {
        if let Some(place) = fields.key_place(key) {
            let message = format!("`{key}` has no meaning with driver = \"link\"");
            sink.push(Diagnostic::at(place, message).help(help));
        }
    }
    let ports = slots.filter(|slots| slots.has_ports() && slots.numbers().len() > 1);
    if let (Some(_), Some(place)) = (ports, fields.place_of("ports")) {
        let message = "driver = \"link\" has one slot on each host";
        let help = "keep one port; several ports of one server have names: \
                    ports = [{ http = 80, https = 443 }]";
        sink.push(Diagnostic::at(&place, message).help(help));
    }
}

/// Reports a table that needs a process.
pub(super) fn check_table(
    driver: Option<Driver>,
    table: &str,
    place: Option<&SourceSpan>,
    sink: &Sink,
) {
    if let (Some(Driver::Link), Some(place)) = (driver, place) {
        let message = format!("{table} needs a process of ship, which driver = \"link\" has not");
        sink.push(Diagnostic::at(place, message).help(format!("leave out {table}")));
    }
}

/// Reports the checks of `[readiness]` that are about a process.
pub(super) fn check_readiness(fields: &Fields<'_>, driver: Option<Driver>) {
    if driver != Some(Driver::Link) {
        return;
    }
    for key in ["running", "notify"] {
        if fields.key_place(key).is_some() {
            let fault = ValueError::new("needs a process of ship, which driver = \"link\" has not");
            let help = "ask the server instead, for example: http = \"/version.txt\" and body = \"{{ version }}\"";
            fields.report(key, fault.help(help));
        }
    }
}

/// Whether the amounts fit one slot on each host; reports those that do not.
pub(super) fn check_amounts(
    fields: &Fields<'_>,
    driver: Option<Driver>,
    (max_surge, max_unavailable): (Option<Amount>, Option<Amount>),
) -> bool {
    if driver != Some(Driver::Link) {
        return true;
    }
    let surges = max_surge.is_some_and(|amount| !amount.is_zero());
    if surges {
        let fault = ValueError::new(
            "must be 0 with driver = \"link\": `current` leads to one release at a time",
        );
        fields.report(
            "max_surge",
            fault.help("leave it out, or write max_surge = 0"),
        );
    }
    let has_no_room = max_unavailable.is_some_and(Amount::is_zero);
    if has_no_room {
        let fault = ValueError::new(
            "must be at least 1 with driver = \"link\": a host counts as unavailable while it is \
             switched",
        );
        fields.report(
            "max_unavailable",
            fault.help("leave it out, or write max_unavailable = 1"),
        );
    }
    !surges && !has_no_room
}
