//! What the engine acts on: hosts that can be looked at, ordered and asked.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

use super::chore::{Attempted, Task};
use crate::core::analysis::Analysis;
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::traffic::{Receipt, View};
use crate::core::fleet::{Instance, Observation};
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, Slot};
use crate::core::release::hook::HookRun;
use crate::core::rollout::action::Action;

/// The hosts of a fleet. Every method ends within a bound of its own.
pub trait World: Send + Sync + 'static {
    /// Looks at a host; changes nothing.
    fn look<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Result<Observation, Unusable>>;

    /// Carries out an order.
    fn perform(&self, order: Order) -> BoxFuture<'_, Performed>;

    /// Looks at a balancer; changes nothing.
    fn view<'a>(&'a self, balancer: &'a HostId) -> BoxFuture<'a, Result<View, Unusable>>;

    /// Asks an instance once whether it is ready.
    fn ask<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict>;

    /// Measures a number by which a new version is judged; one that compares instances is not
    /// measured here.
    fn measure<'a>(&'a self, analysis: &'a Analysis) -> BoxFuture<'a, Measurement>;

    /// Does something that is done once.
    fn attempt(&self, task: Task) -> BoxFuture<'_, Attempted>;

    /// The last lines of an instance's log; empty if they cannot be had.
    fn log_tail<'a>(&'a self, slot: &'a Slot, lines: u32) -> BoxFuture<'a, Vec<String>>;
}

/// An order with all that its host needs to know.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its number in its rollout: a host refuses it once it has taken a later one.
    pub id: ActionId,
    /// What to do.
    pub action: Action,
    /// The fencing number that it carries.
    pub epoch: Epoch,
    /// The revision and the name of the instance that a start makes.
    pub instance: Option<(crate::core::ids::Revision, InstanceId)>,
    /// How long the rollout may stand without progress: what a host or a balancer may take where
    /// nothing else says so.
    pub progress_deadline: Duration,
}

/// How an order ended. Where the host answered, so did its new state, in the same round trip.
#[derive(Clone, Debug)]
pub enum Performed {
    /// It was carried out.
    Done(Observation),
    /// It was refused or failed.
    Failed {
        /// What the host said.
        error: String,
        /// Its state after that, if it could be read.
        observation: Option<Observation>,
    },
    /// The host has seen a newer epoch.
    Fenced {
        /// Which.
        seen: Epoch,
    },
    /// What the balancers do has changed, or had to be looked at again before it may.
    Switched {
        /// What they say now.
        views: BTreeMap<HostId, View>,
        /// How an instance was taken out of traffic, if one was.
        receipt: Option<Receipt>,
        /// The host's state, where it was ordered too.
        observation: Option<Observation>,
    },
    /// A balancer could not be asked, or nobody knows whether it did as it was told; on the host
    /// nothing was done.
    BalancerLost {
        /// Which.
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
    /// The host answers, but an earlier order is still at work there and holds its lock.
    Busy {
        /// Which.
        why: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Performed {
    /// What the user's hooks did meanwhile.
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

/// A host that cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What was tried, what came back, and what to try next.
    pub why: String,
}
