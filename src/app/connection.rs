//! The connections of a session to its hosts and balancers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::control_machine;
use super::environment::{FleetConnection, FleetLayout};
use super::error::Error;
use super::release::Release;
use super::session::Session;
use crate::balancer::Balancing;
use crate::config::{self, Fetch, Transport};
use crate::core::fleet::Fleet;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::{Balancers, Traffic};
use crate::core::ids::{Epoch, HostId, Port, ReleaseId, SlotNumber};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::release::relay::Relaying;
use crate::core::release::{Definition, Driver};
use crate::engine::{FleetExecutor, LocalCommandSettings, Releases};
use crate::remote::{HostSite, HostUnavailable, SavedOutput, SharedLinks, Target};
use crate::script::{self, DEFAULT_BASE_DIR, HostContext, KeptRelease};
use crate::store::ServiceKey;

impl Session {
    /// Connects to the hosts and balancers. `release` is the one to be deployed.
    ///
    /// # Errors
    /// If a host needs a password for sudo that is not set, and no one can be asked.
    pub fn connect(
        &self,
        definitions: BTreeMap<ReleaseId, Definition>,
        release: Option<&Release>,
    ) -> Result<Arc<dyn FleetConnection>, Error> {
        let slots = self.slots(&definitions);
        let releases = self.releases(definitions, release);
        Ok(self.env.connect(self.layout(&slots)?, releases))
    }

    /// An executor for the hosts, over SSH or on this machine.
    ///
    /// # Errors
    /// If a host needs a password for sudo that is not set, and no one can be asked.
    pub fn fleet_executor(&self) -> Result<FleetExecutor, Error> {
        let definitions = self.definitions();
        let slots = self.slots(&definitions);
        let releases = self.releases(definitions, None);
        let links = SharedLinks::default();
        Ok(control_machine::executor(
            self.layout(&slots)?,
            releases,
            &links,
        ))
    }

    /// The machines of the fleet, with these slots for instances.
    fn layout(&self, slots: &BTreeMap<SlotNumber, Vec<Port>>) -> Result<FleetLayout, Error> {
        let password = self.sudo_password()?;
        let inventory = &self.project.inventory;
        let sites = inventory.hosts.iter().map(|host| HostSite {
            slots: slots.clone(),
            ..self.site(host)
        });
        let balancers = inventory
            .balancers
            .iter()
            .map(|balancer| self.balancer_site(balancer));
        let keeps = |machine: &config::HostConfig| !machine.ssh.persist.is_zero();
        let kept = inventory.machines().any(keeps);
        let kept = kept.then(|| self.env.kept_connections(&self.inventory));
        let kept = kept.flatten();
        let sites = sites.chain(balancers).map(|mut site| {
            site.target.sudo_password.clone_from(&password);
            site.target.kept.clone_from(&kept);
            site
        });
        let sites = sites.collect();
        let driver = self
            .project
            .playbook
            .traffic
            .as_ref()
            .map(|traffic| traffic.driver.clone());
        let playbook = &self.project.playbook;
        let port = playbook.traffic.as_ref().and_then(|it| it.port.clone());
        let balancing = self
            .traffic()
            .zip(driver)
            .map(|(traffic, driver)| Balancing {
                traffic,
                driver,
                slots: playbook.service.slots.clone(),
                port,
            });
        Ok(FleetLayout {
            sites,
            owner: self.owner(),
            balancing,
            control: self.control(),
            clock: Arc::clone(&self.clock),
        })
    }

    /// Updates the releases that a connection knows.
    ///
    /// # Errors
    /// As for [`Session::connect`].
    pub fn update_connection(
        &self,
        connection: &mut Arc<dyn FleetConnection>,
        definitions: BTreeMap<ReleaseId, Definition>,
        release: Option<&Release>,
    ) -> Result<(), Error> {
        if let Some(connection) = Arc::get_mut(connection) {
            connection.update_releases(self.releases(definitions, release));
        } else {
            *connection = self.connect(definitions, release)?;
        }
        Ok(())
    }

    fn releases(
        &self,
        definitions: BTreeMap<ReleaseId, Definition>,
        release: Option<&Release>,
    ) -> Releases {
        let secrets = release.and_then(|release| release.secrets.as_ref());
        let pulled =
            release.and_then(|release| Some((release.id.clone(), release.pulled_from.clone()?)));
        let secrets = secrets
            .map(|secrets| (secrets.sha256.clone(), secrets.file.clone()))
            .into_iter()
            .collect();
        let proven = self.history.revisions.iter().filter(|record| record.proven);
        let proven = proven
            .map(|record| (record.release.clone(), record.began))
            .collect();
        Releases {
            definitions,
            artifacts: self.state_dir.artifacts(),
            patches: self.env.patches(),
            recovered: self.recovered.clone(),
            secrets,
            proven,
            pulled,
            relaying: self.relaying(),
        }
    }

    fn relaying(&self) -> Relaying {
        let playbook = &self.project.playbook;
        match playbook.artifact.fetch {
            Fetch::Relay => Relaying::Among(playbook.rollout.zones.clone()),
            Fetch::Push | Fetch::Pull => Relaying::Off,
        }
    }

    /// The record about this history that a deploy writes to the hosts.
    fn owner(&self) -> Owner {
        let ServiceKey { fleet, service } = self.service_key.clone();
        let dir = self
            .state_dir
            .dir
            .parent()
            .unwrap_or(&self.state_dir.dir)
            .display()
            .to_string();
        Owner {
            fleet,
            service,
            history: self.history_id.clone(),
            who: self.operator().to_string(),
            dir,
            epoch: Epoch::default(),
            at: self.now(),
        }
    }

