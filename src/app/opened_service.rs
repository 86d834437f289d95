//! The files and the state of a service, open, and nothing read of its history yet: enough for
//! verbs that ask for no more than a part of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::{Environment, Files, Reading, StoreAccess};
use super::error::Error;
use super::notice::Notice;
use super::patience::Deadline;
use crate::config::{self, Overrides, Project};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::service_state::ServiceState;
use crate::core::time::Time;
use crate::engine::Clock;
use crate::store::{
    Freeze, Holder, RolloutId, RolloutRecord, ServiceKey, StateDir, Store, StoreError,
};

/// The files and the state of a service.
pub struct OpenedService {
    pub env: Arc<dyn Environment>,
    pub project: Project,
    /// Where the inventory lies: an absolute path.
    pub inventory: PathBuf,
    pub place: StateDir,
    /// The fleet and the service.
    pub subject: ServiceKey,
    /// The state. A lease that it holds is given back when it is dropped.
    pub store: Box<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// What the command line has set.
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
        config::withhold(&files.project);
        let store = env.open_store(&files, access)?;
        let Files {
            project,
            inventory,
            place,
        } = files;
        let subject = ServiceKey {
            fleet: project.inventory.fleet.clone(),
            service: project.playbook.service.name.clone(),
        };
        Ok(Self {
            env: Arc::clone(env),
            inventory: std::path::absolute(&inventory).unwrap_or(inventory),
            project,
            place,
            subject,
            store,
            clock: env.clock(),
            set: overrides.set.clone(),
        })
    }

    /// Takes the lease: from here on this process alone changes the fleet. `run` is what for, as
    /// in `deploy 0.9`.
    ///
    /// # Errors
    /// If somebody else holds it, or the state cannot be written.
    pub(crate) fn take_lease(&mut self, run: &str) -> Result<(), Error> {
        let holder = self.env.lease_holder(run);
        // A ship that is called by another's hook goes on under its lease.
        let token = std::env::var(config::LEASE).ok();
        self.store
            .acquire_lease(&self.subject, holder, token.as_deref())?;
        self.store
            .record_inventory(&self.subject, &self.inventory)?;
        Ok(())
    }

    /// Takes the lease, and waits for it so long where somebody else has it.
    ///
    /// # Errors
    /// If somebody else still holds it, or the state cannot be written.
    pub(crate) async fn take_lease_within(
        &mut self,
        run: &str,
        wait: Duration,
    ) -> Result<(), Error> {
        let mut patience = Deadline::new(wait);
        loop {
            match self.take_lease(run) {
                Err(Error::Store(StoreError::Held(holder))) if patience.is_left() => {
                    if patience.is_new() {
                        let holder = holder.to_string();
                        self.env.tell(&Notice::WaitingForLease { holder, wait });
                    }
                    patience.pause().await;
                }
                taken => return taken,
            }
        }
    }

    /// The freeze that holds now, if one does.
    pub(crate) fn active_freeze(&self) -> Result<Option<Freeze>, Error> {
        active_freeze(&*self.store, &self.subject, self.clock.now())
    }

    /// Whether anybody alive carries out a rollout.
    pub(crate) fn is_carried_out(&self) -> Result<bool, Error> {
        Ok(holder(&*self.env, &*self.store, &self.subject)?.is_some())
    }

    /// The rollout that somebody alive carries out now, if there is one.
    pub(crate) fn running_rollout(&self) -> Result<Option<RolloutRecord>, Error> {
        // The lease first: it is given back after the end was recorded.
        if !self.is_carried_out()? {
            return Ok(None);
        }
        let newest = self.store.rollouts(&self.subject)?.pop();
        Ok(newest.filter(|rollout| rollout.outcome.is_none()))
    }

    pub(crate) fn standing(&self) -> Result<ServiceState, Error> {
        standing(&*self.env, &*self.store, &self.subject)
    }

    /// The newest rollout, if there was one.
    pub(crate) fn newest_rollout(&self) -> Result<Option<RolloutId>, Error> {
        newest_rollout(&*self.store, &self.subject)
    }
}

/// The freeze of a service that holds at a moment, if one does.
pub(super) fn active_freeze(
    store: &dyn Store,
    subject: &ServiceKey,
    now: Time,
) -> Result<Option<Freeze>, Error> {
    Ok(store
        .freeze(subject)?
        .filter(|freeze| freeze.is_active(now)))
}

pub(super) fn standing(
    env: &dyn Environment,
    store: &dyn Store,
    subject: &ServiceKey,
) -> Result<ServiceState, Error> {
    // The lease first: it is given back after the end was recorded.
    let is_carried_out = holder(env, store, subject)?.is_some();
    let newest = store.newest_journal(subject)?;
    let newest = newest.and_then(|(_, journal)| RolloutSummary::of(&journal));
    Ok(ServiceState::of(newest.as_ref(), is_carried_out))
}

/// Who carries out a rollout now, if anybody alive does.
pub(super) fn holder(
    env: &dyn Environment,
    store: &dyn Store,
    subject: &ServiceKey,
) -> Result<Option<Holder>, Error> {
    let here = env.operator().host;
    Ok(store.holder(subject, &here, env.clock().wall())?)
}

/// The newest rollout of a service, if there was one.
pub(super) fn newest_rollout(
    store: &dyn Store,
    subject: &ServiceKey,
) -> Result<Option<RolloutId>, Error> {
    Ok(store.rollouts(subject)?.last().map(|rollout| rollout.id))
}
