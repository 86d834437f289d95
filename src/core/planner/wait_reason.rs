//! The reasons why a host has no action.

use std::fmt;

use serde::Serialize;

use crate::core::ids::{HostId, SlotNumber};
use crate::core::rollout::action::Action;
use crate::core::time::Time;

/// The reason why a host has no action now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
pub enum WaitReason {
    UpToDate,
    /// The host has `drain = true` and still runs instances.
    ToDrain,
    /// The host has `drain = true` and runs no instances.
    Drained,
    /// The host has not been observed yet.
    NotSeen,
    Unreachable {
        since: Time,
        /// The command and its error.
        why: String,
    },
    /// The host belongs to another fleet or is the same machine as another host.
    NotCounted {
        why: String,
    },
    /// The host has failed in this rollout.
    HostFailed {
        why: String,
    },
    /// An action is in flight on the host.
    Busy {
        action: Action,
    },
    /// The new instance is not ready yet.
    WaitsForReady {
        number: SlotNumber,
        /// The answer of the last probe.
        answer: Option<String>,
    },
    /// A start failed, or the instance exited at once. The next attempt follows after a pause.
    WaitsToRetry {
        number: SlotNumber,
        /// The number of the next attempt.
        attempt: u32,
        /// When the next attempt is made.
        until: Time,
        /// How the last attempt ended.
        why: String,
    },
    /// The new instance is ready, but has not been for `min_ready`.
    Soaks {
        number: SlotNumber,
        until: Time,
    },
    /// The host has an old instance, and the budget allows neither a start nor a stop.
    WaitsForCapacity {
        /// Available instances in the fleet.
        available: u32,
        min_available: u32,
        /// Running instances in the fleet.
        running: u32,
        max_running: u32,
    },
    /// The host has an old instance, and something is disturbed in another zone.
    WaitsForZone {
        zone: String,
    },
    /// No instance of a singleton may start here, because another one may be alive.
    WaitsForSingleton {
        /// What may be alive, and where.
        why: String,
    },
    /// The host has no free slot: an instance that was asked to stop may still finish its work.
    WaitsForLingering {
        number: SlotNumber,
        /// When the host ends it.
        until: Time,
    },
    /// The new instance is ready and admitted, but a balancer's own check fails.
    WaitsForBalancer {
        number: SlotNumber,
    },
    /// The new instances of a step are available and soak.
    StepSoaks {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        until: Time,
    },
    /// The soak time of a step is over, but an analysis has no conclusive measurement yet.
    WaitsForAnalysis {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        /// The analysis and its last measurement.
        why: String,
    },
    /// A user must promote the rollout.
    WaitsForPromote {
        /// The step, counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
    },
    /// ship finishes the current batch and starts no new one.
    Closing {
        /// The window that closes, or who froze the fleet and why.
        why: String,
    },
    /// A balancer is unreachable. Its state is unknown, so ship drains nothing.
    BalancerLost {
        balancer: HostId,
        /// The command and its error.
        why: String,
    },
    /// The state store cannot be used, and nothing new starts without a record.
    StoreLost {
        /// What was being done, and its error.
        why: String,
    },
    /// The whole rollout has stopped.
    RolloutStopped {
        outcome: &'static str,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::UpToDate => f.write_str("up to date"),
            WaitReason::ToDrain => f.write_str("to be drained by the next deploy"),
            WaitReason::Drained => f.write_str("drained; safe to remove from the inventory"),
            WaitReason::NotSeen => f.write_str("not observed yet"),
            WaitReason::Unreachable { why, .. } => write!(f, "unreachable: {why}"),
            WaitReason::NotCounted { why } => write!(f, "not counted: {why}"),
            WaitReason::HostFailed { why } => write!(f, "failed: {why}"),
            WaitReason::Busy { action } => write!(f, "busy: {action}"),
            WaitReason::WaitsForReady { .. }
            | WaitReason::WaitsToRetry { .. }
            | WaitReason::Soaks { .. }
            | WaitReason::WaitsForLingering { .. }
            | WaitReason::WaitsForBalancer { .. } => self.fmt_instance(f),
            WaitReason::WaitsForSingleton { why } => {
                write!(
                    f,
                    "waiting, because two instances must never run at once: {why}"
                )
            }
            WaitReason::WaitsForCapacity {
                available,
                min_available,
                running,
                max_running,
            } => write!(
                f,
                "waiting for capacity: {available} available (minimum {min_available}), {running} \
                 running (maximum {max_running})"
            ),
            WaitReason::WaitsForZone { zone } => write!(
                f,
                "waiting for zone {zone}: instances are replaced in one zone at a time"
            ),
            WaitReason::StepSoaks { step, of, .. } => {
                write!(f, "waiting: step {step} of {of} soaks")
            }
            WaitReason::WaitsForAnalysis { step, of, why } => {
                write!(f, "waiting for an analysis at step {step} of {of}: {why}")
            }
            WaitReason::WaitsForPromote { step, of } => write!(
                f,
                "waiting at step {step} of {of}: `ship promote` continues, `ship abort` rolls back"
            ),
            WaitReason::Closing { why } => write!(f, "waiting: {why}"),
            WaitReason::BalancerLost { balancer, why } => {
                write!(f, "waiting for balancer {balancer}: {why}")
            }
            WaitReason::StoreLost { why } => write!(f, "waiting for the state store: {why}"),
            WaitReason::RolloutStopped { outcome } => write!(f, "the rollout has ended: {outcome}"),
        }
    }
}

impl WaitReason {
    /// Writes what the new instance waits for.
    fn fmt_instance(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::WaitsForReady { number, answer } => {
                write!(f, "waiting for slot {number} to become ready")?;
                match answer {
                    Some(answer) => write!(f, "; last answer: {answer}"),
                    None => Ok(()),
                }
            }
            WaitReason::WaitsToRetry {
                number,
                attempt,
                why,
                ..
            } => write!(
                f,
                "waiting before attempt {attempt} to start in slot {number}; last attempt: {why}"
            ),
            WaitReason::Soaks { number, .. } => write!(f, "slot {number} is ready and soaks"),
            WaitReason::WaitsForLingering { number, .. } => write!(
                f,
                "waiting for a free slot: the instance in slot {number} lingers"
            ),
            WaitReason::WaitsForBalancer { number } => write!(
                f,
                "slot {number} is ready and admitted; waiting for the load balancer's check"
            ),
            _ => Ok(()),
        }
    }
}
