//! All that the live screen shows, apart from how it is laid out.

use std::collections::VecDeque;

use super::super::message::{RolloutMessage, Severity};
use super::super::text;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::time::Time;

/// How many lines of each kind are kept: no screen section shows more.
const KEPT_MAX: usize = 8;

/// What a frame is made of.
#[derive(Clone, Debug)]
pub(super) struct ScreenContent {
    /// The fleet.
    pub(super) status: Status,
    pub(super) now: Time,
    /// The last sentences about the rollout.
    pub(super) log: VecDeque<(Time, String)>,
    /// The last answers of the instances.
    pub(super) answers: VecDeque<(Time, Slot, String)>,
}

impl ScreenContent {
    /// The fleet, and no sentence yet.
    pub(super) fn new(status: Status, now: Time) -> Self {
        Self {
            status,
            now,
            log: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Adds a message, unless the table shows what it says.
    pub(super) fn note(&mut self, message: &RolloutMessage) {
        match message.severity {
            Severity::Sentence => self.log(message.at, &message.text),
            Severity::Notable => {
                let words = [message.subject.as_str(), message.label, &message.text]
                    .into_iter()
                    .filter(|word| !word.is_empty());
                self.log(message.at, &words.collect::<Vec<_>>().join("  "));
            }
            // The failure and the last word are written above and below the screen, whole.
            Severity::Routine | Severity::Failure | Severity::Summary => {}
        }
    }

    pub(super) fn log(&mut self, at: Time, sentence: &str) {
        self.log.push_back((at, text::clean(sentence)));
        if self.log.len() > KEPT_MAX {
            self.log.pop_front();
        }
    }

    pub(super) fn answer(&mut self, at: Time, slot: &Slot, answer: &str) {
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
