//! The files and the open state of a service, before its history is read: enough for verbs that
//! need only a part of the history.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::environment::{Environment, Files, Reading};
use super::error::Error;
use super::notice::Notice;
use crate::config::{self, Overrides, Project};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::service_state::ServiceState;
use crate::core::time::Time;
use crate::engine::Clock;
use crate::store::StoreAccess;
use crate::store::{
    Freeze, Holder, RolloutId, RolloutRecord, ServiceKey, StateDir, Store, StoreError,
};

/// The files and the state of a service.
pub struct OpenedService {
    pub env: Arc<dyn Environment>,
    pub project: Project,
    /// Absolute path of the inventory.
    pub inventory: PathBuf,
    pub state_dir: StateDir,

    pub service_key: ServiceKey,
    /// The state. Dropping it releases the lease.
    pub store: Box<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// The overrides from the command line.
    pub set: Vec<String>,
}

impl OpenedService {
    /// Reads the files and opens the state.
    ///
    /// # Errors
    /// If either cannot be read.
    pub fn open(
        env: &Arc<dyn Environment>,
        overrides: &Overrides,
        reading: Reading,
        access: StoreAccess,
    ) -> Result<Self, Error> {
        let files = env.read_files(overrides, reading)?;
        config::register_secrets(&files.project);
        let store = env.open_store(&files, access)?;
        let Files {
            project,
            inventory,
            state_dir,
        } = files;
        let service_key = ServiceKey {
            fleet: project.inventory.fleet.clone(),
            service: project.playbook.service.name.clone(),
        };
        Ok(Self {
            env: Arc::clone(env),
            inventory: std::path::absolute(&inventory).unwrap_or(inventory),
            project,
            state_dir,
            service_key,
            store,
            clock: env.clock(),
            set: overrides.set.clone(),
        })
    }

    /// Takes the lease, so that only this process changes the fleet. `run` describes the command,
    /// for example `deploy 0.9`.
    ///
    /// # Errors
    /// If another process holds it, or the state cannot be written.
    pub(crate) fn take_lease(&mut self, run: &str) -> Result<(), Error> {
        let holder = self.env.lease_holder(run);
        // A ship process that was started by a hook of another one shares its lease.
        let token = std::env::var(config::LEASE).ok();
        self.store
            .acquire_lease(&self.service_key, holder, token.as_deref())?;
        self.store
            .record_inventory(&self.service_key, &self.inventory)?;
        Ok(())
    }

    /// Takes the lease, and waits up to `wait` for another process to release it.
    ///
    /// # Errors
    /// If another process still holds it after `wait`, or the state cannot be written.
    pub(crate) async fn take_lease_within(
        &mut self,
        run: &str,
        wait: Duration,
    ) -> Result<(), Error> {
        let mut deadline = Deadline::after(wait);
        loop {
            match self.take_lease(run) {
                Err(Error::Store(StoreError::Held(holder))) if !deadline.has_passed() => {
                    if deadline.is_first_poll() {
                        let holder = holder.to_string();
                        self.env.notify(&Notice::WaitingForLease { holder, wait });
                    }
                    deadline.sleep().await;
                }
                taken => return taken,
            }
        }
    }

    /// The freeze in effect now.
    pub(crate) fn active_freeze(&self) -> Result<Option<Freeze>, Error> {
        active_freeze(&*self.store, &self.service_key, self.clock.now())
    }

    /// Whether a live controller carries out a rollout.
    pub(crate) fn has_live_controller(&self) -> Result<bool, Error> {
        Ok(holder(&*self.env, &*self.store, &self.service_key)?.is_some())
    }

    /// The rollout that a live controller carries out now.
    pub(crate) fn running_rollout(&self) -> Result<Option<RolloutRecord>, Error> {
        // Read the lease first: a controller releases it after it has recorded the end.
        if !self.has_live_controller()? {
            return Ok(None);
        }
        let newest = self.store.rollouts(&self.service_key)?.pop();
        Ok(newest.filter(|rollout| rollout.outcome.is_none()))
    }

    pub(crate) fn state(&self) -> Result<ServiceState, Error> {
        service_state(&*self.env, &*self.store, &self.service_key)
    }

    pub(crate) fn newest_rollout(&self) -> Result<Option<RolloutId>, Error> {
        newest_rollout(&*self.store, &self.service_key)
    }
}

/// The freeze of a service that is in effect at a given time.
pub(super) fn active_freeze(
    store: &dyn Store,
    service_key: &ServiceKey,
    now: Time,
) -> Result<Option<Freeze>, Error> {
    Ok(store
        .freeze(service_key)?
        .filter(|freeze| freeze.is_active(now)))
}

pub(super) fn service_state(
    env: &dyn Environment,
    store: &dyn Store,
    service_key: &ServiceKey,
) -> Result<ServiceState, Error> {
    // Read the lease first: a controller releases it after it has recorded the end.
    let has_live_controller = holder(env, store, service_key)?.is_some();
    let newest = store.newest_journal(service_key)?;
    let newest = newest.and_then(|(_, journal)| RolloutSummary::of(&journal));
    Ok(ServiceState::of(newest.as_ref(), has_live_controller))
}

/// The live controller that carries out a rollout now.
pub(super) fn holder(
    env: &dyn Environment,
    store: &dyn Store,
    service_key: &ServiceKey,
) -> Result<Option<Holder>, Error> {
    let here = env.operator().host;
    Ok(store.holder(service_key, &here, env.clock().wall())?)
}

pub(super) fn newest_rollout(
    store: &dyn Store,
    service_key: &ServiceKey,
) -> Result<Option<RolloutId>, Error> {
    Ok(store
        .rollouts(service_key)?
        .last()
        .map(|rollout| rollout.id))
}
