//! A message to the user about a rollout.

use crate::core::time::Time;
use crate::report::text;

/// One line, with details on the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RolloutMessage {
    /// The time of the event.
    pub(super) at: Time,
    /// How important it is.
    pub(super) severity: Severity,
    /// The host or slot; empty for the whole rollout.
    pub(super) subject: String,
    /// One word for what happened to the subject; may be empty.
    pub(super) label: &'static str,
    /// The rest of the line.
    pub(super) text: String,
    /// The lines below.
    pub(super) details: Vec<String>,
}

/// How important a message is. A reporter may omit messages whose content it shows elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Expected; the table of the live screen shows it.
    Routine,
    /// A sentence of `kubectl rollout status`.
    Sentence,
    /// Unexpected, or worth attention.
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

/// The answer of an instance in quotation marks.
pub(super) fn quoted(answer: &str) -> String {
    format!("\"{}\"", text::clean(answer))
}
