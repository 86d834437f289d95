//! Converts the tables of version 5 to records.

use rusqlite::{Transaction, params};
use serde_json::{Value, json};

use super::migration_error::MigrationError;
use super::units::{signed, wall};
use crate::core::ids::Revision;
use crate::core::time::Time;
use crate::store::keys::{self, ServiceKeys};
use crate::store::lease::LEASE_EXPIRES_AFTER;
use crate::store::lease::started_ticks;
use crate::store::records::{RolloutId, ServiceKey};
use crate::store::values::FORMAT;

/// Converts everything, and drops the tables.
pub(super) fn convert(database: &Transaction<'_>) -> Result<(), MigrationError> {
    check_leases(database)?;
    let conversion = Conversion { database };
    conversion.meta()?;
    conversion.revisions()?;
    conversion.rollouts()?;
    conversion.counters()?;
    conversion.settings()?;
    conversion.migrations()?;
    for table in [
        "events",
        "requests",
        "rollouts",
        "revisions",
        "counters",
        "leases",
        "inventories",
        "scales",
        "freezes",
        "migrations",
        "identity",
    ] {
        database.execute_batch(&format!("drop table {table}"))?;
    }
    Ok(())
}

/// Refuses while a process of an older version uses the tables.
fn check_leases(database: &Transaction<'_>) -> Result<(), MigrationError> {
    let mut statement =
        database.prepare("select owner, pid, pid_started, run, heartbeat_ms from leases")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (owner, pid, run): (String, u32, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let (started, heartbeat): (i64, i64) = (row.get(2)?, row.get(4)?);
        let heartbeat = Time(u64::try_from(heartbeat).unwrap_or(0));
        let is_recent = wall().since(heartbeat) <= LEASE_EXPIRES_AFTER;
        if is_recent && started_ticks(pid).map(signed) == Some(started) {
            return Err(MigrationError::InUse(format!("{owner}, pid {pid}, {run}")));
        }
    }
    Ok(())
}

struct Conversion<'a> {
    database: &'a Transaction<'a>,
}

