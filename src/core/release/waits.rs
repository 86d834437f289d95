//! The times that the settings of a release allow its instances.

use std::time::Duration;

/// The times that the settings of a release allow its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waits {
    /// The time from the start of a process to the first probe (`initial_delay`).
    pub initial_delay: Duration,
    /// Consecutive passes that make an instance ready (`success_threshold`).
    pub success_threshold: u32,
    /// The time between probes (`interval`).
    pub interval: Duration,
    /// How long a process must have been running to be ready (`running`).
    pub running: Duration,
    /// The time limit of all hooks of a start.
    pub start: Duration,
    /// The time limit of a stop: its hooks, and the time from TERM to KILL.
    pub stop: Duration,
    /// How long a replaced instance may finish its work, and keep its slot; zero if it may not.
    pub linger: Duration,
}

impl Waits {
    /// The time from the start of a process to its first probe that can pass.
    pub fn until_first_probe(&self) -> Duration {
        self.initial_delay.max(self.running)
    }

    /// The shortest time until an instance is ready, if it passes every probe.
    pub fn until_ready(&self) -> Duration {
        let repeats = self.interval * self.success_threshold.saturating_sub(1);
        self.until_first_probe() + repeats
    }
}
