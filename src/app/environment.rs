//! The environment of a verb: files, state, hosts, time, and the receiver of messages. `ship` uses
//! the control machine on which it runs; the simulation has its own implementation.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;

use super::error::Error;
use super::notice::Notice;
use super::release::{ArtifactRequest, Release};
use crate::artifact::Patches;
use crate::balancer::Balancing;
use crate::config::{Overrides, Project};
use crate::core::fleet::Fleet;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{HostId, ReleaseId, SlotNumber};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Artifact;
use crate::engine::{Clock, Executor, Interrupts, LocalCommandSettings, Releases};
use crate::remote::{HostSite, HostUnavailable, KeptConnections, SavedOutput, SudoPassword};
use crate::report::{Reporter, ReporterSetup};
use crate::script::KeptRelease;
use crate::store::{Holder, RolloutId, ServiceKey, StateDir, Store, StoreAccess, StoreHandle};

pub trait Environment: Send + Sync {
    /// Finds and reads the inventory and its playbook.
    ///
    /// # Errors
    /// If a file does not exist, is not trusted, or is invalid.
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error>;

    /// Opens the state that belongs to the files.
    ///
    /// # Errors
    /// If it cannot be opened or created, or is not trusted.
    fn open_store(&self, files: &Files, access: StoreAccess) -> Result<StoreHandle, Error>;

    /// Opens for reading the state of an inventory that was deployed from here, even if its files
    /// are invalid now. Returns `None` if nothing was deployed.
    ///
    /// # Errors
    /// If there is no such inventory, or the state cannot be opened.
    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error>;

    fn clock(&self) -> Arc<dyn Clock>;

    fn operator(&self) -> Operator;

    /// The machine and the namespace of its processes, which distinguishes processes of this
    /// machine from others.
    fn machine(&self) -> String;

    /// The identity of this process in the lease. `run` describes its command, for example
    /// `deploy 0.9`.
    fn lease_holder(&self, run: &str) -> Holder;

    /// The password for sudo on these machines. It is asked for once and then remembered.
    ///
    /// # Errors
    /// If it is not set and no one can be asked.
    fn sudo_password(&self, machines: &[HostId], mode: RunMode)
    -> Result<Arc<SudoPassword>, Error>;

    /// The password for sudo if it is known without a question, for redaction.
    fn known_sudo_password(&self) -> Option<Arc<SudoPassword>>;

    /// The connections that are kept between the commands for an inventory; `None`, with a warning, if
    /// this machine has no private directory for them.
    fn kept_connections(&self, inventory: &Path) -> Option<Arc<KeptConnections>>;

    /// The hosts and balancers. Connections are opened when they are first needed.
    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection>;

    /// The differences between artifacts, which the services of a stack share.
    fn patches(&self) -> Patches;

    /// Fetches the artifact and computes the id of the release. `held` is the artifact that the
    /// hosts are expected to have, if they may need the difference from it.
    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        state_dir: &'a StateDir,
        held: Option<&'a Artifact>,
    ) -> BoxFuture<'a, Result<Release, Error>>;

    /// Fetches the artifact of an earlier release from its source, unless the state directory has
    /// it.
    ///
    /// # Errors
    /// Why the artifact is not available.
    fn fetch_artifact<'a>(
        &'a self,
        request: ArtifactRequest<'a>,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Starts to listen for signals.
    ///
    /// # Errors
    /// If the system does not permit it.
    fn listen(&self) -> Result<Interrupts, Error>;

    /// Shows a message while the verb runs.
    fn notify(&self, notice: &Notice);

    /// The reporter that shows the events of a rollout.
    fn reporter(&self, rollout: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter>;

    /// Opens the log of a rollout. ship writes to it until the returned value is dropped.
    fn open_log(&self, state_dir: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send>;

    /// Whether reports, metrics and notifications are published after a rollout.
    fn publishes(&self) -> bool;

    /// Whether the verb is a part of a deployment, which sends the notification and runs the
    /// contract migrations at its end.
    fn is_within_deployment(&self) -> bool {
        false
    }

    /// Removes the files of releases and rollouts that are no longer in any history.
    fn remove_unused(&self, state_dir: &StateDir, store: &dyn Store);
}

/// The machines of a fleet and the settings for working on them.
pub struct FleetLayout {
    /// The hosts and the balancers' machines.
    pub sites: Vec<HostSite>,
    pub owner: Owner,
    pub balancing: Option<Balancing>,
    /// Settings for commands that run on the control machine.
    pub control: LocalCommandSettings,
    /// The clock of the verb, for the times of observations.
    pub clock: Arc<dyn Clock>,
}

/// The connection of a session to its fleet.
pub trait FleetConnection: Executor {
    fn update_releases(&mut self, releases: Releases);

    /// The releases that a host keeps, with their definitions.
    fn kept_releases<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Vec<KeptRelease>>;

    /// Saves an archive of the files of a release on a host. `size_bytes` is the size of the
    /// artifact of the release.
    ///
    /// # Errors
    /// If the host cannot be reached, cannot pack the release, or sends too much.
    fn save_release<'a>(
        &'a self,
        host: &'a HostId,
        release: &'a ReleaseId,
        size_bytes: u64,
        output: &'a mut SavedOutput,
    ) -> BoxFuture<'a, Result<(), HostUnavailable>>;

    /// Two slots that would be the same server at a balancer: one with a running instance, and one
    /// of `slots` that would replace it.
    fn server_clash(&self, slots: &[SlotNumber], fleet: &Fleet) -> Option<ServerClash>;
}

/// The user's files, parsed and validated.
#[derive(Debug)]
pub struct Files {
    pub project: Project,
    pub inventory: PathBuf,
    pub state_dir: StateDir,
}

/// The state of a deployed service.
pub struct DeployedState {
    pub service_key: ServiceKey,
    pub store: StoreHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Strict,
    /// If the playbook is invalid, use the copy of the newest revision; if the command of
    /// `[hosts_from]` fails, use the hosts of the newest rollout: for verbs that only observe, stop
    /// or roll back.
    LastKnownGood,
    /// As `LastKnownGood`, but the command of `[hosts_from]` does not run: for verbs that only use
    /// the state.
    WithoutHosts,
}

/// The user who runs `ship`, and the machine.
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
