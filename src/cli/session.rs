//! What the verbs share: the project, its state, and the spec made of both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::exit::Fail;
use super::releases::Secrets;
use super::{args, lookup};
use crate::config::{self, Project, Transport};
use crate::core::history::{self, Past};
use crate::core::names::{HostId, ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::spec::Spec;
use crate::core::time::Time;
use crate::engine::{Clock, HostSite, Hosts, Releases, WallClock};
use crate::remote::Target;
use crate::report::Versions;
use crate::store::{Holder, Place, RevisionRecord, Sqlite, Store, Subject, place_for};

/// The project and its state.
pub(super) struct Session {
    pub(super) project: Project,
    pub(super) inventory: PathBuf,
    pub(super) place: Place,
    pub(super) subject: Subject,
    pub(super) store: Sqlite,
    pub(super) clock: Arc<dyn Clock>,
    /// The history, oldest first.
    pub(super) revisions: Vec<RevisionRecord>,
}

impl Session {
    /// Reads the files and opens the state.
    pub(super) fn open(inventory: args::InventoryArg, overrides: &config::Overrides) -> Result<Self, Fail> {
        let inventory = lookup::inventory(inventory.inventory)?;
        let project = config::load(&inventory, overrides)?;
        let place = place_for(&inventory);
        let subject =
            Subject { fleet: project.inventory.fleet.clone(), service: project.playbook.service.name.clone() };
        let store = Sqlite::open(&place)?;
        let revisions = store.revisions(&subject)?;
        let inventory = std::path::absolute(&inventory).unwrap_or(inventory);
        Ok(Self { project, inventory, place, subject, store, clock: Arc::new(WallClock), revisions })
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Takes the lease: from here on this process alone changes the fleet.
    pub(super) fn lock(&mut self, run: &str) -> Result<(), Fail> {
        let (user, host) = who();
        self.store.acquire_lease(&self.subject, Holder::this_process(&user, &host, run, self.now()))?;
        self.store.remember(&self.subject, &self.inventory)?;
        // Another may have changed the history before the lease was had.
        self.revisions = self.store.revisions(&self.subject)?;
        Ok(())
    }

    pub(super) fn past(&self) -> Vec<Past> {
        self.revisions
            .iter()
            .map(|record| Past { revision: record.revision, release: record.release.clone(), proven: record.proven })
            .collect()
    }

    /// The revision that the fleet is on, or was left on its way to: the newest that was not rolled back.
    pub(super) fn current(&self) -> Option<&RevisionRecord> {
        use crate::core::failure::Outcome;
        self.revisions.iter().rev().find(|record| record.outcome != Some(Outcome::RolledBack))
    }

    pub(super) fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions.iter().find(|record| record.revision == number)
    }

    /// Every release of the history.
    pub(super) fn definitions(&self) -> BTreeMap<ReleaseId, Definition> {
        self.revisions.iter().map(|record| (record.release.clone(), record.definition.clone())).collect()
    }

    pub(super) fn versions(&self) -> Versions {
        let versions = self.definitions().into_iter().map(|(release, definition)| (release, definition.version));
        Versions::new(versions.collect())
    }

    pub(super) fn hosts(&self) -> Vec<HostId> {
        self.project.inventory.hosts.iter().map(|host| host.name.clone()).collect()
    }

    pub(super) fn addresses(&self) -> Vec<(HostId, String)> {
        self.project.inventory.hosts.iter().map(|host| (host.name.clone(), host.address.clone())).collect()
    }

    /// What is wanted of the fleet, and of its hosts once the goal is reached. The files were checked, so it can be had.
    pub(super) fn spec(
        &self,
        definitions: &BTreeMap<ReleaseId, Definition>,
        goal: Option<&ReleaseId>,
    ) -> Result<Spec, Fail> {
        let playbook = &self.project.playbook;
        let rollout = &playbook.rollout;
        let hosts = self.hosts();
        let budget = rollout
            .amounts(hosts.len())
            .resolve(hosts.len(), playbook.service.ports.len())
            .map_err(|impossible| Fail::refused(format!("error: {impossible}")))?;
        let mut past = self.past();
        let limit = usize::try_from(rollout.history_limit).unwrap_or(usize::MAX);
        let mut newest = past.iter().map(|entry| entry.revision).max().unwrap_or_default();
        if let Some(goal) = goal.filter(|goal| past.last().is_none_or(|last| last.release != **goal)) {
            newest = Revision(newest.0 + 1);
            past.push(Past { revision: newest, release: goal.clone(), proven: true });
        }
        let retained = history::retained(&past, newest, limit);
        Ok(Spec {
            service: playbook.service.name.clone(),
            hosts,
            ports: playbook.service.ports.clone(),
            budget,
            min_ready: rollout.min_ready,
            progress_deadline: rollout.progress_deadline,
            on_failure: rollout.on_failure,
            thresholds: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.readiness.thresholds()))
                .collect(),
            max_restarts: playbook.readiness.failures,
            keep: history::kept_releases(&past, &retained),
        })
    }

    /// The hosts, ready to be looked at and ordered.
    pub(super) fn world(&self, definitions: BTreeMap<ReleaseId, Definition>, secrets: Option<&Secrets>) -> Arc<Hosts> {
        let sites = self.project.inventory.hosts.iter().map(|host| self.site(host)).collect();
        let secrets = secrets.map(|secrets| (secrets.sha256.clone(), secrets.file.clone())).into_iter().collect();
        let releases = Releases { definitions, artifacts: self.place.artifacts(), secrets };
        let Subject { fleet, service } = self.subject.clone();
        Arc::new(Hosts::new(sites, releases, service, fleet, Arc::clone(&self.clock)))
    }

    fn site(&self, host: &config::HostConfig) -> HostSite {
        let local = host.transport == Transport::Local;
        let default = if local {
            self.place.local_host(host.name.as_str()).to_string_lossy().into_owned()
        } else {
            "/var/lib/ship".to_owned()
        };
        let ssh = host.ssh.clone();
        HostSite {
            target: Target {
                name: host.name.clone(),
                address: host.address.clone(),
                transport: if local { crate::remote::Transport::Local } else { crate::remote::Transport::Ssh },
                user: ssh.user,
                port: ssh.port,
                identity_file: ssh.identity_file,
                config: ssh.config,
                known_hosts: ssh.known_hosts,
                connect_timeout: ssh.connect_timeout,
                sudo: ssh.sudo,
            },
            labels: host.labels.clone(),
            base_dir: host.base_dir.clone().unwrap_or(default),
            ports: self.project.playbook.service.ports.clone(),
        }
    }
}

/// This user and this machine.
pub(super) fn who() -> (String, String) {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |own| format!("uid{}", own.uid()))
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    (user, if host.is_empty() { "localhost".to_owned() } else { host.to_owned() })
}
