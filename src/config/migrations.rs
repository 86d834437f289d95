//! `[[migrations]]`: changes to something that all instances share.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::release::migration::{Migration, MigrationKind};

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::hooks::command_of_version;
use super::names;
use super::rollout::RolloutConfig;
use super::value::{ValueError, boolean, choice, duration, positive_duration, quoted};

/// An example for hints.
pub(super) const EXAMPLE: &str =
    "[[migrations]]\nid = \"2026-11-add-email\"\nkind = \"expand\"\ncommand = \"./migrate up\"";

const TIMEOUT: Duration = Duration::from_mins(10);
const KINDS: &[(&str, MigrationKind)] = &[
    ("expand", MigrationKind::Expand),
    ("contract", MigrationKind::Contract),
];

/// Reads the migrations, in the order of the file. `rollout` is `None` if it has errors, which are
/// reported elsewhere; then a missing `soak` is not reported.
pub(super) fn read(
    tables: &[Fields<'_>],
    version: Option<&str>,
    rollout: Option<&RolloutConfig>,
    sink: &Sink,
) -> Option<Vec<Migration>> {
    let mut seen: BTreeMap<String, SourceSpan> = BTreeMap::new();
    let mut all = Some(Vec::new());
    for fields in tables {
        let Some(migration) = read_one(fields, version.unwrap_or("0"), rollout) else {
            all = None;
            continue;
        };
        let place = fields
            .place_of("id")
            .unwrap_or_else(|| fields.place().clone());
        if let Some(first) = seen.get(&migration.id) {
            let message = format!("two migrations have the id {}", quoted(&migration.id));
            let diagnostic = Diagnostic::at(&place, message).related(first, "first used here");
            sink.push(diagnostic.help(
                "rename one: a host records ids, and would skip the second migration as done",
            ));
        } else {
            seen.insert(migration.id.clone(), place);
        }
        if let Some(all) = &mut all {
            all.push(migration);
        }
    }
    all
}

fn read_one(
    fields: &Fields<'_>,
    version: &str,
    rollout: Option<&RolloutConfig>,
) -> Option<Migration> {
    let id = fields.required("id", "id = \"2026-11-add-email\"", names::migration);
    let kind = fields.required("kind", "kind = \"expand\"", choice(KINDS));
    let command = fields.required("command", "command = \"./migrate up\"", |node| {
        command_of_version(node, version)
    });
    let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
    let soak = fields.optional("soak", duration);
    let manual = fields.optional_or("manual", false, boolean);
    fields.finish();
    let (id, kind, command, timeout) = (id?, kind?, command?, timeout?);
    let (soak, manual) = (soak?, manual?);
    let soak = match kind {
        MigrationKind::Expand => {
            check_expand_keys(fields)?;
            None
        }
        MigrationKind::Contract if manual => {
            if soak.is_some() {
                fields.report(
                    "soak",
                    ValueError::new("cannot be used together with `manual`")
                        .help("leave out one of the two"),
                );
                return None;
            }
            None
        }
        MigrationKind::Contract => soak.or(rollout.and_then(|rollout| rollout.soak)),
    };
    if kind == MigrationKind::Contract && !manual && soak.is_none() && rollout.is_some() {
        let fault = ValueError::new("is missing for a contract migration, which cannot be undone");
        fields.report(
            "soak",
            fault.help("for example: soak = \"1h\", here or in [rollout]; or manual = true"),
        );
        return None;
    }
    Some(Migration {
        id,
        kind,
        command,
        timeout,
        soak,
        manual,
    })
}

fn check_expand_keys(fields: &Fields<'_>) -> Option<()> {
    let wrong: Vec<_> = ["soak", "manual"]
        .into_iter()
        .filter(|key| fields.key_place(key).is_some())
        .collect();
    for key in &wrong {
        let fault = ValueError::new("can only be used with kind = \"contract\"");
        fields.report(
            key,
            fault.help("leave it out: an expand migration runs before the first new instance"),
        );
    }
    wrong.is_empty().then_some(())
}
