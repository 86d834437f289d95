//! Layer 2: stores revisions, journals and leases.
//!
//! Verbs and the engine use the [`Store`] trait. [`RecordStore`] implements it with records in any
//! [`Database`]: `SQLite` in the state directory, or a shared database for a team with several
//! control machines.

mod connect;
mod contract;
mod database;
mod error;
mod etcd;
mod freeze;
mod handle;
mod keys;
mod lease;
mod locks;
mod network;
mod postgres;
mod record_store;
mod records;
mod relocation;
mod service_records;
mod sqlite;
mod state_dir;
mod values;

pub use self::connect::connect;
pub use self::contract::Store;
pub use self::database::{
    CommitResult, Condition, Database, KeyRange, Snapshot, StoredRecord, Transaction, Write,
};
pub use self::error::StoreError;
pub use self::etcd::Etcd;
pub use crate::core::policy::revision::RevisionRecord;
pub use freeze::Freeze;
pub use handle::{StoreHandle, StoreRunner, StoreWork, ThreadRunner};
pub use lease::{Holder, LEASE_EXPIRES_AFTER, this_machine};
pub use postgres::Postgres;
pub use record_store::RecordStore;
pub use records::{
    ControlRequest, KnownInventory, NewRevision, Request, RolloutId, RolloutRecord, Scale,
    ServiceKey, StoreAccess, StoreFacts,
};
pub use relocation::{CopiedRecords, relocate, services_of};
pub use service_records::ServiceRecords;
pub use sqlite::Sqlite;
pub use state_dir::{Access, StateDir, find, state_dir_for};
