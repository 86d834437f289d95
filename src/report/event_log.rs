//! Writes each event of a rollout to `tracing`, and thereby to the rollout's log file among the lines
//! of other modules.

use std::time::Duration;

use tracing::Level;

use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use super::text;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::phrases;
use crate::report::reporter::{Reporter, ReporterSetup};

/// The `tracing` target of these events. A subscriber for stderr must skip it, because the reporter
/// prints the same messages.
pub const TARGET: &str = "ship::rollout";
/// The field with the journal's entry as JSON.
pub const ENTRY: &str = "entry";
/// The field with the number of the rollout.
pub const ROLLOUT: &str = "rollout";

const LABEL_WIDTH: usize = 9;

/// A reporter that also logs its events.
pub struct EventLog {
    inner: Box<dyn Reporter>,
    /// The number of the rollout.
    rollout: i64,
    narrator: Narrator,
}

impl EventLog {
    /// Logs the events of the rollout with this number.
    pub fn new(inner: Box<dyn Reporter>, rollout: i64, setup: ReporterSetup) -> Self {
        Self {
            inner,
            rollout,
            narrator: Narrator::new(setup),
        }
    }

    fn log(&mut self, entry: &Entry, status: &Status) {
        let Some(text) = EventText::of(&mut self.narrator, entry, status) else {
            return;
        };
        let EventText {
            level,
            message,
            entry,
        } = text;
        let rollout = self.rollout;
        match level {
            Level::ERROR => tracing::error!(target: TARGET, rollout, entry, "{message}"),
            Level::WARN => tracing::warn!(target: TARGET, rollout, entry, "{message}"),
            Level::INFO => tracing::info!(target: TARGET, rollout, entry, "{message}"),
            _ => tracing::debug!(target: TARGET, rollout, entry, "{message}"),
        }
    }
}

/// An event as it is written to the log of its rollout.
pub struct EventText {
    pub level: Level,
    /// What a person reads; may have several lines.
    pub message: String,
    /// The journal's entry as JSON.
    pub entry: String,
}

impl EventText {
    /// `None` if the entry cannot be encoded.
    pub(super) fn of(narrator: &mut Narrator, entry: &Entry, status: &Status) -> Option<Self> {
        let mut messages = narrator.narrate(entry, status);
        // Put the error first, before the sentences about progress.
        if level(entry, &messages) == Level::ERROR {
            messages.sort_by_key(|message| message.severity == Severity::Sentence);
        }
        let json = serde_json::to_string(entry).ok()?;
        let message = if messages.is_empty() {
            summary(entry, &json)
        } else {
            sentence(narrator, &messages)
        };
        Some(Self {
            level: level(entry, &messages),
            message,
            entry: json,
        })
    }
}

fn sentence(narrator: &Narrator, messages: &[RolloutMessage]) -> String {
    let head = |message: &RolloutMessage| {
        if message.subject.is_empty() {
            return message.text.clone();
        }
        let subject = text::pad(&text::clean(&message.subject), narrator.subject_width());
        format!(
            "{subject}  {:<LABEL_WIDTH$} {}",
            message.label, message.text
        )
    };
    let lines = messages
        .iter()
        .flat_map(|message| [head(message)].into_iter().chain(message.details.clone()));
    lines.collect::<Vec<_>>().join("\n")
}

impl Reporter for EventLog {
    fn event(&mut self, entry: &Entry, status: &Status) {
        self.log(entry, status);
        self.inner.event(entry, status);
    }

    fn tick(&mut self, status: &Status, now: Time) {
        self.inner.tick(status, now);
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        self.inner.answer(slot, now, text);
    }

    fn store_lost(&mut self, at: Time, error: &str, wait: Duration) {
        tracing::warn!("{}", phrases::store_lost(at, error, wait).text);
        self.inner.store_lost(at, error, wait);
    }

    fn store_recovered(&mut self, at: Time, after: Duration) {
        tracing::info!("{}", phrases::store_recovered(at, after).text);
        self.inner.store_recovered(at, after);
    }

    fn finish(&mut self) {
        self.inner.finish();
    }
}

/// The log level of an event.
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
    // `tracing` orders levels from the most severe.
    messages.iter().map(of).min().unwrap_or(Level::DEBUG)
}

/// A short text for an event without a message.
fn summary(entry: &Entry, json: &str) -> String {
    match &entry.event {
        Event::ActionStarted { id, action, .. } => format!("action {}: {action}", id.0),
        Event::ActionDone { id } => format!("action {} is done", id.0),
        Event::ActionFailed { id, error } => {
            format!("action {} failed: {}", id.0, text::clean(error))
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
