//! Builds the status that the reporters show.

use std::collections::BTreeMap;

use super::recorder::Recorder;
use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::journal::status::Status;
use crate::core::journal::status_input::StatusInput;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::policy::service_state::ServiceState;
use crate::core::spec::Spec;
use crate::core::time::Time;

/// The constant inputs of a status, and the current wait reasons.
pub(super) struct StatusSource {
    pub(super) fleet_name: String,
    /// The hosts' addresses, in the inventory's order.
    pub(super) addresses: Vec<(HostId, String)>,
    /// The version of every release that may run on a host.
    pub(super) versions: BTreeMap<ReleaseId, String>,
    /// Why each host waits, according to the last plan.
    pub(super) wait_reasons: BTreeMap<HostId, WaitReason>,
}

impl StatusSource {
    /// Sets the wait reason of every host: nothing new starts without the state store.
    pub(super) fn all_wait_for_store(&mut self, why: &str) {
        let why = why.lines().next().unwrap_or_default().to_owned();
        let hosts = self.addresses.iter().map(|(host, _)| host.clone());
        let reason = WaitReason::StoreLost { why };
        self.wait_reasons = hosts.map(|host| (host, reason.clone())).collect();
    }

    pub(super) fn status(
        &self,
        spec: &Spec,
        recorder: &Recorder,
        fleet: &Fleet,
        now: Time,
    ) -> Status {
        let rollout = recorder.rollout();
        let failed_hosts: Vec<_> = rollout.attempt.failed_hosts.values().cloned().collect();
        StatusInput {
            service: &spec.service,
            fleet_name: &self.fleet_name,
            hosts: &self.addresses,
            fleet,
            versions: &self.versions,
            target: Some(rollout.target()),
            budget: spec.budget_for(rollout),
            min_ready: spec.min_ready,
            thresholds: &spec.thresholds,
            without_ports: &spec.without_ports,
            traffic: spec.traffic.as_ref(),
            service_state: ServiceState::Running,
            pending: recorder.pending_actions(),
            failed_hosts: &failed_hosts,
            holds: &self.wait_reasons,
            now,
        }
        .status()
    }
}
