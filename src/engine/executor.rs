//! What the engine acts on: hosts that can be observed, ordered and probed.

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
use crate::core::rollout::task::{Task, TaskOutcome};
use crate::remote::HostUnavailable;

/// The hosts of a fleet and their balancers. Every method has a time limit of its own.
pub trait Executor: Send + Sync + 'static {
    /// Observes a host; changes nothing.
    fn observe_host<'a>(
        &'a self,
        host: &'a HostId,
    ) -> BoxFuture<'a, Result<Observation, HostUnavailable>>;

    fn execute(&self, order: ActionOrder) -> BoxFuture<'_, ActionResult>;

    /// Observes a balancer; changes nothing.
    fn observe_balancer<'a>(
        &'a self,
        balancer: &'a HostId,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>>;

    /// Asks an instance once whether it is ready.
    fn probe<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict>;

    /// Measures a number by which a new version is judged; one that compares instances is not
    /// measured here.
    fn measure<'a>(&'a self, analysis: &'a Analysis) -> BoxFuture<'a, Measurement>;

    /// Runs a task, which is work that is done once in a rollout.
    fn run_task(&self, task: TaskOrder) -> BoxFuture<'_, TaskResult>;

    /// The last lines of an instance's log; empty if they cannot be read.
    fn tail_log<'a>(&'a self, slot: &'a Slot, lines: u32) -> BoxFuture<'a, Vec<String>>;
}

/// An order with everything that its host needs.
#[derive(Clone, Debug)]
pub struct ActionOrder {
    /// Its number in its rollout: a host refuses it after a later one.
    pub id: ActionId,
    pub action: Action,
    /// The fencing number that it carries.
    pub epoch: Epoch,
    /// The revision and the name of the instance that a start makes.
    pub instance: Option<(Revision, InstanceId)>,
    /// How long the rollout may stand without progress: what a host or a balancer may take where
    /// nothing else says so.
    pub progress_deadline: Duration,
}

/// How an order ended. A host that answers includes its new state.
#[derive(Clone, Debug)]
pub enum ActionResult {
    Done(Observation),
    Failed {
        error: String,
        /// Its state after that, if it could be read.
        observation: Option<Observation>,
    },
    /// The host has seen a newer epoch.
    Fenced {
        seen: Epoch,
    },
    /// The balancers have made the change, or must be observed again first.
    Switched {
        views: BTreeMap<HostId, BalancerState>,
        /// How an instance was drained, if one was.
        receipt: Option<DrainResult>,
        /// The host's state, if the order changed a host as well.
        observation: Option<Observation>,
    },
    /// A balancer could not be asked, or nobody knows whether it did as it was told; on the host
    /// nothing was done.
    BalancerLost {
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
    /// The host answers, but an earlier order still holds its lock.
    Busy {
        why: String,
    },
    /// The balancer may have made the change or not.
    Unknown {
        why: String,
    },
}

impl ActionResult {
    /// The result for a controller that was suspended meanwhile: the host's state is outdated.
    pub(super) fn after_suspend(self, host: &HostId) -> Self {
        match self {
            Self::Done(_) | Self::Failed { .. } | Self::Switched { .. } => Self::Unknown {
                why: format!("{host}: ship slept when the answer came"),
            },
            Self::Fenced { .. }
            | Self::BalancerLost { .. }
            | Self::Busy { .. }
            | Self::Unknown { .. } => self,
        }
    }

    /// Takes the results of the user's hooks since the last call.
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
    /// On which host; `None` on the control machine.
    pub host: Option<HostId>,
    pub id: ActionId,
    pub epoch: Epoch,
    /// The release in whose directory the command runs.
    pub release: ReleaseId,
    /// The revision that it is for.
    pub revision: Revision,
    /// The environment of the command.
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    pub end: TaskOutcome,
    /// The last lines that it printed.
    pub output: Vec<String>,
}
