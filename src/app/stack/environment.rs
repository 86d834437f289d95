//! The environment of a verb that is a part of a deployment.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::app::environment::{
    DeployedState, Environment, Files, FleetConnection, FleetLayout, Operator, Reading,
};
use crate::app::error::Error;
use crate::app::notice::Notice;
use crate::app::release::{ArtifactRequest, Release};
use crate::artifact::Patches;
use crate::config::{Overrides, Project};
use crate::core::ids::HostId;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Artifact;
use crate::engine::{Clock, Interrupts, Releases};
use crate::remote::{KeptConnections, SudoPassword};
use crate::report::{Reporter, ReporterSetup};
use crate::store::{Holder, RolloutId, StateDir, Store, StoreAccess, StoreHandle};

/// An environment whose state is open already, under the lease of the deployment. The deployment
/// sends the notification and runs the contract migrations at its end.
pub(super) struct DeploymentEnvironment {
    inner: Arc<dyn Environment>,
    store: StoreHandle,
    clock: Arc<dyn Clock>,
}

impl DeploymentEnvironment {
    /// The environment of a service, under the lease that `store` holds. `clock` was set by the
    /// state when it was opened.
    pub(super) fn of(
        inner: &Arc<dyn Environment>,
        store: &StoreHandle,
        clock: &Arc<dyn Clock>,
    ) -> Arc<dyn Environment> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            store: store.lend_lease(),
            clock: Arc::clone(clock),
        })
    }
}

impl Environment for DeploymentEnvironment {
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error> {
        self.inner.read_files(overrides, reading)
    }

    fn open_store(&self, _: &Files, _: StoreAccess) -> Result<StoreHandle, Error> {
        Ok(self.store.clone())
    }

    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error> {
        self.inner.open_deployed_state()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn operator(&self) -> Operator {
        self.inner.operator()
    }

    fn machine(&self) -> String {
        self.inner.machine()
    }

    fn lease_holder(&self, run: &str) -> Holder {
        self.inner.lease_holder(run)
    }

    fn sudo_password(
        &self,
        machines: &[HostId],
        mode: RunMode,
    ) -> Result<Arc<SudoPassword>, Error> {
        self.inner.sudo_password(machines, mode)
    }

    fn known_sudo_password(&self) -> Option<Arc<SudoPassword>> {
        self.inner.known_sudo_password()
    }

    fn kept_connections(&self, inventory: &Path) -> Option<Arc<KeptConnections>> {
        self.inner.kept_connections(inventory)
    }

    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection> {
        self.inner.connect(layout, releases)
    }

    fn patches(&self) -> Patches {
        self.inner.patches()
    }

    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        state_dir: &'a StateDir,
        held: Option<&'a Artifact>,
    ) -> BoxFuture<'a, Result<Release, Error>> {
        self.inner.prepare_release(project, state_dir, held)
    }

    fn fetch_artifact<'a>(
        &'a self,
        request: ArtifactRequest<'a>,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.inner.fetch_artifact(request)
    }

    fn listen(&self) -> Result<Interrupts, Error> {
        self.inner.listen()
    }

    fn notify(&self, notice: &Notice) {
        self.inner.notify(notice);
    }

    fn reporter(&self, rollout: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter> {
        self.inner.reporter(rollout, setup)
    }

    fn open_log(&self, state_dir: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send> {
        self.inner.open_log(state_dir, rollout)
    }

    fn publishes(&self) -> bool {
        self.inner.publishes()
    }

    fn is_within_deployment(&self) -> bool {
        true
    }

    fn remove_unused(&self, state_dir: &StateDir, store: &dyn Store) {
        self.inner.remove_unused(state_dir, store);
    }
}
