//! The store on the control machine: one `SQLite` file, readable by another process meanwhile.

mod inventories;
mod lease;
mod migrations;
mod requests;
mod revisions;
mod rollouts;
mod schema;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::schema::{SCHEMA_VERSION, migrate};
use super::lease::Holder;
use crate::core::ids::{Epoch, Revision};
use crate::core::rollout::event::Entry;
use crate::store::contract::{Leases as _, Rollouts as _};
use crate::store::error::StoreError;
use crate::store::place::{Access, StateDir};
use crate::store::records::{RolloutId, ServiceKey};
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
    /// The lease that this process holds, if any.
    held: Option<(ServiceKey, Holder)>,
    /// The copy that is read instead of the file, if there is one.
    copy: Option<tempfile::TempDir>,
}

impl Drop for Sqlite {
    /// A verb that is refused after it took the lease gives it back. If that fails, the lease
    /// expires.
    fn drop(&mut self) {
        drop(self.release_lease());
    }
}

/// Whether the file system or its permissions keep a database from being opened or written.
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
    pub fn open(place: &StateDir) -> Result<Self, StoreError> {
        Self::open_for(place, Access::OwnerOnly)
    }

    /// [`Sqlite::open`] for a place through which others pass, too.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_for(place: &StateDir, access: Access) -> Result<Self, StoreError> {
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
    pub fn open_to_read(place: &StateDir) -> Result<Self, StoreError> {
        Ok(match Self::open_existing(place)? {
            Some(store) => store,
            None => Self::over(Connection::open_in_memory(), &place.database(), true)?,
        })
    }

    /// Opens the store of a place to read it, if there is one.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_existing(place: &StateDir) -> Result<Option<Self>, StoreError> {
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

    /// Copies the database, since write-ahead mode needs files beside it even to read.
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
    fn raise_epoch(&self, subject: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
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

    /// The journal of the newest rollout, of one revision or of any.
    fn newest_of(
        &self,
        subject: &ServiceKey,
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

/// `SQLite` only has signed numbers. Milliseconds, ticks and epochs are far below the limit.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;