    /// The slots of the playbook and of other releases, each with all ports that it has in any of
    /// them. With the driver `link` a slot has none: a server that is not ship's listens there.
    pub fn slots(
        &self,
        definitions: &BTreeMap<ReleaseId, Definition>,
    ) -> BTreeMap<SlotNumber, Vec<Port>> {
        let mut slots = self.project.playbook.service.slots.by_number();
        let others = definitions.values().filter_map(Definition::slots);
        for (slot, ports) in others.flat_map(|others| others.by_number()) {
            let known = slots.entry(slot).or_default();
            known.extend(ports);
            known.sort_unstable();
            known.dedup();
        }
        for slot in self.linked_slots(definitions) {
            slots.insert(slot, Vec::new());
        }
        slots
    }

    fn linked_slots(&self, definitions: &BTreeMap<ReleaseId, Definition>) -> Vec<SlotNumber> {
        let service = &self.project.playbook.service;
        let wanted = (service.driver, Some(service.slots.clone()));
        definitions
            .values()
            .map(|definition| (definition.driver, definition.slots()))
            .chain([wanted])
            .filter(|(driver, _)| *driver == Driver::Link)
            .filter_map(|(_, slots)| slots)
            .flat_map(|slots| slots.numbers())
            .collect()
    }

    /// The directory and the environment of the playbook's commands on this machine.
    fn control(&self) -> LocalCommandSettings {
        let dir = self
            .project
            .playbook
            .path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        let mut env = BTreeMap::from([(
            "SHIP_INVENTORY".to_owned(),
            self.inventory.display().to_string(),
        )]);
        env.extend(
            self.store
                .lock()
                .lease_token()
                .map(|token| (config::LEASE.to_owned(), token.to_owned())),
        );
        // A hook gets the secrets of the service here, too, as it does on a host.
        let names = self
            .project
            .playbook
            .service
            .secrets
            .names
            .iter()
            .map(|name| name.value.clone());
        env.extend(names.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));
        LocalCommandSettings {
            dir: dir.map(std::path::Path::to_owned),
            env,
        }
    }

    /// The balancers in front of the instances, if `[traffic]` is configured.
    pub fn traffic(&self) -> Option<Traffic> {
        let traffic = self.project.playbook.traffic.as_ref()?;
        let balancers = if traffic.driver.is_on_hosts() {
            Balancers::OnHosts
        } else {
            Balancers::Shared(self.balancers())
        };
        Some(Traffic {
            balancers,
            drain_timeout: traffic.drain_timeout,
        })
    }

    pub fn balancers(&self) -> Vec<HostId> {
        self.project
            .inventory
            .balancers
            .iter()
            .map(|balancer| balancer.name.clone())
            .collect()
    }

    /// The machine of a balancer. It may also be a host under another name, so the balancer's files
    /// have a directory that no service name can clash with. Several fleets may share a balancer,
    /// so each has its own directory there.
    fn balancer_site(&self, balancer: &config::HostConfig) -> HostSite {
        let site = self.site(balancer);
        let base_dir = format!(
            "{}/.balancer/{}",
            site.base_dir.trim_end_matches('/'),
            self.service_key.fleet
        );
        HostSite {
            base_dir,
            slots: BTreeMap::new(),
            ..site
        }
    }

    /// The service's directory on a host.
    pub fn root(&self, host: &HostId) -> String {
        let found = self
            .project
            .inventory
            .hosts
            .iter()
            .find(|known| known.name == *host);
        let base_dir = found
            .map(|host| self.site(host).base_dir)
            .unwrap_or_default();
        script::service_dir(&base_dir, &self.service_key.service)
    }

    fn site(&self, host: &config::HostConfig) -> HostSite {
        let local = host.transport == Transport::Local;
        let default = if local {
            self.state_dir
                .local_host(host.name.as_str())
                .to_string_lossy()
                .into_owned()
        } else {
            DEFAULT_BASE_DIR.to_owned()
        };
        HostSite {
            target: Target {
                name: host.name.clone(),
                address: host.address.clone(),
                transport: host.transport,
                ssh: host.ssh.clone(),
                sudo_password: None,
                kept: None,
            },
            labels: host.labels.clone(),
            base_dir: host.base_dir.clone().unwrap_or(default),
            slots: self.project.playbook.service.slots.by_number(),
        }
    }
}

impl FleetConnection for FleetExecutor {
    fn update_releases(&mut self, releases: Releases) {
        FleetExecutor::set_releases(self, releases);
    }

    fn kept_releases<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Vec<KeptRelease>> {
        async move {
            let printed = self.query(host, script::releases).await;
            printed
                .ok()
                .and_then(|stdout| script::read_releases(&stdout).ok())
                .unwrap_or_default()
        }
        .boxed()
    }

    fn save_release<'a>(
        &'a self,
        host: &'a HostId,
        release: &'a ReleaseId,
        size_bytes: u64,
        output: &'a mut SavedOutput,
    ) -> BoxFuture<'a, Result<(), HostUnavailable>> {
        let pack = move |context: &HostContext| script::pack(context, release, size_bytes);
        self.save(host, pack, output).boxed()
    }

    fn server_clash(&self, slots: &[SlotNumber], fleet: &Fleet) -> Option<ServerClash> {
        FleetExecutor::server_clash(self, slots, fleet)
    }
}
