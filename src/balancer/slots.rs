//! The slots behind the balancers, with their addresses and rendered templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::link::Link;
use crate::config::{SlotVars, render};
use crate::core::ids::{HostId, Port, ReleaseId, Slot};
use crate::core::release::Definition;
use crate::core::release::slots::Slots;
use crate::remote::{HostSite, HostUnavailable, ServiceContext};
use crate::script::SlotAddress;

/// A host with slots. The machine of a balancer may be a host without slots.
#[derive(Clone)]
pub struct SlotHost {
    /// The host, its labels, and its slots.
    pub site: HostSite,
    pub link: Arc<dyn Link>,
}

/// The server settings of a release.
#[derive(Clone, Debug)]
pub struct ReleaseServer {
    slots: Option<Slots>,
    template: Option<String>,
}

/// Every slot of the fleet.
pub struct SlotDirectory {
    hosts: BTreeMap<HostId, SlotHost>,
    service: ServiceContext,
    /// The slots of the current playbook.
    playbook_slots: Slots,
    /// The name of the port that gets the requests; `None` for the first.
    port: Option<String>,
    releases: BTreeMap<ReleaseId, ReleaseServer>,
}

impl ReleaseServer {
    /// The template of the server's name; `None` if the release uses the playbook's.
    pub(super) fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// Collects the server settings of releases.
    pub fn of_all(
        definitions: &BTreeMap<ReleaseId, Definition>,
    ) -> BTreeMap<ReleaseId, ReleaseServer> {
        let of = |definition: &Definition| Self {
            slots: definition.slots(),
            template: definition.server.clone(),
        };
        definitions
            .iter()
            .map(|(id, definition)| (id.clone(), of(definition)))
            .collect()
    }
}

impl SlotDirectory {
    /// The slots of these hosts, for a playbook with these slots. `port` names the port that gets the
    /// requests.
    pub fn new(
        hosts: impl IntoIterator<Item = SlotHost>,
        service: ServiceContext,
        playbook_slots: Slots,
        port: Option<String>,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| (host.site.target.name.clone(), host));
        Self {
            hosts: hosts.collect(),
            service,
            playbook_slots,
            port,
            releases,
        }
    }

    /// Updates the known releases.
    pub fn set_releases(
        &mut self,
        service: ServiceContext,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) {
        (self.service, self.releases) = (service, releases);
    }

    pub(super) fn service(&self) -> &ServiceContext {
        &self.service
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostId> {
        self.hosts.keys()
    }

    /// Every slot. The machine of a balancer has none.
    pub(super) fn all(&self) -> impl Iterator<Item = Slot> {
        self.hosts.iter().flat_map(|(name, host)| {
            host.site.slots.keys().map(|number| Slot {
                host: name.clone(),
                number: *number,
            })
        })
    }

    /// The slots of the playbook.
    pub(super) fn playbook_slots(&self) -> impl Iterator<Item = Slot> {
        let numbers = self.playbook_slots.numbers();
        self.all()
            .filter(move |slot| numbers.contains(&slot.number))
    }

    /// The port of a slot that gets the requests. A slot that only other releases have gets them on
    /// the port of these.
    pub(super) fn port_of(&self, slot: &Slot) -> Port {
        let mut all = self.all_layouts();
        let found = all.find_map(|slots| slots.port(slot.number, self.port.as_deref()));
        found.unwrap_or(slot.number)
    }

    /// The server name templates of the releases that use a slot.
    pub(super) fn release_templates(&self, slot: &Slot) -> impl Iterator<Item = &str> {
        self.releases
            .values()
            .filter(|release| {
                let slots = release.slots.as_ref();
                slots.is_some_and(|slots| slots.ports_of(slot.number).is_some())
            })
            .filter_map(ReleaseServer::template)
    }

    /// The server settings of a release, if it is known.
    pub(super) fn release(&self, release: &ReleaseId) -> Option<&ReleaseServer> {
        self.releases.get(release)
    }

    /// Renders a template of `[traffic]`, which depends on the slot but not on its release.
    pub(super) fn render(&self, template: &str, slot: &Slot) -> Result<String, HostUnavailable> {
        let site = &self.host(&slot.host)?.site;
        let slots = self.slots_with(slot);
        let vars = SlotVars {
            version: "",
            slot: slot.number,
            port: Some(self.port_of(slot)),
            ports: slots.named_ports(slot.number),
            address: &site.target.address,
            host: &slot.host,
            service: &self.service.owner.service,
            fleet: &self.service.owner.fleet,
            labels: &site.labels,
        };
        render(template, &vars).map_err(|why| HostUnavailable {
            why: format!("[traffic] for {slot}: {why}"),
        })
    }

    /// The slots of the playbook, and those of each known release.
    fn all_layouts(&self) -> impl Iterator<Item = &Slots> {
        let releases = self.releases.values();
        let releases = releases.filter_map(|release| release.slots.as_ref());
        std::iter::once(&self.playbook_slots).chain(releases)
    }

    /// The slots of a release that has this slot.
    fn slots_with(&self, slot: &Slot) -> &Slots {
        self.all_layouts()
            .find(|slots| slots.ports_of(slot.number).is_some())
            .unwrap_or(&self.playbook_slots)
    }

    /// The address of a slot, for the balancers.
    pub(super) async fn address_of(&self, slot: &Slot) -> Result<SlotAddress, HostUnavailable> {
        let address = self.host(&slot.host)?.link.network_address().await;
        Ok(SlotAddress {
            slot: slot.clone(),
            address,
            port: self.port_of(slot),
        })
    }

    /// The addresses of all slots, for the balancers.
    pub(super) async fn addresses(&self) -> Result<Vec<SlotAddress>, HostUnavailable> {
        let slots: Vec<_> = self.all().collect();
        let addresses = join_all(slots.iter().map(|slot| self.address_of(slot))).await;
        addresses.into_iter().collect()
    }

    fn host(&self, host: &HostId) -> Result<&SlotHost, HostUnavailable> {
        self.hosts.get(host).ok_or_else(|| HostUnavailable {
            why: format!("{host} is not in the inventory"),
        })
    }
}
