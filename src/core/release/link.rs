//! The driver `link`: a server that is already there serves the files to which `current` leads.

use std::time::Duration;

use crate::core::release::hook::KILL_TIME;

/// The time limit of `activate`.
pub const ACTIVATE_TIMEOUT: Duration = Duration::from_mins(1);

/// The longest time that `activate` takes in a start: if it fails, it runs once more after the switch
/// back.
pub fn activation_time(activate: &[String]) -> Duration {
    if activate.is_empty() {
        Duration::ZERO
    } else {
        (ACTIVATE_TIMEOUT + KILL_TIME) * 2
    }
}
