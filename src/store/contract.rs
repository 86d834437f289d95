//! The interface of a state store: a trait for each subject, and [`Store`] for all of them.

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

/// Keeps revisions, events and leases. Every method is durable when it returns.
pub trait Store:
    Revisions + Rollouts + Leases + Requests + ServiceSettings + Migrations + Inventories + Send
{
}

impl<T> Store for T where
    T: Revisions + Rollouts + Leases + Requests + ServiceSettings + Migrations + Inventories + Send
{
}

/// The history: its revisions and their releases.
pub trait Revisions {
    /// The random id of this history, by which hosts tell it from others.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn history_id(&self) -> Result<String, StoreError>;

    /// All revisions of which a rollout has begun, oldest first: one whose ship died before the
    /// first event was durable was none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn revisions(&self, subject: &ServiceKey) -> Result<Vec<RevisionRecord>, StoreError>;

    /// Adds a revision and returns its number.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_revision(
        &mut self,
        subject: &ServiceKey,
        new: &NewRevision,
    ) -> Result<Revision, StoreError>;

    /// Adds a revision that was found on the hosts, with a rollout that ended when it began, as if
    /// it had succeeded `at` that time.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn adopt(
        &mut self,
        subject: &ServiceKey,
        new: &NewRevision,
        proven: bool,
        replicas: u32,
        at: Time,
    ) -> Result<Revision, StoreError>;

    /// Forgets all revisions but these.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn retain_revisions(
        &mut self,
        subject: &ServiceKey,
        kept: &BTreeSet<Revision>,
    ) -> Result<(), StoreError>;

    /// Every release that any revision of any fleet and service refers to.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError>;
}

pub trait Rollouts {
    /// The newest epoch that a rollout was given, or that was seen when one was.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn epoch(&self, subject: &ServiceKey) -> Result<Epoch, StoreError>;

    /// Begins a rollout of a revision. The epoch is newer than every one before, and than `seen`,
    /// and another than that of any store that knows as much.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn begin_rollout(
        &mut self,
        subject: &ServiceKey,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError>;

    /// Appends events to a rollout's journal: all of them, or none.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError>;

    /// Ends a rollout, and says whether that proves its revision: a rollout to no instances
    /// succeeds and proves nothing.
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
    fn rollouts(&self, subject: &ServiceKey) -> Result<Vec<RolloutRecord>, StoreError>;

    /// How the rollouts of a service were begun, and how they ended, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn runs(&self, subject: &ServiceKey) -> Result<Vec<RolloutRun>, StoreError>;

    /// The numbers of all rollouts, of whatever service.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn rollout_ids(&self) -> Result<BTreeSet<RolloutId>, StoreError>;

    /// The journal of a rollout; empty where there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn journal(&self, rollout: RolloutId) -> Result<Vec<Entry>, StoreError>;

    /// The newest rollout and its events, if there was one.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn newest_journal(
        &self,
        subject: &ServiceKey,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError>;

    /// The journal of the newest rollout of a revision, if there was one.
    ///
    /// # Errors
    /// If it cannot be read.
    fn journal_of(
        &self,
        subject: &ServiceKey,
        revision: Revision,
    ) -> Result<Option<Vec<Entry>>, StoreError>;

    /// How a rollout ended, if it has.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn outcome(&self, rollout: RolloutId) -> Result<Option<Outcome>, StoreError>;
}

/// The lease: one controller for a fleet and service at a time.
pub trait Leases {
    /// Takes the lease, if nobody alive has it. It must be renewed well within half a minute. A
    /// process that knows the `token` of the present holder was called by it, and may go on under
    /// its lease.
    ///
    /// # Errors
    /// [`StoreError::Held`] says who has it.
    fn acquire_lease(
        &mut self,
        subject: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Says that the holder of the lease lives.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another has taken it over.
    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError>;

    /// Gives the lease back; nothing happens if there is none, or another has it by now.
    ///
    /// # Errors
    /// If the store cannot be written: the lease then expires by itself.
    fn release_lease(&mut self) -> Result<(), StoreError>;

    /// Takes the lease away from whoever holds it, and raises the epoch, so that every host that
    /// sees it refuses the orders of who held it. Gives the new epoch.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn break_lease(&mut self, subject: &ServiceKey, seen: Epoch) -> Result<Epoch, StoreError>;

    /// The lease, whether its holder is alive or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn lease(&self, subject: &ServiceKey, now: Time) -> Result<Option<Holder>, StoreError>;

    /// Who holds the lease, if anybody alive does.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn holder(
        &self,
        subject: &ServiceKey,
        here: &str,
        now: Time,
    ) -> Result<Option<Holder>, StoreError>;

    /// What a process that is called from here shows to go on under this one's lease; `None` where
    /// it holds none.
    fn lease_token(&self) -> Option<&str>;
}

/// The requests of other processes to the controller.
pub trait Requests {
    /// Asks something of the process that carries out a rollout. A later request takes the place of
    /// an earlier one.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn ask(&mut self, rollout: RolloutId, request: &Request) -> Result<(), StoreError>;

    /// What was asked of a rollout last, if anything was.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn request(&self, rollout: RolloutId) -> Result<Option<Request>, StoreError>;
}

/// The number of instances and the freezes that people have set for a service.
pub trait ServiceSettings {
    /// The instances that a person asked for by `ship scale`, if that was the last word.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scale(&self, subject: &ServiceKey) -> Result<Option<Scale>, StoreError>;

    /// Remembers what a person asked for by `ship scale`.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_scale(
        &mut self,
        subject: &ServiceKey,
        scale: Scale,
        who: &str,
    ) -> Result<(), StoreError>;

    /// Forgets what a person asked for by `ship scale`: another number was asked for since.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn forget_scale(&mut self, subject: &ServiceKey) -> Result<(), StoreError>;

    /// The freeze that was asked for last, if it was not ended by `ship thaw`; it may be over.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn freeze(&self, subject: &ServiceKey) -> Result<Option<Freeze>, StoreError>;

    /// Begins a freeze, in the place of one that there may be.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_freeze(&mut self, subject: &ServiceKey, freeze: &Freeze) -> Result<(), StoreError>;

    /// Ends a freeze; says whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn end_freeze(&mut self, subject: &ServiceKey) -> Result<bool, StoreError>;
}

/// Migrations that were made. These records outlive the journals.
pub trait Migrations {
    /// The migrations that were made.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn migrations_made(&self, subject: &ServiceKey) -> Result<BTreeSet<String>, StoreError>;

    /// The contract migrations that were made or started.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn contracted(&self, subject: &ServiceKey) -> Result<Vec<Contracted>, StoreError>;
}

/// The inventories that were deployed from this place.
pub trait Inventories {
    /// Remembers from which inventory a fleet was deployed.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn remember(&mut self, subject: &ServiceKey, inventory: &Path) -> Result<(), StoreError>;

    /// The inventories that were deployed from here.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError>;
}
