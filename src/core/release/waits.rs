//! How long a release's own keys let its starts and stops take.

use std::time::Duration;

/// How long the keys of a release let its instances take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waits {
    /// From the start of a process to the first probe (`initial_delay`).
    pub initial_delay: Duration,
    /// Passes in a row that make it ready (`successes`).
    pub successes: u32,
    /// The time between probes (`interval`).
    pub interval: Duration,
    /// What the hooks of a start may take together.
    pub start: Duration,
    /// What a stop may take: its hooks, and from TERM to KILL.
    pub stop: Duration,
}

impl Waits {
    /// How long an instance takes to become ready at the least, even if it passes every probe.
    pub fn until_ready(&self) -> Duration {
        self.initial_delay + self.interval * self.successes.saturating_sub(1)
    }
}
