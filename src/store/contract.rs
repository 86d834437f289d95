//! The interface of the state store.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::sync::watch;

use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::stack::{Deployment, DeploymentNumber};
use crate::core::time::Time;
use crate::store::error::StoreError;
use crate::store::freeze::Freeze;
use crate::store::lease::Holder;
use crate::store::records::{
    KnownInventory, NewRevision, Request, RolloutId, Scale, ServiceKey, StoreFacts,
};
use crate::store::service_records::ServiceRecords;

/// Stores revisions, events and leases. Every write is durable when the method returns.
///
/// The history, the journals and the scale are written only under the lease: such a write fails
/// with [`StoreError::LeaseLost`] if this process holds no lease, or another process has taken it
/// over. If a write fails with [`StoreError::Unavailable`], it may have taken effect, and it may be
/// repeated: a repeated write has the effect of one.
pub trait Store: Send {
    /// The random id of this history, with which hosts distinguish it from other histories.
    fn history_id(&self) -> String;

    /// The time of the store's clock when it was opened.
    fn opened_at(&self) -> Time;

    /// Where the state is, and how much there is.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn facts(&self) -> Result<StoreFacts, StoreError>;

    // ── reading ──────────────────────────────────────────────────────────────────────────────────

    /// All records of a service except its journals, as they are at one moment.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn service(&self, service_key: &ServiceKey) -> Result<ServiceRecords, StoreError>;

    /// The journals of rollouts, each empty if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn journals(&self, rollouts: &[RolloutId]) -> Result<Vec<Vec<Entry>>, StoreError>;

    /// The journal of a rollout; empty if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError> {
        Ok(self.journals(&[rollout])?.pop().unwrap_or_default())
    }

    /// The releases of all revisions, of every fleet and service.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError>;

    /// The ids of all rollouts, of every service.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError>;

    /// The services that were deployed with this store, and their inventories.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError>;

    // ── the lease ────────────────────────────────────────────────────────────────────────────────

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
    fn renew_lease(&mut self) -> Result<(), StoreError>;

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

    /// The token that lets child processes run under the lease of this process; `None` if this
    /// process holds no lease.
    fn lease_token(&self) -> Option<&str>;

    // ── the history, under the lease ─────────────────────────────────────────────────────────────

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

    /// Appends events to the journal of a rollout: all of them, or none. `first` is the number of
    /// the first of them, counted from 1. If they are already there, because an earlier attempt
    /// succeeded without an answer, does nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn append(
        &mut self,
        rollout: RolloutId,
        first: u64,
        entries: &[Entry],
    ) -> Result<(), StoreError>;

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

    // ── the deployments of a stack ───────────────────────────────────────────────────────────────

    /// The deployments of a fleet, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn deployments(&self, fleet: &str) -> Result<Vec<Deployment>, StoreError>;

    /// Adds a deployment and returns its number, which replaces the one in it. The lease of one of
    /// its services must be held. Only the newest 100 deployments are kept.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_deployment(
        &mut self,
        fleet: &str,
        deployment: &Deployment,
    ) -> Result<DeploymentNumber, StoreError>;

    /// Replaces a deployment. The lease of one of its services must be held.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn update_deployment(&mut self, fleet: &str, deployment: &Deployment)
    -> Result<(), StoreError>;

    // ── requests and settings ────────────────────────────────────────────────────────────────────

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

    /// The journal of a rollout and the latest request to it, as they are at one moment.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn journal_and_request(
        &self,
        rollout: RolloutId,
    ) -> Result<(Vec<Entry>, Option<Request>), StoreError>;

    /// Reports requests to a rollout: the number changes when one may have arrived. Some may be
    /// missed. `None` if the store cannot report them.
    fn watch_requests(&self, rollout: RolloutId) -> Option<watch::Receiver<u64>>;

    /// Stores the number of instances set with `ship scale`, or deletes it, because another number
    /// applies now.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_scale(
        &mut self,
        service_key: &ServiceKey,
        scale: Option<&Scale>,
    ) -> Result<(), StoreError>;

    /// Starts a freeze, which replaces an earlier one, or ends it with `None`. Returns whether
    /// there was one before.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_freeze(
        &mut self,
        service_key: &ServiceKey,
        freeze: Option<&Freeze>,
    ) -> Result<bool, StoreError>;

    /// Stores the inventory from which a fleet was deployed. The lease need not be held.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn record_inventory(
        &mut self,
        service_key: &ServiceKey,
        inventory: &Path,
    ) -> Result<(), StoreError>;
}
