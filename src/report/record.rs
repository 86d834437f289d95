//! Records what happens beside whoever shows it: each event becomes one of `tracing`, and with it a
//! line of the rollout's log, among the lines of all that was tried meanwhile.

use tracing::Level;

use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use super::text;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::{Reporter, ReporterSetup};

/// The target of these events. A subscriber that shows them to the person who sees the reporter too
/// says all twice.
pub const TARGET: &str = "ship::rollout";
/// Their field that holds the journal's entry, as JSON.
pub const ENTRY: &str = "entry";

const WHAT_WIDTH: usize = 9;

/// A reporter whose events are recorded.
pub struct EventLog {
    shown: Box<dyn Reporter>,
    narrator: Narrator,
}

impl EventLog {
    pub fn new(shown: Box<dyn Reporter>, setup: ReporterSetup) -> Self {
        Self {
            shown,
            narrator: Narrator::new(setup),
        }
    }

    fn record(&mut self, entry: &Entry, status: &Status) {
        let mut messages = self.narrator.tell(entry, status);
        // The line of an error begins with the error.
        if level(entry, &messages) == Level::ERROR {
            messages.sort_by_key(|message| message.severity == Severity::Sentence);
        }
        let Ok(json) = serde_json::to_string(entry) else {
            return;
        };
        let sentence = if messages.is_empty() {
            briefly(entry, &json)
        } else {
            self.sentence(&messages)
        };
        match level(entry, &messages) {
            Level::ERROR => tracing::error!(target: TARGET, entry = json, "{sentence}"),
            Level::WARN => tracing::warn!(target: TARGET, entry = json, "{sentence}"),
            Level::INFO => tracing::info!(target: TARGET, entry = json, "{sentence}"),
            _ => tracing::debug!(target: TARGET, entry = json, "{sentence}"),
        }
    }

    fn sentence(&self, messages: &[RolloutMessage]) -> String {
        let head = |message: &RolloutMessage| {
            if message.subject.is_empty() {
                return message.text.clone();
            }
            let subject = text::pad(
                &text::clean(&message.subject),
                self.narrator.subject_width(),
            );
            format!("{subject}  {:<WHAT_WIDTH$} {}", message.label, message.text)
        };
        let lines = messages
            .iter()
            .flat_map(|message| [head(message)].into_iter().chain(message.details.clone()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Reporter for EventLog {
    fn event(&mut self, entry: &Entry, status: &Status) {
        self.record(entry, status);
        self.shown.event(entry, status);
    }

    fn tick(&mut self, status: &Status, now: Time) {
        self.shown.tick(status, now);
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        self.shown.answer(slot, now, text);
    }

    fn finish(&mut self) {
        self.shown.finish();
    }
}

/// How much it matters to whoever reads the log afterwards.
fn level(entry: &Entry, messages: &[RolloutMessage]) -> Level {
    let of = |message: &RolloutMessage| match message.severity {
        Severity::Routine | Severity::Sentence => Level::INFO,
        Severity::Notable => Level::WARN,
        Severity::Failure => Level::ERROR,
        Severity::Summary => match &entry.event {
            Event::RolloutFinished {
                outcome: Outcome::Succeeded,
            } => Level::INFO,
            _ => Level::ERROR,
        },
    };
    // The most severe one is the least.
    messages.iter().map(of).min().unwrap_or(Level::DEBUG)
}

/// What is not worth telling a person who watches, in a few words.
fn briefly(entry: &Entry, json: &str) -> String {
    match &entry.event {
        Event::ActionStarted { id, action, .. } => format!("order {}: {action}", id.0),
        Event::ActionDone { id } => format!("order {} is carried out", id.0),
        Event::ActionFailed { id, error } => {
            format!("order {} failed: {}", id.0, text::clean(error))
        }
        Event::InstanceReady { slot, instance, .. } => format!("{slot}  {instance} is ready"),
        _ => {
            let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
            value["event"]
                .as_str()
                .unwrap_or_default()
                .replace('_', " ")
        }
    }
}
