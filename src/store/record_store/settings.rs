//! Requests, settings of users, and facts about the store.

use std::collections::BTreeSet;
use std::path::Path;

use super::RecordStore;
use crate::store::database::{CommitResult, KeyRange, Transaction, Write};
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::keys::{self, ServiceKeys, ServiceRecordKind};
use crate::store::records::{Request, RolloutId, Scale, ServiceKey, StoreFacts};
use crate::store::service_records::decode;
use crate::store::values::{InventoryValue, LeaseValue};

impl RecordStore {
    pub(super) fn put_request(
        &mut self,
        rollout: RolloutId,
        request: &Request,
    ) -> Result<(), StoreError> {
        let write = self.put(keys::request(rollout), request)?;
        self.write(write)
    }

    pub(super) fn put_scale(
        &mut self,
        service_key: &ServiceKey,
        scale: Option<&Scale>,
    ) -> Result<(), StoreError> {
        let key = ServiceKeys::new(service_key).scale();
        let write = match scale {
            Some(scale) => self.put(key, scale)?,
            None => Write::Delete(KeyRange::Key(key)),
        };
        self.write_under_lease(write)
    }

    pub(super) fn put_freeze(
        &mut self,
        service_key: &ServiceKey,
        freeze: Option<&Freeze>,
    ) -> Result<bool, StoreError> {
        let key = ServiceKeys::new(service_key).freeze();
        let was_frozen = self.read_one(key.clone())?.is_some();
        match freeze {
            Some(freeze) => self.write(self.put(key, freeze)?)?,
            None if was_frozen => self.write(Write::Delete(KeyRange::Key(key)))?,
            None => {}
        }
        Ok(was_frozen)
    }

    pub(super) fn put_inventory(
        &mut self,
        service_key: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError> {
        let value = InventoryValue {
            path: inventory.to_string_lossy().into_owned(),
        };
        let write = self.put(ServiceKeys::new(service_key).inventory(), &value)?;
        self.write(write)
    }

    pub(super) fn read_facts(&self) -> Result<StoreFacts, StoreError> {
        let found = self.read(&[KeyRange::Prefix(keys::SERVICES.to_owned())])?;
        let mut services = BTreeSet::new();
        let (mut revisions, mut rollouts, mut holders) = (0, 0, Vec::new());
        for record in found.ranges.iter().flatten() {
            let Some((service_key, kind)) = keys::parse(&record.key) else {
                continue;
            };
            match kind {
                ServiceRecordKind::Revision(_) => revisions += 1,
                ServiceRecordKind::Rollout(_) => rollouts += 1,
                ServiceRecordKind::Lease => {
                    let value: LeaseValue = decode(record, &self.location())?;
                    holders.push((service_key.clone(), value.holder(found.at, record.age)));
                }
                _ => {}
            }
            services.insert(service_key);
        }
        Ok(StoreFacts {
            location: self.location(),
            since: self.meta.created,
            size_bytes: self.database.size_bytes()?,
            services: services.len(),
            revisions,
            rollouts,
            holders,
        })
    }

    fn write(&self, write: Write) -> Result<(), StoreError> {
        let transaction = Transaction {
            conditions: Vec::new(),
            writes: vec![write],
        };
        self.commit(&transaction).map(drop)
    }

    pub(super) fn write_under_lease(&self, write: Write) -> Result<(), StoreError> {
        match self.commit_under_lease(Vec::new(), vec![write])? {
            CommitResult::Committed(_) => Ok(()),
            CommitResult::Refused => Err(StoreError::LeaseLost),
        }
    }
}
