//! The slots that a service has on each host, and their ports.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::ids::{Port, SlotNumber};

/// The slots of a service on each host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slots {
    /// A slot for each element, numbered by its first port.
    Ports(Vec<SlotPorts>),
    /// This many slots without ports, numbered from 1.
    Count(SlotNumber),
}

/// The ports of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SlotPorts {
    Single(Port),
    /// Ports with names, in the order of the playbook. The first is the default; there is at least
    /// one.
    Named(Vec<(String, Port)>),
}

impl Slots {
    /// The numbers of the slots, in the order of the playbook.
    pub fn numbers(&self) -> Vec<SlotNumber> {
        match self {
            Slots::Ports(slots) => slots.iter().map(SlotPorts::first).collect(),
            Slots::Count(count) => (1..=*count).collect(),
        }
    }

    pub fn has_ports(&self) -> bool {
        matches!(self, Slots::Ports(_))
    }

    /// The ports of a slot; `None` if the service has no ports or not this slot.
    pub fn ports_of(&self, slot: SlotNumber) -> Option<&SlotPorts> {
        match self {
            Slots::Ports(slots) => slots.iter().find(|ports| ports.first() == slot),
            Slots::Count(_) => None,
        }
    }

    /// The port of a slot with this name, or its first port.
    pub fn port(&self, slot: SlotNumber, name: Option<&str>) -> Option<Port> {
        self.ports_of(slot)?.get(name)
    }

    /// The ports of a slot that have names.
    pub fn named_ports(&self, slot: SlotNumber) -> &[(String, Port)] {
        self.ports_of(slot).map_or(&[], SlotPorts::named)
    }

    /// All ports of each slot.
    pub fn by_number(&self) -> BTreeMap<SlotNumber, Vec<Port>> {
        let ports = |slot| self.ports_of(slot).map(SlotPorts::all).unwrap_or_default();
        self.numbers()
            .into_iter()
            .map(|slot| (slot, ports(slot)))
            .collect()
    }
}

impl fmt::Display for Slots {
    /// `8081 8082`, `8081 (http) 9081 (admin)` or `2 slots`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = match self {
            Slots::Count(count) => return write!(f, "{count} slots"),
            Slots::Ports(slots) => slots,
        };
        let text = |ports: &SlotPorts| match ports {
            SlotPorts::Single(port) => port.to_string(),
            SlotPorts::Named(ports) => {
                let ports = ports.iter().map(|(name, port)| format!("{port} ({name})"));
                ports.collect::<Vec<_>>().join(" ")
            }
        };
        f.write_str(&slots.iter().map(text).collect::<Vec<_>>().join(" "))
    }
}

impl SlotPorts {
    /// The first port, which is the number of the slot.
    pub fn first(&self) -> Port {
        self.get(None).unwrap_or_default()
    }

    /// The port with this name, or the first one.
    pub fn get(&self, name: Option<&str>) -> Option<Port> {
        match (self, name) {
            (SlotPorts::Single(port), None) => Some(*port),
            (SlotPorts::Single(_), Some(_)) => None,
            (SlotPorts::Named(ports), None) => ports.first().map(|(_, port)| *port),
            (SlotPorts::Named(ports), Some(name)) => {
                let found = ports.iter().find(|(known, _)| known == name);
                found.map(|(_, port)| *port)
            }
        }
    }

    /// The ports that have names, in the order of the playbook.
    pub fn named(&self) -> &[(String, Port)] {
        match self {
            SlotPorts::Single(_) => &[],
            SlotPorts::Named(ports) => ports,
        }
    }

    pub fn all(&self) -> Vec<Port> {
        match self {
            SlotPorts::Single(port) => vec![*port],
            SlotPorts::Named(ports) => ports.iter().map(|(_, port)| *port).collect(),
        }
    }

    /// The ports by name; empty if the port has no name.
    pub fn names(&self) -> BTreeMap<&str, Port> {
        let named = self.named().iter();
        named.map(|(name, port)| (name.as_str(), *port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Slots {
        let slot = |http, admin| {
            SlotPorts::Named(vec![("http".to_owned(), http), ("admin".to_owned(), admin)])
        };
        Slots::Ports(vec![slot(8081, 9081), slot(8082, 9082)])
    }

    #[test]
    fn first_port_numbers_the_slot_and_is_the_default() {
        let slots = named();
        assert_eq!(slots.numbers(), [8081, 8082]);
        assert_eq!(slots.port(8082, None), Some(8082));
        assert_eq!(slots.port(8082, Some("admin")), Some(9082));
        assert_eq!(slots.port(8082, Some("grpc")), None);
        assert_eq!(slots.by_number()[&8081], [8081, 9081]);
    }

    #[test]
    fn slots_without_ports_are_numbered_from_1() {
        let slots = Slots::Count(2);
        assert_eq!(slots.numbers(), [1, 2]);
        assert_eq!((slots.port(1, None), slots.has_ports()), (None, false));
    }

    #[test]
    fn single_ports_are_written_as_in_earlier_versions() {
        let json = |ports: &SlotPorts| serde_json::to_string(ports).unwrap();
        assert_eq!(json(&SlotPorts::Single(8081)), "8081");
        let Slots::Ports(slots) = named() else {
            unreachable!("the slots have ports")
        };
        let text = json(&slots[0]);
        assert_eq!(text, r#"[["http",8081],["admin",9081]]"#);
        assert_eq!(serde_json::from_str::<SlotPorts>(&text).unwrap(), slots[0]);
    }
}
