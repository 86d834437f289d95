//! The lease: a record that expires, and whose creating transaction is the fencing token.

use super::RecordStore;
use super::held_lease::HeldLease;
use crate::core::ids::Epoch;
use crate::store::contract::Store as _;
use crate::store::database::{CommitResult, Condition, KeyRange, Transaction, Write};
use crate::store::error::StoreError;
use crate::store::keys::ServiceKeys;
use crate::store::lease::Holder;
use crate::store::records::ServiceKey;
use crate::store::service_records::ServiceRecords;
use crate::store::values::{LeaseValue, ServiceCounters};

/// How many low bits of an epoch are random. Two controllers with separate stores may count to the
/// same number at the same time, and the hosts would then accept commands from both.
const RANDOM_BITS: u32 = 16;

impl RecordStore {
    pub(super) fn take_lease(
        &mut self,
        service_key: &ServiceKey,
        holder: &Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        let keys = ServiceKeys::new(service_key);
        let key = keys.lease();
        let held = |created, value, records: &ServiceRecords, shared: Option<&str>| HeldLease {
            service_key: service_key.clone(),
            key: key.clone(),
            created,
            token: shared.unwrap_or(&holder.token).to_owned(),
            is_own: shared.is_none(),
            value,
            counters_modified: records.counters_modified,
        };
        let acquired = self.until_committed(|| {
            let records = self.service(service_key)?;
            if let (Some(present), Some((created, modified))) =
                (&records.lease, records.lease_revisions)
            {
                if !present.is_dead(&holder.machine) {
                    if !present.token.is_empty() && token == Some(&present.token) {
                        let own = LeaseValue::new(holder, records.at);
                        let own = super::encode(&key, &own, &self.location())?;
                        return Ok(Some(held(created, own, &records, Some(&present.token))));
                    }
                    return Err(StoreError::Held(Box::new(present.clone())));
                }
                // The holder may renew it in the meantime; then it is alive.
                let transaction = Transaction {
                    conditions: vec![Condition::ModifiedBy {
                        key: key.clone(),
                        revision: modified,
                    }],
                    writes: vec![Write::Delete(KeyRange::Key(key.clone()))],
                };
                if self.commit(&transaction)? == CommitResult::Refused {
                    return Ok(None);
                }
            }
            let value = LeaseValue::new(holder, records.at);
            let value = super::encode(&key, &value, &self.location())?;
            let transaction = Transaction {
                conditions: vec![Condition::Absent { key: key.clone() }],
                writes: vec![Write::PutExpiring {
                    key: key.clone(),
                    value: value.clone(),
                }],
            };
            Ok(match self.commit(&transaction)? {
                CommitResult::Committed(created) => Some(held(created, value, &records, None)),
                CommitResult::Refused => None,
            })
        })?;
        self.held = Some(acquired);
        Ok(())
    }

    pub(super) fn prolong_lease(&mut self) -> Result<(), StoreError> {
        let Some(held) = self.held.as_ref().filter(|held| held.is_own) else {
            return Ok(());
        };
        if self.database.renew(&held.key, held.created)? || self.acquire_again()? {
            Ok(())
        } else {
            Err(StoreError::LeaseLost)
        }
    }

    /// Acquires the lease again after it expired because the database could not be reached, or
    /// after the process that shared it has ended. This is permitted only if no other process has
    /// held it in the meantime: each changes the counters before it acts, and so does `ship
    /// unlock`. Returns whether this process holds the lease now.
    pub(super) fn acquire_again(&mut self) -> Result<bool, StoreError> {
        let Some(held) = &self.held else {
            return Ok(false);
        };
        let counters = ServiceKeys::new(&held.service_key).counters();
        let transaction = Transaction {
            conditions: vec![
                Condition::Absent {
                    key: held.key.clone(),
                },
                unchanged(counters, held.counters_modified),
            ],
            writes: vec![Write::PutExpiring {
                key: held.key.clone(),
                value: held.value.clone(),
            }],
        };
        let CommitResult::Committed(created) = self.commit(&transaction)? else {
            return Ok(false);
        };
        if let Some(held) = &mut self.held {
            held.created = created;
            held.is_own = true;
        }
        Ok(true)
    }

    /// Notes that this process has changed the counters of the service.
    pub(super) fn counters_changed(&mut self, revision: u64) {
        if let Some(held) = &mut self.held {
            held.counters_modified = Some(revision);
        }
    }

    pub(super) fn give_up_lease(&mut self) -> Result<(), StoreError> {
        let Some(held) = self.held.take().filter(|held| held.is_own) else {
            return Ok(());
        };
        let transaction = Transaction {
            conditions: vec![held.condition()],
            writes: vec![Write::Delete(KeyRange::Key(held.key.clone()))],
        };
        self.commit(&transaction).map(drop)
    }

    pub(super) fn remove_lease(
        &mut self,
        service_key: &ServiceKey,
        seen: Epoch,
    ) -> Result<Epoch, StoreError> {
        let keys = ServiceKeys::new(service_key);
        self.until_committed(|| {
            let records = self.service(service_key)?;
            let epoch = self.next_epoch(records.epoch().max(seen));
            let counters = ServiceCounters {
                epoch,
                ..records.counters
            };
            let writes = vec![
                Write::Delete(KeyRange::Key(keys.lease())),
                self.put(keys.counters(), &counters)?,
            ];
            let conditions = vec![unchanged(keys.counters(), records.counters_modified)];
            let committed = self.commit(&Transaction { conditions, writes })?;
            Ok((committed != CommitResult::Refused).then_some(epoch))
        })
    }

    /// An epoch that is newer than `epoch`, and different from those of other stores.
    pub(super) fn next_epoch(&self, epoch: Epoch) -> Epoch {
        let random_bits = (self.random)() & ((1 << RANDOM_BITS) - 1);
        Epoch(((epoch.0 >> RANDOM_BITS) + 1) << RANDOM_BITS | random_bits)
    }

    /// Whether the lease of this process still exists.
    pub(super) fn is_lease_held(&self) -> Result<bool, StoreError> {
        let Some(held) = &self.held else {
            return Ok(false);
        };
        let record = self.read_one(held.key.clone())?;
        Ok(record.is_some_and(|record| record.created == held.created))
    }
}

/// The condition that a record was not changed since it was read; `modified` is `None` if it did
/// not exist.
pub(super) fn unchanged(key: String, modified: Option<u64>) -> Condition {
    match modified {
        Some(revision) => Condition::ModifiedBy { key, revision },
        None => Condition::Absent { key },
    }
}
