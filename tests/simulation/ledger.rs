//! Where the simulated ships keep their state: in memory, or in a real `SQLite` file; with a trap
//! at any write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ship::core::ids::{Epoch, Revision};
use ship::core::rollout::event::Entry;
use ship::core::rollout::failure::Outcome;
use ship::core::time::Time;
use ship::engine::Clock;
use ship::store::{
    Holder, NewRevision, Request, RevisionRecord, RolloutId, Sqlite, Store, StoreError, Subject,
};

use super::broken::Broken;
use super::judge::Judge;
use super::process::{Process, Trap};
use super::sim::Sim;

/// A heartbeat older than this means that its owner sleeps or is gone.
const LEASE_EXPIRES: Duration = Duration::from_secs(30);

/// A store with leases.
pub(crate) trait Shelf: Store {
    fn acquire_lease(&mut self, subject: &Subject, holder: Holder) -> Result<(), StoreError>;
    fn release_lease(&mut self) -> Result<(), StoreError>;
}

impl Shelf for Sqlite {
    fn acquire_lease(&mut self, subject: &Subject, holder: Holder) -> Result<(), StoreError> {
        Sqlite::acquire_lease(self, subject, holder, None)
    }

    fn release_lease(&mut self) -> Result<(), StoreError> {
        Sqlite::release_lease(self)
    }
}

// ── in memory ────────────────────────────────────────────────────────────────────────────────────

/// What the real store keeps in its tables. Of one subject: a simulation has no other.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    revisions: BTreeMap<Revision, (NewRevision, bool)>,
    rollouts: BTreeMap<i64, Rollout>,
    epoch: Epoch,
    revision: Revision,
    rollout: i64,
    lease: Option<Holder>,
}

#[derive(Debug)]
struct Rollout {
    revision: Revision,
    began: Time,
    ended: Option<(Time, Outcome)>,
    entries: Vec<Entry>,
    request: Option<Request>,
}

/// A store that behaves as `Sqlite` does, and is gone with its process.
pub(crate) struct Memory {
    tables: Arc<Mutex<Tables>>,
    held: Option<Holder>,
}

impl Memory {
    pub(crate) fn open(tables: &Arc<Mutex<Tables>>) -> Self {
        Self {
            tables: Arc::clone(tables),
            held: None,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tables) -> T) -> T {
        act(&mut self.tables.lock().expect("nobody panics with the tables"))
    }
}

fn is_same(one: &Holder, other: &Holder) -> bool {
    (&one.host, one.pid, one.pid_started) == (&other.host, other.pid, other.pid_started)
}

