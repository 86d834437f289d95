//! The store on the control machine: one `SQLite` file, readable by another process meanwhile.

mod freeze;
mod lease;
mod migrations;
mod rollouts;
mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::schema::{SCHEMA_VERSION, migrate};
use super::lease::Holder;
use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::store::contract::{
    KnownInventory, NewRevision, Request, RevisionRecord, RolloutId, Scale, Store, Subject,
};
use crate::store::error::StoreError;
use crate::store::place::{Access, Place};
use crate::system::random;
use crate::trust;

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many of an epoch's bits are chance: its lowest. Two controllers that know nothing of each
/// other may count to the same number at the same moment, and then the hosts would take orders from
/// both.
const CHANCE_BITS: u32 = 16;
/// Of a row of `rollouts`: whether its first event was durable, or it has ended. One whose ship
/// died before that is none.
const HAS_BEGUN: &str = "(outcome is not null or exists (select 1 from events where rollout = id))";

/// A store in one `SQLite` file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// The lease that this process holds, if it does.
    held: Option<(Subject, Holder)>,
    /// Where it is read from, if not from its own file.
    copy: Option<tempfile::TempDir>,
}

impl Drop for Sqlite {
    /// A verb that is refused after it took the lease gives it back. If that fails, the lease
    /// expires.
    fn drop(&mut self) {
        drop(self.release_lease());
    }
}

/// Whether a database cannot be opened or written because of its file system or its permissions.
fn is_read_only(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(
        error.sqlite_error_code(),
        Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure)
    )
}

