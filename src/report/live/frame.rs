//! The lines of the live screen. Pure, so that they can be tested at any size.

use super::super::clock::LocalClock;
use super::super::text::{self, Glyphs};
use super::content::ScreenMessage;
use super::instances::{self, InstanceRow};
use super::line::ScreenLine;
use super::style;
use crate::core::time::Time;

/// The numbers of log lines and answers, from most to fewest. The screen uses the first pair that
/// leaves enough room for the table.
const SECTIONS: [(usize, usize); 8] = [
    (5, 5),
    (4, 4),
    (3, 3),
    (2, 2),
    (2, 1),
    (2, 0),
    (1, 0),
    (0, 0),
];
/// The blank line and the headings of the table.
const TABLE_LINES: usize = 2;
/// The time of day and two spaces.
const TIME_WIDTH: usize = 10;

/// The room for a frame, and how it shows times and characters.
#[derive(Clone, Copy)]
pub(super) struct FrameLayout<'a> {
    pub(super) clock: &'a LocalClock,
    pub(super) glyphs: &'a Glyphs,
    /// In columns.
    pub(super) width: usize,
    /// In lines.
    pub(super) height: usize,
}

/// One frame of the screen, whose lists are longer than the room for them.
pub(super) struct ScreenFrame<'a> {
    pub(super) head: Vec<ScreenLine>,
    /// The instances of the table.
    pub(super) rows: Vec<InstanceRow<'a>>,
    /// Rows of instances that take precedence over log lines and answers.
    pub(super) rows_wanted: usize,
    pub(super) log_heading: &'static str,
    /// The messages, oldest first.
    pub(super) log: Vec<ScreenMessage>,
    /// The answers of instances, each with the slot, oldest first.
    pub(super) answers: Vec<(Time, String, String)>,
}

/// The numbers of log lines and answers, and the screen lines that they take.
#[derive(Clone, Copy, Default)]
struct SectionSizes {
    log: usize,
    answers: usize,
    lines: usize,
}

impl FrameLayout<'_> {
    /// The columns for the text of a message without a subject.
    pub(super) fn message_width(&self) -> usize {
        self.width.saturating_sub(TIME_WIDTH)
    }

    /// The lines of a table with `rows` rows, and of what stands above its rows.
    pub(super) fn table_lines(rows: usize) -> usize {
        if rows == 0 { 0 } else { TABLE_LINES + rows }
    }

    /// At most `height` lines, none wider than `width` columns.
    pub(super) fn lines(&self, frame: &ScreenFrame<'_>) -> Vec<ScreenLine> {
        let sizes = self.section_sizes(frame);
        let mut lines = frame.head.clone();
        lines.extend(self.instances(frame, sizes.lines));
        lines.extend(self.log(frame, sizes.log));
        lines.extend(self.answers(frame, sizes.answers));
        lines.truncate(self.height);
        lines
            .into_iter()
            .map(|line| line.fit(self.width, self.glyphs))
            .collect()
    }

    /// The largest sections that leave the table enough room.
    fn section_sizes(&self, frame: &ScreenFrame<'_>) -> SectionSizes {
        let rows = frame.rows.len().min(frame.rows_wanted);
        let needed = frame.head.len() + Self::table_lines(rows);
        let lines = |shown: usize| if shown == 0 { 0 } else { shown + 2 };
        SECTIONS
            .into_iter()
            .map(|(log, answers)| {
                let log = log.min(frame.log.len());
                let answers = answers.min(frame.answers.len());
                SectionSizes {
                    log,
                    answers,
                    lines: lines(log) + lines(answers),
                }
            })
            .find(|sizes| self.height >= needed + sizes.lines)
            .unwrap_or_default()
    }

    /// The table of instances, above sections of `below` lines.
    fn instances(&self, frame: &ScreenFrame<'_>, below: usize) -> Vec<ScreenLine> {
        let used = frame.head.len() + TABLE_LINES + below;
        let room = self.height.saturating_sub(used);
        if room == 0 || frame.rows.is_empty() {
            return Vec::new();
        }
        let table = instances::table(&frame.rows, self.width, room, self.glyphs);
        std::iter::once(ScreenLine::default())
            .chain(table)
            .collect()
    }

    /// The last messages.
    fn log(&self, frame: &ScreenFrame<'_>, shown: usize) -> Vec<ScreenLine> {
        section(frame.log_heading, &frame.log, shown, |message| {
            let ScreenMessage { subject, text, .. } = message;
            let gap = if subject.is_empty() { "" } else { "  " };
            self.timed(message.at, &format!("{subject}{gap}"), text)
        })
    }

    /// The last answers of the instances.
    fn answers(&self, frame: &ScreenFrame<'_>, shown: usize) -> Vec<ScreenLine> {
        let slots = frame.answers.iter().map(|(_, slot, _)| text::width(slot));
        let slot_width = slots.max().unwrap_or(0);
        section(
            "ANSWERS TO PROBES",
            &frame.answers,
            shown,
            |(at, slot, answer)| {
                let slot = text::pad(slot, slot_width);
                self.timed(*at, &format!("{slot}  "), answer)
            },
        )
    }

    /// The time of day, the subject, and the end of the text: the last words of a message matter
    /// most.
    fn timed(&self, at: Time, subject: &str, text: &str) -> ScreenLine {
        let room = self.message_width().saturating_sub(text::width(subject));
        ScreenLine::default()
            .and(&self.clock.time_of_day(at), style::FAINT)
            .and(&format!("  {subject}"), style::NONE)
            .and(
                &text::fit_end(text, room, &format!("{} ", self.glyphs.ellipsis)),
                style::NONE,
            )
    }
}

/// The last `shown` of `all` under a heading.
fn section<T>(
    heading: &str,
    all: &[T],
    shown: usize,
    line: impl Fn(&T) -> ScreenLine,
) -> Vec<ScreenLine> {
    if shown == 0 {
        return Vec::new();
    }
    let head = [
        ScreenLine::default(),
        ScreenLine::default().and(heading, style::HEADING),
    ];
    head.into_iter()
        .chain(all[all.len() - shown..].iter().map(line))
        .collect()
}
