//! Errors for reports of a host that ship cannot parse.

use thiserror::Error;

/// Why the effect of a script is unknown. The host must be observed again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// The first line of a report is missing.
    #[error("the host's output does not contain the report of a ship script")]
    NoBeginning,
    /// The connection broke, or the script ended early.
    #[error("the host's report is incomplete")]
    NoEnd,
    /// The host could not determine what is running.
    #[error("the host cannot determine what is running: {0}")]
    ObservationFailed(String),
    /// Other users could change the files that ship runs on the host. Nothing was done.
    #[error("{0}")]
    UnsafePath(String),
    #[error("the host's report has a malformed line: `{line}` {why}")]
    Line { line: String, why: String },
    /// A required line is missing.
    #[error("the host's report does not contain {0}")]
    Missing(String),
}
