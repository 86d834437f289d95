//! What a page is made of.

use crate::core::journal::placements::Placements;
use crate::core::rollout::event::Entry;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// What a page is made of.
#[derive(Debug)]
pub struct PageInput<'a> {
    pub rollout: i64,
    pub journal: &'a [Entry],
    /// Who ran when it began.
    pub before: &'a Placements,
    /// Hosts, versions and the reader's time zone.
    pub setup: ReporterSetup,
    /// What it was allowed to spend, if that is known.
    pub budget: Option<Budget>,
    pub who: &'a str,
    pub reason: &'a str,
    /// What the caller was told, if it has ended.
    pub exit_code: Option<u8>,
    /// What the release differs in from the one before.
    pub changes: Changes,
    /// The inventory, as a command names it.
    pub inventory: &'a str,
    /// The present moment, where it has not ended.
    pub now: Time,
}

/// What a release differs in from the one before.
#[derive(Debug, Default)]
pub struct Changes {
    /// What it is compared with: `revision 1`.
    pub since: String,
    /// What, from what, to what.
    pub parts: Vec<[String; 3]>,
    /// Lines of the playbook that went (`-`) and came (`+`).
    pub playbook: Vec<String>,
}
