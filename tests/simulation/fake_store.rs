//! The store of simulated processes: records in memory or in a real `SQLite` file, with traps at the
//! writes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use ship::core::ids::{Epoch, ReleaseId, Revision};
use ship::core::release::Definition;
use ship::core::rollout::event::{Entry, Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::budget::Budget;
use ship::core::stack::{Deployment, DeploymentNumber};
use ship::core::time::Time;
use ship::engine::Clock as _;
use ship::store::{
    Freeze, Holder, KnownInventory, NewRevision, Request, RolloutId, Scale, ServiceKey,
    ServiceRecords, Store, StoreError, StoreFacts, StoreRunner, StoreWork,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::defects::Defect;
use super::invariants::Checker;
use super::process::{Process, Trap};
use super::world::World;

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable {
        location: "memory".into(),
        why: why.into(),
        hint: "wait".into(),
    }
}

/// Carries out work on the store in the task that waits for it, and answers after the latency of
/// the scenario.
pub(crate) struct SimulatedRunner {
    pub(crate) world: Arc<World>,
}

impl StoreRunner for SimulatedRunner {
    fn run(&self, work: StoreWork) -> BoxFuture<'static, ()> {
        let latency = self.world.scenario.store_latency;
        async move {
            work();
            // The answer takes its time.
            if !latency.is_zero() {
                sleep(latency).await;
            }
        }
        .boxed()
    }
}

// ── the store of one process ─────────────────────────────────────────────────────────────────────

/// The store of one process. It reports to the checker what has become durable.
pub(crate) struct FakeStore {
    /// `None` only while it is dropped.
    pub(crate) inner: Option<Box<dyn Store>>,
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    /// Events that the defect [`Defect::LateJournal`] has not written yet.
    pub(crate) delayed: Vec<Entry>,
    /// The number of instances after a rollback, if it differs.
    pub(crate) rollback_replicas: Option<u32>,
    /// The events that are durable although the process knows nothing of it.
    pub(crate) unanswered: Option<(RolloutId, u64)>,
}

impl FakeStore {
    fn inner(&self) -> &dyn Store {
        &**self.inner.as_ref().expect("the store is not dropped yet")
    }

    fn inner_mut(&mut self) -> &mut dyn Store {
        &mut **self.inner.as_mut().expect("the store is not dropped yet")
    }

    /// Writes, unless the process has a trap at this write. `observe` reports to the checker what
    /// has become durable.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
        observe: impl FnOnce(&mut Checker, &T),
    ) -> Result<T, StoreError> {
        self.check_reachable()?;
        let trap = self.process.count_write();
        if let Some(Trap::KilledBeforeWrite(_)) = trap {
            self.record_trap("a controller is killed before a write");
            Process::die();
        }
        if let Some(Trap::DiskFullAt(_)) = trap {
            self.record_trap("the journal cannot be written");
            return Err(unavailable("the disk is full"));
        }
        if let Some(Trap::StoreDownAt(_, duration)) = trap {
            self.record_trap("the store cannot be reached for a while");
            self.process.stop_store_until(self.world.now() + duration);
            return Err(unavailable("the connection was reset"));
        }
        let done = change(self.inner_mut())?;
        observe(&mut self.world.lock().checker, &done);
        if let Some(Trap::AnswerLostAt(_)) = trap {
            self.record_trap("the answer of the store is lost");
            return Err(unavailable("the connection was reset"));
        }
        if let Some(Trap::KilledAfterWrite(_)) = trap {
            self.record_trap("a controller is killed after a write");
            Process::die();
        }
        Ok(done)
    }

    fn check_reachable(&self) -> Result<(), StoreError> {
        if self.process.is_store_down(self.world.now()) {
            return Err(unavailable("the connection was refused"));
        }
        Ok(())
    }

    /// The capacity limits that apply from this event on.
    fn budget_from(&mut self, event: &Event) -> Option<Budget> {
        let scenario = &self.world.scenario;
        match event {
            Event::RolloutStarted(start) => {
                self.rollback_replicas = start.rollback_replicas;
                let missing = u32::from(self.world.defect == Defect::FewerReplicas);
                scenario.budget(start.replicas + missing)
            }
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            }
            | Event::Aborted { .. } => Some(scenario.rollback_budget(self.rollback_replicas?)),
            _ => None,
        }
    }

    fn record_trap(&self, what: &'static str) {
        let mut state = self.world.lock();
        state.count(what);
        state.log(format_args!("ship{}", self.process.number), what);
    }
}

impl Drop for FakeStore {
    /// Releases the lease, unless the process was killed.
    fn drop(&mut self) {
        if self.process.is_killed() {
            // Nothing of a killed process runs, and the destructor of the store neither.
            std::mem::forget(self.inner.take());
        }
    }
}

impl Store for FakeStore {
    fn history_id(&self) -> String {
        self.inner().history_id()
    }

    fn opened_at(&self) -> Time {
        self.inner().opened_at()
    }

    fn facts(&self) -> Result<StoreFacts, StoreError> {
        self.inner().facts()
    }

    fn service(&self, subject: &ServiceKey) -> Result<ServiceRecords, StoreError> {
        self.check_reachable()?;
        self.inner().service(subject)
    }

