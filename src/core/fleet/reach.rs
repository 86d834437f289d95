//! Whether a host or a balancer can be reached.

use crate::core::time::Time;

/// Whether a host can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    NotSeen,
    /// The last command was answered.
    Reachable,
    /// The last command was not answered. The instances of a host count as running, but not as
    /// available.
    Lost {
        since: Time,
        /// The command and its error.
        why: String,
    },
}
