//! What is asked for, and what is known when it is decided on.

use std::collections::BTreeMap;

use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::policy::continuation::Continuation;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::verb::Verb;
use crate::core::spec::{Amounts, Spec};
use crate::core::time::Time;

#[derive(Clone, Debug)]
pub struct AdmissionRequest<'a> {
    /// The verb; that of the rollout that goes on, where one does.
    pub verb: Verb,
    /// The release that is to run.
    pub release: &'a ReleaseId,
    pub definition: &'a Definition,
    /// How the newest rollout goes on; `None` for a new rollout.
    pub continuation: Option<Continuation>,
    /// Whether the run is unattended, and what is overridden.
    pub mode: RunMode,
    /// The playbook's keys that the command line has set, for the journal.
    pub set: &'a [String],
}

/// What is known when the request is decided on.
#[derive(Clone, Debug)]
pub struct AdmissionInput<'a> {
    pub service: &'a str,
    pub fleet_name: &'a str,
    pub history: &'a ServiceHistory,
    /// What the files want of the fleet. Tasks and the budget of the way back are not in it yet.
    pub spec: Spec,
    /// The amounts that the budget was computed from.
    pub amounts: Amounts,
    /// Whether the playbook, the command line or `ship scale` says how many instances are wanted.
    pub are_replicas_set: bool,
    /// The fleet, as just observed.
    pub fleet: &'a Fleet,
    /// The hosts that cannot be used, and why.
    pub unusable_hosts: BTreeMap<HostId, String>,
    /// The balancers that cannot be used, and why.
    pub unusable_balancers: BTreeMap<HostId, String>,
    /// Two slots that would be one server at the balancers, if there are such.
    pub server_clash: Option<ServerClash>,
    /// Who has frozen the fleet, until when and why, if it is frozen now.
    pub freeze: Option<String>,
    pub now: Time,
}

impl AdmissionRequest<'_> {
    /// The stopped rollout that goes on, if one does.
    pub fn stopped<'a>(&self, history: &'a ServiceHistory) -> Option<&'a Rollout> {
        history
            .newest
            .as_ref()
            .filter(|_| self.continuation.is_some())
    }
}
