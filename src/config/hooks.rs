//! `[[hooks]]`: commands of the user at certain points of a rollout.

use std::time::Duration;

use crate::core::release::hook::{Hook, HookPoint, HookSite};

use super::command::command;
use super::fields::Fields;
use super::template::render_version;
use super::toml_tree::Node;
use super::value::{Faults, ValueError, choice, positive_duration};
use crate::config::templates::{Templates, place_within};

/// An example for hints.
pub(super) const EXAMPLE: &str =
    "[[hooks]]\non = \"before_start\"\ncommand = \"./warm-cache --port {{ port }}\"";

const TIMEOUT: Duration = Duration::from_mins(1);
const POINTS: &[(&str, HookPoint)] = &[
    ("before_all", HookPoint::BeforeAll),
    ("after_all", HookPoint::AfterAll),
    ("before_start", HookPoint::BeforeStart),
    ("after_start", HookPoint::AfterStart),
    ("before_stop", HookPoint::BeforeStop),
    ("after_stop", HookPoint::AfterStop),
    ("on_success", HookPoint::OnSuccess),
    ("on_failure", HookPoint::OnFailure),
];
const SITES: &[(&str, HookSite)] = &[("control", HookSite::Control), ("host", HookSite::Host)];

/// Reads the hooks, in the order of the file.
pub(super) fn read(
    tables: &[Fields<'_>],
    version: Option<&str>,
    templates: &mut Templates,
) -> Option<Vec<Hook>> {
    let hooks: Vec<_> = tables
        .iter()
        .map(|fields| read_one(fields, version.unwrap_or("0"), templates))
        .collect();
    hooks.into_iter().collect()
}

fn read_one(fields: &Fields<'_>, version: &str, templates: &mut Templates) -> Option<Hook> {
    let on = fields.required("on", "on = \"before_start\"", choice(POINTS));
    let is_of_instance = on.is_some_and(HookPoint::is_of_instance);
    let words = fields.required(
        "command",
        "command = \"./warm-cache --port {{ port }}\"",
        |node| {
            // The variables of a template depend on `on`, so without it the template is not
            // checked.
            if is_of_instance || on.is_none() {
                command(node)
            } else {
                command_of_version(node, version)
            }
        },
    );
    let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
    let at = fields.optional("at", choice(SITES));
    fields.finish();
    if is_of_instance {
        templates.extend(
            fields.place_of("command"),
            words.as_deref().unwrap_or_default(),
        );
    }
    let (on, words, timeout, at) = (on?, words?, timeout?, at?);
    if let (Some(site), Some(_)) = (on.only_site(), at) {
        let place = match site {
            HookSite::Control => "on this machine",
            HookSite::Host => "on the host of the instance",
        };
        let fault = ValueError::new(format!(
            "can only be used with before_all and after_all: {on} always runs {place}"
        ));
        fields.report("at", fault.help("leave it out"));
        return None;
    }
    let at = on.only_site().or(at).unwrap_or(HookSite::Control);
    Some(Hook {
        on,
        at,
        command: words,
        timeout,
    })
}

/// Reads a command that does not belong to a slot. Its templates may only use the version and are
/// rendered now.
pub(super) fn command_of_version(node: &Node, version: &str) -> Result<Vec<String>, Faults> {
    let filled = |word: &String| {
        render_version(word, version).map_err(|fault| {
            let place = place_within(&node.place, &fault);
            let wrong = ValueError::new(format!("is not a valid template: {}", fault.message))
                .place(&place);
            wrong.help(
                fault
                    .help
                    .unwrap_or_else(|| "write variables as \"{{ version }}\"".to_owned()),
            )
        })
    };
    Ok(command(node)?
        .iter()
        .map(filled)
        .collect::<Result<_, _>>()?)
}
