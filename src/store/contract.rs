//! What a state store keeps and answers.

use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::store::error::StoreError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a store is about: one service on one fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The fleet's name.
    pub fleet: String,
    /// The service's name.
    pub service: String,
}

/// A new entry of the history.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// Its release's digest.
    pub release: ReleaseId,
    /// The release itself.
    pub definition: Definition,
    /// The playbook's text.
    pub playbook: String,
    /// Who asks for it.
    pub who: String,
    /// Why.
    pub cause: String,
    /// What is asked for.
    pub verb: Verb,
}

/// The number of a rollout in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutId(pub i64);

/// A rollout as the history knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRecord {
    /// Its number.
    pub id: RolloutId,
    /// Of which revision.
    pub revision: Revision,
    /// When it began.
    pub began: Time,
    /// How it ended; `None` while it runs, or if the controller died.
    pub outcome: Option<Outcome>,
}

/// What a process asks of the one that carries out a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub wish: Wish,
    /// Who: `anna@laptop`; of a freeze also until when and why.
    pub by: String,
}

/// How many instances a person asked for by `ship scale`. It holds until the playbook says another
/// number than then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Instances wanted.
    pub replicas: u32,
    /// Instances that the playbook wanted then.
    pub playbook: u32,
}

/// What can be asked of a running rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// `ship pause`.
    Pause,
    /// `ship abort`.
    Abort,
    /// `ship freeze`.
    Freeze,
    /// `ship promote`.
    Promote {
        /// From which step, from 1: the next one is not meant.
        step: u32,
    },
    /// `ship promote --full`.
    PromoteFully,
}

impl Wish {
    /// For messages: `pause`.
    pub fn verb(self) -> &'static str {
        match self {
            Wish::Pause => "pause",
            Wish::Abort => "abort",
            Wish::Freeze => "freeze",
            Wish::Promote { .. } | Wish::PromoteFully => "promote",
        }
    }
}

/// An inventory that was deployed from this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownInventory {
    /// What it is about.
    pub subject: Subject,
    /// Its path.
    pub inventory: PathBuf,
}

/// Where revisions, events and leases are kept. Every method is durable when it returns.
pub trait Store: Send {
    /// All revisions of which a rollout has begun, oldest first: one whose ship died before the
    /// first event was durable was none.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn revisions(&self, subject: &Subject) -> Result<Vec<RevisionRecord>, StoreError>;

    /// Adds a revision and returns its number.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_revision(
        &mut self,
        subject: &Subject,
        new: &NewRevision,
    ) -> Result<Revision, StoreError>;

    /// Forgets all revisions but these.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn retain_revisions(
        &mut self,
        subject: &Subject,
        kept: &std::collections::BTreeSet<Revision>,
    ) -> Result<(), StoreError>;

    /// Begins a rollout of a revision. The epoch is newer than every one before, and than `seen`,
    /// and another than that of any store that knows as much.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn begin_rollout(
        &mut self,
        subject: &Subject,
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

    /// Says that the holder of the lease lives.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another has taken it over.
    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError>;

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

    /// The newest rollout and its events, if there was one.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn newest_journal(
        &self,
        subject: &Subject,
    ) -> Result<Option<(RolloutId, Vec<Entry>)>, StoreError>;
}
