//! The interface of the state store: a trait for each kind of record, and [`Store`] for all of
//! them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::policy::history::RolloutRun;
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::Contracted;
use crate::core::time::Time;
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::lease::Holder;
use crate::store::records::{
    KnownInventory, NewRevision, Request, RolloutId, RolloutRecord, Scale, ServiceKey,
};

/// Stores revisions, events and leases. Every write is durable when the method returns.
pub trait Store:
    Revisions + Rollouts + Leases + Requests + ServiceSettings + Migrations + Inventories + Send
{
}

impl<T> Store for T where
    T: Revisions + Rollouts + Leases + Requests + ServiceSettings + Migrations + Inventories + Send
{
}

/// The revisions of a service and their releases.
pub trait Revisions {
    /// The random id of this history, with which hosts distinguish it from other histories.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn history_id(&self) -> Result<String, StoreError>;

    /// All revisions with a started rollout, oldest first. A revision does not count if ship died
    /// before the first event was durable.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn revisions(&self, service_key: &ServiceKey) -> Result<Vec<RevisionRecord>, StoreError>;

    /// Adds a revision and returns its number.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_revision(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError>;

    /// Adds a revision that was found on the hosts, with a rollout that started and succeeded at
    /// `at`.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn adopt(
        &mut self,
        service_key: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError>;

    /// Deletes all revisions except `kept`, with their rollouts.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn retain_revisions(
        &mut self,
        service_key: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError>;

    /// The releases of all revisions, of every fleet and service.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError>;
}

pub trait Rollouts {
    /// The newest epoch that any rollout had, or had seen when it started.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn epoch(&self, service_key: &ServiceKey) -> Result<Epoch, StoreError>;

    /// Starts a rollout of a revision. The epoch is newer than all earlier ones and than `seen`,
    /// and has random bits, so that it differs from the epochs of other stores that have counted as
    /// far.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn begin_rollout(
        &mut self,
        service_key: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError>;

    /// Appends events to a rollout's journal: all of them, or none.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError>;

    /// Ends a rollout. `proven` marks its revision as proven; a rollout to zero instances succeeds
    /// but proves nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn end_rollout(
        &mut self,
        rollout: RolloutId,
        outcome: &Outcome,
        proven: bool,
        now: Time,
    ) -> Result<(), StoreError>;

    /// The rollouts of a service, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn rollouts(&self, service_key: &ServiceKey) -> Result<Vec<RolloutRecord>, StoreError>;

    /// The start and the outcome of the rollouts of a service, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn runs(&self, service_key: &ServiceKey) -> Result<Vec<RolloutRun>, StoreError>;

    /// The ids of all rollouts, of every service.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError>;

    /// The journal of a rollout; empty if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError>;

    /// The newest rollout and its events, if there is one.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn newest_journal(
        &self,
        service_key: &ServiceKey,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError>;

    /// The journal of the newest rollout of a revision, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    fn journal_of(
        &self,
        service_key: &ServiceKey,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError>;

    /// The outcome of a rollout, if it has ended.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError>;
}

/// The lease: one controller for a fleet and service at a time.
pub trait Leases {
    /// Acquires the lease, unless a live controller holds it. The lease must be renewed well within
    /// 30 seconds. A process that has the `token` of the current holder was started by the holder,
    /// and runs under its lease.
    ///
    /// # Errors
    /// [`StoreError::Held`] contains the holder.
    fn acquire_lease(
        &mut self,
        service_key: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Renews the lease.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another controller has taken it over.
    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError>;

    /// Releases the lease. Does nothing if there is no lease, or if another controller holds it.
    ///
    /// # Errors
    /// If the store cannot be written. The lease then expires.
    fn release_lease(&mut self) -> Result<(), StoreError>;

    /// Breaks the lease and raises the epoch, so that every host that sees the new epoch rejects
    /// commands of the old holder. Returns the new epoch.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn break_lease(&mut self, service_key: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError>;

    /// The lease, whether its holder is alive or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn lease(&self, service_key: &ServiceKey, now: Time) -> Result<Option<Holder>, StoreError>;

    /// The holder of the lease, if it is alive.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn holder(
        &self,
        service_key: &ServiceKey,
        here: &str,
        now: Time,
    ) -> Result<Option<Holder>, StoreError>;

    /// The token that lets child processes run under the lease of this process; `None` if this
    /// process holds no lease.
    fn lease_token(&self) -> Option<&str>;
}

/// The requests of other processes to the controller.
pub trait Requests {
    /// Sends a request to the controller of a rollout. It replaces an earlier request.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn send_request(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError>;

    /// The latest request to a rollout, if there is one.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError>;
}

/// The number of instances and the freezes that users have set for a service.
pub trait ServiceSettings {
    /// The number of instances set with `ship scale`, if it still applies.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scale(&self, service_key: &ServiceKey) -> Result<Option<Scale>, StoreError>;

    /// Stores the number of instances set with `ship scale`.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_scale(
        &mut self,
        service_key: &ServiceKey,
        scale: Scale,
        who: &str,
    ) -> Result<(), StoreError>;

    /// Deletes the number of instances set with `ship scale`, because another number applies now.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn clear_scale(&mut self, service_key: &ServiceKey) -> Result<(), StoreError>;

    /// The latest freeze, if it was not ended with `ship thaw`. It may have expired.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn freeze(&self, service_key: &ServiceKey) -> Result<Option<Freeze>, StoreError>;

    /// Starts a freeze. It replaces an earlier one.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_freeze(&mut self, service_key: &ServiceKey, freeze: &Freeze) -> Result<(), StoreError>;

    /// Ends a freeze; returns whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn end_freeze(&mut self, service_key: &ServiceKey) -> Result<bool, StoreError>;
}

/// Completed migrations. These records outlive the journals.
pub trait Migrations {
    /// The ids of the completed migrations.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn applied_migrations(&self, service_key: &ServiceKey) -> Result<BTreeSet<String>, StoreError>;

    /// The contract migrations that were started or completed.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn contracted(&self, service_key: &ServiceKey) -> Result<Vec<Contracted>, StoreError>;
}

/// The inventories that were deployed with this state directory.
pub trait Inventories {
    /// Stores the inventory from which a fleet was deployed.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn record_inventory(
        &mut self,
        service_key: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError>;

    /// The inventories that were deployed with this state directory.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError>;
}
