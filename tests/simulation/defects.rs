//! Deliberate defects, which prove that the checker would detect them.

use std::time::Duration;

use ship::core::spec::budget::Amount;

use super::scenario::Scenario;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// Hosts accept every epoch.
    NoFence,
    /// Hosts accept every action of an epoch, however late.
    NoActionFence,
    /// A controller gets the lease although another one holds it.
    NoLease,
    /// Events become durable only with the next write.
    LateJournal,
    /// Every probe passes.
    ProbesAlwaysPass,
    /// Hosts report the current epoch without being claimed.
    ClaimsSkipped,
    /// An action with an unknown result is reported as failed.
    UnknownReportedAsFailed,
    /// The planner may have one more instance unavailable than the playbook allows.
    ExtraUnavailable,
    /// The planner may run one more instance than the playbook allows.
    ExtraSurge,
    /// The planner knows no zones.
    NoZones,
    /// The planner ignores `min_ready`.
    NoMinReady,
    /// The planner runs one instance fewer.
    FewerReplicas,
}

impl Defect {
    /// The scenario as a planner with this defect reads it.
    pub(crate) fn apply(self, scenario: &Scenario) -> Scenario {
        let mut scenario = scenario.clone();
        match self {
            Defect::ExtraUnavailable => {
                scenario.max_unavailable = one_more(scenario.max_unavailable);
            }
            Defect::ExtraSurge => scenario.max_surge = one_more(scenario.max_surge),
            Defect::NoZones => scenario.has_zones = false,
            Defect::NoMinReady => scenario.min_ready = Duration::ZERO,
            _ => {}
        }
        scenario
    }
}

fn one_more(amount: Amount) -> Amount {
    match amount {
        Amount::Count(count) => Amount::Count(count + 1),
        Amount::Percent(percent) => Amount::Percent((percent + 50).min(100)),
    }
}
