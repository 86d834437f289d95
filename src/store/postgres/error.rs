//! What goes wrong with a `PostgreSQL` server, and what to do about it.

use std::error::Error as StdError;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::store::error::StoreError;

/// An error before the location is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PostgresError {
    pub(super) kind: PostgresErrorKind,
    /// What was being done, and what the server answered.
    pub(super) why: String,
    pub(super) hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostgresErrorKind {
    /// The connection ended, or the server ends it. A statement may have been executed.
    Lost,
    /// The server cannot be reached or cannot do it now.
    Unavailable,
    Rejected,
    /// Another program inserted a row with the same key. Nothing was written.
    Duplicate,
    /// A table of ship is missing.
    MissingTable,
}

/// What was being done, for messages and hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostgresTask {
    Connect,
    CheckSchema,
    CreateSchema,
    Read,
    Commit,
    Renew,
    Measure,
    Listen,
}

/// The names that hints contain.
#[derive(Clone, Debug)]
pub(super) struct PostgresNames {
    pub(super) role: String,
    pub(super) database: String,
    /// The schema, quoted.
    pub(super) schema: String,
    /// Why a password file was not used.
    pub(super) password_note: Option<String>,
}

/// Raised by [`schema`](super::schema) if the schema contains other tables.
pub(super) const FOREIGN_TABLES: &str = "SHIP1";
/// Raised by [`schema`](super::schema) if the database does not store UTF-8.
pub(super) const WRONG_ENCODING: &str = "SHIP2";

impl PostgresError {
    pub(super) fn rejected(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(PostgresErrorKind::Rejected, why, hint)
    }

    pub(super) fn unavailable(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(PostgresErrorKind::Unavailable, why, hint)
    }

    pub(super) fn new(
        kind: PostgresErrorKind,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (why, hint) = (why.into(), hint.into());
        Self { kind, why, hint }
    }

    /// The error for callers of the store.
    pub(super) fn at(self, location: &str) -> StoreError {
        let location = location.to_owned();
        let Self { kind, why, hint } = self;
        match kind {
            PostgresErrorKind::Lost | PostgresErrorKind::Unavailable => StoreError::Unavailable {
                location,
                why,
                hint,
            },
            PostgresErrorKind::Rejected
            | PostgresErrorKind::Duplicate
            | PostgresErrorKind::MissingTable => StoreError::Rejected {
                location,
                why,
                hint,
            },
        }
    }

    /// Interprets what the library or the server says.
    pub(super) fn from_server(
        task: PostgresTask,
        names: &PostgresNames,
        error: &tokio_postgres::Error,
    ) -> Self {
        let doing = task.doing();
        if let Some(answer) = error.as_db_error() {
            return answered(task, names, answer);
        }
        if let Some(tls) = find_source::<rustls::Error>(error) {
            return tls_failed(doing, tls);
        }
        let cause = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        // The library does not publish the kinds of its errors; these texts name them.
        match error.to_string().as_str() {
            "invalid configuration" if cause == "password missing" => {
                let note = names.password_note.as_ref();
                let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
                Self::rejected(
                    format!(
                        "{doing}: the server asks for the password of role `{}`, and there is \
                         none{note}",
                        names.role
                    ),
                    "set PGPASSWORD, or add a line to ~/.pgpass, which only you may read",
                )
            }
            "error performing TLS handshake" => match find_source::<io::Error>(error) {
                Some(failed) => Self::new(
                    PostgresErrorKind::Lost,
                    format!("{doing}: the TLS handshake failed: {failed}"),
                    REACH_HINT,
                ),
                None => Self::rejected(
                    format!("{doing}: {cause}"),
                    "enable TLS on the server (`ssl = on`), or add ?sslmode=disable on a \
                     private network",
                ),
            },
            "authentication error" | "invalid configuration" => Self::rejected(
                format!("{doing}: {cause}"),
                "check the password, and the method in pg_hba.conf; ship supports scram-sha-256, \
                 md5 and password",
            ),
            "error connecting to server" => match find_source::<io::Error>(error) {
                Some(failed) if failed.kind() == io::ErrorKind::PermissionDenied => {
                    Self::unavailable(format!("{doing}: {failed}"), PRIMARY_HINT)
                }
                _ => Self::unavailable(format!("{doing}: {cause}"), REACH_HINT),
            },
            "error communicating with the server" | "connection closed" => Self::new(
                PostgresErrorKind::Lost,
                format!("{doing}: the connection was lost: {cause}"),
                REACH_HINT,
            ),
            other => Self::rejected(
                format!("{doing}: {other}: {cause}"),
                "check that the URL names a PostgreSQL server and the schema of ship",
            ),
        }
    }
}

