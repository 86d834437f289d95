//! Connections to the servers of a URL.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row};

use super::error::{PostgresError, PostgresErrorKind, PostgresTask};
use super::schema::{PostgresSchema, SCHEMA_VERSION, SchemaState};
use super::settings::{PostgresHost, PostgresSettings};
use crate::store::records::StoreAccess;

/// Opens connections.
pub(super) struct PostgresConnector {
    pub(super) settings: PostgresSettings,
    pub(super) schema: PostgresSchema,
    pub(super) access: StoreAccess,
    /// The host that worked last. It is tried first.
    preferred: AtomicUsize,
}

/// An open connection. It is closed when this value is dropped.
pub(super) struct PostgresConnection {
    client: Client,
    driver: JoinHandle<()>,
    /// Whether the tables are there.
    ready: AtomicBool,
}

impl PostgresConnector {
    pub(super) fn new(settings: PostgresSettings, access: StoreAccess) -> Self {
        Self {
            schema: PostgresSchema::new(&settings.schema),
            settings,
            access,
            preferred: AtomicUsize::new(0),
        }
    }

    /// The error for what the server answered.
    pub(super) fn failed(
        &self,
        task: PostgresTask,
        error: &tokio_postgres::Error,
    ) -> PostgresError {
        PostgresError::from_server(task, &self.settings.names, error)
    }

    /// Connects to the first host that can be used, and prepares the schema.
    ///
    /// # Errors
    /// If there is none, or the schema cannot be used.
    pub(super) async fn connect(&self) -> Result<PostgresConnection, PostgresError> {
        let connection = self.connect_with_messages(None).await?;
        self.prepare(&connection).await?;
        Ok(connection)
    }

