//! The lease in the database.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Sqlite, signed, unsigned};
use crate::core::ids::Epoch;
use crate::core::time::Time;
use crate::store::contract::Leases;
use crate::store::error::StoreError;
use crate::store::lease::Holder;
use crate::store::records::ServiceKey;

impl Leases for Sqlite {
    fn acquire_lease(
        &mut self,
        service_key: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        let now = holder.now;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| StoreError::Database {
                path: path.clone(),
                source,
            })?;
        let database = |source| StoreError::Database {
            path: path.clone(),
            source,
        };
        let present = read_lease(&transaction, service_key, now).map_err(database)?;
        if let Some(present) = present.filter(|present| !present.is_dead(&holder.host, now)) {
            let is_ours = !present.token.is_empty() && token == Some(&present.token);
            return if is_ours {
                Ok(())
            } else {
                Err(StoreError::Held(Box::new(present)))
            };
        }
        transaction
            .execute(
                "insert or replace into leases values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    service_key.fleet,
                    service_key.service,
                    holder.owner,
                    holder.host,
                    holder.pid,
                    signed(holder.pid_started),
                    holder.run,
                    signed(holder.since.0),
                    signed(now.0),
                    holder.token
                ],
            )
            .map_err(database)?;
        transaction.commit().map_err(database)?;
        self.held = Some((service_key.clone(), holder));
        Ok(())
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let Some((service_key, holder)) = &self.held else {
            return Ok(());
        };
        let changed = self.execute(
            "update leases set heartbeat_ms = ?1
             where fleet = ?2 and service = ?3 and host = ?4 and pid = ?5 and pid_started = ?6",
            params![
                signed(now.0),
                service_key.fleet,
                service_key.service,
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

    fn release_lease(&mut self) -> Result<(), StoreError> {
        let Some((service_key, holder)) = self.held.take() else {
            return Ok(());
        };
        self.execute(
            "delete from leases where fleet = ?1 and service = ?2 and host = ?3 and pid = ?4 and \
             pid_started = ?5",
            params![
                service_key.fleet,
                service_key.service,
                holder.host,
                holder.pid,
                signed(holder.pid_started)
            ],
        )
        .map(drop)
    }

    fn break_lease(&mut self, service_key: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError> {
        self.execute(
            "delete from leases where fleet = ?1 and service = ?2",
            params![service_key.fleet, service_key.service],
        )?;
        self.raise_epoch(service_key, seen)
    }

    fn lease(&self, service_key: &ServiceKey, now: Time) -> Result<Option<Holder>, StoreError> {
        read_lease(&self.connection, service_key, now).map_err(|source| self.failed(source))
    }

    fn holder(
        &self,
        service_key: &ServiceKey,
        here: &str,
        now: Time,
    ) -> Result<Option<Holder>, StoreError> {
        let holder =
            read_lease(&self.connection, service_key, now).map_err(|source| self.failed(source))?;
        Ok(holder.filter(|holder| !holder.is_dead(here, now)))
    }

    fn lease_token(&self) -> Option<&str> {
        self.held.as_ref().map(|(_, holder)| holder.token.as_str())
    }
}

fn read_lease(
    connection: &Connection,
    service_key: &ServiceKey,
    now: Time,
) -> rusqlite::Result<Option<Holder>> {
    connection
        .query_row(
            "select owner, host, pid, pid_started, run, since_ms, heartbeat_ms, token from leases
             where fleet = ?1 and service = ?2",
            params![service_key.fleet, service_key.service],
            |row| {
                Ok(Holder {
                    owner: row.get(0)?,
                    host: row.get(1)?,
                    pid: row.get(2)?,
                    pid_started: unsigned(row.get(3)?),
                    run: row.get(4)?,
                    since: Time(unsigned(row.get(5)?)),
                    heartbeat: Time(unsigned(row.get(6)?)),
                    token: row.get(7)?,
                    now,
                })
            },
        )
        .optional()
}
