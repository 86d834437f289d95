//! Records what happens beside whoever shows it: each event becomes one of `tracing`, and with it a
//! line of the rollout's log, among the lines of all that was tried meanwhile.

use tracing::Level;

use super::story::Story;
use super::text;
use super::told::{Told, Weight};
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::{Reporter, Setup};

/// The target of these events. A subscriber that shows them to the person who sees the reporter too
/// says all twice.
pub const TARGET: &str = "ship::rollout";
/// Their field that holds the journal's entry, as JSON.
pub const ENTRY: &str = "entry";

const WHAT_WIDTH: usize = 9;

/// A reporter whose events are recorded.
pub struct Recorded {
    shown: Box<dyn Reporter>,
    story: Story,
}

impl Recorded {
    pub fn new(shown: Box<dyn Reporter>, setup: Setup) -> Self {
        Self {
            shown,
            story: Story::new(setup),
        }
    }

    fn record(&mut self, entry: &Entry, status: &Status) {
        let mut told = self.story.tell(entry, status);
        // The line of an error begins with the error.
        if level(entry, &told) == Level::ERROR {
            told.sort_by_key(|told| told.weight == Weight::Sentence);
        }
        let Ok(json) = serde_json::to_string(entry) else {
            return;
        };
        let sentence = if told.is_empty() {
            briefly(entry, &json)
        } else {
            self.sentence(&told)
        };
        match level(entry, &told) {
            Level::ERROR => tracing::error!(target: TARGET, entry = json, "{sentence}"),
            Level::WARN => tracing::warn!(target: TARGET, entry = json, "{sentence}"),
            Level::INFO => tracing::info!(target: TARGET, entry = json, "{sentence}"),
            _ => tracing::debug!(target: TARGET, entry = json, "{sentence}"),
        }
    }

    fn sentence(&self, told: &[Told]) -> String {
        let head = |told: &Told| {
            if told.whom.is_empty() {
                return told.text.clone();
            }
            let whom = text::pad(&text::clean(&told.whom), self.story.whom_width());
            format!("{whom}  {:<WHAT_WIDTH$} {}", told.what, told.text)
        };
        let lines = told
            .iter()
            .flat_map(|told| [head(told)].into_iter().chain(told.more.clone()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Reporter for Recorded {
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
fn level(entry: &Entry, told: &[Told]) -> Level {
    let of = |told: &Told| match told.weight {
        Weight::Routine | Weight::Sentence => Level::INFO,
        Weight::Notable => Level::WARN,
        Weight::Failure => Level::ERROR,
        Weight::Summary => match &entry.event {
            Event::RolloutFinished {
                outcome: Outcome::Succeeded,
            } => Level::INFO,
            _ => Level::ERROR,
        },
    };
    // The most severe one is the least.
    told.iter().map(of).min().unwrap_or(Level::DEBUG)
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
