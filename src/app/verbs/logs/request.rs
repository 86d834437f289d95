//! The request of `ship logs`.

use crate::core::time::Time;

/// Which lines to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whether to show new lines as they are written.
    pub follow: bool,
    /// Skip lines from before this time.
    pub since: Option<Time>,
    /// Maximum number of lines, counted from the end.
    pub lines: Option<u32>,
}
