//! Whether the servers that `[traffic]` describes fit the slots of the fleet.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::Sink;
use super::inventory::Inventory;
use super::names;
use super::service::ServiceConfig;
use super::template::{SlotVars, render};
use super::traffic::{SERVER, TrafficConfig, TrafficDriver, TrafficPlaces};
use crate::core::ids::{Port, Slot};

/// Refuses a public port that is a slot's own, and templates by which a slot would have no server
/// of its own.
pub(super) fn refuse_wrong_servers(
    config: &TrafficConfig,
    places: &TrafficPlaces,
    service: &ServiceConfig,
    inventory: &Inventory,
    sink: &Sink,
) {
    let check = |place: Option<&SourceSpan>| {
        Some(ServerCheck {
            place: place.or(places.driver.as_ref())?.clone(),
            service,
            inventory,
        })
    };
    let fault = match &config.driver {
        TrafficDriver::Haproxy(haproxy) => check(places.server.as_ref()).and_then(|check| {
            check
                .versioned_template(&[&haproxy.server])
                .or_else(|| check.wrong_server_name(&haproxy.server))
        }),
        TrafficDriver::Command(commands) => check(places.templates.first()).and_then(|check| {
            let words = [&commands.admit, &commands.drain, &commands.remaining];
            let templates: Vec<_> = words.into_iter().chain(&commands.cut).flatten().collect();
            check.versioned_template(&templates)
        }),
        TrafficDriver::Nftables(nftables) => own_port(nftables.port, places.port.as_ref(), service),
        TrafficDriver::Nginx(_) => None,
    };
    if let Some(fault) = fault {
        sink.push(fault);
    }
}

fn own_port(port: Port, place: Option<&SourceSpan>, service: &ServiceConfig) -> Option<Diagnostic> {
    let place = place.filter(|_| service.ports.contains(&port))?;
    let message = format!("port {port} is one of the service's own ports");
    let help = "the public port is one at which no instance listens";
    Some(Diagnostic::at(place, message).help(help))
}

struct ServerCheck<'a> {
    place: SourceSpan,
    service: &'a ServiceConfig,
    inventory: &'a Inventory,
}

impl ServerCheck<'_> {
    /// Finds a template that differs between versions of one slot.
    fn versioned_template(&self, templates: &[&String]) -> Option<Diagnostic> {
        let first = self.slots().next()?;
        let differs = |text: &&String| self.fill(text, &first, "1") != self.fill(text, &first, "2");
        if !templates.iter().any(differs) {
            return None;
        }
        let message = "a balancer is told of a slot, whichever version is in it";
        let help = "leave {{ version }} out; {{ host }} and {{ port }} tell slots apart";
        Some(Diagnostic::at(&self.place, message).help(help))
    }

    /// Finds a slot whose server would have a name that is not valid, or is another slot's.
    fn wrong_server_name(&self, template: &str) -> Option<Diagnostic> {
        let mut seen: BTreeMap<String, Slot> = BTreeMap::new();
        for slot in self.slots() {
            // What cannot be filled in is a fault of its own.
            let name = self.fill(template, &slot, "1")?;
            if let Err(fault) = names::PROXY.check(&name) {
                let message = format!("the server's name for {slot} {}", fault.message);
                let help = fault.help.unwrap_or_default();
                return Some(Diagnostic::at(&self.place, message).help(help));
            }
            if let Some(other) = seen.insert(name.clone(), slot.clone()) {
                let message = format!("{other} and {slot} would be one server, `{name}`");
                let help = format!("give each slot a server of its own, as in \"{SERVER}\"");
                return Some(Diagnostic::at(&self.place, message).help(help));
            }
        }
        None
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        self.inventory.hosts.iter().flat_map(|host| {
            let ports = self.service.ports.iter();
            ports.map(|port| Slot::new(host.name.clone(), *port))
        })
    }

    fn fill(&self, template: &str, slot: &Slot, version: &str) -> Option<String> {
        let hosts = &self.inventory.hosts;
        let host = hosts.iter().find(|host| host.name == slot.host)?;
        let vars = SlotVars {
            version,
            port: slot.port,
            address: &host.address,
            host: &host.name,
            service: &self.service.name,
            fleet: &self.inventory.fleet,
            labels: &host.labels,
        };
        render(template, &vars).ok()
    }
}
