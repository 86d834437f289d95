//! The reasons why a rollout cannot work, with the arithmetic.

use std::fmt;
use std::time::Duration;

use crate::core::ids::Slot;
use crate::core::release::waits::Waits;
use crate::core::time::Human;

/// A reason why a rollout cannot work. The text shows the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// `max_surge` and `max_unavailable` are both literally zero.
    NoRoomForRollout,
    /// More replicas than slots.
    TooFewSlots {
        replicas: u32,
        hosts: usize,
        /// Slots of each host.
        slots_per_host: usize,
    },
    /// No instance may be unavailable, and there is no slot for an additional one.
    NoSlotForSurge {
        replicas: u32,
        /// The allowed surge.
        surge: u32,
        hosts: usize,
        /// Slots of each host.
        slots_per_host: usize,
    },
    /// An instance becomes available later than the progress deadline.
    AvailableTooLate {
        /// The waits before an instance is ready.
        waits: Box<Waits>,
        min_ready: Duration,
        progress_deadline: Duration,
    },
    /// Replaced instances may keep the slots that new ones need for longer than the progress
    /// deadline.
    LingersTooLong {
        replicas: u32,
        hosts: usize,
        /// Slots of each host.
        slots_per_host: usize,
        linger: Duration,
        progress_deadline: Duration,
    },
    /// More than one instance of a singleton.
    SeveralSingletons { replicas: u32 },
    /// Another process listens on a port of the slot.
    SlotTaken {
        slot: Slot,
        /// The process: its pid and its command.
        who: String,
    },
}

impl Impossible {
    /// Whether an instance takes longer to become available than `progress_deadline`.
    pub fn available_too_late(
        waits: Waits,
        min_ready: Duration,
        progress_deadline: Duration,
    ) -> Option<Self> {
        let is_too_late = waits.until_ready() + min_ready >= progress_deadline;
        is_too_late.then(|| Self::AvailableTooLate {
            waits: Box::new(waits),
            min_ready,
            progress_deadline,
        })
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Impossible::NoRoomForRollout => f.write_str(
                "max_surge = 0 and max_unavailable = 0 leave no room for a rollout: it could neither \
                 start a new instance nor stop an old one\nhint: set max_surge = 1, or allow one \
                 instance to be down with max_unavailable = 1",
            ),
            Impossible::TooFewSlots {
                replicas,
                hosts,
                slots_per_host,
            } => write!(
                f,
                "{replicas} replicas need {replicas} slots, but the fleet offers {}\nhint: add hosts, \
                 ports or slots, or lower `replicas`",
                slots(*hosts, *slots_per_host)
            ),
            Impossible::NoSlotForSurge {
                replicas,
                surge,
                hosts,
                slots_per_host,
            } => write!(
                f,
                "{replicas} replicas + {surge} surge need at least {} slots, but the fleet offers \
                 {}, and max_unavailable resolves to 0\nhint: add a host or a second port or slot, or \
                 replace in place with max_surge = 0 and max_unavailable = 1",
                replicas + 1,
                slots(*hosts, *slots_per_host)
            ),
            Impossible::AvailableTooLate {
                waits,
                min_ready,
                progress_deadline,
            } => write!(
                f,
                "no instance can be available within progress_deadline ({}): it takes at least {} \
                 ({})",
                Human(*progress_deadline),
                Human(waits.until_ready() + *min_ready),
                terms(waits, *min_ready)
            ),
            Impossible::LingersTooLong {
                replicas,
                hosts,
                slots_per_host,
                linger,
                progress_deadline,
            } => write!(
                f,
                "{replicas} old and {replicas} new instances need {} slots while the old ones linger, \
                 but the fleet offers {}, and linger ({}) exceeds progress_deadline ({})\nhint: add \
                 hosts or slots, or set progress_deadline above linger",
                replicas * 2,
                slots(*hosts, *slots_per_host),
                Human(*linger),
                Human(*progress_deadline)
            ),
            Impossible::SeveralSingletons { replicas } => write!(
                f,
                "a singleton has 1 replica, not {replicas}\nhint: pass --set rollout.replicas=1"
            ),
            Impossible::SlotTaken { slot, who } => write!(
                f,
                "{}: slot {} is taken by {who}, which this fleet did not start; stop it, or remove \
                 the port from `ports`",
                slot.host, slot.number
            ),
        }
    }
}

/// `8 (4 hosts × 2 slots)`
fn slots(hosts: usize, slots_per_host: usize) -> String {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    format!(
        "{} ({hosts} host{} × {slots_per_host} slot{})",
        hosts * slots_per_host,
        plural(hosts),
        plural(slots_per_host)
    )
}

/// The time until an instance is available: `initial_delay 5s + min_ready 10s`.
fn terms(waits: &Waits, min_ready: Duration) -> String {
    let Waits {
        initial_delay,
        success_threshold,
        interval,
        ..
    } = waits;
    let mut terms = Vec::new();
    if !waits.running.is_zero() {
        terms.push(format!("running {}", Human(waits.running)));
    }
    if !initial_delay.is_zero() {
        terms.push(format!("initial_delay {}", Human(*initial_delay)));
    }
    if let repeats @ 1.. = success_threshold.saturating_sub(1) {
        let interval = Human(*interval);
        terms.push(format!(
            "{repeats} × interval {interval} for success_threshold = {success_threshold}"
        ));
    }
    if !min_ready.is_zero() {
        terms.push(format!("min_ready {}", Human(min_ready)));
    }
    terms.join(" + ")
}
