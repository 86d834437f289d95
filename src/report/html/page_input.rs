//! The input of the page of a rollout.

use crate::core::journal::placements::Placements;
use crate::core::rollout::event::Entry;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// Everything about a rollout that its page shows.
#[derive(Debug)]
pub struct PageInput<'a> {
    pub rollout: i64,
    pub journal: &'a [Entry],
    /// The instances that ran when the rollout began.
    pub before: &'a Placements,
    /// The hosts, the versions and the reader's time zone.
    pub setup: ReporterSetup,
    /// The limits of the capacity, if they are on record.
    pub budget: Option<Budget>,
    pub who: &'a str,
    pub reason: &'a str,
    /// The exit code, if the rollout has ended.
    pub exit_code: Option<u8>,
    /// The directives of the instances' units, one per line; empty if there are none.
    pub directives: String,
    /// The differences from the previous release.
    pub changes: Changes,
    /// The path of the inventory, for commands.
    pub inventory: &'a str,
    /// The end of the time axis for a rollout that has not ended.
    pub now: Time,
}

/// The differences from the previous release.
#[derive(Debug, Default)]
pub struct Changes {
    /// The previous revision: `revision 1 (0.8)`.
    pub since: String,
    /// Name, old value, new value.
    pub parts: Vec<[String; 3]>,
    /// Removed (`-`) and added (`+`) lines of the playbook.
    pub playbook: Vec<String>,
}
