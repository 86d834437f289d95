//! The slots behind the balancers, with their addresses and rendered templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::link::Link;
use crate::config::{SlotVars, render};
use crate::core::ids::{HostId, Port, ReleaseId, Slot};
use crate::core::release::Definition;
use crate::remote::{HostSite, HostUnavailable, ServiceContext};
use crate::script::SlotAddress;

/// A host with slots. The machine of a balancer may be a host without slots.
#[derive(Clone)]
pub struct SlotHost {
    /// The host, its labels, and its ports.
    pub site: HostSite,
    pub link: Arc<dyn Link>,
}

/// The server settings of a release.
#[derive(Clone, Debug)]
pub struct ReleaseServer {
    ports: Vec<Port>,
    template: Option<String>,
}

/// Every slot of the fleet.
pub struct SlotDirectory {
    hosts: BTreeMap<HostId, SlotHost>,
    service: ServiceContext,
    /// The ports of the current playbook.
    playbook_ports: Vec<Port>,
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
            ports: definition.ports.clone(),
            template: definition.server.clone(),
        };
        definitions
            .iter()
            .map(|(id, definition)| (id.clone(), of(definition)))
            .collect()
    }
}

impl SlotDirectory {
    /// The slots of these hosts, for a playbook with these ports.
    pub fn new(
        hosts: impl IntoIterator<Item = SlotHost>,
        service: ServiceContext,
        playbook_ports: Vec<Port>,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| (host.site.target.name.clone(), host));
        Self {
            hosts: hosts.collect(),
            service,
            playbook_ports,
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
            host.site.ports.iter().map(|port| Slot {
                host: name.clone(),
                port: *port,
            })
        })
    }

    /// The slots on the playbook's ports.
    pub(super) fn playbook_slots(&self) -> impl Iterator<Item = Slot> {
        self.all()
            .filter(|slot| self.playbook_ports.contains(&slot.port))
    }

    /// The server name templates of the releases that use a slot.
    pub(super) fn release_templates(&self, slot: &Slot) -> impl Iterator<Item = &str> {
        self.releases
            .values()
            .filter(|release| release.ports.contains(&slot.port))
            .filter_map(ReleaseServer::template)
    }

    /// The server settings of a release, if it is known.
    pub(super) fn release(&self, release: &ReleaseId) -> Option<&ReleaseServer> {
        self.releases.get(release)
    }

    /// Renders a template of `[traffic]`, which depends on the slot but not on its release.
    pub(super) fn render(&self, template: &str, slot: &Slot) -> Result<String, HostUnavailable> {
        let site = &self.host(&slot.host)?.site;
        let vars = SlotVars {
            version: "",
            port: slot.port,
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

    /// The address of a slot, for the balancers.
    pub(super) async fn address_of(&self, slot: &Slot) -> Result<SlotAddress, HostUnavailable> {
        let address = self.host(&slot.host)?.link.network_address().await;
        Ok(SlotAddress {
            slot: slot.clone(),
            address,
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
