//! The settings of users in the database.

use rusqlite::params;

use super::{Sqlite, signed, unsigned};
use crate::core::time::Time;
use crate::store::contract::ServiceSettings;
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::records::{Scale, ServiceKey};

impl ServiceSettings for Sqlite {
    fn scale(&self, service_key: &ServiceKey) -> Result<Option<Scale>, StoreError> {
        let sql = "select replicas, playbook from scales where fleet = ?1 and service = ?2";
        let mut found = self.query(
            sql,
            params![service_key.fleet, service_key.service],
            |row| {
                Ok(Scale {
                    replicas: row.get(0)?,
                    playbook: row.get(1)?,
                })
            },
        )?;
        Ok(found.pop())
    }

    fn set_scale(
        &mut self,
        service_key: &ServiceKey,
        scale: Scale,
        who: &str,
    ) -> Result<(), StoreError> {
        let sql = "insert or replace into scales values (?1, ?2, ?3, ?4, ?5)";
        self.execute(
            sql,
            params![
                service_key.fleet,
                service_key.service,
                scale.replicas,
                scale.playbook,
                who
            ],
        )
        .map(drop)
    }

    fn clear_scale(&mut self, service_key: &ServiceKey) -> Result<(), StoreError> {
        let sql = "delete from scales where fleet = ?1 and service = ?2";
        self.execute(sql, params![service_key.fleet, service_key.service])
            .map(drop)
    }

    fn freeze(&self, service_key: &ServiceKey) -> Result<Option<Freeze>, StoreError> {
        let sql =
            "select who, since_ms, until_ms, why from freezes where fleet = ?1 and service = ?2";
        let mut found = self.query(
            sql,
            params![service_key.fleet, service_key.service],
            |row| {
                Ok(Freeze {
                    who: row.get(0)?,
                    since: Time(unsigned(row.get(1)?)),
                    until: row.get::<_, Option<i64>>(2)?.map(|ms| Time(unsigned(ms))),
                    why: row.get(3)?,
                })
            },
        )?;
        Ok(found.pop())
    }

    fn set_freeze(&mut self, service_key: &ServiceKey, freeze: &Freeze) -> Result<(), StoreError> {
        let (since, until) = (
            signed(freeze.since.0),
            freeze.until.map(|until| signed(until.0)),
        );
        let sql = "insert or replace into freezes values (?1, ?2, ?3, ?4, ?5, ?6)";
        self.execute(
            sql,
            params![
                service_key.fleet,
                service_key.service,
                freeze.who,
                since,
                until,
                freeze.why
            ],
        )
        .map(drop)
    }

    fn end_freeze(&mut self, service_key: &ServiceKey) -> Result<bool, StoreError> {
        let sql = "delete from freezes where fleet = ?1 and service = ?2";
        Ok(self.execute(sql, params![service_key.fleet, service_key.service])? > 0)
    }
}
