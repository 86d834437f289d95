//! The files and the open state of a service, before its history is read: enough for verbs that
//! need only a part of the history.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::environment::{Environment, Files, Reading};
use super::error::Error;
use super::notice::Notice;
use super::state_location::has_history;
use super::sudo_password::sudo_password;
use crate::config::{self, Overrides, Project};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::service_state::ServiceState;
use crate::core::policy::unattended::RunMode;
use crate::core::stack::Deployment;
use crate::engine::{Clock, ShiftedClock};
use crate::store::StoreAccess;
use crate::store::{
    RolloutId, RolloutRecord, ServiceKey, ServiceRecords, StateDir, Store, StoreError, StoreHandle,
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
    pub store: StoreHandle,
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
        let clock = if env.is_within_deployment() {
            // The state was opened before the deployment, so it cannot set a clock now.
            env.clock()
        } else {
            ShiftedClock::set(env.clock(), store.lock().opened_at())
        };
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
            clock,
            set: overrides.set.clone(),
        })
    }

    /// Takes the lease, so that only this process changes the fleet. `run` describes the command,
    /// for example `deploy 0.9`.
    ///
    /// # Errors
    /// If another process holds it, or the state cannot be written.
    fn take_lease(&mut self, run: &str) -> Result<(), Error> {
        let holder = self.env.lease_holder(run);
        // A ship process that was started by a hook of another one shares its lease.
        let token = std::env::var(config::LEASE).ok();
        self.store
            .acquire_lease(&self.service_key, holder, token.as_deref())?;
        self.store
            .lock()
            .record_inventory(&self.service_key, &self.inventory)?;
        self.record_missing_end()
    }

    /// Records the end of the newest rollout, if its controller was killed between the last event of
    /// the journal and that record.
    fn record_missing_end(&self) -> Result<(), Error> {
        let newest = self.records()?.rollouts().pop();
        let Some(newest) = newest.filter(|rollout| rollout.outcome.is_none()) else {
            return Ok(());
        };
        let mut store = self.store.lock();
        let summary = RolloutSummary::of(&store.journal(newest.id)?);
        if let Some(summary) = &summary
            && let (Some(outcome), Some(ended)) = (&summary.outcome, summary.ended)
        {
            store.end_rollout(newest.id, outcome, summary.proves_release(), ended)?;
        }
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
        // A person who types a password must not keep the lease.
        sudo_password(&*self.env, &self.project.inventory, RunMode::default())?;
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

    /// Warns of a history on this machine that the shared state does not have.
    pub(crate) fn report_unshared_history(&self, records: &ServiceRecords) {
        if self.project.inventory.state.is_some()
            && records.revisions().is_empty()
            && has_history(&self.state_dir, &self.service_key)
        {
            self.env.notify(&Notice::HistoryNotShared {
                service: self.service_key.service.clone(),
                state_dir: self.state_dir.dir.clone(),
            });
        }
    }

    /// All records of the service except its journals.
    pub(crate) fn records(&self) -> Result<ServiceRecords, Error> {
        Ok(self.store.lock().service(&self.service_key)?)
    }

    /// The deployments of the fleet, oldest first; none outside of a stack.
    pub(crate) fn deployments(&self) -> Result<Vec<Deployment>, Error> {
        if self.project.inventory.stack.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.store.lock().deployments(&self.service_key.fleet)?)
    }

    /// The rollout that a live controller carries out now.
    pub(crate) fn running_rollout(&self, records: &ServiceRecords) -> Option<RolloutRecord> {
        records.holder(&self.env.machine())?;
        let newest = records.rollouts().pop();
        newest.filter(|rollout| rollout.outcome.is_none())
    }

    pub(crate) fn state(&self) -> Result<ServiceState, Error> {
        service_state(&*self.env, &**self.store.lock(), &self.service_key)
    }

    pub(crate) fn newest_rollout(&self) -> Result<Option<RolloutId>, Error> {
        Ok(self.records()?.newest_rollout())
    }
}

/// The state of a service according to its newest rollout and the lease.
pub(super) fn service_state(
    env: &dyn Environment,
    store: &dyn Store,
    service_key: &ServiceKey,
) -> Result<ServiceState, Error> {
    let records = store.service(service_key)?;
    let has_live_controller = records.holder(&env.machine()).is_some();
    let newest = match records.newest_rollout() {
        Some(newest) => RolloutSummary::of(&store.journal(newest)?),
        None => None,
    };
    Ok(ServiceState::of(newest.as_ref(), has_live_controller))
}
