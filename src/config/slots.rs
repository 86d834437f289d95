//! `ports` and `slots`: the places for instances on each host.

use std::collections::BTreeSet;

use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::names;
use super::toml_tree::{Node, Table, Value};
use super::value::{Faults, ValueError, number, quoted, wrong_kind};
use crate::core::ids::{Port, SlotNumber};
use crate::core::release::slots::{SlotPorts, Slots};

/// The most slots of a host without ports.
const SLOTS_MAX: SlotNumber = 1000;

/// Reads `ports` or `slots`, whichever the table has.
pub(super) fn read(fields: &Fields<'_>, sink: &Sink) -> Option<Slots> {
    let count = fields.optional("slots", number(1, SLOTS_MAX));
    let [ports_place, slots_place] = ["ports", "slots"].map(|key| fields.key_place(key));
    let (Some(slots_place), ports_place) = (slots_place, ports_place) else {
        let ports = fields.required(
            "ports",
            "ports = [8081, 8082], or slots = 2 for a service without ports",
            ports,
        );
        return ports.map(Slots::Ports);
    };
    fields.optional("ports", ports);
    if let Some(ports_place) = ports_place {
        let message = "a service has either `ports` or `slots`";
        let diagnostic = Diagnostic::at(slots_place, message).related(ports_place, "the ports");
        sink.push(diagnostic.help(
            "leave out `slots`: each port is a slot; or leave out `ports` if the service does not \
             listen",
        ));
        return None;
    }
    count?.map(Slots::Count)
}

/// Reads a list of at least one port, or of tables with named ports, without duplicates.
fn ports(node: &Node) -> Result<Vec<SlotPorts>, Faults> {
    let Value::Array(items) = &node.value else {
        return Err(wrong_kind(node, "a list of ports")
            .help("write them in brackets: [8081, 8082]")
            .into());
    };
    if items.is_empty() {
        return Err(ValueError::new("must have at least one port")
            .help("for example: [8081, 8082]")
            .into());
    }
    let mut slots: Vec<SlotPorts> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for item in items {
        match slot_ports(item) {
            Ok(ports) => {
                for port in ports.all() {
                    if !seen.insert(port) {
                        let fault = ValueError::new(format!("has port {port} twice"));
                        let fault = fault.help("each instance on a host needs its own ports");
                        faults.push(fault.place(&item.place));
                    }
                }
                faults.extend(
                    slots
                        .first()
                        .and_then(|first| differing_names(first, &ports))
                        .map(|fault| fault.place(&item.place)),
                );
                slots.push(ports);
            }
            Err(wrong) => {
                let wrong = wrong.into_iter().map(|fault| {
                    let place = fault.place.clone().unwrap_or_else(|| item.place.clone());
                    ValueError {
                        message: format!("has an item that is not a port: it {}", fault.message),
                        ..fault.place(&place)
                    }
                });
                faults.extend(wrong);
            }
        }
    }
    if faults.is_empty() {
        Ok(slots)
    } else {
        Err(faults)
    }
}

/// Reads a port, or a table of ports with names: `{ http = 8081, admin = 9081 }`.
fn slot_ports(node: &Node) -> Result<SlotPorts, Faults> {
    let Value::Table(Table(entries)) = &node.value else {
        return number::<Port>(1, Port::MAX)(node).map(SlotPorts::Single);
    };
    if entries.is_empty() {
        return Err(ValueError::new("has no port")
            .help("for example: { http = 8081, admin = 9081 }")
            .into());
    }
    let mut ports = Vec::new();
    for (name, entry) in entries {
        names::PORT
            .check(name)
            .map_err(|fault| fault.place(&entry.key))?;
        let port = number::<Port>(1, Port::MAX)(&entry.node).map_err(|faults| {
            let at = |fault: ValueError| fault.place(&entry.node.place);
            faults.into_iter().map(at).collect::<Faults>()
        })?;
        ports.push(((entry.key.line(), entry.key.column()), name.clone(), port));
    }
    // The first one in the file is the default.
    ports.sort();
    let ports = ports.into_iter().map(|(_, name, port)| (name, port));
    Ok(SlotPorts::Named(ports.collect()))
}

/// A fault if two slots have different names for their ports.
fn differing_names(first: &SlotPorts, other: &SlotPorts) -> Option<ValueError> {
    let (first, other) = (first.names(), other.names());
    if first.keys().eq(other.keys()) {
        return None;
    }
    let names: Vec<_> = first.keys().map(|name| quoted(name)).collect();
    Some(
        ValueError::new("has slots with different ports").help(if names.is_empty() {
            "give every slot the same ports: the first one has a number".to_owned()
        } else {
            format!("give every slot the same ports: {}", names.join(" and "))
        }),
    )
}

/// Checks that the port named by `port` of a table exists in every slot.
pub(super) fn check_port_name(fields: &Fields<'_>, name: Option<&str>, slots: &Slots) {
    let Some(name) = name else { return };
    let Slots::Ports(all) = slots else { return };
    let Some(first) = all.first().filter(|first| first.get(Some(name)).is_none()) else {
        return;
    };
    let known: Vec<_> = first.names().keys().map(|name| quoted(name)).collect();
    let help = if known.is_empty() {
        "the ports have no names; for example: ports = [{ http = 8081, admin = 9081 }]".to_owned()
    } else {
        format!("the ports of the service are {}", known.join(", "))
    };
    let fault = ValueError::new(format!("is not a port of the service: {}", quoted(name)));
    fields.report("port", fault.help(help));
}
