//! The store on the control machine: one `SQLite` file, which other processes can read
//! concurrently.

mod inventories;
mod lease;
mod requests;
mod revisions;
mod rollouts;
mod schema;
mod service_migrations;
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
use crate::store::records::{RolloutId, ServiceKey};
use crate::store::state_dir::{Access, StateDir};
use crate::system::random;
use crate::trust;

/// How long to wait for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many low bits of an epoch are random. Two controllers with separate stores may count to the
/// same number at the same time, and the hosts would then accept commands from both.
const RANDOM_BITS: u32 = 16;
/// A condition on rows of `rollouts`: the first event is durable, or the rollout has ended. A
/// rollout whose controller died before that does not count.
const HAS_STARTED: &str =
    "(outcome is not null or exists (select 1 from events where rollout = id))";

/// A store in one `SQLite` file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// The lease that this process holds, if any.
    held: Option<(ServiceKey, Holder)>,
    /// The directory with the copy that is read instead of the file, if there is one.
    copy: Option<tempfile::TempDir>,
}

impl Drop for Sqlite {
    /// Releases the lease of a command that failed. If that fails, the lease expires.
    fn drop(&mut self) {
        drop(self.release_lease());
    }
}

/// Whether the file system or its permissions prevent opening or writing the database.
fn is_read_only(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(
        error.sqlite_error_code(),
        Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure)
    )
}

impl Sqlite {
    /// Opens the store of a state directory, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be created or opened, is not trusted, or was written by a newer version
    /// of ship.
    pub fn open(state_dir: &StateDir) -> Result<Self, StoreError> {
        Self::open_for(state_dir, Access::OwnerOnly)
    }

    /// [`Sqlite::open`] for a state directory that other users may traverse.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_for(state_dir: &StateDir, access: Access) -> Result<Self, StoreError> {
        state_dir.make(access)?;
        let path = state_dir.database();
        if !path.exists() {
            // SQLite creates its other files with the mode of this one.
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

    /// Opens the store of a state directory for reading, without changing anything. If there is no
    /// store, returns an empty one. A database that is not writable, or is in a directory that is
    /// not writable, is copied first.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_to_read(state_dir: &StateDir) -> Result<Self, StoreError> {
        Ok(match Self::open_existing(state_dir)? {
            Some(store) => store,
            None => {
                Self::from_connection(Connection::open_in_memory(), &state_dir.database(), true)?
            }
        })
    }

    /// Opens the store of a state directory for reading, if it exists.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_existing(state_dir: &StateDir) -> Result<Option<Self>, StoreError> {
        state_dir.check()?;
        let path = state_dir.database();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            // A file whose metadata cannot be read may exist.
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
        // SQLite must not follow links below the state directory. Links above it are the user's
        // choice.
        let real = path
            .parent()
            .and_then(|dir| Some(dir.canonicalize().ok()?.join(path.file_name()?)));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(real.as_deref().unwrap_or(path), flags);
        Self::from_connection(connection, path, false)
    }

    /// Copies the database, because in write-ahead mode `SQLite` creates files next to it even for
    /// reading.
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
        let mut store =
            Self::from_connection(Connection::open(dir.path().join("ship.db")), path, false)?;
        store.copy = Some(dir);
        Ok(store)
    }

    fn from_connection(
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
                "its format is {version}, but this version of ship supports formats up to {SCHEMA_VERSION}; use the newer version"
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

    /// The next epoch: newer than all earlier ones and than `seen`, and different from those of
    /// other stores.
    fn raise_epoch(&self, service_key: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
        let random_bits = random::number() & ((1 << RANDOM_BITS) - 1);
        let epoch: i64 = self
            .query(
                "insert into counters (fleet, service, epoch) values (?1, ?2, (?3 >> ?4) + 1 << \
                 ?4 | ?5)
                 on conflict do update set epoch = (max(epoch, ?3) >> ?4) + 1 << ?4 | ?5 \
                 returning epoch",
                params![
                    service_key.fleet,
                    service_key.service,
                    signed(seen.0),
                    RANDOM_BITS,
                    signed(random_bits)
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
        service_key: &ServiceKey,
        revision: Option<Revision>,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError> {
        let newest: Option<i64> = self
            .query(
                &format!(
                    "select id from rollouts where fleet = ?1 and service = ?2 and (?3 is null or \
                     revision = ?3)
                       and {HAS_STARTED} order by id desc limit 1"
                ),
                params![
                    service_key.fleet,
                    service_key.service,
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

/// `SQLite` has only signed integers. Milliseconds, ticks and epochs are far below the limit.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;
