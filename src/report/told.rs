//! What a person is told.

use crate::core::time::Time;
use crate::report::text;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Time,
    pub(super) weight: Weight,
    /// About which host or slot; empty for the rollout as a whole.
    pub(super) whom: String,
    /// What happened to it, in a word; may be empty.
    pub(super) what: &'static str,
    /// The rest of the line.
    pub(super) text: String,
    /// Lines below it.
    pub(super) more: Vec<String>,
}

/// How much something matters: what shows it anyway may leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// As it should go; the live table shows it.
    Routine,
    /// A status sentence.
    Sentence,
    /// A person should see it.
    Notable,
    Failure,
    /// The last word.
    Summary,
}

pub(super) fn routine(at: Time, whom: String, what: &'static str, text: &str) -> Told {
    Told {
        at,
        weight: Weight::Routine,
        whom,
        what,
        text: text::clean(text),
        more: Vec::new(),
    }
}

pub(super) fn notable(at: Time, whom: String, what: &'static str, text: &str) -> Told {
    Told {
        weight: Weight::Notable,
        ..routine(at, whom, what, text)
    }
}

pub(super) fn sentence(at: Time, text: &str) -> Told {
    Told {
        weight: Weight::Sentence,
        ..routine(at, String::new(), "", text)
    }
}

/// What an instance said, in quotation marks.
pub(super) fn quoted(answer: &str) -> String {
    format!("\"{}\"", text::clean(answer))
}
