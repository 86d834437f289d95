//! Whether a host or a balancer can be reached.

use crate::core::time::Time;

/// Whether a host can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    NotSeen,
    /// It answered last time.
    Reachable,
    /// It did not answer: its instances count as unavailable, and as still running.
    Lost {
        since: Time,
        /// What was tried and what came back.
        why: String,
    },
}
