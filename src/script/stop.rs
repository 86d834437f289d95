//! Stopping an instance.

use std::time::Duration;

use super::site::{Input, LOCK_WAIT, Script, Site, Text, UNIT_DIR, WORK, centiseconds};
use crate::core::names::{InstanceId, Port};

/// How long what was killed may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// What to stop.
#[derive(Clone, Debug)]
pub struct Halt {
    /// The slot's port.
    pub port: Port,
    /// Exactly this instance: if another is there, nothing is stopped.
    pub instance: InstanceId,
    /// From TERM to KILL.
    pub stop_timeout: Duration,
}

/// Stops an instance with all its processes and empties its slot; its log stays. Where it is not, nothing is done.
pub fn stop(site: &Site, halt: &Halt) -> Script {
    // systemd ends what it has killed in time of its own, as long again.
    let systemd_wait = halt.stop_timeout * 2 + WORK;
    Text::acting(site, "stop")
        .set("PORT", halt.port)
        .set("NAME", &halt.instance)
        .set("STOP_CS", centiseconds(halt.stop_timeout))
        .set("KILL_CS", centiseconds(KILL_WAIT))
        .set("STOP_WAIT_S", systemd_wait.as_secs() + 1)
        .set("UNIT_DIR", UNIT_DIR)
        .add(include_str!("sh/stop.sh"))
        .script(Input::default(), LOCK_WAIT + systemd_wait + KILL_WAIT + WORK)
}
