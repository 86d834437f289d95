//! `docs/reference/playbook.md` and `docs/reference/inventory.md`, from the annotated files.

use std::fmt::Write as _;

use crate::annotated::{Annotated, Section};
use crate::generated::escaped;
use crate::known_keys::known_keys;
use crate::markdown::{anchor, assert_none};

pub(crate) const PLAYBOOK: &str = "playbooks/testpage.toml";
pub(crate) const IN_PLACE: &str = "playbooks/in-place.toml";
pub(crate) const INVENTORY: &str = "inventory/production.toml";

const PLAYBOOK_INTRODUCTION: &str = "\
# Playbook

A playbook describes a service and how to roll it out. The [inventory](inventory.md) names it. This page lists every
key; it is generated from `playbooks/testpage.toml`. A key whose line is commented out is optional. Unknown keys are errors.

Durations are written as `500ms`, `10s`, `5m`, `1h` or `2d`, amounts of instances as a number or a percentage such as `\"25%\"`.
Relative paths start at the directory of the playbook. `ship deploy --set TABLE.KEY=VALUE` overrides a key once.
";

const INVENTORY_INTRODUCTION: &str = "\
# Inventory

An inventory lists the hosts and how to reach them, and names the [playbook](playbook.md). This page lists every key; it is
generated from `inventory/production.toml`. A key whose line is commented out is optional. Unknown keys are errors.

Relative paths start at the directory of the inventory.
";

const READ_ON_PLAYBOOK: &str = "
## Read on

- [Inventory](inventory.md): where the service runs
- [Command line](cli.md): `--set` and `--version` override keys of the playbook
- [Hook environment](hooks-environment.md): variables and directories of your commands
";

const READ_ON_INVENTORY: &str = "
## Read on

- [Playbook](playbook.md): what runs on the hosts
- [Host layout](host-layout.md): what a host needs, and what ship keeps there
- [Shared state](../guides/shared-state.md): PostgreSQL and etcd
- [Add and remove hosts](../guides/add-and-remove-hosts.md)
- [Hosts from a command](../guides/hosts-from-a-command.md): what the command prints
- [Jump hosts](../guides/jump-hosts.md)
- [Kept connections](../guides/kept-connections.md): `persist`, and when a connection is used again
";

pub(crate) fn playbook() -> String {
    let mut page = PLAYBOOK_INTRODUCTION.to_owned();
    let annotated = Annotated::read(PLAYBOOK);
    page.push_str(&contents(&annotated));
    annotated
        .sections
        .iter()
        .for_each(|it| page.push_str(&rendered(it)));
    let in_place = Annotated::read(IN_PLACE);
    let whole: Vec<_> = in_place
        .sections
        .iter()
        .map(|it| it.toml.as_str())
        .collect();
    write!(
        page,
        "\n## Example: in-place replacement\n\n{}\n\n```toml playbook\n{}```\n",
        escaped_lines(&in_place.preamble),
        whole.join("\n")
    )
    .expect("memory");
    page + READ_ON_PLAYBOOK
}

pub(crate) fn inventory() -> String {
    let mut page = INVENTORY_INTRODUCTION.to_owned();
    let annotated = Annotated::read(INVENTORY);
    page.push_str(&contents(&annotated));
    annotated
        .sections
        .iter()
        .for_each(|it| page.push_str(&rendered(it)));
    page + READ_ON_INVENTORY
}

/// The tables, each with a link.
fn contents(annotated: &Annotated) -> String {
    let links: Vec<_> = annotated
        .sections
        .iter()
        .map(|section| format!("[`{}`](#{})", heading(section), anchor(&heading(section))))
        .collect();
    format!(
        "\nTables: {}.\n",
        links.join(",\n").replace("[`Top level`]", "[top level]")
    )
}

fn heading(section: &Section) -> String {
    match section.path.as_str() {
        "" => "Top level".to_owned(),
        _ => section.title(),
    }
}

fn rendered(section: &Section) -> String {
    let heading = match section.path.as_str() {
        "" => heading(section),
        path if path.contains('.') => format!("# `{}`", section.title()),
        _ => format!("`{}`", section.title()),
    };
    let heading = match heading.strip_prefix("# ") {
        Some(nested) => format!("### {nested}"),
        None => format!("## {heading}"),
    };
    let intro = escaped_lines(&section.intro);
    let intro = if intro.is_empty() {
        intro
    } else {
        format!("\n{intro}\n")
    };
    format!("\n{heading}\n{intro}\n```toml\n{}```\n", section.toml)
}

fn escaped_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(escaped).collect();
    lines.join("\n")
}

/// A key is annotated if its table shows it with a value, even in a comment.
#[test]
fn annotated_files_show_every_key() {
    let mut problems = Vec::new();
    for (file, tables) in [
        (PLAYBOOK, known_keys().playbook),
        (INVENTORY, known_keys().inventory),
    ] {
        let annotated = Annotated::read(file);
        for (table, keys) in tables {
            for key in keys {
                if !is_annotated(&annotated, &table, &key) {
                    problems.push(format!("{file}: [{table}] does not show `{key}`"));
                }
            }
        }
    }
    assert_none(&problems);
}

fn is_annotated(annotated: &Annotated, table: &str, key: &str) -> bool {
    let nested = if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    };
    // The items of `steps` are written within [rollout], and a host has the keys of [ssh] too.
    let homes: &[&str] = match table {
        "rollout.steps" => &["rollout"],
        "hosts" => &["hosts", "ssh"],
        "balancers" => &["balancers", "hosts", "ssh"],
        table => &[table],
    };
    let shows = |section: &Section| section.toml.contains(&format!("{key} = "));
    let has_tables = |section: &Section| section.path.starts_with(&format!("{nested}."));
    annotated.section(&nested).is_some()
        || annotated.sections.iter().any(has_tables)
        || homes
            .iter()
            .filter_map(|it| annotated.section(it))
            .any(shows)
}
