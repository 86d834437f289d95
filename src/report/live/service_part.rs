//! The part of the live screen about one service.

use super::super::message::{RolloutMessage, Severity};
use super::super::narrator::Narrator;
use super::super::plain;
use super::content::ScreenContent;
use super::service_view::ServiceView;
use crate::core::ids::Slot;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// The newest rollout of a service.
pub(super) struct ServicePart {
    narrator: Narrator,
    /// `None` before the rollout has begun.
    content: Option<ScreenContent>,
}

impl ServicePart {
    pub(super) fn new(setup: ReporterSetup) -> Self {
        Self {
            narrator: Narrator::new(setup),
            content: None,
        }
    }

    pub(super) fn setup(&self) -> &ReporterSetup {
        self.narrator.setup()
    }

    /// What the screen shows; `None` before the rollout has begun.
    pub(super) fn view(&self) -> Option<ServiceView<'_>> {
        Some(ServiceView {
            rollout: self.narrator.rollout()?,
            content: self.content.as_ref()?,
        })
    }

    /// Applies an event and returns the messages that do not fit on the screen: failures and the
    /// summary.
    pub(super) fn apply(&mut self, entry: &Entry, status: &Status) -> Vec<RolloutMessage> {
        let mut messages = self.narrator.narrate(entry, status);
        if matches!(entry.event, Event::RolloutStarted(_)) {
            self.content = Some(ScreenContent::new(status.clone(), entry.at));
        }
        if let Some(content) = &mut self.content {
            (content.status, content.now) = (status.clone(), entry.at);
            content.staging = self.narrator.staging();
            if let Event::InstanceReady { slot, answer, .. } = &entry.event {
                content.add_answer(entry.at, slot, answer);
            }
            content.apply(entry);
            for message in &messages {
                content.add_message(message);
            }
        }
        messages.retain(|message| match message.severity {
            Severity::Failure | Severity::Summary => true,
            Severity::Routine | Severity::Sentence | Severity::Notable => false,
        });
        messages
    }

    pub(super) fn tick(&mut self, status: &Status, now: Time) {
        if let Some(content) = &mut self.content {
            (content.status, content.now) = (status.clone(), now);
        }
    }

    pub(super) fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        if let Some(content) = &mut self.content {
            content.add_answer(now, slot, text);
        }
    }

    /// A message with its details as lines of text.
    pub(super) fn text(&self, message: &RolloutMessage) -> String {
        let outcome = self.narrator.rollout().and_then(RolloutView::outcome);
        let succeeded = outcome == Some(&Outcome::Succeeded);
        let lines = plain::lines(message, &self.narrator, succeeded);
        self.setup().glyphs.show(&lines)
    }
}
