//! The interface between the controller and the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::core::analysis::Analysis;
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::traffic::{BalancerState, DrainResult};
use crate::core::fleet::{Instance, Observation};
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision, Slot};
use crate::core::release::hook::HookRun;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::FailureKind;
use crate::core::rollout::task::{Task, TaskOutcome};
use crate::remote::HostUnavailable;

/// Observes, probes and changes the hosts of a fleet and its balancers. Every method has its own
/// time limit.
pub trait Executor: Send + Sync + 'static {
    /// Reads the state of a host; changes nothing.
    fn observe_host<'a>(
        &'a self,
        host: &'a HostId,
    ) -> BoxFuture<'a, Result<Observation, HostUnavailable>>;

    /// Executes an action on its host and its balancers.
    fn execute(&self, order: ActionOrder) -> BoxFuture<'_, ActionResult>;

    /// Reads the state of a balancer; changes nothing.
    fn observe_balancer<'a>(
        &'a self,
        balancer: &'a HostId,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>>;

    /// Sends one readiness probe to an instance.
    fn probe<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict>;

    /// Runs one measurement of an analysis. `Compare` is not supported: the controller computes it
    /// from its probes and the balancers' counters.
    fn measure<'a>(&'a self, analysis: &'a Analysis) -> BoxFuture<'a, Measurement>;

    /// Runs a hook or a migration that runs once per rollout.
    fn run_task(&self, task: TaskOrder) -> BoxFuture<'_, TaskResult>;

    /// Reads the last lines of the log of an instance that failed; empty if they cannot be read.
    fn tail_log<'a>(
        &'a self,
        slot: &'a Slot,
        failure: FailureKind,
        lines: u32,
    ) -> BoxFuture<'a, Vec<String>>;
}

/// An action with everything that its host needs to execute it.
#[derive(Clone, Debug)]
pub struct ActionOrder {
    /// The number of the action within the rollout. A host that has executed an action with a
    /// higher number rejects this one.
    pub id: ActionId,
    pub action: Action,
    /// The epoch of the controller.
    pub epoch: Epoch,
    /// The revision and the name of the new instance, for a start.
    pub instance: Option<(Revision, InstanceId)>,
    /// The rollout's progress deadline. It limits every operation on a host or a balancer that has
    /// no timeout of its own.
    pub progress_deadline: Duration,
}

/// The result of an action. A host that replies includes its new state.
#[derive(Clone, Debug)]
pub enum ActionResult {
    Done(Observation),
    Failed {
        error: String,
        /// The state of the host after the failure, if it could be read.
        observation: Option<Observation>,
    },
    /// The host has seen a newer epoch.
    Fenced {
        seen: Epoch,
    },
    /// The balancers have applied the change, or their state does not allow it: in both cases the
    /// controller plans again on `views`.
    Switched {
        views: BTreeMap<HostId, BalancerState>,
        /// How the slot was drained, if the action was a drain.
        drain_result: Option<DrainResult>,
        /// The state of the host, if the action changed a host as well.
        observation: Option<Observation>,
    },
    /// A balancer could not be reached, or it is unknown whether it has applied the change. Nothing
    /// was done on the host.
    BalancerLost {
        balancer: HostId,
        /// What was attempted, and the reply.
        why: String,
    },
    /// The host replies, but an earlier action still holds its lock.
    Busy {
        why: String,
    },
    /// It is unknown whether the host has executed the action.
    Unknown {
        why: String,
    },
}

impl ActionResult {
    /// The result if the controller was suspended in the meantime: the reported state of the host
    /// is outdated.
    pub(super) fn after_suspend(self, host: &HostId) -> Self {
        match self {
            Self::Done(_) | Self::Failed { .. } | Self::Switched { .. } => Self::Unknown {
                why: format!("{host}: ship was suspended when the reply arrived"),
            },
            Self::Fenced { .. }
            | Self::BalancerLost { .. }
            | Self::Busy { .. }
            | Self::Unknown { .. } => self,
        }
    }

    /// Takes the results of the hooks that ran during the action.
    pub(super) fn take_hooks(&mut self) -> Vec<HookRun> {
        let observation = match self {
            Self::Done(observation) => Some(observation),
            Self::Failed { observation, .. } | Self::Switched { observation, .. } => {
                observation.as_mut()
            }
            Self::Fenced { .. }
            | Self::BalancerLost { .. }
            | Self::Busy { .. }
            | Self::Unknown { .. } => None,
        };
        observation
            .map(|observation| std::mem::take(&mut observation.hooks))
            .unwrap_or_default()
    }
}

/// A task with everything that it needs.
#[derive(Clone, Debug)]
pub struct TaskOrder {
    pub task: Task,
    /// The host on which it runs; `None` on the control machine.
    pub host: Option<HostId>,
    pub id: ActionId,
    pub epoch: Epoch,
    /// The release in whose directory the command runs.
    pub release: ReleaseId,
    /// The revision of that release.
    pub revision: Revision,
    /// The additional environment variables of the command.
    pub env: BTreeMap<String, String>,
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    pub end: TaskOutcome,
    /// The last lines of its output.
    pub output: Vec<String>,
}
