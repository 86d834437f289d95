//! The hosts of an inventory, and the service that is deployed to them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::linked_host::LinkedHost;
use super::relay::Relay;
use crate::artifact::Patches;
use crate::config::SlotVars;
use crate::core::fleet::Observation;
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Slot};
use crate::core::release::relay::Relaying;
use crate::core::release::{Artifact, Definition};
use crate::core::time::Time;
use crate::engine::clock::Clock;
use crate::remote::{
    Connections, HostSite, HostUnavailable, SavedOutput, ServiceContext, SharedLinks,
};
use crate::script::{self, HeldRelease, HostContext, Script};

/// The releases that may run on a host, and where their artifacts are.
#[derive(Clone)]
pub struct Releases {
    pub definitions: BTreeMap<ReleaseId, Definition>,
    /// The directory of the artifacts, which are named by their SHA-256.
    pub artifacts: PathBuf,
    /// The differences between the artifacts.
    pub patches: Patches,
    /// Archives that hosts have made from the files of a release. They are sent instead of its
    /// artifact.
    pub recovered: BTreeMap<ReleaseId, Artifact>,
    /// The contents of the known secrets files, by their SHA-256.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// The releases that have become available on every replica, and when each was deployed.
    pub proven: BTreeMap<ReleaseId, Time>,
    /// The release that the hosts download on their own, and its URL; `None` if ship sends every
    /// artifact to them.
    pub pulled: Option<(ReleaseId, String)>,
    /// Which hosts pass artifacts on to each other.
    pub relaying: Relaying,
}

/// The hosts, the releases, and the service on whose behalf scripts run.
pub(super) struct FleetContext {
    hosts: BTreeMap<HostId, LinkedHost>,
    service: ServiceContext,
    releases: Releases,
    clock: Arc<dyn Clock>,
    /// Ends before the connections, on which its scripts run.
    relay: Relay,
    /// Keeps the connections open, unless others share them, until the context is dropped.
    _connections: Connections,
}

impl FleetContext {
    /// Creates the context without connecting to any host.
    pub(super) fn new(
        sites: Vec<HostSite>,
        service: ServiceContext,
        releases: Releases,
        clock: Arc<dyn Clock>,
        links: &SharedLinks,
    ) -> Self {
        let connections = links.to(sites.iter().map(|site| site.target.clone()));
        let links = connections.links();
        let linked = |site: HostSite| {
            let name = site.target.name.clone();
            let link = Arc::clone(links.get(&name)?);
            Some((name, LinkedHost { site, link }))
        };
        Self {
            hosts: sites.into_iter().filter_map(linked).collect(),
            service,
            releases,
            clock,
            relay: Relay::default(),
            _connections: connections,
        }
    }

