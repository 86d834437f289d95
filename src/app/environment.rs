//! What a verb works with: files, state, hosts, time, and where messages go. `ship` uses the control
//! machine on which it runs; the simulation has its own.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::error::Error;
use super::notice::Notice;
use super::release::Release;
use crate::balancer::Balancing;
use crate::config::{Overrides, Project};
use crate::core::fleet::Fleet;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{HostId, Port};
use crate::core::policy::admission::refusal::ServerClash;
use crate::engine::{Clock, Control, Executor, Interrupts, Releases};
use crate::remote::HostSite;
use crate::report::{Reporter, ReporterSetup};
use crate::script::KeptRelease;
use crate::store::{Holder, RolloutId, ServiceKey, StateDir, Store};

pub trait Environment: Send + Sync {
    /// Finds and reads the inventory and its playbook.
    ///
    /// # Errors
    /// If there is no such file, it is not to be trusted, or it is wrong.
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error>;

    /// Opens the state that belongs to the files.
    ///
    /// # Errors
    /// If it cannot be opened, made, or trusted.
    fn open_store(&self, files: &Files, access: StoreAccess) -> Result<Box<dyn Store>, Error>;

    /// Opens the state of an inventory that was deployed from here, to read it; its files may be
    /// wrong by now. `None` where nothing was.
    ///
    /// # Errors
    /// If there is no such inventory, or the state cannot be opened.
    fn open_known(&self) -> Result<Option<DeployedState>, Error>;

    /// The clock by which this process works.
    fn clock(&self) -> Arc<dyn Clock>;

    fn operator(&self) -> Operator;

    /// How this process signs the lease; `run` is what it does, as in `deploy 0.9`.
    fn lease_holder(&self, run: &str) -> Holder;

    /// The hosts and balancers. Connections are made when they are first needed.
    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection>;

    /// Fetches what the playbook names, and gives the whole its name.
    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        place: &'a StateDir,
    ) -> BoxFuture<'a, Result<Release, Error>>;

    /// Listens for signals from now on.
    ///
    /// # Errors
    /// If the system does not allow it.
    fn listen(&self) -> Result<Interrupts, Error>;

    /// Shows a message while the verb runs.
    fn tell(&self, notice: &Notice);

    /// The reporter that shows the events of a rollout.
    fn reporter(&self, rollout: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter>;

    /// Opens the log of a rollout, which is written until the result is dropped.
    fn open_log(&self, place: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send>;

    /// Whether pages, metrics and messages are published after a rollout.
    fn publishes(&self) -> bool;

    /// Removes the files of releases and rollouts that no history needs any more.
    fn remove_unused(&self, place: &StateDir, store: &dyn Store);
}

/// The machines of a fleet, and how ship works on them.
pub struct FleetLayout {
    /// The hosts and the balancers' machines.
    pub sites: Vec<HostSite>,
    pub owner: Owner,
    /// What stands before the instances, if anything does.
    pub balancing: Option<Balancing>,
    /// Where commands run on this machine.
    pub control: Control,
}

/// The fleet as a session reaches it.
pub trait FleetConnection: Executor {
    /// Updates the known releases.
    fn know(&mut self, releases: Releases);

    /// The releases that a host keeps, with their definitions.
    fn kept_releases<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Vec<KeptRelease>>;

    /// Two slots that would be one server at the balancers, if there are such: one in which an
    /// instance runs, and one of `ports` that is to follow it.
    fn server_clash(&self, ports: &[Port], fleet: &Fleet) -> Option<ServerClash>;
}

/// The user's files, read and checked.
#[derive(Debug)]
pub struct Files {
    pub project: Project,
    pub inventory: PathBuf,
    pub place: StateDir,
}

/// The state of what was deployed.
pub struct DeployedState {
    pub subject: ServiceKey,
    pub store: Box<dyn Store>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Strict,
    /// As they are, or where the playbook is wrong by now, as the newest revision has it: for a
    /// verb that only looks, stops or goes back.
    LastKnownGood,
}

/// What a verb does with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAccess {
    /// It reads the state, which need not be writable, or be there at all.
    Read,
    /// It changes the state, and makes it where there is none.
    Write,
}

/// Who runs `ship`, and on which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The user: `anna`.
    pub user: String,
    /// The machine: `laptop`.
    pub host: String,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}
