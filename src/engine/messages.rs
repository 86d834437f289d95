//! The messages to the controller: reports of the tasks that it has started, and signals.

use std::time::Duration;

use tokio::sync::mpsc;

use super::executor::{ActionResult, TaskResult};
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::Observation;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::traffic::BalancerState;
use crate::core::ids::{ActionId, HostId, InstanceId, ReleaseId, Slot};
use crate::core::release::migration::MigrationKind;
use crate::core::time::Time;
use crate::remote::HostUnavailable;

/// The receiver of signals, by name.
pub type Interrupts = mpsc::UnboundedReceiver<&'static str>;

/// A report, and when its task began.
pub(super) struct Arrival {
    pub(super) begun: Time,
    pub(super) message: Message,
}

pub(super) enum Message {
    ActionEnded {
        id: ActionId,
        host: HostId,
        result: ActionResult,
    },
    Probed(ProbeAnswer),
    Measured {
        analysis: String,
        measurement: Measurement,
    },
    TaskEnded(EndedTask),
    HostObserved {
        host: HostId,
        /// The orders that the host had been given when it was observed.
        orders: u64,
        observed: Result<Observation, HostUnavailable>,
    },
    BalancerObserved {
        balancer: HostId,
        /// The orders that the balancer had been given when it was observed.
        orders: u64,
        observed: Result<BalancerState, HostUnavailable>,
    },
    /// The task has panicked, which is a bug. An order stays in flight then, and the deadline ends
    /// the rollout.
    Panicked,
}

/// How an instance answered a probe.
pub(super) struct ProbeAnswer {
    pub(super) slot: Slot,
    pub(super) instance: InstanceId,
    /// The restarts of its process before the probe.
    pub(super) restarts: u32,
    pub(super) verdict: Verdict,
}

/// How a task of the rollout ended.
pub(super) struct EndedTask {
    pub(super) name: String,
    pub(super) migration: Option<(MigrationKind, String)>,
    pub(super) result: TaskResult,
}

/// The answer of a ready instance to a probe.
pub(super) struct ProbeSample {
    pub(super) release: ReleaseId,
    pub(super) is_error: bool,
    pub(super) took: Duration,
}
