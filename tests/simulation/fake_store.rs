//! The store of simulated controllers: in memory or in a real `SQLite` file, with traps at its
//! writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ship::core::ids::{Epoch, ReleaseId, Revision};
use ship::core::policy::history::RolloutRun;
use ship::core::release::Definition;
use ship::core::rollout::event::{Entry, Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::task::Contracted;
use ship::core::spec::budget::Budget;
use ship::core::time::Time;
use ship::engine::Clock;
use ship::store::{
    Freeze, Holder, Inventories, KnownInventory, Leases, Migrations, NewRevision, Request,
    Requests, RevisionRecord, Revisions, RolloutId, RolloutRecord, Rollouts, Scale, ServiceKey,
    ServiceSettings, Store, StoreError,
};

use super::defects::Defect;
use super::invariants::Checker;
use super::process::{Process, Trap};
use super::world::World;

/// The age of a heartbeat from which its owner counts as dead.
const LEASE_EXPIRES: Duration = Duration::from_secs(30);

// ── in memory ────────────────────────────────────────────────────────────────────────────────────

/// The tables of the real store, for the only service of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    revisions: BTreeMap<Revision, (NewRevision, bool)>,
    rollouts: BTreeMap<i64, Rollout>,
    epoch: Epoch,
    revision: Revision,
    rollout: i64,
    lease: Option<Holder>,
    scale: Option<Scale>,
    freeze: Option<Freeze>,
    inventory: Option<KnownInventory>,
}

#[derive(Debug)]
struct Rollout {
    revision: Revision,
    began: Time,
    ended: Option<(Time, Outcome)>,
    entries: Vec<Entry>,
    request: Option<Request>,
}

impl Rollout {
    /// Rollouts from before the scenario have ended without events.
    fn has_begun(&self) -> bool {
        !self.entries.is_empty() || self.ended.is_some()
    }

    fn outcome(&self) -> Option<Outcome> {
        self.ended.as_ref().map(|(_, outcome)| outcome.clone())
    }
}

/// A store that behaves like `Sqlite`, in memory.
pub(crate) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    held: Option<Holder>,
}

impl MemoryStore {
    pub(crate) fn open(tables: &Arc<Mutex<Tables>>) -> Self {
        Self {
            tables: Arc::clone(tables),
            held: None,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.tables.lock().expect("the lock is not poisoned"))
    }
}

/// A holder on the same machine is dead, because the real machine has no simulated processes.
fn is_alive(present: &Holder, here: &str, now: Time) -> bool {
    present.host != here && now.since(present.heartbeat) <= LEASE_EXPIRES
}

fn is_same(one: &Holder, other: &Holder) -> bool {
    (&one.host, one.pid, one.pid_started) == (&other.host, other.pid, other.pid_started)
}

impl Revisions for MemoryStore {
    fn history_id(&self) -> Result<String, StoreError> {
        Ok("simulated".into())
    }

    fn revisions(&self, _: &ServiceKey) -> Result<Vec<RevisionRecord>, StoreError> {
        self.with(|tables| {
            let has_begun = |rollout: &&Rollout| rollout.has_begun();
            let newest_of = |revision: Revision| {
                tables
                    .rollouts
                    .values()
                    .rev()
                    .filter(has_begun)
                    .find(|rollout| rollout.revision == revision)
            };
            let first_of = |revision: Revision| {
                tables
                    .rollouts
                    .values()
                    .filter(has_begun)
                    .find(|rollout| rollout.revision == revision)
            };
            let begun = tables
                .revisions
                .iter()
                .filter(|(revision, _)| newest_of(**revision).is_some());
            let records = begun.map(|(revision, (new, proven))| {
                let newest = newest_of(*revision);
                let ended = newest.and_then(|rollout| rollout.ended.clone());
                RevisionRecord {
                    revision: *revision,
                    release: new.release.clone(),
                    definition: new.definition.clone(),
                    playbook: new.playbook.clone(),
                    who: new.who.clone(),
                    reason: new.reason.clone(),
                    verb: new.verb,
                    began: first_of(*revision)
                        .map(|rollout| rollout.began)
                        .unwrap_or_default(),
                    ended: ended.as_ref().map(|(at, _)| *at),
                    outcome: ended.map(|(_, outcome)| outcome),
                    proven: *proven,
                }
            });
            Ok(records.collect())
        })
    }

    fn add_revision(&mut self, _: &ServiceKey, new: &NewRevision) -> Result<Revision, StoreError> {
        self.with(|tables| {
            tables.revision.0 += 1;
            tables
                .revisions
                .insert(tables.revision, (new.clone(), false));
            Ok(tables.revision)
        })
    }

