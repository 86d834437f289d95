//! How closely messages follow a fleet of some size.

/// Messages name each host of a fleet of at most this many.
const HOSTS_NAMED_MAX: usize = 10;
/// In a larger fleet, a message follows after this many percent.
const STEP_PERCENT: usize = 10;

/// How closely messages follow a fleet of so many hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granularity {
    pub(super) hosts: usize,
}

impl Granularity {
    /// Whether a message names each host, instead of a share of them.
    pub(super) fn is_per_host(self) -> bool {
        self.hosts <= HOSTS_NAMED_MAX
    }
}

/// The share in percent, rounded down to one that has a message.
pub(super) fn rounded_percent(done: usize, of: usize) -> usize {
    done * 100 / of.max(1) / STEP_PERCENT * STEP_PERCENT
}
