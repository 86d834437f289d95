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
mod sqlite;

pub use self::contract::{
    KnownInventory, NewRevision, Request, RolloutId, RolloutRecord, Scale, Store, Subject, Wish,
};
pub use self::error::StoreError;
pub use crate::core::policy::revision::RevisionRecord;
pub use freeze::Freeze;
pub use lease::Holder;
pub use place::{Access, Place, find, place_for};
pub use sqlite::Sqlite;
