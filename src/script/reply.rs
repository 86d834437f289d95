//! The answer of a script.

use super::report::Report;
use crate::core::fleet::Observation;
use crate::core::time::Time;
use crate::script::end::ScriptEnd;
use crate::script::unreadable::Unreadable;

/// How a script ended, and its last observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub end: ScriptEnd,
    /// What was on the host then.
    pub observation: Observation,
}

/// Reads what a script has printed, at `now` by this machine's clock. The host's clock does not
/// matter.
///
/// # Errors
/// If it did not come to its end, or makes no sense: then nobody knows what it has done.
pub fn read_reply(stdout: &str, now: Time) -> Result<Reply, Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok(Reply {
        end: report.end,
        observation: report.observation,
    })
}
