//! The messages to the controller: the results of its background tasks, and signals.

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

/// Receives the names of signals.
pub type Interrupts = mpsc::UnboundedReceiver<&'static str>;

/// A message, and when its background task began.
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
        /// The number of actions that had been sent to the host when it was observed.
        orders: u64,
        observed: Result<Observation, HostUnavailable>,
    },
    BalancerObserved {
        balancer: HostId,
        /// The number of actions that had been sent to the balancer when it was observed.
        orders: u64,
        observed: Result<BalancerState, HostUnavailable>,
    },
    /// The background task has panicked, which is a bug. An action stays in flight then, and the
    /// progress deadline ends the rollout.
    Panicked,
}

/// The response of an instance to a probe.
pub(super) struct ProbeAnswer {
    pub(super) slot: Slot,
    pub(super) instance: InstanceId,
    /// How often its process had been restarted before the probe.
    pub(super) restarts: u32,
    pub(super) verdict: Verdict,
}

/// A hook or migration of the rollout that has ended.
pub(super) struct EndedTask {
    pub(super) name: String,
    pub(super) migration: Option<(MigrationKind, String)>,
    pub(super) result: TaskResult,
}

/// The response of a ready instance to a probe, as analyses count it.
pub(super) struct ProbeSample {
    pub(super) release: ReleaseId,
    pub(super) is_error: bool,
    pub(super) took: Duration,
}
