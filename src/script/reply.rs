//! The reply of a script.

use super::report::Report;
use crate::core::fleet::Observation;
use crate::core::time::Time;
use crate::script::end::ScriptEnd;
use crate::script::unreadable::Unreadable;

/// How a script ended, and its last observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub end: ScriptEnd,
    /// The state of the host at the end of the script.
    pub observation: Observation,
}

/// Parses the output of a script, printed at `now` by this machine's clock. The host's clock does
/// not matter.
///
/// # Errors
/// If the output is incomplete or malformed. Then the effect of the script is unknown.
pub fn read_reply(stdout: &str, now: Time) -> Result<Reply, Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok(Reply {
        end: report.end,
        observation: report.observation,
    })
}
