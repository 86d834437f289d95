//! The values of the records, as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::{Epoch, ReleaseId, Revision};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;
use crate::core::rollout::event::RolloutStart;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::store::lease::Holder;
use crate::store::records::NewRevision;

/// The version of the keys and values. A store of a newer version of ship is rejected rather than
/// misread.
pub(super) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u32,
    /// The random id with which hosts distinguish this history from others.
    pub(super) history: String,
    /// Since when the state is in this place; `None` in a database of an earlier version.
    #[serde(default)]
    pub(super) created: Option<Time>,
    /// The location to which the state was moved, and when.
    #[serde(default)]
    pub(super) moved: Option<Moved>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    pub(super) to: String,
    pub(super) at: Time,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct StoreCounters {
    /// The number of the newest rollout.
    pub(super) rollout: i64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct ServiceCounters {
    /// The newest epoch that any rollout had, or had seen when it started.
    pub(super) epoch: Epoch,
    /// The number of the newest revision.
    pub(super) revision: u32,
}

/// [`Holder`] without the times, which the database knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LeaseValue {
    pub(super) owner: String,
    pub(super) host: String,
    pub(super) machine: String,
    pub(super) pid: u32,
    pub(super) pid_started: u64,
    pub(super) run: String,
    pub(super) since: Time,
    pub(super) token: String,
}

impl LeaseValue {
    pub(super) fn new(holder: &Holder, since: Time) -> Self {
        Self {
            owner: holder.owner.clone(),
            host: holder.host.clone(),
            machine: holder.machine.clone(),
            pid: holder.pid,
            pid_started: holder.pid_started,
            run: holder.run.clone(),
            since,
            token: holder.token.clone(),
        }
    }

    /// The holder, given the store's time and the time since the latest heartbeat.
    pub(super) fn holder(self, now: Time, age: Duration) -> Holder {
        Holder {
            owner: self.owner,
            host: self.host,
            machine: self.machine,
            pid: self.pid,
            pid_started: self.pid_started,
            run: self.run,
            since: self.since,
            heartbeat: now - age,
            now,
            token: self.token,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RevisionValue {
    pub(super) release: ReleaseId,
    pub(super) definition: Definition,
    pub(super) playbook: String,
    pub(super) who: String,
    pub(super) reason: String,
    pub(super) verb: Verb,
    pub(super) proven: bool,
    #[serde(default)]
    pub(super) contents_sha256: Option<String>,
}

impl RevisionValue {
    pub(super) fn new(new: &NewRevision, proven: bool) -> Self {
        Self {
            release: new.release.clone(),
            definition: new.definition.clone(),
            playbook: new.playbook.clone(),
            who: new.who.clone(),
            reason: new.reason.clone(),
            verb: new.verb,
            proven,
            contents_sha256: new.contents_sha256.clone(),
        }
    }

    /// The revision before its first rollout has ended.
    pub(super) fn record(&self, revision: Revision, began: Time) -> RevisionRecord {
        RevisionRecord {
            revision,
            release: self.release.clone(),
            definition: self.definition.clone(),
            playbook: self.playbook.clone(),
            who: self.who.clone(),
            reason: self.reason.clone(),
            verb: self.verb,
            began,
            ended: None,
            outcome: None,
            proven: self.proven,
            contents_sha256: self.contents_sha256.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RolloutValue {
    pub(super) revision: Revision,
    pub(super) epoch: Epoch,
    pub(super) began: Time,
    /// Whether the first event is durable. A rollout whose controller died before that does not
    /// count.
    #[serde(default)]
    pub(super) is_started: bool,
    /// How it started, if its first event contains it.
    #[serde(default)]
    pub(super) start: Option<RolloutStart>,
    #[serde(default)]
    pub(super) ended: Option<Time>,
    #[serde(default)]
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InventoryValue {
    pub(super) path: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MigrationValue {
    pub(super) kind: String,
    pub(super) revision: Revision,
    pub(super) version: String,
    pub(super) host: String,
    pub(super) began: Time,
    pub(super) ended: Option<Time>,
    pub(super) state: MigrationState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MigrationState {
    /// Its result is not known.
    Begun,
    Done,
    Failed,
}