    /// Replaces the known releases.
    pub(super) fn set_releases(&mut self, releases: Releases) {
        self.service.proven.clone_from(&releases.proven);
        self.releases = releases;
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn service(&self) -> &ServiceContext {
        &self.service
    }

    pub(super) fn releases(&self) -> &Releases {
        &self.releases
    }

    /// The files that hosts pass on to each other.
    pub(super) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The number of hosts that pass on a file of this size within a group.
    pub(super) fn group_size(&self, group: &str, size_bytes: u64) -> usize {
        let relaying = &self.releases.relaying;
        let group_of = |site: &HostSite| relaying.group_of(&site.labels, size_bytes);
        // The machines of balancers have no slots.
        let hosts = self.hosts().filter(|host| !host.site.slots.is_empty());
        hosts
            .filter(|host| group_of(&host.site).as_deref() == Some(group))
            .count()
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &LinkedHost> {
        self.hosts.values()
    }

    pub(super) fn host(&self, host: &HostId) -> Result<&LinkedHost, HostUnavailable> {
        self.hosts.get(host).ok_or_else(|| HostUnavailable {
            why: format!("{host} is not in the inventory"),
        })
    }

    /// The context of a script that changes a host.
    pub(super) fn script_context(
        &self,
        host: &LinkedHost,
        epoch: Epoch,
        order: ActionId,
    ) -> HostContext {
        host.site.script_context(&self.service, epoch, order)
    }

    /// Runs a script that changes nothing; returns its standard output.
    pub(super) async fn query(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
    ) -> Result<String, HostUnavailable> {
        let host = self.host(host)?;
        let script = script(&host.site.read_only_context(&self.service));
        host.link.run(&script).await
    }

    /// Runs a script that changes nothing and sends each line of its output to `lines`.
    pub(super) async fn stream(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
        lines: &mpsc::Sender<String>,
    ) -> Result<(), HostUnavailable> {
        let linked = self.host(host)?;
        let script = script(&linked.site.read_only_context(&self.service));
        let output = linked.link.stream(&script, lines).await?;
        if output.status == 0 {
            return Ok(());
        }
        Err(HostUnavailable {
            why: format!("{host}: cannot read the logs: {}", output.error_text()),
        })
    }

    /// Runs a script that changes nothing and saves what it prints.
    pub(super) async fn save(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
        output: &mut SavedOutput,
    ) -> Result<(), HostUnavailable> {
        let host = self.host(host)?;
        let script = script(&host.site.read_only_context(&self.service));
        host.link.save(&script, output).await
    }

    pub(super) async fn observe(&self, host: &HostId) -> Result<Observation, HostUnavailable> {
        let stdout = self.query(host, script::observe).await?;
        let reply = script::read_reply(&stdout, self.now());
        let reply = reply.map_err(|error| HostUnavailable {
            why: format!("{host}: {error}"),
        })?;
        self.record_held(self.host(host)?, &reply.observation);
        Ok(reply.observation)
    }

    /// Records the releases that a host has reported.
    pub(super) fn record_held(&self, host: &LinkedHost, observation: &Observation) {
        let dir = self.service_dir(host);
        let mut newest_first: Vec<_> = observation.releases.iter().collect();
        newest_first.sort_by_key(|release| Reverse(self.releases.proven.get(*release)));
        let held = newest_first.into_iter().filter_map(|release| {
            let definition = self.releases.definitions.get(release)?;
            Some(HeldRelease::new(&dir, release, definition))
        });
        let held = held.collect();
        host.link.held().record(dir, held);
    }

    /// The service's directory on a host.
    pub(super) fn service_dir(&self, host: &LinkedHost) -> String {
        script::service_dir(&host.site.base_dir, &self.service.owner.service)
    }

    pub(super) fn definition(&self, release: &ReleaseId) -> Result<&Definition, String> {
        let known = self.releases.definitions.get(release);
        known.ok_or_else(|| format!("release {} is not in the history", release.short()))
    }

    /// Returns the release of an instance, which the instance's name identifies. If no release in
    /// the history matches, returns all of them, because the instance may be of any.
    pub(super) fn possible_releases(&self, instance: &InstanceId) -> Vec<&Definition> {
        let known = &self.releases.definitions;
        let own: Vec<_> = known
            .iter()
            .filter(|(id, _)| instance.is_of(&self.service.owner.service, id))
            .map(|(_, known)| known)
            .collect();
        if own.is_empty() {
            known.values().collect()
        } else {
            own
        }
    }

    /// The template variables of a release for a slot.
    pub(super) fn vars<'a>(
        &'a self,
        host: &'a LinkedHost,
        slot: &'a Slot,
        definition: &'a Definition,
    ) -> SlotVars<'a> {
        SlotVars {
            version: &definition.version,
            slot: slot.number,
            port: definition.port(slot.number, None),
            ports: definition.named_ports(slot.number),
            address: &host.site.target.address,
            host: &slot.host,
            service: &self.service.owner.service,
            fleet: &self.service.owner.fleet,
            labels: &host.site.labels,
        }
    }
}