    fn retain_revisions(
        &mut self,
        _: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        self.with(|tables| {
            tables
                .revisions
                .retain(|revision, _| kept.contains(revision));
            tables
                .rollouts
                .retain(|_, rollout| kept.contains(&rollout.revision));
            Ok(())
        })
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

    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        self.with(|tables| {
            let revisions = tables.revisions.values();
            Ok(revisions
                .map(|(new, _)| (new.release.clone(), new.definition.clone()))
                .collect())
        })
    }
}

impl Rollouts for MemoryStore {
    fn epoch(&self, _: &ServiceKey) -> Result<Epoch, StoreError> {
        self.with(|tables| Ok(tables.epoch))
    }

    fn begin_rollout(
        &mut self,
        _: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        self.with(|tables| {
            tables.epoch = Epoch(tables.epoch.max(seen).0 + 1);
            // As SQLite numbers its rows: one more than the largest number.
            tables.rollout = tables.rollouts.last_key_value().map_or(0, |(id, _)| *id) + 1;
            let rollout = Rollout {
                revision,
                began: now,
                ended: None,
                entries: Vec::new(),
                request: None,
            };
            tables.rollouts.insert(tables.rollout, rollout);
            Ok((RolloutId(tables.rollout), tables.epoch))
        })
    }

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
        self.with(|tables| match tables.rollouts.get_mut(&rollout.0) {
            Some(rollout) => {
                rollout.entries.extend_from_slice(entries);
                Ok(())
            }
            None => Err(foreign_key()),
        })
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        self.with(|tables| {
            let Some(rollout) = tables.rollouts.get_mut(&rollout.0) else {
                return Ok(());
            };
            rollout.ended = Some((now, outcome.clone()));
            if proven && let Some((_, proven)) = tables.revisions.get_mut(&rollout.revision) {
                *proven = true;
            }
            Ok(())
        })
    }

    fn newest_journal(
        &self,
        _: &ServiceKey,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.with(|tables| {
            let newest = tables
                .rollouts
                .iter()
                .rev()
                .find(|(_, rollout)| rollout.has_begun());
            Ok(newest.map(|(id, rollout)| (RolloutId(*id), rollout.entries.clone())))
        })
    }

    fn rollouts(&self, _: &ServiceKey) -> Result<Vec<RolloutRecord>, StoreError> {
        self.with(|tables| {
            let begun = tables.rollouts.iter().filter(|(_, it)| it.has_begun());
            Ok(begun
                .map(|(id, rollout)| RolloutRecord {
                    id: RolloutId(*id),
                    revision: rollout.revision,
                    began: rollout.began,
                    outcome: rollout.outcome(),
                })
                .collect())
        })
    }

    fn runs(&self, _: &ServiceKey) -> Result<Vec<RolloutRun>, StoreError> {
        self.with(|tables| {
            let run = |rollout: &Rollout| match &rollout.entries.first()?.event {
                Event::RolloutStarted(start) => Some(RolloutRun {
                    start: start.clone(),
                    outcome: rollout.outcome(),
                }),
                _ => None,
            };
            Ok(tables.rollouts.values().filter_map(run).collect())
        })
    }

    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        self.with(|tables| Ok(tables.rollouts.keys().copied().map(RolloutId).collect()))
    }

    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
        self.with(|tables| {
            let found = tables.rollouts.get(&rollout.0);
            Ok(found.map(|it| it.entries.clone()).unwrap_or_default())
        })
    }

    fn journal_of(
        &self,
        _: &ServiceKey,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.with(|tables| {
            let mut begun = tables.rollouts.values().rev().filter(|it| it.has_begun());
            let newest = begun.find(|rollout| rollout.revision == revision);
            Ok(newest.map(|rollout| rollout.entries.clone()))
        })
    }

    fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError> {
        self.with(|tables| Ok(tables.rollouts.get(&rollout.0).and_then(Rollout::outcome)))
    }
}

impl Leases for MemoryStore {
    fn acquire_lease(
        &mut self,
        _: &ServiceKey,
        holder: Holder,
        _: Option<&str>,
    ) -> Result<(), StoreError> {
        self.with(|tables| {
            let here = &holder.host;
            let present = tables.lease.clone();
            if let Some(present) = present.filter(|it| is_alive(it, here, holder.now)) {
                return Err(StoreError::Held(Box::new(Holder {
                    now: holder.now,
                    ..present
                })));
            }
            tables.lease = Some(Holder {
                heartbeat: holder.now,
                ..holder.clone()
            });
            Ok(())
        })?;
        self.held = Some(holder);
        Ok(())
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        self.with(|tables| {
            match tables
                .lease
                .as_mut()
                .filter(|present| is_same(present, held))
            {
                Some(present) => {
                    present.heartbeat = now;
                    Ok(())
                }
                None => Err(StoreError::LeaseLost),
            }
        })
    }

