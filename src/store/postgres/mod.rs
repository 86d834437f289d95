//! The database `PostgreSQL`. [`schema`] lists the privileges that roles need.

mod connection;
mod error;
mod passfile;
mod schema;
mod settings;
mod statement;
mod tls;
mod url;
mod watcher;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use self::connection::{PostgresConnection, PostgresConnector};
use self::error::{PostgresError, PostgresErrorKind, PostgresTask};
use self::schema::PostgresSchema;
use self::settings::PostgresSettings;
use self::statement::{CommitArrays, RangeBounds};
use self::watcher::PostgresWatcher;
use super::database::{CommitResult, Database, KeyRange, Snapshot, StoredRecord, Transaction};
use super::error::StoreError;
use super::network::NetworkThread;
use super::records::StoreAccess;
use crate::core::time::Time;

/// The longest time for connecting, over all hosts and addresses, and for preparing the schema.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
const STATEMENT_DEADLINE: Duration = Duration::from_secs(5);

/// The records in a `PostgreSQL` database.
///
/// It connects when it is first used, and again when the connection was lost. Statements are not
/// prepared and set nothing, so a pooler such as `PgBouncer` may be in between; only
/// [`Database::watch`] needs a session of its own, and without one nothing is reported.
pub struct Postgres {
    network: NetworkThread,
    connector: Arc<PostgresConnector>,
    connection: Mutex<Option<Arc<PostgresConnection>>>,
    watcher: PostgresWatcher,
}

impl Postgres {
    /// Reads a URL such as `postgres://anna@db1,db2/state`. What it does not say is taken from the
    /// environment, as `psql` does: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`,
    /// `PGPASSFILE` or `~/.pgpass`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGCONNECT_TIMEOUT`, `PGOPTIONS`
    /// and others. `?schema=NAME` names another schema than `ship`.
    ///
    /// Unless `sslmode` is given, the connection to another machine uses TLS, and the server's
    /// certificate must be valid for the host of the URL (`verify-full`). On the same machine the
    /// default is `prefer`. `require` encrypts, but verifies the certificate only if there is a
    /// file with authorities, and then not the name in it, as with libpq.
    ///
    /// # Errors
    /// If the URL, the environment or a file that they name is not valid. Nothing is connected yet.
    pub fn open(url: &str, access: StoreAccess) -> Result<Self, StoreError> {
        // The URL may contain a password wherever it is not valid.
        let settings = PostgresSettings::from_environment(url, access)
            .map_err(|error| error.at("PostgreSQL"))?;
        let network = NetworkThread::start().map_err(|error| {
            let why = format!("cannot start a thread: {error}");
            PostgresError::unavailable(why, "raise the limit of processes of this user")
                .at(&settings.location)
        })?;
        Ok(Self {
            network,
            connector: Arc::new(PostgresConnector::new(settings, access)),
            connection: Mutex::new(None),
            watcher: PostgresWatcher::default(),
        })
    }

    /// Adds the location to an error.
    fn located(&self, error: PostgresError) -> StoreError {
        error.at(&self.connector.settings.location)
    }

    /// The open connection, or a new one.
    fn connection(&self) -> Result<Arc<PostgresConnection>, PostgresError> {
        let mut current = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = current.as_ref().filter(|open| !open.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        let connector = Arc::clone(&self.connector);
        let connection = self
            .network
            .run(CONNECT_DEADLINE, async move { connector.connect().await })
            .unwrap_or_else(|_| Err(PostgresTask::Connect.timed_out()))?;
        let connection = Arc::new(connection);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Closes the connection after an error that says that it cannot be used any more, or that
    /// another server may be the right one now.
    fn close(&self) {
        let mut current = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = current.take() {
            connection.abandon();
        }
    }

    /// Runs a request on the connection.
    fn run<T, F>(
        &self,
        task: PostgresTask,
        request: impl FnOnce(Arc<PostgresConnector>, Arc<PostgresConnection>) -> F,
    ) -> Result<T, PostgresError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PostgresError>> + Send + 'static,
    {
        let connection = self.connection()?;
        let request = request(Arc::clone(&self.connector), connection);
        let result = self
            .network
            .run(STATEMENT_DEADLINE, request)
            .unwrap_or_else(|_| Err(task.timed_out()));
        if let Err(error) = &result
            && error.kind != PostgresErrorKind::Duplicate
        {
            self.close();
        }
        result
    }

    /// Runs a request that changes nothing. If the connection is lost, repeats it once on another.
    fn run_twice<T, F>(
        &self,
        task: PostgresTask,
        request: impl Fn(Arc<PostgresConnector>, Arc<PostgresConnection>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PostgresError>> + Send + 'static,
    {
        let first = self.run(task, &request);
        let result = match first {
            Err(error) if error.kind == PostgresErrorKind::Lost => self.run(task, &request),
            other => other,
        };
        result.map_err(|error| self.located(error))
    }
}

impl Database for Postgres {
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        let ranges = ranges.to_vec();
        self.run_twice(PostgresTask::Read, |connector, connection| {
            read(connector, connection, ranges.clone())
        })
    }

    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        let arrays = CommitArrays::new(transaction);
        if arrays.contains_zero() {
            let why = "cannot write records: a key or value contains a zero byte";
            return Err(self.located(PostgresError::rejected(why, "remove the zero byte")));
        }
        let result = self.run(PostgresTask::Commit, |connector, connection| {
            commit(connector, connection, arrays)
        });
        match result {
            // Another program, which did not call the function `commit`, inserted the same key.
            Err(error) if error.kind == PostgresErrorKind::Duplicate => Ok(CommitResult::Refused),
            other => other.map_err(|error| self.located(error)),
        }
    }

    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
        let key = key.to_owned();
        let result = self.run(
            PostgresTask::Renew,
            async move |connector: Arc<PostgresConnector>, connection: Arc<PostgresConnection>| {
                let created = i64::try_from(created).unwrap_or(i64::MAX);
                connection
                    .execute(
                        &connector.schema.renew(),
                        &[(&key, Type::TEXT), (&created, Type::INT8)],
                    )
                    .await
                    .map(|rows| rows > 0)
                    .map_err(|error| connector.failed(PostgresTask::Renew, &error))
            },
        );
        result.map_err(|error| self.located(error))
    }

    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>> {
        let (receiver, is_first) = self.watcher.subscribe(key);
        if is_first {
            let watcher = self.watcher.clone();
            self.network.spawn(watcher.run(Arc::clone(&self.connector)));
        }
        Some(receiver)
    }

    fn location(&self) -> String {
        self.connector.settings.location.clone()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.run_twice(
            PostgresTask::Measure,
            async |connector: Arc<PostgresConnector>, connection: Arc<PostgresConnection>| {
                let task = PostgresTask::Measure;
                let name = connector.schema.name();
                let rows = connection
                    .query(PostgresSchema::size(), &[(&name, Type::TEXT)])
                    .await
                    .map_err(|error| connector.failed(task, &error))?;
                let size = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0));
                size.map(unsigned)
                    .map_err(|error| connector.failed(task, &error))
            },
        )
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("location", &self.connector.settings.location)
            .finish_non_exhaustive()
    }
}

