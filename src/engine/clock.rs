//! The one place where time is read.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

pub trait Clock: Send + Sync {
    /// The present moment on a time line that never goes back, for all durations and deadlines.
    fn now(&self) -> Time;

    /// The present moment by the machine's clock, to compare with other processes.
    fn wall(&self) -> Time {
        self.now()
    }
}

/// This process's clock. It starts at the wall clock's time and then counts the time that passes,
/// also while the machine is suspended, so that on waking every verdict is known to be stale. It
/// does not follow a wall clock that somebody sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock;

/// A moment on both clocks, from which others are computed.
struct Anchor {
    wall: Time,
    uptime: Duration,
}

impl Anchor {
    /// The moment at which the machine has been up for `uptime`.
    fn at(&self, uptime: Duration) -> Time {
        self.wall + uptime.saturating_sub(self.uptime)
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Time {
        static ANCHOR: OnceLock<Anchor> = OnceLock::new();
        ANCHOR
            .get_or_init(|| Anchor {
                wall: wall(),
                uptime: uptime(),
            })
            .at(uptime())
    }

    fn wall(&self) -> Time {
        wall()
    }
}

fn wall() -> Time {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// The time since the machine's start, suspended or not.
fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_clock_counts_from_the_wall_clock_by_the_uptime() {
        let anchor = Anchor {
            wall: Time(1_000_000),
            uptime: Duration::from_secs(50),
        };
        assert_eq!(anchor.at(Duration::from_secs(50)), Time(1_000_000));
        assert_eq!(anchor.at(Duration::from_secs(53)), Time(1_003_000));
        assert_eq!(anchor.at(Duration::from_secs(49)), Time(1_000_000));
    }

    #[test]
    fn steady_clock_starts_near_the_wall_clock_and_never_goes_back() {
        let (wall, first) = (SteadyClock.wall(), SteadyClock.now());
        assert!(
            wall.since(first) < Duration::from_mins(10)
                && first.since(wall) < Duration::from_mins(10)
        );
        assert!(SteadyClock.now() >= first);
    }
}
