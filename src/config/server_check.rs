//! Checks that the servers of `[traffic]` fit the slots of the fleet.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::Sink;
use super::inventory::Inventory;
use super::names;
use super::service::ServiceConfig;
use super::template::{SlotVars, render};
use super::traffic::{SERVER, TrafficConfig, TrafficDriver, TrafficPlaces};
use crate::core::ids::{Port, Slot};

/// Checks that the public port is not a port of the service, and that every slot has its own
/// server.
pub(super) fn check_servers(
    config: &TrafficConfig,
    places: &TrafficPlaces,
    service: &ServiceConfig,
    inventory: &Inventory,
    sink: &Sink,
) {
    let check = |place: Option<&SourceSpan>| {
        Some(ServerCheck {
            place: place.or(places.driver.as_ref())?.clone(),
            port: config.port.as_deref(),
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
        TrafficDriver::Nftables(nftables) => {
            service_port(nftables.port, places.port.as_ref(), service)
        }
        TrafficDriver::Nginx(_) => None,
    };
    if let Some(fault) = fault {
        sink.push(fault);
    }
}

fn service_port(
    port: Port,
    place: Option<&SourceSpan>,
    service: &ServiceConfig,
) -> Option<Diagnostic> {
    let place = place.filter(|_| {
        service
            .slots
            .by_number()
            .values()
            .flatten()
            .any(|own| *own == port)
    })?;
    let message = format!("port {port} is a port of the service itself");
    let help = "choose a public port on which no instance listens";
    Some(Diagnostic::at(place, message).help(help))
}

struct ServerCheck<'a> {
    place: SourceSpan,
    /// The name of the port that gets the requests; `None` for the first.
    port: Option<&'a str>,
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
        let message = "the server of a slot cannot depend on the version";
        let help = "leave out {{ version }}; {{ host }} and {{ port }} distinguish slots";
        Some(Diagnostic::at(&self.place, message).help(help))
    }

    /// Finds a slot whose server would have an invalid name, or the name of another slot's server.
    fn wrong_server_name(&self, template: &str) -> Option<Diagnostic> {
        let mut seen: BTreeMap<String, Slot> = BTreeMap::new();
        for slot in self.slots() {
            // A template that does not render is reported elsewhere.
            let name = self.fill(template, &slot, "1")?;
            if let Err(fault) = names::PROXY.check(&name) {
                let message = format!("the server name of {slot} {}", fault.message);
                let help = fault.help.unwrap_or_default();
                return Some(Diagnostic::at(&self.place, message).help(help));
            }
            if let Some(other) = seen.insert(name.clone(), slot.clone()) {
                let message = format!("{other} and {slot} would be the same server, `{name}`");
                let help = format!("give each slot its own server, for example \"{SERVER}\"");
                return Some(Diagnostic::at(&self.place, message).help(help));
            }
        }
        None
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        self.inventory.hosts.iter().flat_map(|host| {
            let slots = self.service.slots.numbers().into_iter();
            slots.map(|slot| Slot::new(host.name.clone(), slot))
        })
    }

    fn fill(&self, template: &str, slot: &Slot, version: &str) -> Option<String> {
        let hosts = &self.inventory.hosts;
        let host = hosts.iter().find(|host| host.name == slot.host)?;
        let vars = SlotVars {
            version,
            slot: slot.number,
            port: self.service.slots.port(slot.number, self.port),
            ports: self.service.slots.named_ports(slot.number),
            address: &host.address,
            host: &host.name,
            service: &self.service.name,
            fleet: &self.inventory.fleet,
            labels: &host.labels,
        };
        render(template, &vars).ok()
    }
}