    fn journals(&self, rollouts: &[RolloutId]) -> Result<Vec<Vec<Entry>>, StoreError> {
        self.check_reachable()?;
        self.inner().journals(rollouts)
    }

    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        self.inner().definitions()
    }

    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        self.inner().rollout_ids()
    }

    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.inner().inventories()
    }

    fn acquire_lease(
        &mut self,
        subject: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        let (now, number) = (self.world.now(), self.process.number);
        let is_free_for_all = self.world.defect == Defect::NoLease;
        self.write(
            |inner| match inner.acquire_lease(subject, holder.clone(), token) {
                // As if there were no lease: both processes write under the same one.
                Err(StoreError::Held(present)) if is_free_for_all => {
                    inner.acquire_lease(subject, holder, Some(&present.token))
                }
                other => other,
            },
            |checker, ()| checker.on_lease_acquired(number, now),
        )
    }

    fn renew_lease(&mut self) -> Result<(), StoreError> {
        let (now, number) = (self.world.now(), self.process.number);
        self.write(
            |inner| inner.renew_lease(),
            |checker, ()| checker.on_lease_renewed(number, now),
        )
    }

    fn release_lease(&mut self) -> Result<(), StoreError> {
        self.write(|inner| inner.release_lease(), |_, ()| ())
    }

    fn break_lease(&mut self, subject: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
        self.write(
            |inner| inner.break_lease(subject, seen),
            |checker, epoch| checker.on_lease_broken(*epoch),
        )
    }

    fn lease_token(&self) -> Option<&str> {
        self.inner().lease_token()
    }

    fn add_revision(
        &mut self,
        subject: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        self.write(|inner| inner.add_revision(subject, new), |_, _| ())
    }

    fn adopt(
        &mut self,
        _: &ServiceKey,
        _: &NewRevision,
        _: bool,
        _: u32,
        _: Time,
    ) -> Result<Revision, StoreError> {
        unreachable!("the simulation has one history")
    }

    fn retain_revisions(
        &mut self,
        subject: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        self.write(|inner| inner.retain_revisions(subject, kept), |_, ()| ())
    }

    fn begin_rollout(
        &mut self,
        subject: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let number = self.process.number;
        let begun = self.write(
            |inner| inner.begin_rollout(subject, revision, seen, now),
            |checker, (_, epoch)| checker.on_rollout_begun(number, *epoch),
        )?;
        self.process.set_epoch(begun.1);
        Ok(begun)
    }

    fn append(
        &mut self,
        rollout: RolloutId,
        first: u64,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let entries = if self.world.defect == Defect::LateJournal {
            std::mem::replace(&mut self.delayed, entries.to_vec())
        } else {
            entries.to_vec()
        };
        let (number, now) = (self.process.number, self.world.now());
        let budgets: Vec<_> = entries
            .iter()
            .map(|entry| self.budget_from(&entry.event))
            .collect();
        // The checker has seen the events of an attempt whose answer was lost.
        let is_repeated = self.unanswered.take() == Some((rollout, first));
        let is_answer_lost = self.process.loses_next_answer();
        let done = self.write(
            |inner| inner.append(rollout, first, &entries),
            |checker, ()| {
                if is_repeated {
                    return;
                }
                for (entry, budget) in entries.iter().zip(budgets) {
                    if let Some(budget) = budget {
                        checker.set_budget(number, budget);
                    }
                    checker.on_events_recorded(number, rollout.0, std::slice::from_ref(entry), now);
                }
            },
        );
        if is_answer_lost && done.is_err() {
            self.unanswered = Some((rollout, first));
        }
        done
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let number = self.process.number;
        // While the store was out of reach or the process was suspended, instances may have failed
        // that served at the end.
        let is_late =
            self.process.was_store_down() || self.process.has_just_resumed(self.world.now());
        self.write(
            |inner| inner.end_rollout(rollout, outcome, proven, now),
            |checker, ()| {
                if !is_late {
                    checker.on_rollout_ended(number, rollout.0, outcome, now);
                }
            },
        )
    }

    fn deployments(&self, fleet: &str) -> Result<Vec<Deployment>, StoreError> {
        self.check_reachable()?;
        self.inner().deployments(fleet)
    }

    fn add_deployment(
        &mut self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<DeploymentNumber, StoreError> {
        self.inner_mut().add_deployment(fleet, deployment)
    }

    fn update_deployment(
        &mut self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<(), StoreError> {
        self.inner_mut().update_deployment(fleet, deployment)
    }

    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        self.inner_mut().send_request(rollout, request)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        self.check_reachable()?;
        self.inner().request(rollout)
    }

    fn journal_and_request(
        &self,
        rollout: RolloutId,
    ) -> Result<(Vec<Entry>, Option<Request>), StoreError> {
        self.check_reachable()?;
        self.inner().journal_and_request(rollout)
    }

    fn watch_requests(&self, _: RolloutId) -> Option<watch::Receiver<u64>> {
        None
    }

    fn set_scale(&mut self, subject: &ServiceKey, scale: Option<&Scale>) -> Result<(), StoreError> {
        self.write(|inner| inner.set_scale(subject, scale), |_, ()| ())
    }

    fn set_freeze(
        &mut self,
        subject: &ServiceKey,
        freeze: Option<&Freeze>,
    ) -> Result<bool, StoreError> {
        self.inner_mut().set_freeze(subject, freeze)
    }

    fn record_inventory(
        &mut self,
        subject: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError> {
        self.write(
            |inner| inner.record_inventory(subject, inventory),
            |_, ()| (),
        )
    }
}
