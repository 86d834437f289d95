//! The live screen as lines: the article's three loops on one screen. Pure, so that it can be
//! tested at any size.

use std::time::Duration;

use super::super::clock::LocalClock;
use super::super::phrases;
use super::super::text::{self, Glyphs};
use super::line::ScreenLine;
use super::view::ScreenContent;
use super::{pods, style};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Replicas;
use crate::core::time::{Human, Time};

/// Sentences and answers shown, from the most to the least: the first pair that leaves the table
/// enough room is taken.
const SECTIONS: [(usize, usize); 7] = [(5, 5), (4, 4), (3, 3), (2, 2), (2, 1), (1, 0), (0, 0)];
/// Rows of instances for which sentences and answers give way.
const ROWS_WANTED_MAX: usize = 8;
/// The title, the bar, and the blank line and headings of the table.
const FIXED_LINES: usize = 4;
/// The time of day before a sentence.
const TIME_WIDTH: usize = 10;
const BAR_CELLS_MAX: usize = 40;
const BAR_CELLS_PER_INSTANCE_MAX: usize = 6;

/// One picture of the screen: what it shows, how, and in what room.
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

/// How many sentences and answers are shown, and the lines that they take.
#[derive(Clone, Copy, Default)]
struct SectionSizes {
    sentences: usize,
    answers: usize,
    lines: usize,
}

impl ScreenFrame<'_> {
    /// At most `height` lines, none wider than `width` columns.
    pub(super) fn lines(&self) -> Vec<ScreenLine> {
        let sizes = self.section_sizes();
        let replicas = &self.content.status.replicas;
        let mut lines = vec![self.title(), bar(replicas, self.glyphs, self.width)];
        lines.extend(self.instances(sizes.lines));
        lines.extend(self.sentences(sizes.sentences));
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
            .map(|(sentences, answers)| {
                let sentences = sentences.min(self.content.log.len());
                let answers = answers.min(self.content.answers.len());
                SectionSizes {
                    sentences,
                    answers,
                    lines: lines(sentences) + lines(answers),
                }
            })
            .find(|sizes| self.height >= FIXED_LINES + sizes.lines + rows)
            .unwrap_or_default()
    }

    /// The table of instances, above sections of so many lines.
    fn instances(&self, below: usize) -> Vec<ScreenLine> {
        let room = self.height.saturating_sub(FIXED_LINES + below);
        if room == 0 || self.content.status.instances.is_empty() {
            return Vec::new();
        }
        let table = pods::table(&self.content.status, self.width, room, self.glyphs);
        std::iter::once(ScreenLine::default())
            .chain(table)
            .collect()
    }

    /// The last sentences about the rollout.
    fn sentences(&self, shown: usize) -> Vec<ScreenLine> {
        let log = &self.content.log;
        let room = self.width.saturating_sub(TIME_WIDTH);
        section("ROLLOUT STATUS", log.len(), shown, |i| {
            let (at, sentence) = &log[i];
            let sentence = shortened(sentence, &self.rollout.start.service, room);
            self.timed(*at, &sentence)
        })
    }

    /// The last answers of the instances.
    fn answers(&self, shown: usize) -> Vec<ScreenLine> {
        let answers = &self.content.answers;
        let widths = answers
            .iter()
            .map(|(_, slot, _)| text::width(&slot.to_string()));
        let slot_width = widths.max().unwrap_or(0);
        section("PAGE ANSWERS", answers.len(), shown, |i| {
            let (at, slot, answer) = &answers[i];
            let slot = text::pad(&text::clean(&slot.to_string()), slot_width);
            self.timed(*at, &format!("{slot}  {answer}"))
        })
    }

    /// The time of day, then the text.
    fn timed(&self, at: Time, text: &str) -> ScreenLine {
        ScreenLine::default()
            .and(&self.clock.time_of_day(at), style::FAINT)
            .and(&format!("  {text}"), style::NONE)
    }

    /// `testpage  0.8 → 0.9  rolling out  12s  local, revision 2`.
    fn title(&self) -> ScreenLine {
        let rollout = self.rollout;
        let goal = rollout.goal();
        let versions = match phrases::versions_before(rollout).as_str() {
            "" => goal.version.clone(),
            from => format!("{from} {} {}", self.glyphs.arrow, goal.version),
        };
        let elapsed = match rollout.ended {
            Some(ended) => Human(ended.since(rollout.began)).to_string(),
            None => running_clock(self.content.now.since(rollout.began)),
        };
        ScreenLine::default()
            .and(&text::clean(&rollout.start.service), style::STRONG)
            .and(&format!("  {}  ", text::clean(&versions)), style::NONE)
            .and(phrases::phase(rollout), style::STRONG)
            .and(
                &format!(
                    "  {elapsed}  {}, revision {}",
                    text::clean(&rollout.start.fleet),
                    goal.revision
                ),
                style::NONE,
            )
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

/// Kubernetes' sentence without the deployment's name, as it was in its first versions, where there
/// is no room for it.
fn shortened(sentence: &str, service: &str, room: usize) -> String {
    if text::width(sentence) <= room {
        return sentence.to_owned();
    }
    sentence.replacen(&format!("deployment \"{service}\" "), "", 1)
}

/// Whole seconds: a clock that runs is read at a glance.
fn running_clock(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0 => "0s".to_owned(),
        seconds => Human(Duration::from_secs(seconds)).to_string(),
    }
}

/// `serving  ██████│░░  3 available (never below 3), 4 running (never above 4)`.
fn bar(replicas: &Replicas, glyphs: &Glyphs, width: usize) -> ScreenLine {
    let Replicas {
        available,
        total,
        min_available,
        max_running,
        ..
    } = *replicas;
    let words = format!(
        "  {available} available (never below {min_available}), {total} running (never above \
         {max_running})"
    );
    let label = "serving  ";
    let whole = total.max(max_running).max(available).max(1) as usize;
    let room = width.saturating_sub(label.len() + text::width(&words) + 1);
    let cells = (whole * BAR_CELLS_PER_INSTANCE_MAX)
        .min(BAR_CELLS_MAX)
        .min(room);
    let at = |instances: u32| cells * (instances as usize).min(whole) / whole;
    let (filled, floor) = (at(available), at(min_available));
    let cell = |i: usize| {
        if i < filled {
            glyphs.full
        } else {
            glyphs.empty
        }
    };
    let bar: String = (0..cells)
        .flat_map(|i| {
            [
                (i == floor && floor > 0).then_some(glyphs.mark),
                Some(cell(i)),
            ]
        })
        .chain([(floor == cells && cells > 0).then_some(glyphs.mark)])
        .flatten()
        .collect();
    let style = if available < min_available {
        style::BAD
    } else {
        style::GOOD
    };
    ScreenLine::plain(label)
        .and(&bar, style)
        .and(&words, style::NONE)
}
