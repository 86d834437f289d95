//! The live screen as lines: the article's three loops on one screen. Pure, so that it can be
//! tested at any size.

use std::time::Duration;

use super::super::clock::LocalClock;
use super::super::course::Course;
use super::super::text::{self, Glyphs};
use super::line::ScreenLine;
use super::view::ScreenContent;
use super::{pods, style};
use crate::core::journal::status::Replicas;
use crate::core::time::Human;

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

/// The screen in at most `height` lines, none wider than `width` columns.
pub(super) fn frame(
    view: &ScreenContent,
    clock: &LocalClock,
    glyphs: &Glyphs,
    width: usize,
    height: usize,
) -> Vec<ScreenLine> {
    let rows = view.status.instances.len();
    let sections = |(sentences, answers): (usize, usize)| {
        let (sentences, answers) = (
            sentences.min(view.log.len()),
            answers.min(view.answers.len()),
        );
        let lines = |shown: usize| if shown == 0 { 0 } else { shown + 2 };
        (sentences, answers, lines(sentences) + lines(answers))
    };
    let enough = |lines: usize| height >= FIXED_LINES + lines + rows.min(ROWS_WANTED_MAX);
    let (sentences, answers, taken) = SECTIONS
        .into_iter()
        .map(sections)
        .find(|(_, _, lines)| enough(*lines))
        .unwrap_or((0, 0, 0));

    let mut lines = vec![
        title(view, glyphs),
        bar(&view.status.replicas, glyphs, width),
    ];
    let room = height.saturating_sub(FIXED_LINES + taken);
    if room > 0 && rows > 0 {
        lines.push(ScreenLine::default());
        lines.extend(pods::table(&view.status, width, room, glyphs));
    }
    lines.extend(section("ROLLOUT STATUS", view.log.len(), sentences, |i| {
        let (at, sentence) = &view.log[i];
        let sentence = shortened(
            sentence,
            &view.course.service,
            width.saturating_sub(TIME_WIDTH),
        );
        ScreenLine::default()
            .and(&clock.time_of_day(*at), style::FAINT)
            .and(&format!("  {sentence}"), style::NONE)
    }));
    let whom = view
        .answers
        .iter()
        .map(|(_, slot, _)| text::width(&slot.to_string()))
        .max()
        .unwrap_or(0);
    lines.extend(section("PAGE ANSWERS", view.answers.len(), answers, |i| {
        let (at, slot, answer) = &view.answers[i];
        let slot = text::pad(&text::clean(&slot.to_string()), whom);
        ScreenLine::default()
            .and(&clock.time_of_day(*at), style::FAINT)
            .and(&format!("  {slot}  {answer}"), style::NONE)
    }));
    lines.truncate(height);
    lines
        .into_iter()
        .map(|line| line.fit(width, glyphs))
        .collect()
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

/// `testpage  0.8 → 0.9  rolling out  12s  local, revision 2`.
fn title(view: &ScreenContent, glyphs: &Glyphs) -> ScreenLine {
    let Course {
        service,
        fleet,
        from,
        goal,
        started,
        ended,
        ..
    } = &view.course;
    let versions = match from.as_str() {
        "" => goal.version.clone(),
        from => format!("{from} {} {}", glyphs.arrow, goal.version),
    };
    let elapsed = match ended {
        Some(ended) => Human(ended.since(*started)).to_string(),
        None => running_clock(view.now.since(*started)),
    };
    ScreenLine::default()
        .and(&text::clean(service), style::STRONG)
        .and(&format!("  {}  ", text::clean(&versions)), style::NONE)
        .and(view.course.phase(), style::STRONG)
        .and(
            &format!(
                "  {elapsed}  {}, revision {}",
                text::clean(fleet),
                goal.revision
            ),
            style::NONE,
        )
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
