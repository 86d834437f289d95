//! The lines of the live screen. Pure, so that they can be tested at any size.

use std::time::Duration;

use super::super::clock::LocalClock;
use super::super::phrases;
use super::super::text::{self, Glyphs};
use super::capacity_bar::CapacityBar;
use super::content::{Gate, ScreenContent, ScreenMessage};
use super::line::ScreenLine;
use super::{instances, style};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::Direction;
use crate::core::time::{Human, Time, whole_seconds as rounded_up};

/// The numbers of log lines and answers, from most to fewest. The screen uses the first pair that
/// leaves enough room for the table.
const SECTIONS: [(usize, usize); 7] = [(5, 5), (4, 4), (3, 3), (2, 2), (2, 1), (1, 0), (0, 0)];
/// Rows of instances that take precedence over log lines and answers.
const ROWS_WANTED_MAX: usize = 8;
/// The header, the bar, and the blank line and headings of the table.
const FIXED_LINES: usize = 4;
/// The time of day and two spaces.
const TIME_WIDTH: usize = 10;

/// One frame of the screen.
pub(super) struct ScreenFrame<'a> {
    pub(super) rollout: &'a RolloutView,
    pub(super) content: &'a ScreenContent,
    pub(super) clock: &'a LocalClock,
    pub(super) glyphs: &'a Glyphs,
    /// In columns.
    pub(super) width: usize,
    /// In lines.
    pub(super) height: usize,
}

/// The numbers of log lines and answers, and the screen lines that they take.
#[derive(Clone, Copy, Default)]
struct SectionSizes {
    log: usize,
    answers: usize,
    lines: usize,
}