    /// Connects to the first host that can be used. Notifications go to `messages`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn connect_with_messages(
        &self,
        messages: Option<mpsc::UnboundedSender<String>>,
    ) -> Result<PostgresConnection, PostgresError> {
        let hosts = &self.settings.hosts;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failures: Vec<PostgresError> = Vec::new();
        for number in (0..hosts.len()).map(|number| (first + number) % hosts.len()) {
            match self.connect_to(&hosts[number], messages.as_ref()).await {
                Ok(connection) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) if error.kind == PostgresErrorKind::Rejected => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        let hint = failures.last().map(|error| error.hint.clone());
        let whys: Vec<String> = failures.into_iter().map(|error| error.why).collect();
        Err(PostgresError::unavailable(
            whys.join("; "),
            hint.unwrap_or_default(),
        ))
    }

    /// Connects to a host at the first of its addresses that can be used.
    async fn connect_to(
        &self,
        host: &PostgresHost,
        messages: Option<&mpsc::UnboundedSender<String>>,
    ) -> Result<PostgresConnection, PostgresError> {
        let named = |mut error: PostgresError| {
            error.why = format!("{}: {}", host.shown(), error.why);
            error
        };
        if host.is_socket() {
            return self.connect_at(host, None, messages).await.map_err(named);
        }
        let mut failure = None;
        for address in self.resolve(host).await.map_err(named)? {
            match self.connect_at(host, Some(address), messages).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.kind == PostgresErrorKind::Rejected => {
                    return Err(named(error));
                }
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.unwrap_or_else(|| unresolved("the name has no address"));
        Err(named(failure))
    }

    /// The addresses of a host.
    async fn resolve(&self, host: &PostgresHost) -> Result<Vec<IpAddr>, PostgresError> {
        let limit = self.settings.connect_timeout;
        let lookup = tokio::net::lookup_host((host.host.as_str(), host.port));
        match timeout(limit, lookup).await {
            Ok(Ok(addresses)) => Ok(addresses.map(|address: SocketAddr| address.ip()).collect()),
            Ok(Err(error)) => Err(unresolved(&error.to_string())),
            Err(_) => Err(unresolved("no answer before the deadline")),
        }
    }

    async fn connect_at(
        &self,
        host: &PostgresHost,
        address: Option<IpAddr>,
        messages: Option<&mpsc::UnboundedSender<String>>,
    ) -> Result<PostgresConnection, PostgresError> {
        let mut config = host.config.clone();
        config.port(host.port);
        match address {
            // The name is what the certificate is for.
            Some(address) => config.host(&host.host).hostaddr(address),
            None => config.host_path(&host.host),
        };
        let limit = self.settings.connect_timeout;
        let (client, mut connection) = timeout(limit, config.connect(host.tls.clone()))
            .await
            .map_err(|_| PostgresTask::Connect.timed_out())?
            .map_err(|error| self.failed(PostgresTask::Connect, &error))?;
        let messages = messages.cloned();
        let driver = tokio::spawn(async move {
            drive(messages, |context| connection.poll_message(context)).await;
        });
        Ok(PostgresConnection {
            client,
            driver,
            ready: AtomicBool::new(false),
        })
    }

    /// Makes sure that the tables can be used. Returns whether they are there: if they are not,
    /// only writers create them.
    ///
    /// # Errors
    /// If they belong to a newer version or to another program, or cannot be created.
    pub(super) async fn prepare(
        &self,
        connection: &PostgresConnection,
    ) -> Result<bool, PostgresError> {
        if connection.ready.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let mut state = self.schema_state(connection).await?;
        if matches!(state, SchemaState::Absent | SchemaState::Outdated)
            && self.access == StoreAccess::Write
        {
            let statement = self.schema.prepare();
            let prepared = connection.run(&statement).await;
            prepared.map_err(|error| self.failed(PostgresTask::CreateSchema, &error))?;
            state = self.schema_state(connection).await?;
        }
        let schema = &self.settings.names.schema;
        match state {
            SchemaState::Ready => {
                connection.ready.store(true, Ordering::Relaxed);
                Ok(true)
            }
            SchemaState::Absent => Ok(false),
            SchemaState::Outdated => Err(PostgresError::rejected(
                format!("the schema {schema} is of an older version of ship"),
                "run a command that writes, for example `ship deploy`, as the owner of the schema",
            )),
            SchemaState::Newer(version) => Err(PostgresError::rejected(
                format!(
                    "the schema {schema} has version {version}, and this version of ship knows \
                     only versions up to {SCHEMA_VERSION}"
                ),
                "use the newer version of ship",
            )),
        }
    }

    async fn schema_state(
        &self,
        connection: &PostgresConnection,
    ) -> Result<SchemaState, PostgresError> {
        let task = PostgresTask::CheckSchema;
        let failed = |error: tokio_postgres::Error| self.failed(task, &error);
        let version = connection.query(&self.schema.select_version(), &[]).await;
        let version = version.map_err(failed);
        match version {
            Ok(rows) => {
                let row = rows.first();
                let version: i32 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
                return Ok(SchemaState::of_version(version));
            }
            Err(error) if error.kind == PostgresErrorKind::MissingTable => {}
            Err(error) => return Err(error),
        }
        let name = self.schema.name();
        let counted = connection
            .query(PostgresSchema::count_tables(), &[(&name, Type::TEXT)])
            .await
            .map_err(failed)?;
        let count: i64 = match counted.first() {
            Some(row) => row.try_get(0).map_err(failed)?,
            None => 0,
        };
        if count == 0 {
            return Ok(SchemaState::Absent);
        }
        // Another process may just have created them.
        let version = connection.query(&self.schema.select_version(), &[]).await;
        let schema = &self.settings.names.schema;
        match version.map_err(failed) {
            Ok(rows) if rows.len() == 1 => {
                let version: i32 = rows[0].try_get(0).map_err(failed)?;
                Ok(SchemaState::of_version(version))
            }
            Err(error) if error.kind != PostgresErrorKind::MissingTable => Err(error),
            _ => Err(PostgresError::rejected(
                format!("the schema {schema} contains tables of another program"),
                "name another schema with ?schema=NAME in the URL",
            )),
        }
    }
}

impl PostgresConnection {
    /// Runs a statement in one round trip, without a prepared statement, so that it works with
    /// poolers.
    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.client.query_typed(statement, parameters).await
    }

    /// Runs a statement in one round trip; returns the number of changed rows.
    pub(super) async fn execute(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<u64, tokio_postgres::Error> {
        self.client.execute_typed(statement, parameters).await
    }

    /// Runs a statement without parameters and results.
    pub(super) async fn run(&self, statement: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(statement).await
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.is_finished()
    }

    /// Closes the connection without waiting for outstanding answers. A statement that is running
    /// is not cancelled: if it waits for a synchronous standby, cancelling it would make it visible
    /// before it is durable.
    pub(super) fn abandon(&self) {
        self.driver.abort();
    }
}

/// Transfers data until the connection is closed, and passes notifications on.
async fn drive<F>(messages: Option<mpsc::UnboundedSender<String>>, mut poll: F)
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>>,
{
    while let Some(Ok(message)) = poll_fn(&mut poll).await {
        if let (AsyncMessage::Notification(notification), Some(messages)) = (message, &messages)
            && messages.send(notification.payload().to_owned()).is_err()
        {
            return;
        }
    }
}

fn unresolved(why: &str) -> PostgresError {
    PostgresError::unavailable(
        format!("cannot resolve the name of the host: {why}"),
        "check the name in the URL and the name servers of this machine",
    )
}
