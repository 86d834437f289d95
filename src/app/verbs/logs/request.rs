//! What `ship logs` is asked for.

use crate::core::time::Time;

/// Which lines are to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whether those that are written from now on are shown, too.
    pub follow: bool,
    /// None from before.
    pub since: Option<Time>,
    /// No more than so many of the last ones.
    pub lines: Option<u32>,
}
