//! Floor 2: revisions, journal and lease, in `SQLite`.
//!
//! The engine knows only the [`Store`] trait: a team with several control machines can bring a
//! store that they share.

mod contract;
mod error;
mod freeze;
mod lease;
mod locks;
mod place;
mod records;
mod sqlite;

pub use self::contract::{
    Inventories, Leases, Migrations, Requests, Revisions, Rollouts, ServiceSettings, Store,
};
pub use self::error::StoreError;
pub use crate::core::policy::revision::RevisionRecord;
pub use freeze::Freeze;
pub use lease::Holder;
pub use place::{Access, StateDir, find, place_for};
pub use records::{
    ControlRequest, KnownInventory, NewRevision, Request, RolloutId, RolloutRecord, Scale,
    ServiceKey,
};
pub use sqlite::Sqlite;
