//! The request for a rollout, and the facts on which the policy decides.

use std::collections::BTreeMap;

use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::policy::continuation::Continuation;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::task::ContractPolicy;
use crate::core::rollout::verb::Verb;
use crate::core::spec::{Amounts, Spec};
use crate::core::time::Time;

#[derive(Clone, Debug)]
pub struct AdmissionRequest<'a> {
    /// The command, or that of the rollout that continues.
    pub verb: Verb,
    /// The release to run.
    pub release: &'a ReleaseId,
    pub definition: &'a Definition,
    /// How the newest rollout continues; `None` for a new rollout.
    pub continuation: Option<Continuation>,
    /// Whether the run is unattended, and whether it overrides checks.
    pub mode: RunMode,
    /// When contract migrations run.
    pub contracts: ContractPolicy,
    /// The keys of the playbook that the command line sets, for the journal.
    pub set: &'a [String],
    /// The hosts that the command of `[hosts_from]` printed, for the journal.
    pub hosts_from: Option<&'a serde_json::Value>,
}

/// The facts on which the policy decides.
#[derive(Clone, Debug)]
pub struct AdmissionInput<'a> {
    pub service: &'a str,
    pub fleet_name: &'a str,
    pub history: &'a ServiceHistory,
    /// The spec from the configuration files, without tasks and the budget of a rollback.
    pub spec: Spec,
    /// The amounts from which the budget was computed.
    pub amounts: Amounts,
    /// Whether the playbook, the command line or `ship scale` sets the number of instances.
    pub are_replicas_set: bool,
    /// The fleet as observed for this request.
    pub fleet: &'a Fleet,
    /// The hosts that cannot be used, and why.
    pub unusable_hosts: BTreeMap<HostId, String>,
    /// The balancers that cannot be used, and why.
    pub unusable_balancers: BTreeMap<HostId, String>,
    /// Two slots that would be the same server of the balancers, if there are any.
    pub server_clash: Option<ServerClash>,
    /// Who froze the fleet, until when and why, if it is frozen now.
    pub freeze: Option<String>,
    pub now: Time,
}

impl AdmissionRequest<'_> {
    /// The stopped rollout that continues, if one does.
    pub fn stopped<'a>(&self, history: &'a ServiceHistory) -> Option<&'a Rollout> {
        history
            .newest
            .as_ref()
            .filter(|_| self.continuation.is_some())
    }
}
