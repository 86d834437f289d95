//! The content of the live screen, apart from its layout.

use std::collections::VecDeque;

use super::super::message::{RolloutMessage, Severity};
use super::super::text;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// Messages kept of each severity, and answers. No section of the screen shows more.
const KEPT_MAX: usize = 8;

/// The content of a frame.
#[derive(Clone, Debug)]
pub(super) struct ScreenContent {
    pub(super) status: Status,
    pub(super) now: Time,
    /// The gate of the current step, while the rollout waits there.
    pub(super) gate: Option<Gate>,
    /// The hosts that have the release, and all that get it, while some are getting it.
    pub(super) staging: Option<(usize, usize)>,
    /// The last messages about the rollout.
    pub(super) log: VecDeque<ScreenMessage>,
    /// The last answers of the instances.
    pub(super) answers: VecDeque<(Time, Slot, String)>,
}

/// A message in the log section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScreenMessage {
    pub(super) at: Time,
    /// The host or slot and what happened to it; empty for a sentence.
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) severity: Severity,
}

/// The end of a step, at which a rollout waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) step: u32,
    pub(super) of: u32,
    /// When the soak time ends.
    pub(super) soaked_at: Time,
    /// Whether the rollout then waits for `ship promote`.
    pub(super) needs_promotion: bool,
}

impl ScreenContent {
    /// The fleet, without messages.
    pub(super) fn new(status: Status, now: Time) -> Self {
        Self {
            status,
            now,
            gate: None,
            staging: None,
            log: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Applies an event to the gate.
    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::StepReached {
                step,
                of,
                soak,
                pause,
                ..
            } => {
                self.gate = Some(Gate {
                    step: *step,
                    of: *of,
                    soaked_at: entry.at + *soak,
                    needs_promotion: *pause,
                });
            }
            Event::Promoted { full: false, .. } => {
                if let Some(gate) = &mut self.gate {
                    gate.needs_promotion = false;
                }
            }
            Event::StepPassed { .. }
            | Event::Promoted { full: true, .. }
            | Event::RolloutFailed { .. }
            | Event::RolloutFinished { .. } => self.gate = None,
            _ => {}
        }
    }

    /// Adds the first line of a message, unless the table or the summary shows its content.
    pub(super) fn add_message(&mut self, message: &RolloutMessage) {
        let severity = message.severity;
        if matches!(severity, Severity::Routine | Severity::Summary) {
            return;
        }
        let subject = match message.subject.as_str() {
            "" => String::new(),
            subject => text::clean(&format!("{subject}  {}", message.label)),
        };
        let text = text::clean(&message.text);
        // An abort is a request first, then a failure.
        let last = self.log.back();
        if last.is_some_and(|last| last.subject == subject && last.text == text) {
            return;
        }
        self.log.push_back(ScreenMessage {
            at: message.at,
            subject,
            text,
            severity,
        });
        // Many messages of one kind must not remove those of another.
        let same = self.log.iter().enumerate();
        let same = same.filter(|(_, message)| message.severity == severity);
        let same: Vec<_> = same.map(|(at, _)| at).collect();
        if same.len() > KEPT_MAX {
            self.log.remove(same[0]);
        }
    }

    pub(super) fn add_answer(&mut self, at: Time, slot: &Slot, answer: &str) {
        let answer = text::clean(answer);
        if answer.is_empty() {
            return;
        }
        self.answers.push_back((at, slot.clone(), answer));
        if self.answers.len() > KEPT_MAX {
            self.answers.pop_front();
        }
    }
}
