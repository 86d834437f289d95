//! Why a host has no order now.

use std::fmt;

use serde::Serialize;

use crate::core::ids::{HostId, Port};
use crate::core::rollout::action::Action;
use crate::core::time::Time;

/// The reason why a host has no order now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
pub enum WaitReason {
    UpToDate,
    /// It is to be drained, and still has instances.
    ToDrain,
    /// It is drained, and has no instances any more.
    Drained,
    /// It has not been observed yet.
    NotSeen,
    Unreachable {
        since: Time,
        /// What was tried and what came back.
        why: String,
    },
    /// It belongs to another fleet, or is the same machine as another host, and does not count.
    NotCounted {
        why: String,
    },
    /// It was given up in this rollout.
    HostFailed {
        why: String,
    },
    /// An order is in flight for it.
    Busy {
        action: Action,
    },
    /// Its new instance is not ready yet.
    WaitsForReady {
        port: Port,
        /// The answer of the last probe.
        answer: Option<String>,
    },
    /// A start failed, or the instance exited at once, and is tried again after a pause.
    WaitsToRetry {
        port: Port,
        /// The number of the next attempt.
        attempt: u32,
        /// When the next attempt is made.
        until: Time,
        /// How the last attempt ended.
        why: String,
    },
    /// Its new instance is ready, but not for long enough.
    Soaks {
        port: Port,
        until: Time,
    },
    /// It has an old instance, and the budget allows neither a start nor a stop.
    WaitsForCapacity {
        /// Available instances in the fleet.
        available: u32,
        min_available: u32,
        /// Running instances in the fleet.
        running: u32,
        max_running: u32,
    },
    /// Its new instance is ready and admitted, but a balancer's own check fails.
    WaitsForBalancer {
        port: Port,
    },
    /// The new instances of a step serve and are watched for a while.
    StepSoaks {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        until: Time,
    },
    /// The new instances of a step have been watched for long enough, but what is measured says
    /// nothing yet.
    WaitsForAnalysis {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        /// Which analysis, and what it says.
        why: String,
    },
    /// A person must promote the rollout.
    WaitsForPromote {
        /// The step, counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
    },
    /// ship only finishes what it has begun.
    Closing {
        /// The window that closes, or who froze the fleet and why.
        why: String,
    },
    /// A balancer cannot be reached: what it does is not known, and nothing is taken out of
    /// traffic.
    BalancerLost {
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
    /// The whole rollout has stopped.
    Standstill {
        outcome: &'static str,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::UpToDate => f.write_str("needs nothing"),
            WaitReason::ToDrain => f.write_str("is to be drained: a deploy moves what runs there"),
            WaitReason::Drained => f.write_str(
                "is drained: nothing of the service runs there, and it may leave the inventory",
            ),
            WaitReason::NotSeen => f.write_str("not looked at yet"),
            WaitReason::Unreachable { why, .. } => write!(f, "unreachable: {why}"),
            WaitReason::NotCounted { why } => write!(f, "not counted: {why}"),
            WaitReason::HostFailed { why } => write!(f, "left behind: {why}"),
            WaitReason::Busy { action } => write!(f, "busy: {action}"),
            WaitReason::WaitsForReady { .. }
            | WaitReason::WaitsToRetry { .. }
            | WaitReason::Soaks { .. }
            | WaitReason::WaitsForBalancer { .. } => self.fmt_of_instance(f),
            WaitReason::WaitsForCapacity {
                available,
                min_available,
                running,
                max_running,
            } => write!(
                f,
                "waits its turn: {available} available (at least {min_available} must stay), \
                 {running} running (at most {max_running} may)"
            ),
            WaitReason::StepSoaks { step, of, .. } => write!(f, "waits: step {step} of {of} soaks"),
            WaitReason::WaitsForAnalysis { step, of, why } => {
                write!(f, "waits: step {step} of {of} is not judged yet: {why}")
            }
            WaitReason::WaitsForPromote { step, of } => write!(
                f,
                "waits after step {step} of {of}: `ship promote` goes on, `ship abort` goes back"
            ),
            WaitReason::Closing { why } => write!(f, "waits: {why}"),
            WaitReason::BalancerLost { balancer, why } => {
                write!(f, "waits for balancer {balancer}: {why}")
            }
            WaitReason::Standstill { outcome } => write!(f, "the rollout has ended: {outcome}"),
        }
    }
}

impl WaitReason {
    /// Says what the new instance lacks.
    fn fmt_of_instance(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::WaitsForReady { port, answer } => {
                write!(f, "waits for port {port} to become ready")?;
                match answer {
                    Some(answer) => write!(f, "; it last answered: {answer}"),
                    None => Ok(()),
                }
            }
            WaitReason::WaitsToRetry {
                port, attempt, why, ..
            } => write!(
                f,
                "waits before attempt {attempt} to start on port {port}; the last one: {why}"
            ),
            WaitReason::Soaks { port, .. } => write!(f, "port {port} is ready, and soaks"),
            WaitReason::WaitsForBalancer { port } => write!(
                f,
                "port {port} is ready and admitted; it waits for a balancer's own check"
            ),
            _ => Ok(()),
        }
    }
}