const REACH_HINT: &str =
    "check that PostgreSQL is running there and can be reached, then try again";
const PRIMARY_HINT: &str =
    "only the primary can be written: name it, or all hosts of the cluster, in the URL";
const LATER_HINT: &str = "try again";

impl PostgresTask {
    fn doing(self) -> &'static str {
        match self {
            PostgresTask::Connect => "cannot connect",
            PostgresTask::CheckSchema => "cannot read the version of the schema",
            PostgresTask::CreateSchema => "cannot create the schema",
            PostgresTask::Read => "cannot read records",
            PostgresTask::Commit => "cannot write records",
            PostgresTask::Renew => "cannot renew the lease",
            PostgresTask::Measure => "cannot determine the size of the tables",
            PostgresTask::Listen => "cannot listen for changes",
        }
    }

    /// The error of a request that was not answered in time.
    pub(super) fn timed_out(self) -> PostgresError {
        PostgresError::new(
            PostgresErrorKind::Unavailable,
            format!("{}: no answer before the deadline", self.doing()),
            "check the load of the server and that the network is not interrupted, then try again",
        )
    }
}

/// The error that the server answered with.
fn answered(task: PostgresTask, names: &PostgresNames, answer: &DbError) -> PostgresError {
    use PostgresErrorKind::{Duplicate, Lost, MissingTable, Rejected, Unavailable};
    let code = answer.code();
    let (kind, hint) = match code.code() {
        FOREIGN_TABLES => (
            Rejected,
            format!(
                "name another schema with ?schema=NAME in the URL; {} belongs to another program",
                names.schema
            ),
        ),
        WRONG_ENCODING => (
            Rejected,
            format!(
                "create a database with `createdb --encoding UTF8 --template template0 NAME`; the \
                 encoding of `{}` cannot be changed",
                names.database
            ),
        ),
        "28P01" | "28000" => (Rejected, login_hint(names)),
        // PgBouncer answers nearly everything with this code.
        "08P01"
            if ["no such", "unsupported startup", "auth", "config error"]
                .iter()
                .any(|words| answer.message().contains(words)) =>
        {
            (Rejected, login_hint(names))
        }
        "3D000" => (
            Rejected,
            format!(
                "create the database with `createdb --encoding UTF8 {}`",
                crate::script::quote(&names.database)
            ),
        ),
        "42501" => (Rejected, grant_hint(task, names)),
        "42P01" | "3F000" => (MissingTable, schema_hint(names)),
        "42883" | "42703" | "42P02" | "42P18" => (Rejected, schema_hint(names)),
        "23505" if task == PostgresTask::Commit => (Duplicate, LATER_HINT.to_owned()),
        // Another program creates the same schema at this moment.
        "23505" => (Unavailable, LATER_HINT.to_owned()),
        "53100" => (
            Unavailable,
            "free space on the disk of the server".to_owned(),
        ),
        "53300" => (
            Unavailable,
            "raise max_connections of the server or the role's connection limit, end idle \
             connections, or use a connection pool such as PgBouncer"
                .to_owned(),
        ),
        "57P01" | "57P02" => (Lost, "wait until the server is running again".to_owned()),
        "57P03" => (
            Unavailable,
            "wait until the server has started and recovered".to_owned(),
        ),
        "25006" => (Unavailable, PRIMARY_HINT.to_owned()),
        "55P03" => (
            Unavailable,
            "another process writes the same records; try again".to_owned(),
        ),
        other => match other.get(..2).unwrap_or_default() {
            // Connections, rollbacks by the server (deadlocks), resources, interventions, I/O, and
            // internal errors. Poolers report lost servers with class 08.
            "08" | "40" | "53" | "55" | "57" | "58" | "XX" => (Unavailable, LATER_HINT.to_owned()),
            "54" | "22" => (
                Rejected,
                "the server cannot store such a value; shorten it".to_owned(),
            ),
            _ => (Rejected, schema_hint(names)),
        },
    };
    let mut why = format!(
        "{}: the server answered: {} ({})",
        task.doing(),
        answer.message(),
        code.code()
    );
    if *code == SqlState::INVALID_PASSWORD
        && let Some(note) = &names.password_note
    {
        why = format!("{why} ({note})");
    }
    PostgresError::new(kind, why, hint)
}

