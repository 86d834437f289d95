//! The result of the planner.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::HostId;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{FailureResponse, Progress};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::task::TaskRun;
use crate::core::spec::step::Step;
use crate::core::time::Time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The actions to start, at most one per host.
    pub actions: Vec<Action>,
    /// Hosts to observe immediately: the next decision must know that their processes still run.
    pub hosts_to_observe: BTreeSet<HostId>,
    /// Why each host without an action waits.
    pub wait_reasons: BTreeMap<HostId, WaitReason>,
    pub progress: Progress,
    /// What follows the actions.
    pub next: Next,
}

/// What follows the actions of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Plan again at this time, or after the next event.
    Wake(Time),
    /// Plan again when an action in flight has ended.
    AwaitInFlight,
    /// A host counts as failed, and the rollout continues on the others.
    FailHost(Failure),
    /// The current step has all its instances, this many.
    StepReached(Step, u32),
    StepPassed,
    /// The rollout has failed, with this response.
    Fail(Failure, FailureResponse),
    /// A task must run.
    Run(TaskRun),
    Finish(Outcome),
}
