//! A message to the person who follows a rollout.

use crate::core::time::Time;
use crate::report::text;

/// One message: a line, and the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RolloutMessage {
    /// When it happened.
    pub(super) at: Time,
    /// How much it matters.
    pub(super) severity: Severity,
    /// The host or slot; empty for the rollout as a whole.
    pub(super) subject: String,
    /// What happened to it, in a word; may be empty.
    pub(super) label: &'static str,
    /// The rest of the line.
    pub(super) text: String,
    /// Lines below it.
    pub(super) details: Vec<String>,
}

/// How much a message matters. A reporter may leave out what it shows otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
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

pub(super) fn routine(
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

pub(super) fn notable(
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

pub(super) fn sentence(at: Time, text: &str) -> RolloutMessage {
    RolloutMessage {
        severity: Severity::Sentence,
        ..routine(at, String::new(), "", text)
    }
}

/// What an instance said, in quotation marks.
pub(super) fn quoted(answer: &str) -> String {
    format!("\"{}\"", text::clean(answer))
}