    fn release_lease(&mut self) -> Result<(), StoreError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        self.with(|tables| {
            tables.lease = tables
                .lease
                .take()
                .filter(|present| !is_same(present, &held));
        });
        Ok(())
    }

    fn break_lease(&mut self, _: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
        self.with(|tables| {
            tables.lease = None;
            tables.epoch = Epoch(tables.epoch.max(seen).0 + 1);
            Ok(tables.epoch)
        })
    }

    fn lease(&self, _: &ServiceKey, _: Time) -> Result<Option<Holder>, StoreError> {
        self.with(|tables| Ok(tables.lease.clone()))
    }

    fn holder(&self, _: &ServiceKey, here: &str, now: Time) -> Result<Option<Holder>, StoreError> {
        self.with(|tables| {
            let lease = tables.lease.clone();
            Ok(lease.filter(|present| is_alive(present, here, now)))
        })
    }

    fn lease_token(&self) -> Option<&str> {
        None
    }
}

impl Requests for MemoryStore {
    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        self.with(|tables| match tables.rollouts.get_mut(&rollout.0) {
            Some(rollout) => {
                rollout.request = Some(request.clone());
                Ok(())
            }
            None => Err(foreign_key()),
        })
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        self.with(|tables| {
            Ok(tables
                .rollouts
                .get(&rollout.0)
                .and_then(|rollout| rollout.request.clone()))
        })
    }
}

impl ServiceSettings for MemoryStore {
    fn scale(&self, _: &ServiceKey) -> Result<Option<Scale>, StoreError> {
        self.with(|tables| Ok(tables.scale))
    }

    fn set_scale(&mut self, _: &ServiceKey, scale: Scale, _: &str) -> Result<(), StoreError> {
        self.with(|tables| tables.scale = Some(scale));
        Ok(())
    }

    fn clear_scale(&mut self, _: &ServiceKey) -> Result<(), StoreError> {
        self.with(|tables| tables.scale = None);
        Ok(())
    }

    fn freeze(&self, _: &ServiceKey) -> Result<Option<Freeze>, StoreError> {
        self.with(|tables| Ok(tables.freeze.clone()))
    }

    fn set_freeze(&mut self, _: &ServiceKey, freeze: &Freeze) -> Result<(), StoreError> {
        self.with(|tables| tables.freeze = Some(freeze.clone()));
        Ok(())
    }

    fn end_freeze(&mut self, _: &ServiceKey) -> Result<bool, StoreError> {
        self.with(|tables| Ok(tables.freeze.take().is_some()))
    }
}

impl Migrations for MemoryStore {
    fn applied_migrations(&self, _: &ServiceKey) -> Result<BTreeSet<String>, StoreError> {
        Ok(BTreeSet::new())
    }

    fn contracted(&self, _: &ServiceKey) -> Result<Vec<Contracted>, StoreError> {
        Ok(Vec::new())
    }
}

impl Inventories for MemoryStore {
    fn record_inventory(
        &mut self,
        subject: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError> {
        let known = KnownInventory {
            service_key: subject.clone(),
            inventory: inventory.to_owned(),
        };
        self.with(|tables| tables.inventory = Some(known));
        Ok(())
    }

    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.with(|tables| Ok(tables.inventory.iter().cloned().collect()))
    }
}

fn foreign_key() -> StoreError {
    database(787, "FOREIGN KEY constraint failed")
}

fn database(code: i32, text: &str) -> StoreError {
    let source =
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(text.to_owned()));
    StoreError::Database {
        path: PathBuf::from("ship.db"),
        source,
    }
}

// ── the store of one process ─────────────────────────────────────────────────────────────────────

/// The store of one process. It reports to the checker what has become durable.
pub(crate) struct FakeStore {
    pub(crate) inner: Box<dyn Store>,
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    /// Events that the defect [`Defect::LateJournal`] has not written yet.
    pub(crate) delayed: Vec<Entry>,
    /// The number of instances after a rollback, if it differs.
    pub(crate) rollback_replicas: Option<u32>,
}

impl FakeStore {
    /// Writes, unless the process has a trap at this write. `observe` reports to the checker what
    /// has become durable.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
        observe: impl FnOnce(&mut Checker, &T),
    ) -> Result<T, StoreError> {
        let trap = self.process.count_write();
        if let Some(Trap::KilledBeforeWrite(_)) = trap {
            self.record_trap("a controller is killed before a write");
            Process::die();
        }
        if let Some(Trap::DiskFullAt(_)) = trap {
            self.record_trap("the journal cannot be written");
            return Err(database(13, "database or disk is full"));
        }
        let done = change(&mut *self.inner)?;
        observe(&mut self.world.lock().checker, &done);
        if let Some(Trap::KilledAfterWrite(_)) = trap {
            self.record_trap("a controller is killed after a write");
            Process::die();
        }
        Ok(done)
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
    /// Releases the lease, as the real store does, unless the process was killed.
    fn drop(&mut self) {
        if !self.process.is_killed() {
            drop(self.inner.release_lease());
        }
    }
}