impl Sqlite {
    /// Opens the store of a place, and makes it if there is none.
    ///
    /// # Errors
    /// If it cannot be made or opened, is not to be trusted, or a newer ship has written it.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        Self::open_for(place, Access::OwnerOnly)
    }

    /// [`Sqlite::open`] for a place through which others pass, too.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_for(place: &Place, access: Access) -> Result<Self, StoreError> {
        place.make(access)?;
        let path = place.database();
        if !path.exists() {
            // SQLite gives its further files the mode of this one.
            let made = trust::private_file()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            made.map_err(|source| StoreError::Directory {
                path: path.clone(),
                source,
            })?;
            trust::make_private(&path);
        }
        Self::open_file(&path)
    }

    /// Opens the store of a place to read it, and changes nothing there; an empty one where there
    /// is none. A database that cannot be written, or in a directory that cannot be, is read from a
    /// copy.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_to_read(place: &Place) -> Result<Self, StoreError> {
        Ok(match Self::open_existing(place)? {
            Some(store) => store,
            None => Self::over(Connection::open_in_memory(), &place.database(), true)?,
        })
    }

    /// Opens the store of a place to read it, if there is one.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_existing(place: &Place) -> Result<Option<Self>, StoreError> {
        place.check()?;
        let path = place.database();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            // What cannot be looked at may be there.
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path, source });
            }
            _ => return Ok(None),
        }
        match Self::open_file(&path).and_then(|store| store.can_read().map(|()| store)) {
            Err(StoreError::Database { source, .. }) if is_read_only(&source) => {
                Self::open_copy(&path).map(Some)
            }
            opened => opened.map(Some),
        }
    }

    fn open_file(path: &Path) -> Result<Self, StoreError> {
        // No link on the way is followed by SQLite; those above the state directory are the user's
        // own.
        let real = path
            .parent()
            .and_then(|dir| Some(dir.canonicalize().ok()?.join(path.file_name()?)));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(real.as_deref().unwrap_or(path), flags);
        Self::over(connection, path, false)
    }

    /// A database in write-ahead mode needs files of its own beside it even to be read.
    fn open_copy(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory {
            path: std::env::temp_dir(),
            source,
        };
        let dir = tempfile::Builder::new()
            .prefix("ship-")
            .tempdir()
            .map_err(failed)?;
        for suffix in ["", "-wal"] {
            let named = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            let (from, to) = (named(path), named(&dir.path().join("ship.db")));
            if from.exists() {
                let copied = std::fs::read(&from).and_then(|bytes| std::fs::write(&to, bytes));
                copied.map_err(|source| StoreError::Directory { path: from, source })?;
            }
        }
        let mut store = Self::over(Connection::open(dir.path().join("ship.db")), path, false)?;
        store.copy = Some(dir);
        Ok(store)
    }

    fn over(
        connection: rusqlite::Result<Connection>,
        path: &Path,
        is_empty: bool,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database {
            path: path.to_owned(),
            source,
        };
        let mut connection = connection.map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let mode = if is_empty {
            ""
        } else {
            "pragma journal_mode = wal; pragma synchronous = full;"
        };
        connection
            .execute_batch(&format!("{mode} pragma foreign_keys = on;"))
            .map_err(failed)?;
        let version = migrate(&mut connection).map_err(failed)?;
        if version > SCHEMA_VERSION {
            let what = format!(
                "its format is {version}, this ship knows {SCHEMA_VERSION}; use the newer ship"
            );
            return Err(StoreError::Unreadable {
                path: path.to_owned(),
                what,
            });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            held: None,
            copy: None,
        })
    }

    fn can_read(&self) -> Result<(), StoreError> {
        self.query("select 1 from counters limit 1", params![], |_| Ok(()))
            .map(drop)
    }

    /// The next epoch: newer than every one before, and than `seen`, and another than any other
    /// store makes.
    fn raise_epoch(&self, subject: &Subject, seen: Epoch) -> Result<Epoch, StoreError> {
        let chance = random::number() & ((1 << CHANCE_BITS) - 1);
        let epoch: i64 = self
            .query(
                "insert into counters (fleet, service, epoch) values (?1, ?2, (?3 >> ?4) + 1 << \
                 ?4 | ?5)
                 on conflict do update set epoch = (max(epoch, ?3) >> ?4) + 1 << ?4 | ?5 \
                 returning epoch",
                params![
                    subject.fleet,
                    subject.service,
                    signed(seen.0),
                    CHANCE_BITS,
                    signed(chance)
                ],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        Ok(Epoch(unsigned(epoch)))
    }

    /// The random id of this history, by which hosts tell it from others.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn history_id(&self) -> Result<String, StoreError> {
        Ok(self
            .query("select id from identity", params![], |row| row.get(0))?
            .pop()
            .unwrap_or_default())
    }

    /// The newest epoch that a rollout was given, or that was seen when one was.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn epoch(&self, subject: &Subject) -> Result<Epoch, StoreError> {
        let sql = "select epoch from counters where fleet = ?1 and service = ?2";
        let found = self
            .query(sql, params![subject.fleet, subject.service], |row| {
                row.get(0)
            })?
            .pop();
        Ok(Epoch(unsigned(found.unwrap_or_default())))
    }

    /// The instances that a person asked for by `ship scale`, if that was the last word.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn scale(&self, subject: &Subject) -> Result<Option<Scale>, StoreError> {
        let sql = "select replicas, playbook from scales where fleet = ?1 and service = ?2";
        let mut found = self.query(sql, params![subject.fleet, subject.service], |row| {
            Ok(Scale {
                replicas: row.get(0)?,
                playbook: row.get(1)?,
            })
        })?;
        Ok(found.pop())
    }

    /// Remembers what a person asked for by `ship scale`.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn set_scale(
        &mut self,
        subject: &Subject,
        scale: Scale,
        who: &str,
    ) -> Result<(), StoreError> {
        let sql = "insert or replace into scales values (?1, ?2, ?3, ?4, ?5)";
        self.execute(
            sql,
            params![
                subject.fleet,
                subject.service,
                scale.replicas,
                scale.playbook,
                who
            ],
        )
        .map(drop)
    }

    /// How a rollout ended, if it has.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError> {
        let sql = "select outcome from rollouts where id = ?1";
        let found: Option<Option<String>> =
            self.query(sql, params![rollout.0], |row| row.get(0))?.pop();
        found
            .flatten()
            .map(|text| self.decode("a rollout's outcome", &text))
            .transpose()
    }

    /// Forgets what a person asked for by `ship scale`: another number was asked for since.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn forget_scale(&mut self, subject: &Subject) -> Result<(), StoreError> {
        let sql = "delete from scales where fleet = ?1 and service = ?2";
        self.execute(sql, params![subject.fleet, subject.service])
            .map(drop)
    }

    /// Remembers from which inventory a fleet was deployed.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn remember(&mut self, subject: &Subject, inventory: &Path) -> Result<(), StoreError> {
        let inventory = inventory.to_string_lossy();
        self.execute(
            "insert or replace into inventories values (?1, ?2, ?3)",
            params![subject.fleet, subject.service, inventory],
        )
        .map(drop)
    }

    /// The inventories that were deployed from here.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.query(
            "select fleet, service, inventory from inventories order by inventory",
            params![],
            |row| {
                let subject = Subject {
                    fleet: row.get(0)?,
                    service: row.get(1)?,
                };
                Ok(KnownInventory {
                    subject,
                    inventory: PathBuf::from(row.get::<_, String>(2)?),
                })
            },
        )
    }

    /// Every release that any revision of any fleet and service refers to.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        let texts: Vec<(String, String)> = self.query(
            "select distinct release, definition from revisions",
            params![],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        texts
            .into_iter()
            .map(|(release, text)| {
                Ok((
                    ReleaseId::from(release),
                    self.decode("a revision's definition", &text)?,
                ))
            })
            .collect()
    }

    /// What a process that is called from here shows to go on under this one's lease; `None` where
    /// it holds none.
    pub fn lease_token(&self) -> Option<&str> {
        self.held.as_ref().map(|(_, holder)| holder.token.as_str())
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            source,
        }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|source| self.failed(source))
    }

    /// The journal of the newest rollout of a revision, if there was one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn journal_of(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(self
            .newest_of(subject, Some(revision))?
            .map(|(_, journal)| journal))
    }

    /// The journal of the newest rollout, of a revision or of any.
    fn newest_of(
        &self,
        subject: &Subject,
        revision: Option<Revision>,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        let newest: Option<i64> = self
            .query(
                &format!(
                    "select id from rollouts where fleet = ?1 and service = ?2 and (?3 is null or \
                     revision = ?3)
                       and {HAS_BEGUN} order by id desc limit 1"
                ),
                params![
                    subject.fleet,
                    subject.service,
                    revision.map(|revision| revision.0)
                ],
                |row| row.get(0),
            )?
            .pop();
        let Some(newest) = newest else {
            return Ok(None);
        };
        let journal = self.journal(RolloutId(newest))?;
        Ok(Some((RolloutId(newest), journal)))
    }

    fn query<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect())
            .map_err(|source| self.failed(source))
    }

    fn decode<T: DeserializeOwned>(&self, what: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| StoreError::Unreadable {
            path: self.path.clone(),
            what: format!("{what}: {error}"),
        })
    }

    fn encode<T: Serialize>(&self, what: &str, value: &T) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| StoreError::Unreadable {
            path: self.path.clone(),
            what: format!("{what}: {error}"),
        })
    }
}

