//! The control machine: the environment of a real `ship` process.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::discovery;
use super::environment::{
    DeployedState, Environment, Files, FleetConnection, FleetLayout, Operator, Reading,
};
use super::error::Error;
use super::last_known_good::{LastKnownGood, find_service, last_known_good};
use super::logging::{self, RolloutLog};
use super::notice::Notice;
use super::release::{self, Release};
use super::state_location::StateLocation;
use crate::config::{self, Overrides, Project, Transport};
use crate::core::release::Driver;
use crate::engine::{Clock, FleetExecutor, Interrupts, Releases, SteadyClock};
use crate::report::event_log::EventLog;
use crate::report::{Reporter, ReporterSetup};
use crate::store::{
    Access, Holder, RecordStore, RolloutId, Sqlite, StateDir, Store, StoreAccess, StoreError,
    StoreHandle, ThreadRunner, state_dir_for, this_machine,
};
use crate::system::accounts;

/// Where messages and progress are shown.
pub trait Console: Send + Sync {
    /// Starts to listen for signals.
    ///
    /// # Errors
    /// If the system does not permit it.
    fn listen(&self) -> Result<Interrupts, Error>;

    fn notify(&self, notice: &Notice);

    /// The reporter that shows the events of a rollout.
    fn reporter(&self, setup: ReporterSetup) -> Box<dyn Reporter>;
}

/// The machine on which `ship` runs: its files, `SQLite` database, clock and SSH.
pub struct ControlMachine {
    /// The inventory on the command line.
    pub inventory: Option<PathBuf>,
    pub console: Box<dyn Console>,
}

impl ControlMachine {
    /// Reads the files. If the playbook is invalid or has no version, uses the last known good
    /// files.
    fn read_leniently(
        &self,
        chosen: &discovery::ChosenInventory,
        overrides: &Overrides,
    ) -> Result<Project, Error> {
        let project = match config::load(&chosen.path, overrides) {
            Ok(project) => project,
            Err(invalid) => {
                let store = open_state_of(&chosen.path);
                let good = store.ok().flatten().and_then(|store| {
                    let read = |path: &Path| std::fs::read(path);
                    last_known_good(&*store, &chosen.path, overrides, read)
                });
                let Some(LastKnownGood { project, as_of }) = good else {
                    return Err(invalid.into());
                };
                if let Some(revision) = as_of {
                    self.notify(&Notice::PlaybookOfRevision(revision));
                }
                project
            }
        };
        chosen.check(&project)?;
        Ok(project)
    }
}

impl Environment for ControlMachine {
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        let project = match reading {
            Reading::Strict => chosen.load(overrides)?,
            Reading::LastKnownGood => self.read_leniently(&chosen, overrides)?,
        };
        Ok(Files {
            project,
            state_dir: state_dir_for(&chosen.path),
            inventory: chosen.path,
        })
    }

    fn open_store(&self, files: &Files, access: StoreAccess) -> Result<StoreHandle, Error> {
        let store = StateLocation::of(files)?.open_store(access)?;
        Ok(StoreHandle::new(Box::new(store), Arc::new(ThreadRunner)))
    }

    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        let Some(store) = open_state_of(&chosen.path)? else {
            return Ok(None);
        };
        let inventory = std::path::absolute(&chosen.path).unwrap_or(chosen.path);
        let known = find_service(&*store, &inventory);
        Ok(known.map(|service_key| DeployedState {
            service_key,
            store: StoreHandle::new(store, Arc::new(ThreadRunner)),
        }))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SteadyClock)
    }

    fn operator(&self) -> Operator {
        let named = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
            // The environment has none, as under `env -i`.
            let uid = accounts::effective_uid();
            accounts::user_name(uid).unwrap_or_else(|| format!("uid{uid}"))
        });
        Operator {
            user,
            host: accounts::host_name(),
        }
    }

    fn machine(&self) -> String {
        this_machine()
    }

    fn lease_holder(&self, run: &str) -> Holder {
        let Operator { user, host } = self.operator();
        Holder::this_process(&user, &host, run)
    }

    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection> {
        Arc::new(executor(layout, releases))
    }

    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        state_dir: &'a StateDir,
    ) -> BoxFuture<'a, Result<Release, Error>> {
        Release::prepare(project, state_dir).boxed()
    }

    fn listen(&self) -> Result<Interrupts, Error> {
        self.console.listen()
    }

    fn notify(&self, notice: &Notice) {
        self.console.notify(notice);
    }

    fn reporter(&self, _: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter> {
        Box::new(EventLog::new(self.console.reporter(setup.clone()), setup))
    }

    fn open_log(&self, state_dir: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send> {
        Box::new(RolloutLog::begin(self, state_dir, rollout))
    }

    fn publishes(&self) -> bool {
        true
    }

    fn remove_unused(&self, state_dir: &StateDir, store: &dyn Store) {
        release::remove_unused_artifacts(state_dir, store);
        logging::remove_unused_logs(state_dir, store);
    }
}

/// Opens the state of an inventory for reading, if it exists. The inventory may have errors.
fn open_state_of(inventory: &Path) -> Result<Option<Box<dyn Store>>, Error> {
    let Some((url, _)) = config::shared_state(inventory) else {
        return Ok(open_existing(&state_dir_for(inventory))?);
    };
    let store = StateLocation::shared(&url)?.open_store(StoreAccess::Read)?;
    Ok(Some(Box::new(store)))
}

/// Opens the state of a state directory for reading, if it exists.
pub(crate) fn open_existing(state_dir: &StateDir) -> Result<Option<Box<dyn Store>>, StoreError> {
    let Some(database) = Sqlite::open_existing(state_dir)? else {
        return Ok(None);
    };
    let store = RecordStore::open(Box::new(database), StoreAccess::Read)?;
    Ok(Some(Box::new(store)))
}

/// An executor for the hosts, over SSH or on this machine. ship connects to a host when it first
/// needs the host.
pub(crate) fn executor(layout: FleetLayout, releases: Releases) -> FleetExecutor {
    let FleetLayout {
        sites,
        owner,
        balancing,
        control,
    } = layout;
    FleetExecutor::new(
        sites,
        releases,
        owner,
        Arc::new(SteadyClock),
        balancing,
        control,
    )
}

/// Who needs access to the state directory. It contains the releases of local hosts, so their
/// services need access, too, if they run as other users.
pub(crate) fn state_dir_access(project: &Project) -> Access {
    let service = &project.playbook.service;
    let has_user = |host: &config::HostConfig| {
        service.user.is_some() || service.driver == Driver::Systemd || host.ssh.sudo
    };
    let needs_access = |host: &config::HostConfig| {
        host.transport == Transport::Local && host.base_dir.is_none() && has_user(host)
    };
    if project.inventory.hosts.iter().any(needs_access) {
        Access::Services
    } else {
        Access::OwnerOnly
    }
}
