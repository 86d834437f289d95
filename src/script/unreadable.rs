//! Answers of a host that ship cannot read.

use thiserror::Error;

/// Why the effect of a script is not known. The host must be observed again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It does not begin with the first line of a report.
    #[error("the host's answer does not begin as ship's scripts do")]
    NoBeginning,
    /// The connection broke, or the script ended early.
    #[error("the host's answer breaks off before its end")]
    NoEnd,
    /// The host could not report what runs on it.
    #[error("the host could not say what runs on it: {0}")]
    Unseen(String),
    /// Other users could change what ship runs there. Nothing was done.
    #[error("{0}")]
    Refused(String),
    #[error("the host's answer has a line that makes no sense: `{line}` {why}")]
    Line { line: String, why: String },
    /// A required line is missing.
    #[error("the host's answer lacks {0}")]
    Missing(String),
}
