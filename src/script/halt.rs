//! What a stop ends, and how long that may take.

use crate::core::ids::{InstanceId, Port};
use crate::script::site::WORK;
use std::time::Duration;

/// The time limit for a killed process to be gone.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct StopSpec {
    pub port: Port,
    /// Exactly this instance: another one in the slot is not stopped.
    pub instance: InstanceId,
    /// The stop timeout of the instance's release, which bounds how long the script may take. The
    /// host itself goes by the timeout that it recorded when it started the instance.
    pub stop_timeout: Duration,
    /// The time limit of all its hooks together; hooks that are left then do not run.
    pub hooks: Duration,
    /// After how long the host brings it back by itself, rounded up to whole seconds; `None` where
    /// it is not to.
    pub restore_after: Option<Duration>,
}

/// What systemd may take to stop an instance: what it has killed it ends in time of its own, as
/// long again.
pub(super) fn systemd_wait(stop_timeout: Duration) -> Duration {
    stop_timeout * 2 + WORK
}