impl ScreenFrame<'_> {
    /// At most `height` lines, none wider than `width` columns.
    pub(super) fn lines(&self) -> Vec<ScreenLine> {
        let sizes = self.section_sizes();
        let mut lines = vec![self.header(), self.capacity()];
        lines.extend(self.instances(sizes.lines));
        lines.extend(self.log(sizes.log));
        lines.extend(self.answers(sizes.answers));
        lines.truncate(self.height);
        lines
            .into_iter()
            .map(|line| line.fit(self.width, self.glyphs))
            .collect()
    }

    /// The largest sections that leave the table enough room.
    fn section_sizes(&self) -> SectionSizes {
        let rows = self.content.status.instances.len().min(ROWS_WANTED_MAX);
        let lines = |shown: usize| if shown == 0 { 0 } else { shown + 2 };
        SECTIONS
            .into_iter()
            .map(|(log, answers)| {
                let log = log.min(self.content.log.len());
                let answers = answers.min(self.content.answers.len());
                SectionSizes {
                    log,
                    answers,
                    lines: lines(log) + lines(answers),
                }
            })
            .find(|sizes| self.height >= FIXED_LINES + sizes.lines + rows)
            .unwrap_or_default()
    }

    /// The table of instances, above sections of `below` lines.
    fn instances(&self, below: usize) -> Vec<ScreenLine> {
        let room = self.height.saturating_sub(FIXED_LINES + below);
        if room == 0 || self.content.status.instances.is_empty() {
            return Vec::new();
        }
        let table = instances::table(
            &self.content.status,
            &self.rollout.goal().version,
            self.width,
            room,
            self.glyphs,
        );
        std::iter::once(ScreenLine::default())
            .chain(table)
            .collect()
    }

    /// The last messages about the rollout.
    fn log(&self, shown: usize) -> Vec<ScreenLine> {
        let log = &self.content.log;
        section("ROLLOUT STATUS", log.len(), shown, |i| {
            let ScreenMessage { at, subject, text } = &log[i];
            if subject.is_empty() {
                let room = self.width.saturating_sub(TIME_WIDTH);
                let text = shorten(text, &self.rollout.start.service, room);
                return self.timed(*at, "", &text);
            }
            self.timed(*at, &format!("{subject}  "), text)
        })
    }

    /// The last answers of the instances.
    fn answers(&self, shown: usize) -> Vec<ScreenLine> {
        let answers = &self.content.answers;
        let widths = answers
            .iter()
            .map(|(_, slot, _)| text::width(&slot.to_string()));
        let slot_width = widths.max().unwrap_or(0);
        section("ANSWERS TO PROBES", answers.len(), shown, |i| {
            let (at, slot, answer) = &answers[i];
            let slot = text::pad(&text::clean(&slot.to_string()), slot_width);
            self.timed(*at, &format!("{slot}  "), answer)
        })
    }

    /// The time of day, the subject, and the end of the text: the last words of a message matter
    /// most.
    fn timed(&self, at: Time, subject: &str, text: &str) -> ScreenLine {
        let room = self.width.saturating_sub(TIME_WIDTH + text::width(subject));
        ScreenLine::default()
            .and(&self.clock.time_of_day(at), style::FAINT)
            .and(&format!("  {subject}"), style::NONE)
            .and(
                &text::fit_end(text, room, &format!("{} ", self.glyphs.ellipsis)),
                style::NONE,
            )
    }

    /// `testpage  0.8 → 0.9  rolling out  12s  local, revision 2`.
    fn header(&self) -> ScreenLine {
        let rollout = self.rollout;
        let goal = rollout.goal();
        let elapsed = match rollout.ended {
            Some(ended) => Human(ended.since(rollout.began)).to_string(),
            None => whole_seconds(self.content.now.since(rollout.began)),
        };
        let gate = self.gate();
        let state = gate.map_or_else(
            || phrases::state(rollout).to_owned(),
            |gate| self.gate_state(gate),
        );
        self.versions()
            .and("  ", style::NONE)
            .and(&state, style::of_rollout(rollout, gate.is_some()))
            .and(
                &format!(
                    "  {elapsed}  {}, revision {}",
                    text::clean(&rollout.start.fleet),
                    goal.revision
                ),
                style::NONE,
            )
    }

    /// `testpage  0.8 → 0.9`.
    fn versions(&self) -> ScreenLine {
        let rollout = self.rollout;
        let goal = &rollout.goal().version;
        let styles = instances::version_styles(&self.content.status, goal);
        let mut line = ScreenLine::default()
            .and(&text::clean(&rollout.start.service), style::STRONG)
            .and("  ", style::NONE);
        for (n, version) in rollout.versions_before.iter().enumerate() {
            let old = styles.get(version.as_str()).copied();
            line = line.and(if n == 0 { "" } else { ", " }, style::NONE).and(
                &text::clean(version),
                old.unwrap_or_else(|| style::of_version(Some(n))),
            );
        }
        if !rollout.versions_before.is_empty() {
            line = line.and(&format!(" {} ", self.glyphs.arrow), style::NONE);
        }
        line.and(&text::clean(goal), style::of_version(None))
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

    /// `██████▒▒▒│··  1/3 updated · 3 available (≥ 3) · 4 running (≤ 4)`.
    fn capacity(&self) -> ScreenLine {
        let replicas = &self.content.status.replicas;
        let glyphs = self.glyphs;
        let verb = match self.rollout.direction() {
            Direction::RollingBack(_) => "rolled back",
            _ => "updated",
        };
        let available = format!(
            "{} available ({} {})",
            replicas.available, glyphs.at_least, replicas.min_available
        );
        let running = format!(
            "{} running ({} {})",
            replicas.total, glyphs.at_most, replicas.max_running
        );
        let words = ScreenLine::default()
            .and(
                &format!(
                    "{}/{} {verb}{}",
                    replicas.updated, replicas.desired, glyphs.separator
                ),
                style::NONE,
            )
            .and(
                &available,
                if replicas.available < replicas.min_available {
                    style::BAD
                } else {
                    style::NONE
                },
            )
            .and(&format!("{}{running}", glyphs.separator), style::NONE);
        // A mark and two spaces.
        let room = self.width.saturating_sub(words.width() + 3);
        let bar = CapacityBar::of(self.rollout, &self.content.status, room);
        let bar = bar.line(glyphs, self.old_style());
        if bar.width() == 0 {
            return words;
        }
        bar.and("  ", style::NONE).join(words)
    }

    /// The style of the old version, or of the first one if there are several.
    fn old_style(&self) -> anstyle::Style {
        let goal = &self.rollout.goal().version;
        let styles = instances::version_styles(&self.content.status, goal);
        let old = self.rollout.versions_before.first();
        old.and_then(|version| styles.get(version.as_str()).copied())
            .unwrap_or_else(|| style::of_version(Some(0)))
    }
}

/// The last `shown` of `all` lines under a heading.
fn section(
    heading: &str,
    all: usize,
    shown: usize,
    line: impl Fn(usize) -> ScreenLine,
) -> Vec<ScreenLine> {
    if shown == 0 {
        return Vec::new();
    }
    let head = [
        ScreenLine::default(),
        ScreenLine::default().and(heading, style::HEADING),
    ];
    head.into_iter()
        .chain((all - shown..all).map(line))
        .collect()
}

/// The sentence of kubectl without the name of the deployment, if it is too long.
fn shorten(sentence: &str, service: &str, room: usize) -> String {
    if text::width(sentence) <= room {
        return sentence.to_owned();
    }
    sentence.replacen(&format!("deployment \"{service}\" "), "", 1)
}

/// A running clock without fractions.
fn whole_seconds(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0 => "0s".to_owned(),
        seconds => Human(Duration::from_secs(seconds)).to_string(),
    }
}
