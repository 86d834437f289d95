//! The one place where time is read.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::time::Time;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Time;
}

/// The machine's own clock. It is the wall clock on purpose: it goes on while a laptop sleeps, so that on waking every
/// verdict is known to be stale.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Time {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