impl Shelf for Memory {
    fn acquire_lease(&mut self, _: &Subject, holder: Holder) -> Result<(), StoreError> {
        self.with(|tables| {
            // Processes of the simulation are never found on a real machine: one of the same
            // machine is gone.
            let is_alive = |present: &Holder| {
                present.host != holder.host && holder.now.since(present.heartbeat) <= LEASE_EXPIRES
            };
            if let Some(present) = tables.lease.clone().filter(is_alive) {
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
}

impl Store for Memory {
    fn revisions(&self, _: &Subject) -> Result<Vec<RevisionRecord>, StoreError> {
        self.with(|tables| {
            // What was there before the scene has ended, and left no events.
            let has_begun =
                |rollout: &&Rollout| !rollout.entries.is_empty() || rollout.ended.is_some();
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
                    cause: new.cause.clone(),
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

    fn add_revision(&mut self, _: &Subject, new: &NewRevision) -> Result<Revision, StoreError> {
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
        _: &Subject,
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

    fn begin_rollout(
        &mut self,
        _: &Subject,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        self.with(|tables| {
            tables.epoch = Epoch(tables.epoch.max(seen).0 + 1);
            // As SQLite numbers its rows: after the largest there is.
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

    fn ask(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
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

    fn newest_journal(&self, _: &Subject) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.with(|tables| {
            let has_begun =
                |rollout: &Rollout| !rollout.entries.is_empty() || rollout.ended.is_some();
            let newest = tables
                .rollouts
                .iter()
                .rev()
                .find(|(_, rollout)| has_begun(rollout));
            Ok(newest.map(|(id, rollout)| (RolloutId(*id), rollout.entries.clone())))
        })
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

// ── as a process has it ──────────────────────────────────────────────────────────────────────────

/// The store in the hands of one process. The judge sees what has become durable.
pub(crate) struct Ledger {
    pub(crate) shelf: Box<dyn Shelf>,
    pub(crate) sim: Arc<Sim>,
    pub(crate) process: Arc<Process>,
    /// What a broken store has not written yet.
    pub(crate) late: Vec<Entry>,
}

impl Ledger {
    /// Writes, unless something happens at this very write. `seen` tells the judge what has become
    /// durable.
    fn write<T>(
        &mut self,
        act: impl FnOnce(&mut dyn Shelf) -> Result<T, StoreError>,
        seen: impl FnOnce(&mut Judge, &T),
    ) -> Result<T, StoreError> {
        let trap = self.process.next_write();
        if let Some(Trap::KilledBeforeWrite(_)) = trap {
            self.met("a controller is killed before a write");
            Process::die();
        }
        if let Some(Trap::DiskFullAt(_)) = trap {
            self.met("the journal cannot be written");
            return Err(database(13, "database or disk is full"));
        }
        let done = act(&mut *self.shelf)?;
        seen(&mut self.sim.lock().judge, &done);
        if let Some(Trap::KilledAfterWrite(_)) = trap {
            self.met("a controller is killed after a write");
            Process::die();
        }
        Ok(done)
    }

    /// Takes the lease.
    pub(crate) fn acquire_lease(&mut self, subject: &Subject, run: &str) -> Result<(), StoreError> {
        let (now, number) = (self.sim.now(), self.process.number);
        let holder = Holder {
            owner: "anna".into(),
            host: self.process.machine.clone(),
            pid: u32::MAX,
            pid_started: u64::from(number),
            run: run.to_owned(),
            since: now,
            heartbeat: now,
            now,
            token: String::new(),
        };
        let is_free_for_all = self.sim.broken == Broken::NoLease;
        self.write(
            |shelf| match shelf.acquire_lease(subject, holder) {
                Err(StoreError::Held(_)) if is_free_for_all => Ok(()),
                taken => taken,
            },
            |judge, ()| judge.leased(number, now),
        )
    }

    /// Gives it back.
    pub(crate) fn release_lease(&mut self) -> Result<(), StoreError> {
        self.write(|shelf| shelf.release_lease(), |_, ()| ())
    }

    fn met(&self, what: &'static str) {
        let mut state = self.sim.lock();
        state.count(what);
        state.tell(format_args!("ship{}", self.process.number), what);
    }
}

impl Store for Ledger {
    fn revisions(&self, subject: &Subject) -> Result<Vec<RevisionRecord>, StoreError> {
        self.shelf.revisions(subject)
    }

    fn add_revision(
        &mut self,
        subject: &Subject,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        self.write(|shelf| shelf.add_revision(subject, new), |_, _| ())
    }

    fn retain_revisions(
        &mut self,
        subject: &Subject,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        self.write(|shelf| shelf.retain_revisions(subject, kept), |_, ()| ())
    }

    fn begin_rollout(
        &mut self,
        subject: &Subject,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let number = self.process.number;
        let begun = self.write(
            |shelf| shelf.begin_rollout(subject, revision, seen, now),
            |judge, (_, epoch)| judge.begun(number, *epoch),
        )?;
        self.process.set_epoch(begun.1);
        Ok(begun)
    }

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
        let entries = if self.sim.broken == Broken::JournalComesLate {
            std::mem::replace(&mut self.late, entries.to_vec())
        } else {
            entries.to_vec()
        };
        let (number, now) = (self.process.number, self.sim.now());
        self.write(
            |shelf| shelf.append(rollout, &entries),
            |judge, ()| judge.recorded(number, rollout.0, &entries, now),
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
            |shelf| shelf.end_rollout(rollout, outcome, proven, now),
            |judge, ()| judge.ended(number, rollout.0, outcome, now),
        )
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let number = self.process.number;
        self.write(
            |shelf| shelf.renew_lease(now),
            |judge, ()| judge.is_alive(number, now),
        )
    }

    fn ask(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        self.shelf.ask(rollout, request)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        self.shelf.request(rollout)
    }

    fn newest_journal(
        &self,
        subject: &Subject,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.shelf.newest_journal(subject)
    }
}