impl Revisions for FakeStore {
    fn history_id(&self) -> Result<String, StoreError> {
        self.inner.history_id()
    }

    fn revisions(&self, subject: &ServiceKey) -> Result<Vec<RevisionRecord>, StoreError> {
        self.inner.revisions(subject)
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
        subject: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError> {
        self.inner.adopt(subject, new, proven, replicas, at)
    }

    fn retain_revisions(
        &mut self,
        subject: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        self.write(|inner| inner.retain_revisions(subject, kept), |_, ()| ())
    }

    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        self.inner.definitions()
    }
}

impl Rollouts for FakeStore {
    fn epoch(&self, subject: &ServiceKey) -> Result<Epoch, StoreError> {
        self.inner.epoch(subject)
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

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
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
        self.write(
            |inner| inner.append(rollout, &entries),
            |checker, ()| {
                for (entry, budget) in entries.iter().zip(budgets) {
                    if let Some(budget) = budget {
                        checker.set_budget(number, budget);
                    }
                    checker.on_events_recorded(number, rollout.0, std::slice::from_ref(entry), now);
                }
            },
        )
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let number = self.process.number;
        self.write(
            |inner| inner.end_rollout(rollout, outcome, proven, now),
            |checker, ()| checker.on_rollout_ended(number, rollout.0, outcome, now),
        )
    }

    fn newest_journal(
        &self,
        subject: &ServiceKey,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.inner.newest_journal(subject)
    }

    fn rollouts(&self, subject: &ServiceKey) -> Result<Vec<RolloutRecord>, StoreError> {
        self.inner.rollouts(subject)
    }

    fn runs(&self, subject: &ServiceKey) -> Result<Vec<RolloutRun>, StoreError> {
        self.inner.runs(subject)
    }

    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError> {
        self.inner.rollout_ids()
    }

    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
        self.inner.journal(rollout)
    }

    fn journal_of(
        &self,
        subject: &ServiceKey,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.inner.journal_of(subject, revision)
    }

    fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError> {
        self.inner.outcome(rollout)
    }
}

impl Leases for FakeStore {
    fn acquire_lease(
        &mut self,
        subject: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        let (now, number) = (self.world.now(), self.process.number);
        let is_free_for_all = self.world.defect == Defect::NoLease;
        self.write(
            |inner| match inner.acquire_lease(subject, holder, token) {
                Err(StoreError::Held(_)) if is_free_for_all => Ok(()),
                other => other,
            },
            |checker, ()| checker.on_lease_acquired(number, now),
        )
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let number = self.process.number;
        self.write(
            |inner| inner.renew_lease(now),
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

    fn lease(&self, subject: &ServiceKey, now: Time) -> Result<Option<Holder>, StoreError> {
        self.inner.lease(subject, now)
    }

    fn holder(
        &self,
        subject: &ServiceKey,
        here: &str,
        now: Time,
    ) -> Result<Option<Holder>, StoreError> {
        self.inner.holder(subject, here, now)
    }

    fn lease_token(&self) -> Option<&str> {
        self.inner.lease_token()
    }
}

impl Requests for FakeStore {
    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        self.inner.send_request(rollout, request)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        self.inner.request(rollout)
    }
}

impl ServiceSettings for FakeStore {
    fn scale(&self, subject: &ServiceKey) -> Result<Option<Scale>, StoreError> {
        self.inner.scale(subject)
    }

    fn set_scale(
        &mut self,
        subject: &ServiceKey,
        scale: Scale,
        who: &str,
    ) -> Result<(), StoreError> {
        self.write(|inner| inner.set_scale(subject, scale, who), |_, ()| ())
    }

    fn clear_scale(&mut self, subject: &ServiceKey) -> Result<(), StoreError> {
        self.write(|inner| inner.clear_scale(subject), |_, ()| ())
    }

    fn freeze(&self, subject: &ServiceKey) -> Result<Option<Freeze>, StoreError> {
        self.inner.freeze(subject)
    }

    fn set_freeze(&mut self, subject: &ServiceKey, freeze: &Freeze) -> Result<(), StoreError> {
        self.inner.set_freeze(subject, freeze)
    }

    fn end_freeze(&mut self, subject: &ServiceKey) -> Result<bool, StoreError> {
        self.inner.end_freeze(subject)
    }
}

impl Migrations for FakeStore {
    fn applied_migrations(&self, subject: &ServiceKey) -> Result<BTreeSet<String>, StoreError> {
        self.inner.applied_migrations(subject)
    }

    fn contracted(&self, subject: &ServiceKey) -> Result<Vec<Contracted>, StoreError> {
        self.inner.contracted(subject)
    }
}

impl Inventories for FakeStore {
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

    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.inner.inventories()
    }
}
