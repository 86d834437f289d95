//! The tables, and the migrations from earlier versions.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::conversion;
use super::migration_error::MigrationError;
use crate::store::error::StoreError;
use crate::system::random;

/// The version of the schema, in `user_version`. A database of a newer version of ship is rejected
/// rather than misread.
pub(super) const SCHEMA_VERSION: i64 = 6;

/// Version 1 of the schema.
#[cfg(test)]
pub(super) const SCHEMA: &str = "
    create table revisions (
        fleet text not null, service text not null, revision integer not null,
        release text not null, definition text not null, playbook text not null,
        who text not null, cause text not null, verb text not null,
        proven integer not null default 0,
        primary key (fleet, service, revision)
    ) without rowid;
    create table rollouts (
        id integer primary key,
        fleet text not null, service text not null, revision integer not null, epoch integer not \
        null,
        began_ms integer not null, ended_ms integer, outcome text
    );
    create index rollouts_by_revision on rollouts (fleet, service, revision);
    create table events (
        rollout integer not null references rollouts (id) on delete cascade,
        seq integer not null, entry text not null,
        primary key (rollout, seq)
    ) without rowid;
    create table counters (
        fleet text not null, service text not null, epoch integer not null default 0, revision \
        integer not null default 0,
        primary key (fleet, service)
    ) without rowid;
    create table leases (
        fleet text not null, service text not null,
        owner text not null, host text not null, pid integer not null, pid_started integer not null,
        run text not null, since_ms integer not null, heartbeat_ms integer not null,
        primary key (fleet, service)
    ) without rowid;
    create table inventories (
        fleet text not null, service text not null, inventory text not null,
        primary key (fleet, service)
    ) without rowid;
";

/// The additions of version 2.
pub(super) const SCHEMA_2: &str = "
    alter table leases add column token text not null default '';
    create table requests (
        rollout integer primary key references rollouts (id) on delete cascade,
        wish text not null, who text not null
    );
    create table scales (
        fleet text not null, service text not null, replicas integer not null, playbook integer \
        not null, who text not null,
        primary key (fleet, service)
    ) without rowid;
";

/// The additions of version 3.
pub(super) const SCHEMA_3: &str = "
    create table freezes (
        fleet text not null, service text not null, who text not null, since_ms integer not null, \
        until_ms integer,
        why text not null, primary key (fleet, service)
    ) without rowid;
    create table migrations (
        fleet text not null, service text not null, id text not null, kind text not null, \
        revision integer not null,
        version text not null, host text not null, began_ms integer not null, ended_ms integer, \
        state text not null,
        primary key (fleet, service, id)
    ) without rowid;
";

/// The addition of version 4: the id with which hosts identify the history.
pub(super) const SCHEMA_4: &str = "create table identity (id text not null);";

/// The change of version 5: the column is named after `--reason`.
pub(super) const SCHEMA_5: &str = "
    alter table revisions rename column cause to reason;
    alter table requests rename column wish to command;
";

/// The tables of version 6, which replace all others: records with keys, as in every database.
const SCHEMA_6: &str = "
    create table records (
        key text primary key, value text not null, created integer not null,
        modified integer not null, written_ms integer not null
    ) without rowid;
    create table counter (revision integer not null);
    insert into counter values (0);
";

/// Updates a database; returns its previous version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<i64, StoreError> {
    try_migrate(connection).map_err(|error| match error {
        MigrationError::Database(source) => StoreError::Database {
            path: path.to_owned(),
            source,
        },
        MigrationError::Unreadable(what) => StoreError::Unreadable {
            location: path.display().to_string(),
            what,
        },
        MigrationError::InUse(holder) => StoreError::Rejected {
            location: path.display().to_string(),
            why: format!("an older version of ship uses it ({holder})"),
            hint: "wait until that process has finished, or stop it".to_owned(),
        },
    })
}

fn try_migrate(connection: &mut Connection) -> Result<i64, MigrationError> {
    // Read first without a transaction, so that an up-to-date database need not wait for another
    // writer.
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version >= SCHEMA_VERSION {
        return Ok(version);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < SCHEMA_VERSION {
        if version > 0 {
            update_tables(&transaction, version)?;
        }
        transaction.execute_batch(SCHEMA_6)?;
        if version > 0 {
            conversion::convert(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(version)
}

/// Brings the tables of an earlier version to version 5.
fn update_tables(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    if version < 2 {
        transaction.execute_batch(SCHEMA_2)?;
    }
    if version < 3 {
        transaction.execute_batch(SCHEMA_3)?;
    }
    if version < 4 {
        transaction.execute_batch(SCHEMA_4)?;
        transaction.execute("insert into identity values (?1)", [random::id()])?;
    }
    if version < 5 {
        transaction.execute_batch(SCHEMA_5)?;
    }
    Ok(())
}
