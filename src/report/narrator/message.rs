//! A message to the person who follows a rollout.

use crate::core::time::Time;
use crate::report::text;

/// One message: a line, and the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::report) struct RolloutMessage {
    /// When it happened.
    pub(in crate::report) at: Time,
    /// How much it matters.
    pub(in crate::report) severity: Severity,
    /// The host or slot; empty for the rollout as a whole.
    pub(in crate::report) subject: String,
    /// What happened to it, in a word; may be empty.
    pub(in crate::report) label: &'static str,
    /// The rest of the line.
    pub(in crate::report) text: String,
    /// Lines below it.
    pub(in crate::report) details: Vec<String>,
}

/// How much a message matters. A reporter may leave out what it shows otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Severity {
    /// As it should go; the live table shows it.
    Routine,
    /// A status sentence.
    Sentence,
    /// A person should see it.
    Notable,
    /// The rollout has failed.
    Failure,
    /// How the rollout ended.
    Summary,
}

pub(in crate::report) fn routine(
    at: Time,
    subject: String,
    label: &'static str,
    text: &str,
) -> RolloutMessage {
    RolloutMessage {
        at,
        severity: Severity::Routine,
        subject,
        label,
        text: text::clean(text),
        details: Vec::new(),
    }
}

pub(in crate::report) fn notable(
    at: Time,
    subject: String,
    label: &'static str,
    text: &str,
) -> RolloutMessage {
    RolloutMessage {
        severity: Severity::Notable,
        ..routine(at, subject, label, text)
    }
}

pub(in crate::report) fn sentence(at: Time, text: &str) -> RolloutMessage {
    RolloutMessage {
        severity: Severity::Sentence,
        ..routine(at, String::new(), "", text)
    }
}

/// What an instance said, in quotation marks.
pub(in crate::report) fn quoted(answer: &str) -> String {
    format!("\"{}\"", text::clean(answer))
}
