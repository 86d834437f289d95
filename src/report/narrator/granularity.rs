//! How many messages a fleet gets, by its size.

/// Messages name each host of a fleet of at most this many.
const HOSTS_NAMED_MAX: usize = 10;
/// In a larger fleet, a message follows after this many percent.
const STEP_PERCENT: usize = 10;

/// The size of a fleet, which decides how detailed the messages about it are.
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

/// The percentage, rounded down to a multiple of [`STEP_PERCENT`].
pub(super) fn rounded_percent(done: usize, of: usize) -> usize {
    done * 100 / of.max(1) / STEP_PERCENT * STEP_PERCENT
}