/// `SQLite` knows signed numbers only. Milliseconds, ticks and epochs are far from the edge.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Store for Sqlite {
    fn revisions(&self, subject: &Subject) -> Result<Vec<RevisionRecord>, StoreError> {
        struct Raw {
            texts: [String; 5],
            revision: u32,
            verb: String,
            proven: bool,
            began: Option<i64>,
            ended: Option<i64>,
            outcome: Option<String>,
        }
        let raw = self.query(
            &format!(
                "select v.revision, v.release, v.definition, v.playbook, v.who, v.cause, v.verb, \
                 v.proven,
                    (select min(began_ms) from rollouts
                     where fleet = v.fleet and service = v.service and revision = v.revision and \
                     {HAS_BEGUN}),
                    r.ended_ms, r.outcome
             from revisions v join rollouts r on r.id = (
                 select max(id) from rollouts
                 where fleet = v.fleet and service = v.service and revision = v.revision
                   and {HAS_BEGUN})
             where v.fleet = ?1 and v.service = ?2 order by v.revision"
            ),
            params![subject.fleet, subject.service],
            |row| {
                Ok(Raw {
                    texts: [
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                    ],
                    revision: row.get(0)?,
                    verb: row.get(6)?,
                    proven: row.get(7)?,
                    began: row.get(8)?,
                    ended: row.get(9)?,
                    outcome: row.get(10)?,
                })
            },
        )?;
        raw.into_iter()
            .map(|raw| {
                let [release, definition, playbook, who, cause] = raw.texts;
                Ok(RevisionRecord {
                    revision: Revision(raw.revision),
                    release: ReleaseId::from(release),
                    definition: self.decode("a revision's definition", &definition)?,
                    playbook,
                    who,
                    cause,
                    verb: self.decode::<Verb>("a revision's verb", &raw.verb)?,
                    began: Time(unsigned(raw.began.unwrap_or(0))),
                    ended: raw.ended.map(|ms| Time(unsigned(ms))),
                    outcome: raw
                        .outcome
                        .map(|text| self.decode("a rollout's outcome", &text))
                        .transpose()?,
                    proven: raw.proven,
                })
            })
            .collect()
    }

    fn add_revision(
        &mut self,
        subject: &Subject,
        new: &NewRevision,
    ) -> Result<Revision, StoreError> {
        let definition = self.encode("a revision's definition", &new.definition)?;
        let verb = self.encode("a revision's verb", &new.verb)?;
        let number: u32 = self
            .query(
                "insert into counters (fleet, service, revision) values (?1, ?2, 1)
                 on conflict do update set revision = revision + 1 returning revision",
                params![subject.fleet, subject.service],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        self.execute(
            "insert into revisions (fleet, service, revision, release, definition, playbook, who, \
             cause, verb)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                subject.fleet,
                subject.service,
                number,
                new.release.as_str(),
                definition,
                new.playbook,
                new.who,
                new.cause,
                verb
            ],
        )?;
        Ok(Revision(number))
    }

    fn retain_revisions(
        &mut self,
        subject: &Subject,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError> {
        let kept: Vec<String> = kept.iter().map(|revision| revision.0.to_string()).collect();
        // Numbers only, so the text is safe to splice; SQLite binds no lists.
        let list = kept.join(", ");
        for table in ["rollouts", "revisions"] {
            self.execute(
                &format!(
                    "delete from {table} where fleet = ?1 and service = ?2 and revision not \
                          in ({list})"
                ),
                params![subject.fleet, subject.service],
            )?;
        }
        Ok(())
    }

    fn begin_rollout(
        &mut self,
        subject: &Subject,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let epoch = self.raise_epoch(subject, seen)?;
        Ok((self.insert_rollout(subject, revision, epoch, now)?, epoch))
    }

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
        // One commit, however many: each waits for the disk.
        let transaction = self
            .connection
            .unchecked_transaction()
            .map_err(|source| self.failed(source))?;
        self.insert_events(rollout, entries)?;
        transaction.commit().map_err(|source| self.failed(source))
    }

    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let text = self.encode("an outcome", outcome)?;
        self.execute(
            "update rollouts set ended_ms = ?1, outcome = ?2 where id = ?3",
            params![signed(now.0), text, rollout.0],
        )?;
        if proven {
            self.execute(
                "update revisions set proven = 1 from rollouts r
                 where r.id = ?1 and revisions.fleet = r.fleet and revisions.service = r.service
                   and revisions.revision = r.revision",
                params![rollout.0],
            )?;
        }
        Ok(())
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let Some((subject, holder)) = &self.held else {
            return Ok(());
        };
        let changed = self.execute(
            "update leases set heartbeat_ms = ?1
             where fleet = ?2 and service = ?3 and host = ?4 and pid = ?5 and pid_started = ?6",
            params![
                signed(now.0),
                subject.fleet,
                subject.service,
                holder.host,
                holder.pid,
                signed(holder.pid_started)
            ],
        )?;
        if changed == 1 {
            Ok(())
        } else {
            Err(StoreError::LeaseLost)
        }
    }

    fn ask(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        let wish = self.encode("a request", &request.wish)?;
        let sql = "insert or replace into requests (rollout, wish, who) values (?1, ?2, ?3)";
        self.execute(sql, params![rollout.0, wish, request.by])
            .map(drop)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        let found: Option<(String, String)> = self
            .query(
                "select wish, who from requests where rollout = ?1",
                params![rollout.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .pop();
        found
            .map(|(wish, by)| {
                Ok(Request {
                    wish: self.decode("a request", &wish)?,
                    by,
                })
            })
            .transpose()
    }

    fn newest_journal(
        &self,
        subject: &Subject,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        self.newest_of(subject, None)
    }
}

#[cfg(test)]
mod tests;
