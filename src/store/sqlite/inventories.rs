//! Inventories in the database.

use std::path::{Path, PathBuf};

use rusqlite::params;

use super::Sqlite;
use crate::store::contract::Inventories;
use crate::store::error::StoreError;
use crate::store::records::{KnownInventory, ServiceKey};

impl Inventories for Sqlite {
    fn record_inventory(
        &mut self,
        service_key: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError> {
        let inventory = inventory.to_string_lossy();
        self.execute(
            "insert or replace into inventories values (?1, ?2, ?3)",
            params![service_key.fleet, service_key.service, inventory],
        )
        .map(drop)
    }

    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.query(
            "select fleet, service, inventory from inventories order by inventory",
            params![],
            |row| {
                let service_key = ServiceKey {
                    fleet: row.get(0)?,
                    service: row.get(1)?,
                };
                Ok(KnownInventory {
                    service_key,
                    inventory: PathBuf::from(row.get::<_, String>(2)?),
                })
            },
        )
    }
}
