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
    /// Orders to give, at most one a host.
    pub actions: Vec<Action>,
    /// Hosts to be looked at at once: the next decision needs to know that the processes there
    /// still run.
    pub looks: BTreeSet<HostId>,
    /// Why each host without an order waits.
    pub holds: BTreeMap<HostId, WaitReason>,
    pub progress: Progress,
    /// What comes after the orders.
    pub next: Next,
}

/// What comes after the orders of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Plan again at this moment, or when something happens.
    Wake(Time),
    /// Plan again when an order in flight has ended.
    AwaitInFlight,
    /// A host is given up, and the others continue.
    FailHost(Failure),
    /// The present step has this number of instances, which is all it needs.
    StepReached(Step, u32),
    StepPassed,
    /// The rollout has failed, and this follows.
    Fail(Failure, FailureResponse),
    /// A task must run.
    Run(TaskRun),
    Finish(Outcome),
}
