//! Requests in the database.

use rusqlite::params;

use super::Sqlite;
use crate::store::contract::Requests;
use crate::store::error::StoreError;
use crate::store::records::{Request, RolloutId};

impl Requests for Sqlite {
    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError> {
        let command = self.encode("a request", &request.command)?;
        let sql = "insert or replace into requests (rollout, command, who) values (?1, ?2, ?3)";
        self.execute(sql, params![rollout.0, command, request.by])
            .map(drop)
    }

    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError> {
        let found: Option<(String, String)> = self
            .query(
                "select command, who from requests where rollout = ?1",
                params![rollout.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .pop();
        found
            .map(|(command, by)| {
                Ok(Request {
                    command: self.decode("a request", &command)?,
                    by,
                })
            })
            .transpose()
    }
}
