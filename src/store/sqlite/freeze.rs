//! Freezes in the database.

use rusqlite::params;

use super::{Sqlite, signed, unsigned};
use crate::core::time::Time;
use crate::store::contract::Subject;
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;

impl Sqlite {
    /// The freeze that was asked for last, if it was not ended by `ship thaw`; it may be over.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn freeze(&self, subject: &Subject) -> Result<Option<Freeze>, StoreError> {
        let sql =
            "select who, since_ms, until_ms, why from freezes where fleet = ?1 and service = ?2";
        let mut found = self.query(sql, params![subject.fleet, subject.service], |row| {
            Ok(Freeze {
                who: row.get(0)?,
                since: Time(unsigned(row.get(1)?)),
                until: row.get::<_, Option<i64>>(2)?.map(|ms| Time(unsigned(ms))),
                why: row.get(3)?,
            })
        })?;
        Ok(found.pop())
    }

    /// Begins a freeze, in the place of one that there may be.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn set_freeze(&mut self, subject: &Subject, freeze: &Freeze) -> Result<(), StoreError> {
        let (since, until) = (
            signed(freeze.since.0),
            freeze.until.map(|until| signed(until.0)),
        );
        let sql = "insert or replace into freezes values (?1, ?2, ?3, ?4, ?5, ?6)";
        self.execute(
            sql,
            params![
                subject.fleet,
                subject.service,
                freeze.who,
                since,
                until,
                freeze.why
            ],
        )
        .map(drop)
    }

    /// Ends a freeze; says whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn end_freeze(&mut self, subject: &Subject) -> Result<bool, StoreError> {
        let sql = "delete from freezes where fleet = ?1 and service = ?2";
        Ok(self.execute(sql, params![subject.fleet, subject.service])? > 0)
    }
}
