//! The kinds of probes, of which a table names one.

use super::command::command;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::tree::Node;
use super::value::{Faults, ValueError, boolean, line};
use crate::config::templates::Templates;

pub(super) enum CheckKind {
    Tcp,
    /// A GET of this path.
    Http(String),
    /// A command on the host, each word a template over the slot.
    Command(Vec<String>),
}

/// Reads the ways that a table names. More than one is refused; none is for the caller to judge.
/// `subject` is what is asked for: `readiness`.
pub(super) fn read(
    fields: &Fields<'_>,
    subject: &str,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<Vec<CheckKind>> {
    let tcp = fields.optional("tcp", only_true);
    let http = fields.optional("http", http_path);
    let command = fields.optional("command", command);
    refuse_two(fields, subject, sink);

    let (tcp, http, command) = (tcp?, http?, command?);
    templates.extend(
        fields.place_of("command"),
        command.as_deref().unwrap_or_default(),
    );
    let ways = [
        http.map(CheckKind::Http),
        command.map(CheckKind::Command),
        tcp.map(|()| CheckKind::Tcp),
    ];
    Some(ways.into_iter().flatten().collect())
}

/// The key for the `Host` header of a GET, for services that only answer to their own names.
pub(super) const HOST_HEADER: &str = "host_header";

/// A host's name, with or without a port.
pub(super) fn host_name(node: &Node) -> Result<String, Faults> {
    let text = line(node)?;
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '/') {
        return Ok(text);
    }
    Err(ValueError::new("is no host's name")
        .help("for example \"www.example.org\", with a port if there is one")
        .into())
}

/// Refuses keys that have no effect without `http`.
pub(super) fn refuse_without_http(fields: &Fields<'_>, keys: &[&str]) {
    if fields.key_place("http").is_some() {
        return;
    }
    for key in keys {
        if fields.key_place(key).is_some() {
            fields.complain(
                key,
                ValueError::new("has a meaning with `http` only")
                    .help("for example: http = \"/healthz\""),
            );
        }
    }
}

/// Accepts `tcp = true` only; `false` would have no meaning.
fn only_true(node: &Node) -> Result<(), Faults> {
    if boolean(node)? {
        return Ok(());
    }
    Err(ValueError::new("can only be true")
        .help("leave it out, or ask by `http` or `command` instead")
        .into())
}

fn http_path(node: &Node) -> Result<String, Faults> {
    let path = line(node)?;
    let wrong = |why: &str| {
        Err(ValueError::new(why)
            .help("a path on the instance, for example \"/healthz\"")
            .into())
    };
    if !path.starts_with('/') {
        return wrong("must begin with `/`");
    }
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return wrong("must be plain: blanks and other letters are written as %20 and the like");
    }
    Ok(path)
}

fn refuse_two(fields: &Fields<'_>, subject: &str, sink: &Sink) {
    let named = ["tcp", "http", "command"]
        .into_iter()
        .filter_map(|way| Some((way, fields.key_place(way)?)));
    let mut ways: Vec<_> = named.collect();
    ways.sort_by_key(|(_, place)| (place.is_command_line(), place.line(), place.column()));
    if let [(first, first_place), others @ ..] = ways.as_slice() {
        for (other, place) in others {
            let message = format!("{subject} is asked in one way, not by `{first}` and `{other}`");
            let diagnostic = Diagnostic::at(place, message).related(first_place, "the first way");
            sink.push(
                diagnostic.help("keep one of the two; a `command` can ask for several things"),
            );
        }
    }
}