async fn read(
    connector: Arc<PostgresConnector>,
    connection: Arc<PostgresConnection>,
    ranges: Vec<KeyRange>,
) -> Result<Snapshot, PostgresError> {
    let task = PostgresTask::Read;
    let failed = |error: tokio_postgres::Error| connector.failed(task, &error);
    let ready = connector.prepare(&connection).await?;
    if !ready || ranges.is_empty() {
        let rows = connection.query(PostgresSchema::read_time(), &[]).await;
        let rows = rows.map_err(failed)?;
        let at = rows.first().map_or(Ok(0), |row| row.try_get(0));
        return Ok(Snapshot {
            at: time(at.map_err(failed)?),
            ranges: vec![Vec::new(); ranges.len()],
        });
    }
    let bounds = RangeBounds::new(&ranges);
    let rows = connection
        .query(
            &connector.schema.read(),
            &[
                (&bounds.low, Type::TEXT_ARRAY),
                (&bounds.high, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(failed)?;
    snapshot(&rows, ranges.len()).map_err(failed)
}

async fn commit(
    connector: Arc<PostgresConnector>,
    connection: Arc<PostgresConnection>,
    arrays: CommitArrays,
) -> Result<CommitResult, PostgresError> {
    let failed = |error: tokio_postgres::Error| connector.failed(PostgresTask::Commit, &error);
    let rows = connection
        .query(
            &connector.schema.commit(),
            &[
                (&arrays.condition_kinds, Type::TEXT_ARRAY),
                (&arrays.condition_keys, Type::TEXT_ARRAY),
                (&arrays.condition_revisions, Type::INT8_ARRAY),
                (&arrays.write_kinds, Type::TEXT_ARRAY),
                (&arrays.write_keys, Type::TEXT_ARRAY),
                (&arrays.write_values, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(failed)?;
    let revision = rows.first().map_or(Ok(None), |row| row.try_get(0));
    let revision: Option<i64> = revision.map_err(failed)?;
    Ok(revision.map_or(CommitResult::Refused, |revision| {
        CommitResult::Committed(unsigned(revision))
    }))
}

/// Collects the rows of [`PostgresSchema::read`].
fn snapshot(rows: &[Row], ranges: usize) -> Result<Snapshot, tokio_postgres::Error> {
    let mut snapshot = Snapshot {
        at: Time::default(),
        ranges: vec![Vec::new(); ranges],
    };
    for row in rows {
        let number: i64 = row.try_get(0)?;
        snapshot.at = time(row.try_get(1)?);
        // A range without records has one row without a key.
        let Some(key) = row.try_get::<_, Option<String>>(2)? else {
            continue;
        };
        let age: i64 = row.try_get(6)?;
        let record = StoredRecord {
            key,
            value: row.try_get(3)?,
            created: unsigned(row.try_get(4)?),
            modified: unsigned(row.try_get(5)?),
            age: Duration::from_micros(unsigned(age)),
        };
        // The server counts from 1.
        let range = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(range) = snapshot.ranges.get_mut(range) {
            range.push(record);
        }
    }
    Ok(snapshot)
}

/// A time in microseconds since the Unix epoch.
fn time(micros: i64) -> Time {
    Time(unsigned(micros) / 1000)
}

/// Zero for a negative number. Only ages can be negative: if the server's clock was set back.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
