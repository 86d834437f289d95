//! Instances that were asked to stop and may finish their work.

use std::time::Duration;

use crate::core::time::Time;

/// The time in which an instance that was asked to stop may finish its work (`linger`). The host
/// itself ends the instance afterwards. The times are by the control machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lingering {
    /// When the instance got its stop signal.
    pub since: Time,
    /// When the host kills it.
    pub ends_by: Time,
    /// When the instance ended, if it has ended and the host knows that.
    pub ended: Option<Time>,
}

impl Lingering {
    /// How long the instance has been lingering, or had been when it ended.
    pub fn lasts(&self, now: Time) -> Duration {
        self.ended.unwrap_or(now).since(self.since)
    }

    /// How long the instance may linger from now on.
    pub fn remaining(&self, now: Time) -> Duration {
        self.ends_by.since(now)
    }
}