fn login_hint(names: &PostgresNames) -> String {
    format!(
        "check the password of role `{}` (PGPASSWORD or ~/.pgpass), that the role exists and may \
         log in, and that pg_hba.conf of the server permits it",
        names.role
    )
}

fn schema_hint(names: &PostgresNames) -> String {
    format!(
        "check that the schema {} was not changed by hand, or name another one with ?schema=NAME in the URL",
        names.schema
    )
}

/// The statements that an administrator runs.
fn grant_hint(task: PostgresTask, names: &PostgresNames) -> String {
    let PostgresNames { schema, .. } = names;
    let role = quote(&names.role);
    match task {
        PostgresTask::CreateSchema => format!(
            "have an administrator run `create schema {schema} authorization {role};`, or `grant \
             create on database {} to {role};`",
            quote(&names.database)
        ),
        PostgresTask::Commit | PostgresTask::Renew => format!(
            "have the owner of the schema run `grant usage on schema {schema} to {role}; grant \
             select, insert, update, delete on all tables in schema {schema} to {role}; grant \
             usage on all sequences in schema {schema} to {role};`"
        ),
        PostgresTask::Connect => format!(
            "have an administrator run `grant connect on database {} to {role};`",
            quote(&names.database)
        ),
        _ => format!(
            "have the owner of the schema run `grant usage on schema {schema} to {role}; grant \
             select on all tables in schema {schema} to {role};`"
        ),
    }
}

/// Quotes an identifier for SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn tls_failed(doing: &str, error: &rustls::Error) -> PostgresError {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    let hint = match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "name the certificate of its authority with ?sslrootcert=FILE"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "use the host name that the certificate is for (subjectAltName), or verify only the \
             authority with ?sslmode=verify-ca"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "renew the server's certificate"
        }
        _ => "check the certificate and the TLS settings of the server",
    };
    PostgresError::rejected(format!("{doing}: TLS failed: {error}"), hint)
}

/// Finds an error of a type in the chain of causes. The cause of an `io::Error` is inside of it.
fn find_source<'a, E: StdError + 'static>(error: &'a tokio_postgres::Error) -> Option<&'a E> {
    let mut next: Option<&'a (dyn StdError + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn StdError + 'static));
        next = inner.or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quote("ship"), "\"ship\"");
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn errors_have_the_location() {
        let error = PostgresError::unavailable("no answer", "try again").at("postgres://db");
        assert_eq!(
            error.to_string(),
            "cannot use the state in postgres://db: no answer\nhint: try again"
        );
        assert!(matches!(error, StoreError::Unavailable { .. }));
        let error = PostgresError::rejected("wrong", "other").at("postgres://db");
        assert!(matches!(error, StoreError::Rejected { .. }));
    }
}
