//! What the screen says about the rollout of one service.

use std::time::Duration;

use anstyle::Style;

use super::super::phrases;
use super::super::text::{self, Glyphs};
use super::capacity_bar::CapacityBar;
use super::content::{Gate, ScreenContent};
use super::instances::{self, InstanceRow};
use super::line::ScreenLine;
use super::style;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::Direction;
use crate::core::time::{Human, Time, whole_seconds as rounded_up};

/// A rollout that has begun, and its content on the screen.
#[derive(Clone, Copy)]
pub(super) struct ServiceView<'a> {
    pub(super) rollout: &'a RolloutView,
    pub(super) content: &'a ScreenContent,
}

impl<'a> ServiceView<'a> {
    /// `0.8 → 0.9`.
    pub(super) fn versions(&self, glyphs: &Glyphs) -> ScreenLine {
        let goal = &self.rollout.goal().version;
        let styles = instances::version_styles(&self.content.status, goal);
        let mut line = ScreenLine::default();
        for (n, version) in self.rollout.versions_before.iter().enumerate() {
            let old = styles.get(version.as_str()).copied();
            line = line.and(if n == 0 { "" } else { ", " }, style::NONE).and(
                &text::clean(version),
                old.unwrap_or_else(|| style::of_version(Some(n))),
            );
        }
        if !self.rollout.versions_before.is_empty() {
            line = line.and(&format!(" {} ", glyphs.arrow), style::NONE);
        }
        line.and(&text::clean(goal), style::of_version(None))
    }

    /// The state in a few words.
    pub(super) fn state(&self) -> (String, Style) {
        let gate = self.gate();
        let words = match (gate, self.content.staging) {
            (Some(gate), _) => self.gate_state(gate),
            (None, Some((done, hosts))) => format!("staging ({done}/{hosts} hosts)"),
            (None, None) => phrases::state(self.rollout).to_owned(),
        };
        (words, style::of_rollout(self.rollout, gate.is_some()))
    }

    /// The gate at which the rollout waits.
    fn gate(&self) -> Option<Gate> {
        let is_forward = *self.rollout.direction() == Direction::Forward;
        let is_running = self.rollout.outcome().is_none() && is_forward;
        self.content.gate.filter(|_| is_running)
    }

    fn gate_state(&self, gate: Gate) -> String {
        let left = gate.soaked_at.since(self.content.now);
        if !left.is_zero() {
            let left = Human(Duration::from_secs(rounded_up(left)));
            return format!("soaking {left} more (step {}/{})", gate.step, gate.of);
        }
        if gate.needs_promotion {
            return format!("waiting for ship promote (step {}/{})", gate.step, gate.of);
        }
        format!("checking step {}/{}", gate.step, gate.of)
    }

    /// The time since the start, or from the start to the end.
    pub(super) fn elapsed(&self) -> String {
        elapsed(self.rollout.began, self.rollout.ended, self.content.now)
    }

    /// `2/3`: the instances of the target among the wanted ones.
    pub(super) fn updated(&self) -> String {
        let replicas = &self.content.status.replicas;
        format!("{}/{}", replicas.updated, replicas.desired)
    }

    /// `3 available (≥ 3)`.
    pub(super) fn available(&self, glyphs: &Glyphs) -> ScreenLine {
        let replicas = &self.content.status.replicas;
        let words = format!(
            "{} available ({} {})",
            replicas.available, glyphs.at_least, replicas.min_available
        );
        let is_low = replicas.available < replicas.min_available;
        ScreenLine::default().and(&words, if is_low { style::BAD } else { style::NONE })
    }

    /// `██████▒▒▒│··`, in at most `room` columns. The mark of the floor takes one of them.
    pub(super) fn bar(&self, glyphs: &Glyphs, room: usize) -> ScreenLine {
        let room = room.saturating_sub(1);
        CapacityBar::of(self.rollout, &self.content.status, room).line(glyphs, self.old_style())
    }

    /// The instances, in the order of the inventory.
    pub(super) fn rows(&self) -> Vec<InstanceRow<'a>> {
        instances::rows(&self.content.status, &self.rollout.goal().version)
    }

    /// The style of the old version, or of the first one if there are several.
    fn old_style(&self) -> Style {
        let goal = &self.rollout.goal().version;
        let styles = instances::version_styles(&self.content.status, goal);
        let old = self.rollout.versions_before.first();
        old.and_then(|version| styles.get(version.as_str()).copied())
            .unwrap_or_else(|| style::of_version(Some(0)))
    }
}

/// The time from `began` to `ended`, or to now as a running clock without fractions.
pub(super) fn elapsed(began: Time, ended: Option<Time>, now: Time) -> String {
    if let Some(ended) = ended {
        return Human(ended.since(began)).to_string();
    }
    match now.since(began).as_secs() {
        0 => "0s".to_owned(),
        seconds => Human(Duration::from_secs(seconds)).to_string(),
    }
}
