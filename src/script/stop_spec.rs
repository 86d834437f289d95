//! The input of a stop, and its time limits.

use crate::core::ids::{InstanceId, SlotNumber};
use crate::script::host_context::WORK;
use std::time::Duration;

/// How long a stop waits before it looks for processes that have left the instance's session.
pub(super) const DETACHED_WAIT: Duration = Duration::from_millis(200);

/// The time limit for a killed process to disappear.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct StopSpec {
    pub number: SlotNumber,
    /// The instance to stop. Another instance in the slot is not stopped.
    pub instance: InstanceId,
    /// The stop timeout of the instance's release, for the time limit of the script. The host uses
    /// the timeout that it recorded when it started the instance.
    pub stop_timeout: Duration,
    /// The time limit of all hooks together. When it is used up, the remaining hooks do not run.
    pub hooks: Duration,
    /// The time after which the dead-man switch restores the instance, rounded up to whole seconds;
    /// `None` for no switch.
    pub restore_after: Option<Duration>,
    /// Whether the instance may finish its work, if its release has `linger`.
    pub may_linger: bool,
}

/// How long a stop waits for the end of an instance that may linger, so that one without work is
/// not reported as lingering.
pub(super) const LINGER_GRACE: Duration = Duration::from_secs(1);

/// The time that systemd may take to stop an instance: after it has killed the instance, it waits
/// for the same time again.
pub(super) fn systemd_wait(stop_timeout: Duration) -> Duration {
    stop_timeout * 2 + WORK
}
