//! Chooses the hosts of a service by its selector.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Diagnostic;
use super::fields::Sink;
use super::inventory::{HostConfig, Inventory};
use super::services::ServiceEntry;

/// The inventory of a service: with its playbook, and only its hosts. Reports a selector that matches
/// no host, if all hosts are known.
pub(super) fn narrowed(entry: &ServiceEntry, inventory: &Inventory, sink: &Sink) -> Inventory {
    let mut narrowed = inventory.clone();
    narrowed.playbook.clone_from(&entry.playbook.value);
    let Some(selector) = &entry.hosts else {
        return narrowed;
    };
    let is_chosen = |host: &HostConfig| selector.value.matches(&host.labels);
    narrowed.hosts.retain(is_chosen);
    if narrowed.hosts.is_empty() && inventory.has_all_hosts() {
        let message = "the selector matches no host".to_owned();
        let diagnostic = Diagnostic::at(&selector.place, message);
        sink.push(diagnostic.help(existing_labels(&inventory.hosts)));
    }
    narrowed
}

/// The labels of the hosts, with their values, for a hint.
fn existing_labels(hosts: &[HostConfig]) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in hosts.iter().flat_map(|host| &host.labels) {
        labels.entry(name).or_default().insert(value);
    }
    if labels.is_empty() {
        return "the hosts have no labels: add, for example, labels = { role = \"app\" }"
            .to_owned();
    }
    let shown = labels.iter().map(|(name, values)| {
        let values: Vec<_> = values.iter().copied().collect();
        format!("{name} ({})", values.join(", "))
    });
    format!(
        "the labels of the hosts: {}",
        shown.collect::<Vec<_>>().join(", ")
    )
}
