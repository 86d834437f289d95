//! Layer 2: stores revisions, journals and leases in `SQLite`.
//!
//! The engine uses only the [`Store`] trait, so a team with several control machines can provide a
//! shared store.

mod contract;
mod database;
mod error;
mod etcd;
mod freeze;
mod lease;
mod locks;
mod network;
mod records;
mod sqlite;
mod state_dir;

pub use self::contract::{
    Inventories, Leases, Migrations, Requests, Revisions, Rollouts, ServiceSettings, Store,
};
pub use self::database::{
    CommitResult, Condition, Database, KeyRange, LEASE_EXPIRES_AFTER, Record, Snapshot,
    Transaction, Write,
};
pub use self::error::StoreError;
pub use self::etcd::Etcd;
pub use crate::core::policy::revision::RevisionRecord;
pub use freeze::Freeze;
pub use lease::Holder;
pub use records::{
    ControlRequest, KnownInventory, NewRevision, Request, RolloutId, RolloutRecord, Scale,
    ServiceKey, StoreAccess,
};
pub use sqlite::Sqlite;
pub use state_dir::{Access, StateDir, find, state_dir_for};
