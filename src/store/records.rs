//! The records of a state store.

use crate::core::ids::{ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One service on one fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    pub fleet: String,
    pub service: String,
}

/// A new entry of the history.
#[derive(Clone, Debug)]
pub struct NewRevision {
    pub release: ReleaseId,
    pub definition: Definition,
    /// The playbook's text.
    pub playbook: String,
    pub who: String,
    pub reason: String,
    pub verb: Verb,
}

/// The number of a rollout in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutId(pub i64);

/// A rollout as the history knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRecord {
    pub id: RolloutId,
    pub revision: Revision,
    pub began: Time,
    /// How it ended; `None` while it runs, or if the controller died.
    pub outcome: Option<Outcome>,
}

/// A request of another process to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub wish: ControlRequest,
    /// The user, `anna@laptop`; for a freeze also its end and reason.
    pub by: String,
}

/// How many instances a person asked for by `ship scale`. It holds until the playbook says another
/// number than then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub replicas: u32,
    /// The `replicas` of the playbook then.
    pub playbook: u32,
}

/// A request to a running rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    Pause,
    Abort,
    Freeze,
    Promote {
        /// The step to promote, counted from 1: a later one does not count.
        step: u32,
    },
    PromoteFully,
}

impl ControlRequest {
    /// For messages: `pause`.
    pub fn verb(self) -> &'static str {
        match self {
            ControlRequest::Pause => "pause",
            ControlRequest::Abort => "abort",
            ControlRequest::Freeze => "freeze",
            ControlRequest::Promote { .. } | ControlRequest::PromoteFully => "promote",
        }
    }
}

/// An inventory that was deployed from this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownInventory {
    pub subject: ServiceKey,
    pub inventory: PathBuf,
}
