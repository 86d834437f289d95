//! The database on the control machine: one `SQLite` file, which other processes can read
//! concurrently.

mod conversion;
mod migration_error;
mod schema;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Transaction as SqlTransaction,
    TransactionBehavior, params,
};
use tokio::sync::watch;

use self::schema::{SCHEMA_VERSION, migrate};
use self::units::{signed, unsigned, wall};
use crate::core::time::Time;
use crate::store::database::{
    CommitResult, Condition, Database, KeyRange, Snapshot, StoredRecord, Transaction, Write,
    end_of_prefix,
};
use crate::store::error::StoreError;
use crate::store::state_dir::{Access, StateDir};
use crate::trust;

/// How long to wait for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The clock of the machine, which tests replace.
type SqliteClock = Box<dyn Fn() -> Time + Send>;

/// Records in one `SQLite` file.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    clock: SqliteClock,
    /// The directory with the copy that is read instead of the file, if there is one.
    copy: Option<tempfile::TempDir>,
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
        let version = migrate(&mut connection, path)?;
        if version > SCHEMA_VERSION {
            return Err(StoreError::Rejected {
                location: path.display().to_string(),
                why: format!(
                    "its format is {version}, but this version of ship supports formats up to \
                     {SCHEMA_VERSION}"
                ),
                hint: "use the newer version of ship".to_owned(),
            });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            clock: Box::new(wall),
            copy: None,
        })
    }

    /// Replaces the clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> Time + Send + 'static) -> Self {
        let clock = Box::new(clock);
        Self { clock, ..self }
    }

    fn can_read(&self) -> Result<(), StoreError> {
        self.read(&[KeyRange::Key(String::new())]).map(drop)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            source,
        }
    }

    fn read_range(&self, range: &KeyRange, at: Time) -> rusqlite::Result<Vec<StoredRecord>> {
        let read = |row: &Row<'_>| {
            let written = Time(unsigned(row.get(4)?));
            Ok(StoredRecord {
                key: row.get(0)?,
                value: row.get(1)?,
                created: unsigned(row.get(2)?),
                modified: unsigned(row.get(3)?),
                age: at.since(written),
            })
        };
        let columns = "select key, value, created, modified, written_ms from records";
        match range {
            KeyRange::Key(key) => self
                .connection
                .prepare_cached(&format!("{columns} where key = ?1"))?
                .query_map([key], read)?
                .collect(),
            KeyRange::Prefix(prefix) => self
                .connection
                .prepare_cached(&format!(
                    "{columns} where key >= ?1 and key < ?2 order by key"
                ))?
                .query_map([prefix, &end_of_prefix(prefix)], read)?
                .collect(),
        }
    }

    fn try_commit(&self, transaction: &Transaction) -> rusqlite::Result<CommitResult> {
        // One commit for all writes, because each commit waits for the disk.
        let database =
            SqlTransaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        for condition in &transaction.conditions {
            if !is_met(&database, condition)? {
                return Ok(CommitResult::Refused);
            }
        }
        let revision: i64 = database
            .prepare_cached("update counter set revision = revision + 1 returning revision")?
            .query_row([], |row| row.get(0))?;
        for write in &transaction.writes {
            apply(&database, write, revision, (self.clock)())?;
        }
        database.commit()?;
        Ok(CommitResult::Committed(unsigned(revision)))
    }
}

impl Database for Sqlite {
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        let at = (self.clock)();
        let read = || {
            // The ranges must be of one moment.
            let snapshot =
                SqlTransaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            let ranges: rusqlite::Result<Vec<_>> = ranges
                .iter()
                .map(|range| self.read_range(range, at))
                .collect();
            snapshot.commit()?;
            ranges
        };
        let ranges = read().map_err(|source| self.failed(source))?;
        Ok(Snapshot { at, ranges })
    }

    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        self.try_commit(transaction)
            .map_err(|source| self.failed(source))
    }

    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
        let sql = "update records set written_ms = ?3 where key = ?1 and created = ?2";
        let changed = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.execute(params![key, signed(created), signed((self.clock)().0)])
            })
            .map_err(|source| self.failed(source))?;
        Ok(changed == 1)
    }

    fn watch(&self, _: &str) -> Option<watch::Receiver<u64>> {
        None
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let size = |suffix: &str| {
            let path = format!("{}{suffix}", self.path.display());
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        Ok(size("").saturating_add(size("-wal")))
    }
}

fn is_met(database: &Connection, condition: &Condition) -> rusqlite::Result<bool> {
    let (key, column, expected) = match condition {
        Condition::Absent { key } => (key, "created", None),
        Condition::CreatedBy { key, revision } => (key, "created", Some(*revision)),
        Condition::ModifiedBy { key, revision } => (key, "modified", Some(*revision)),
    };
    let found: Option<i64> = database
        .prepare_cached(&format!("select {column} from records where key = ?1"))?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(found.map(unsigned) == expected)
}

fn apply(
    database: &Connection,
    write: &Write,
    revision: i64,
    now: Time,
) -> rusqlite::Result<usize> {
    match write {
        Write::Put { key, value } | Write::PutExpiring { key, value } => database
            .prepare_cached(
                "insert into records (key, value, created, modified, written_ms)
                 values (?1, ?2, ?3, ?3, ?4)
                 on conflict do update set value = excluded.value, modified = excluded.modified,
                   written_ms = excluded.written_ms",
            )?
            .execute(params![key, value, revision, signed(now.0)]),
        Write::Delete(KeyRange::Key(key)) => database
            .prepare_cached("delete from records where key = ?1")?
            .execute([key]),
        Write::Delete(KeyRange::Prefix(prefix)) => database
            .prepare_cached("delete from records where key >= ?1 and key < ?2")?
            .execute([prefix, &end_of_prefix(prefix)]),
    }
}

#[cfg(test)]
mod tests;
