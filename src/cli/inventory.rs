//! `ship inventory`: prints the hosts.

use serde::Serialize;

use super::args::InventoryArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::HostsFormat;
use super::terminal;
use crate::app::verbs::inventory::inventory;
use crate::config::{HostConfig, HostTable, Inventory};
use crate::report::columns;
use crate::report::text::clean;

const COLUMNS: [&str; 8] = [
    "NAME",
    "ADDRESS",
    "USER",
    "PORT",
    "TRANSPORT",
    "DRAIN",
    "LABELS",
    "FROM",
];

/// A document with `[[hosts]]`.
#[derive(Serialize)]
struct HostTables<'a> {
    hosts: Vec<HostTable<'a>>,
}

pub(super) fn run(args: InventoryArgs) -> Result<Exit, CliError> {
    show(&inventory(&terminal::quiet(args.inventory))?, args.output)
}

/// Prints the hosts of an inventory.
pub(super) fn show(inventory: &Inventory, output: HostsFormat) -> Result<Exit, CliError> {
    let hosts: Vec<_> = inventory.hosts.iter().map(HostTable::from).collect();
    let failed =
        |error: &dyn std::fmt::Display| CliError::new(Exit::Internal, format!("error: {error}"));
    print(&match output {
        HostsFormat::Text => table(inventory),
        HostsFormat::Json => {
            let text = serde_json::to_string_pretty(&hosts).map_err(|error| failed(&error))?;
            format!("{text}\n")
        }
        HostsFormat::Toml => {
            toml::to_string(&HostTables { hosts }).map_err(|error| failed(&error))?
        }
    })
}

fn table(inventory: &Inventory) -> String {
    let header = COLUMNS.map(str::to_owned).to_vec();
    let rows = inventory.hosts.iter().map(|host| cells(inventory, host));
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    columns::joined(&columns::lines(&rows))
}

fn cells(inventory: &Inventory, host: &HostConfig) -> Vec<String> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let labels: Vec<_> = host
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let from = if inventory.is_from_command(host) {
        "[hosts_from]"
    } else {
        "[[hosts]]"
    };
    vec![
        clean(host.name.as_str()),
        clean(&host.address),
        or_none(host.ssh.user.as_deref().map(clean)),
        or_none(host.ssh.port.map(|port| port.to_string())),
        host.transport.name().to_owned(),
        if host.drain { "yes" } else { "no" }.to_owned(),
        or_none(Some(clean(&labels.join(","))).filter(|labels| !labels.is_empty())),
        from.to_owned(),
    ]
}
