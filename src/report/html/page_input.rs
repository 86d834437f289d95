//! The input of a page: rollouts, their services, and the deployment that they belong to.

use crate::core::journal::placements::Placements;
use crate::core::rollout::event::Entry;
use crate::core::spec::budget::Budget;
use crate::core::stack::Deployment;
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// The input of the page of one rollout.
#[derive(Debug)]
pub struct PageInput<'a> {
    pub rollout: RolloutInput<'a>,
    /// The hosts, the versions and the reader's time zone.
    pub setup: ReporterSetup,
    /// The inventory and the service as arguments of commands, quoted for a shell.
    pub arguments: String,
    /// The end of the time axis for a rollout that has not ended.
    pub now: Time,
}

/// The input of the page of a deployment.
#[derive(Debug)]
pub struct DeploymentInput<'a> {
    pub deployment: &'a Deployment,
    pub fleet: &'a str,
    /// The services of the deployment that the inventory still has.
    pub services: Vec<ServiceInput<'a>>,
    /// Whether the inventory has services that the deployment does not change.
    pub is_partial: bool,
    /// Whether no later deployment changed these services.
    pub is_newest: bool,
    /// The inventory as an argument of commands, quoted for a shell.
    pub arguments: String,
    /// The end of the time axis for a deployment that has not ended.
    pub now: Time,
}

/// A service on a page.
#[derive(Debug)]
pub struct ServiceInput<'a> {
    pub service: &'a str,
    /// The hosts, the versions and the reader's time zone.
    pub setup: ReporterSetup,
    /// The instances that ran when the deployment began.
    pub before: &'a Placements,
    /// The version that ran before; `None` if nothing ran.
    pub version_before: Option<&'a str>,
    /// Oldest first; empty if the deployment did not begin with this service.
    pub rollouts: Vec<RolloutInput<'a>>,
}

/// A rollout on a page.
#[derive(Debug)]
pub struct RolloutInput<'a> {
    pub rollout: i64,
    pub journal: &'a [Entry],
    /// The instances that ran when the rollout began.
    pub before: &'a Placements,
    /// The limits of the capacity, if they are on record.
    pub budget: Option<Budget>,
    pub who: &'a str,
    pub reason: &'a str,
    /// The exit code, if the rollout has ended.
    pub exit_code: Option<u8>,
    /// The directives of the instances' units, one per line; empty if there are none.
    pub directives: String,
    /// The differences from the previous release.
    pub changes: Changes,
}

/// The differences from the previous release.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The previous revision: `revision 1 (0.8)`.
    pub since: String,
    /// Name, old value, new value.
    pub parts: Vec<[String; 3]>,
    /// Removed (`-`) and added (`+`) lines of the playbook.
    pub playbook: Vec<String>,
}
