//! `[readiness]`: when an instance counts as ready.

use std::time::Duration;

use crate::core::release::{Check, Readiness, Via};

use super::command::command;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::playbook::Templates;
use super::tree::Node;
use super::value::{Fault, Faults, boolean, choice, duration, line, number, positive_duration, string, times};

const SECOND: Duration = Duration::from_secs(1);
/// The ways to ask.
const WAYS: [&str; 3] = ["tcp", "http", "command"];

pub(super) fn read(fields: &Fields<'_>, templates: &mut Templates, sink: &Sink) -> Option<Readiness> {
    let tcp = fields.optional("tcp", only_true);
    let http = fields.optional("http", http_path);
    let command = fields.optional("command", command);
    let status = fields.optional("status", number(100, 599));
    let body = fields.optional("body", body);
    let via = fields.or("via", Via::Direct, choice(&[("direct", Via::Direct), ("ssh", Via::Ssh)]));
    let interval = fields.or("interval", SECOND, positive_duration);
    let timeout = fields.or("timeout", SECOND, positive_duration);
    let successes = fields.or("successes", 1, times);
    let failures = fields.or("failures", 3, times);
    let initial_delay = fields.or("initial_delay", Duration::ZERO, duration);
    fields.finish();
    refuse_two_ways(fields, sink);
    refuse_without_http(fields);

    let (tcp, http, command, status, body) = (tcp?, http?, command?, status?, body?);
    templates.extend(fields.place_of("command"), command.as_deref().unwrap_or_default());
    templates.extend(fields.place_of("body"), body.as_slice());
    let check = match (tcp, http, command) {
        (_, Some(path), _) => Check::Http { path, status, body },
        (_, None, Some(command)) => Check::Command(command),
        (_, None, None) => Check::Tcp,
    };
    Some(Readiness {
        check,
        via: via?,
        interval: interval?,
        timeout: timeout?,
        successes: successes?,
        failures: failures?,
        initial_delay: initial_delay?,
    })
}

/// `tcp = true` is there to be read; `false` would say nothing.
fn only_true(node: &Node) -> Result<(), Faults> {
    if boolean(node)? {
        return Ok(());
    }
    Err(Fault::new("can only be true").help("leave it out, or ask by `http` or `command` instead").into())
}

fn http_path(node: &Node) -> Result<String, Faults> {
    let path = line(node)?;
    let wrong = |why: &str| Err(Fault::new(why).help("a path on the instance, for example \"/healthz\"").into());
    if !path.starts_with('/') {
        return wrong("must begin with `/`");
    }
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return wrong("must be plain: blanks and other letters are written as %20 and the like");
    }
    Ok(path)
}

fn body(node: &Node) -> Result<String, Faults> {
    let text = string(node)?;
    if text.is_empty() { Err(Fault::new("must not be empty: every body holds that").into()) } else { Ok(text) }
}

fn refuse_two_ways(fields: &Fields<'_>, sink: &Sink) {
    let mut ways: Vec<_> = WAYS.iter().filter_map(|way| Some((way, fields.key_place(way)?))).collect();
    ways.sort_by_key(|(_, place)| (place.is_command_line(), place.line(), place.column()));
    if let [(first, first_place), others @ ..] = ways.as_slice() {
        for (other, place) in others {
            let message = format!("readiness is asked in one way, not by `{first}` and `{other}`");
            let diagnostic = Diagnostic::at(place, message).related(first_place, "the first way");
            sink.push(diagnostic.help("keep one of the two; a `command` can ask for several things"));
        }
    }
}

fn refuse_without_http(fields: &Fields<'_>) {
    if fields.key_place("http").is_some() {
        return;
    }
    for key in ["status", "body"] {
        if fields.key_place(key).is_some() {
            fields.complain(key, Fault::new("has a meaning with `http` only").help("for example: http = \"/healthz\""));
        }
    }
}
