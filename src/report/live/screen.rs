//! The live screen: the parts of all services, drawn as one frame.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::super::message::{RolloutMessage, Severity};
use super::frame::FrameLayout;
use super::line::ScreenLine;
use super::painter::{Painter, TerminalSize};
use super::service_part::ServicePart;
use super::stack_frame::ShownDeployment;
use super::{service_frame, stack_frame};
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::Entry;
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// The shortest time between two frames. Faster events wait for the next frame.
const BETWEEN_FRAMES_MIN: Duration = Duration::from_millis(50);

/// Shows the rollouts of one service, or a deployment of several.
pub(super) struct Screen<W: Write> {
    painter: Painter<W>,
    /// The services by name.
    parts: BTreeMap<String, ServicePart>,
    /// `None` for the rollout of one service.
    deployment: Option<ShownDeployment>,
    /// The text below the last frame.
    summaries: String,
    now: Time,
    drawn_at: Time,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(painter: Painter<W>) -> Self {
        Self {
            painter,
            parts: BTreeMap::new(),
            deployment: None,
            summaries: String::new(),
            now: Time::default(),
            drawn_at: Time::default(),
        }
    }

    /// Adds the next rollout of a service.
    pub(super) fn add(&mut self, service: String, setup: ReporterSetup) {
        self.parts.insert(service, ServicePart::new(setup));
    }

    pub(super) fn event(&mut self, service: &str, entry: &Entry, status: &Status) {
        let Some(part) = self.parts.get_mut(service) else {
            return;
        };
        let is_first = part.view().is_none();
        let messages = part.apply(entry, status);
        let is_summarized = messages.iter().any(|it| it.severity == Severity::Summary);
        for message in &messages {
            let text = part.text(message);
            match message.severity {
                Severity::Summary => self.summaries.push_str(&text),
                _ => self.painter.print(&text),
            }
        }
        if is_summarized && self.deployment.is_none() {
            self.now = entry.at;
            self.finish();
        } else if is_first || !messages.is_empty() {
            self.draw(entry.at);
        } else {
            self.draw_if_due(entry.at);
        }
    }

    pub(super) fn tick(&mut self, service: &str, status: &Status, now: Time) {
        if let Some(part) = self.parts.get_mut(service) {
            part.tick(status, now);
            self.draw_if_due(now);
        }
    }

    pub(super) fn answer(&mut self, service: &str, slot: &Slot, now: Time, text: &str) {
        if let Some(part) = self.parts.get_mut(service) {
            part.answer(slot, now, text);
        }
    }

    /// Prints a message about a service above the frame.
    pub(super) fn message(&mut self, service: &str, message: &RolloutMessage) {
        if let Some(part) = self.parts.get(service) {
            self.painter.print(&part.text(message));
            self.draw(message.at);
        }
    }

    /// Prints a line above the frame.
    pub(super) fn note(&mut self, text: &str) {
        self.painter.print(&format!("{text}\n"));
        self.draw(self.now);
    }

    /// Shows how far the deployment is.
    pub(super) fn show(&mut self, deployment: ShownDeployment) {
        self.now = self
            .now
            .max(deployment.deployment.ended.unwrap_or_default());
        self.deployment = Some(deployment);
        self.draw(self.now);
    }

    /// The rollout of a service is over, or its process can no longer follow it. A deployment
    /// continues without it.
    pub(super) fn leave(&mut self) {
        if self.deployment.is_none() {
            self.close();
        }
    }

    /// Draws the last frame, with the summaries below it.
    pub(super) fn finish(&mut self) {
        self.draw(self.now);
        self.close();
    }

    /// Restores the terminal and forgets the rollouts.
    fn close(&mut self) {
        let mut below = std::mem::take(&mut self.summaries);
        if !below.is_empty() {
            below.insert(0, '\n');
        }
        self.painter.close(&below);
        self.parts.clear();
        self.deployment = None;
    }

    fn draw_if_due(&mut self, at: Time) {
        // The clocks of two services may differ.
        let since_last = at.since(self.drawn_at).max(self.drawn_at.since(at));
        if since_last >= BETWEEN_FRAMES_MIN {
            self.draw(at);
        }
    }

    /// Replaces the frame on the screen.
    fn draw(&mut self, at: Time) {
        self.drawn_at = at;
        self.now = self.now.max(at);
        let size = self.painter.size();
        if let Some(lines) = self.lines(size) {
            self.painter.paint(lines, size);
        }
    }

    /// The lines of a frame; `None` before the first rollout has begun.
    fn lines(&self, size: TerminalSize) -> Option<Vec<ScreenLine>> {
        let begun = self.parts.iter();
        let begun: BTreeMap<_, _> = begun
            .filter_map(|(name, part)| Some((name.as_str(), part.view()?)))
            .collect();
        let (name, only) = begun.first_key_value()?;
        let ReporterSetup { clock, glyphs, .. } = self.parts.get(*name)?.setup();
        // The last column and the last line stay empty: terminals differ in when they wrap or
        // scroll there.
        let layout = FrameLayout {
            clock,
            glyphs,
            width: size.width.saturating_sub(1),
            height: size.height.saturating_sub(1),
        };
        let several = |shown: &&ShownDeployment| shown.deployment.services.len() > 1;
        let frame = match self.deployment.as_ref().filter(several) {
            Some(shown) => stack_frame::frame(shown, &begun, self.now, &layout),
            None => service_frame::frame(*only, &layout),
        };
        Some(layout.lines(&frame))
    }
}