impl Conversion<'_> {
    fn put(&self, key: &str, value: &str) -> rusqlite::Result<()> {
        self.database
            .prepare_cached("insert into records values (?1, ?2, 1, 1, ?3)")?
            .execute(params![key, value, signed(wall().0)])?;
        Ok(())
    }

    fn meta(&self) -> rusqlite::Result<()> {
        let id: String = self
            .database
            .query_row("select id from identity", [], |row| row.get(0))?;
        let meta = json!({ "format": FORMAT, "history": id });
        self.put(keys::META, &meta.to_string())
    }

    fn revisions(&self) -> Result<(), MigrationError> {
        let sql = "select fleet, service, revision, release, definition, playbook, who, reason, \
                   verb, proven from revisions";
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let service_key = ServiceKey {
                fleet: row.get(0)?,
                service: row.get(1)?,
            };
            let value = json!({
                "release": row.get::<_, String>(3)?,
                "definition": parse("a revision's definition", &row.get::<_, String>(4)?)?,
                "playbook": row.get::<_, String>(5)?,
                "who": row.get::<_, String>(6)?,
                "reason": row.get::<_, String>(7)?,
                "verb": parse("a revision's verb", &row.get::<_, String>(8)?)?,
                "proven": row.get::<_, bool>(9)?,
            });
            let key = ServiceKeys::new(&service_key).revision(Revision(row.get(2)?));
            self.put(&key, &value.to_string())?;
        }
        Ok(())
    }

    fn rollouts(&self) -> Result<(), MigrationError> {
        let sql = "select fleet, service, id, revision, epoch, began_ms, ended_ms, outcome from \
                   rollouts";
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut newest = 0;
        while let Some(row) = rows.next()? {
            let service_key = ServiceKey {
                fleet: row.get(0)?,
                service: row.get(1)?,
            };
            let id = RolloutId(row.get(2)?);
            newest = newest.max(id.0);
            let events = self.events(id)?;
            let start = match events.first() {
                Some(first) => start(first)?,
                None => Value::Null,
            };
            let outcome = match row.get::<_, Option<String>>(7)? {
                Some(text) => parse("a rollout's outcome", &text)?,
                None => Value::Null,
            };
            let value = json!({
                "revision": row.get::<_, u32>(3)?,
                "epoch": row.get::<_, i64>(4)?,
                "began": row.get::<_, i64>(5)?,
                "is_started": !events.is_empty(),
                "start": start,
                "ended": row.get::<_, Option<i64>>(6)?,
                "outcome": outcome,
            });
            let key = ServiceKeys::new(&service_key).rollout(id);
            self.put(&key, &value.to_string())?;
            for (at, part) in events.chunks(EVENTS_IN_RECORD).enumerate() {
                let first = at * EVENTS_IN_RECORD + 1;
                let key = keys::events(id, u64::try_from(first).unwrap_or(u64::MAX));
                self.put(&key, &part.join("\n"))?;
            }
        }
        let counters = json!({ "rollout": newest });
        self.put(keys::COUNTERS, &counters.to_string())?;
        Ok(())
    }

    /// The events of a rollout, each in one line.
    fn events(&self, rollout: RolloutId) -> rusqlite::Result<Vec<String>> {
        self.database
            .prepare_cached("select entry from events where rollout = ?1 order by seq")?
            .query_map([rollout.0], |row| row.get(0))?
            .collect()
    }

    fn counters(&self) -> rusqlite::Result<()> {
        let sql = "select fleet, service, epoch, revision from counters";
        self.each(sql, |keys, row| {
            let (epoch, revision): (i64, u32) = (row.get(2)?, row.get(3)?);
            Ok((
                keys.counters(),
                json!({ "epoch": epoch, "revision": revision }),
            ))
        })
    }

    fn settings(&self) -> rusqlite::Result<()> {
        self.each(
            "select fleet, service, inventory from inventories",
            |keys, row| {
                Ok((
                    keys.inventory(),
                    json!({ "path": row.get::<_, String>(2)? }),
                ))
            },
        )?;
        self.each(
            "select fleet, service, replicas, playbook, who from scales",
            |keys, row| {
                let (replicas, playbook): (u32, u32) = (row.get(2)?, row.get(3)?);
                let who: String = row.get(4)?;
                Ok((
                    keys.scale(),
                    json!({ "replicas": replicas, "playbook": playbook, "who": who }),
                ))
            },
        )?;
        self.each(
            "select fleet, service, who, since_ms, until_ms, why from freezes",
            |keys, row| {
                let (since, until): (i64, Option<i64>) = (row.get(3)?, row.get(4)?);
                let (who, why): (String, String) = (row.get(2)?, row.get(5)?);
                Ok((
                    keys.freeze(),
                    json!({ "who": who, "since": since, "until": until, "why": why }),
                ))
            },
        )
    }

    fn migrations(&self) -> rusqlite::Result<()> {
        let sql = "select fleet, service, id, kind, revision, version, host, began_ms, ended_ms, \
                   state from migrations";
        self.each(sql, |keys, row| {
            let value = json!({
                "kind": row.get::<_, String>(3)?,
                "revision": row.get::<_, u32>(4)?,
                "version": row.get::<_, String>(5)?,
                "host": row.get::<_, String>(6)?,
                "began": row.get::<_, i64>(7)?,
                "ended": row.get::<_, Option<i64>>(8)?,
                "state": row.get::<_, String>(9)?,
            });
            Ok((keys.migration(&row.get::<_, String>(2)?), value))
        })
    }

    /// Converts each row of a query whose first columns are the fleet and the service.
    fn each(
        &self,
        sql: &str,
        convert: impl Fn(ServiceKeys, &rusqlite::Row<'_>) -> rusqlite::Result<(String, Value)>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let service_key = ServiceKey {
                fleet: row.get(0)?,
                service: row.get(1)?,
            };
            let (key, value) = convert(ServiceKeys::new(&service_key), row)?;
            self.put(&key, &value.to_string())?;
        }
        Ok(())
    }
}

/// The number of events in one record.
const EVENTS_IN_RECORD: usize = 100;

fn parse(what: &str, text: &str) -> Result<Value, MigrationError> {
    serde_json::from_str(text)
        .map_err(|error| MigrationError::Unreadable(format!("{what}: {error}")))
}

/// How the rollout started, if the first event contains it.
fn start(first: &str) -> Result<Value, MigrationError> {
    let mut event = parse("an event", first)?;
    if event.get("event").and_then(Value::as_str) != Some("rollout_started") {
        return Ok(Value::Null);
    }
    if let Some(fields) = event.as_object_mut() {
        fields.remove("event");
        fields.remove("at");
    }
    Ok(event)
}
