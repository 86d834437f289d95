//! Lists the rollouts of a service in an error message.

use std::fmt;

use crate::core::ids::Revision;
use crate::core::time::Time;
use crate::report::LocalClock;
use crate::store::RolloutId;

/// A rollout in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRollout {
    pub id: RolloutId,
    /// `None` if the revision is no longer in the history.
    pub version: Option<String>,
    pub revision: Revision,
    pub began: Time,
    pub outcome: &'static str,
}

/// `7: 0.9 (revision 3), started 2026-11-25 02:00:04, rolled-back`.
impl fmt::Display for KnownRollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (revision {}), started {}, {}",
            self.id.0,
            self.version.as_deref().unwrap_or("?"),
            self.revision,
            LocalClock::local().day_and_time(self.began),
            self.outcome
        )
    }
}
