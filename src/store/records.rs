//! The records of the state store.

use crate::core::ids::{ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::store::lease::Holder;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A service on a fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    pub fleet: String,
    pub service: String,
}

/// A new revision.
#[derive(Clone, Debug)]
pub struct NewRevision {
    pub release: ReleaseId,
    pub definition: Definition,
    /// The text of the playbook.
    pub playbook: String,
    pub who: String,
    pub reason: String,
    pub verb: Verb,
    /// The digest of the unpacked files; `None` if it is not known.
    pub contents_sha256: Option<String>,
}

/// The id of a rollout in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutId(pub i64);

/// A rollout in the history.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRecord {
    pub id: RolloutId,
    pub revision: Revision,
    pub began: Time,
    /// `None` while it runs, or if the controller died.
    pub outcome: Option<Outcome>,
}

/// A request of another process to the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub command: ControlRequest,
    /// The user, `anna@laptop`; for a freeze also its end and reason.
    pub by: String,
}

/// The number of instances set with `ship scale`. It applies until `replicas` in the playbook
/// changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    pub replicas: u32,
    /// `replicas` in the playbook when the number was set.
    pub playbook: u32,
    /// The user who set it: `anna@laptop`.
    pub who: String,
}

/// A request to a running rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    Pause,
    Abort,
    Freeze,
    Promote {
        /// The step to promote, counted from 1. The request does not apply to later steps.
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

/// Where the state of this fleet is, and how much there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// A path, or a URL without a password.
    pub location: String,
    /// Since when the state is in this place; `None` if an earlier version of ship created it.
    pub since: Option<Time>,
    pub size_bytes: u64,
    /// The numbers of services, revisions and rollouts.
    pub services: usize,
    pub revisions: usize,
    pub rollouts: usize,
    /// The holder of each lease, alive or not.
    pub holders: Vec<(ServiceKey, Holder)>,
}

/// An inventory that was deployed with this state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownInventory {
    pub service_key: ServiceKey,
    pub inventory: PathBuf,
}

/// How a verb uses the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAccess {
    /// The verb reads the state, which need not be writable and need not exist.
    Read,
    /// The verb changes the state and creates it if necessary.
    Write,
}
