//! The only place where ship reads the time.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// A source of time, which tests replace.
pub trait Clock: Send + Sync {
    /// The current time on a monotonic clock, for all durations and deadlines.
    fn now(&self) -> Time;

    /// The current time of the machine's wall clock, to compare with other processes.
    fn wall(&self) -> Time {
        self.now()
    }
}

/// The monotonic clock of this process. It starts at the time of the wall clock and includes the
/// time for which the machine is suspended, so that verdicts from before a suspend count as stale.
/// Changes to the wall clock do not affect it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock;

/// A clock that is set like another one, for example like that of a shared database. Differences of
/// less than 5 seconds are ignored, because the other clock is read with a delay and may have only
/// whole seconds.
pub struct ShiftedClock {
    clock: Arc<dyn Clock>,
    ahead: Duration,
    behind: Duration,
}

/// The smallest difference of two clocks that counts.
const DIFFERENCE_MIN: Duration = Duration::from_secs(5);

impl ShiftedClock {
    /// Sets a clock to the time `other`, which was read just now.
    pub fn set(clock: Arc<dyn Clock>, other: Time) -> Arc<dyn Clock> {
        let own = clock.wall();
        let (ahead, behind) = (other.since(own), own.since(other));
        if ahead.max(behind) < DIFFERENCE_MIN {
            return clock;
        }
        Arc::new(Self {
            clock,
            ahead,
            behind,
        })
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Time {
        self.clock.now() + self.ahead - self.behind
    }

    fn wall(&self) -> Time {
        self.clock.wall() + self.ahead - self.behind
    }
}

/// The same moment on both clocks.
struct Anchor {
    wall: Time,
    uptime: Duration,
}

impl Anchor {
    /// The time at which the machine has been up for `uptime`.
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

/// The time since the machine booted, including suspends.
fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_clock_advances_from_the_wall_clock_by_the_uptime() {
        let anchor = Anchor {
            wall: Time(1_000_000),
            uptime: Duration::from_secs(50),
        };
        assert_eq!(anchor.at(Duration::from_secs(50)), Time(1_000_000));
        assert_eq!(anchor.at(Duration::from_secs(53)), Time(1_003_000));
        assert_eq!(anchor.at(Duration::from_secs(49)), Time(1_000_000));
    }

    #[test]
    fn shifted_clock_is_set_to_another_time() {
        struct Fixed(Time);
        impl Clock for Fixed {
            fn now(&self) -> Time {
                self.0
            }
        }
        let hour = Duration::from_hours(1);
        let own = Time(100_000_000);
        for other in [own + hour, own - hour] {
            let clock = ShiftedClock::set(Arc::new(Fixed(own)), other);
            assert_eq!((clock.now(), clock.wall()), (other, other));
        }
        let near = own + Duration::from_secs(1);
        assert_eq!(ShiftedClock::set(Arc::new(Fixed(own)), near).now(), own);
    }

    #[test]
    fn steady_clock_starts_near_the_wall_clock_and_is_monotonic() {
        let (wall, first) = (SteadyClock.wall(), SteadyClock.now());
        assert!(
            wall.since(first) < Duration::from_mins(10)
                && first.since(wall) < Duration::from_mins(10)
        );
        assert!(SteadyClock.now() >= first);
    }
}
