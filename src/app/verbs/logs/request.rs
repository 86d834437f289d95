//! What `ship logs` is asked for.

use crate::core::time::Time;

/// Which lines are to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whether those that are written from now on are shown, too.
    pub follow: bool,
    /// Lines written before this time are left out.
    pub since: Option<Time>,
    /// At most this many of the last lines.
    pub lines: Option<u32>,
}
