//! The frame of one service.

use super::super::text;
use super::content::ScreenMessage;
use super::frame::{FrameLayout, ScreenFrame};
use super::line::ScreenLine;
use super::service_view::ServiceView;
use super::style;
use crate::core::rollout::Direction;

const ROWS_WANTED: usize = 8;

/// The frame of the only service.
pub(super) fn frame<'a>(service: ServiceView<'a>, layout: &FrameLayout<'_>) -> ScreenFrame<'a> {
    let answers = service.content.answers.iter();
    let answers = answers.map(|(at, slot, answer)| {
        let slot = text::clean(&slot.to_string());
        (*at, slot, answer.clone())
    });
    ScreenFrame {
        head: vec![header(service, layout), capacity(service, layout)],
        rows: service.rows(),
        rows_wanted: ROWS_WANTED,
        log_heading: "ROLLOUT STATUS",
        log: log(service, layout.message_width()),
        answers: answers.collect(),
    }
}

/// `testpage  0.8 → 0.9  rolling out  12s  local, revision 2`.
fn header(service: ServiceView<'_>, layout: &FrameLayout<'_>) -> ScreenLine {
    let rollout = service.rollout;
    let (state, style) = service.state();
    let elapsed = service.elapsed();
    let fleet = text::clean(&rollout.start.fleet);
    let revision = rollout.goal().revision;
    ScreenLine::default()
        .and(&text::clean(&rollout.start.service), style::STRONG)
        .and("  ", style::NONE)
        .join(service.versions(layout.glyphs))
        .and("  ", style::NONE)
        .and(&state, style)
        .and(
            &format!("  {elapsed}  {fleet}, revision {revision}"),
            style::NONE,
        )
}

/// `██████▒▒▒│··  1/3 updated · 3 available (≥ 3) · 4 running (≤ 4)`.
fn capacity(service: ServiceView<'_>, layout: &FrameLayout<'_>) -> ScreenLine {
    let replicas = &service.content.status.replicas;
    let glyphs = layout.glyphs;
    let verb = match service.rollout.direction() {
        Direction::RollingBack(_) => "rolled back",
        _ => "updated",
    };
    let separator = glyphs.separator;
    let updated = service.updated();
    let (total, at_most, max) = (replicas.total, glyphs.at_most, replicas.max_running);
    let words = ScreenLine::default()
        .and(&format!("{updated} {verb}{separator}"), style::NONE)
        .join(service.available(glyphs))
        .and(
            &format!("{separator}{total} running ({at_most} {max})"),
            style::NONE,
        );
    let room = layout.width.saturating_sub(words.width() + 2);
    let bar = service.bar(glyphs, room);
    if bar.width() == 0 {
        return words;
    }
    bar.and("  ", style::NONE).join(words)
}

/// The messages about the rollout. A sentence of kubectl that is too long loses the name of the
/// deployment.
fn log(service: ServiceView<'_>, room: usize) -> Vec<ScreenMessage> {
    let name = format!("deployment \"{}\" ", service.rollout.start.service);
    let shorten = |message: &ScreenMessage| {
        let mut message = message.clone();
        if message.subject.is_empty() && text::width(&message.text) > room {
            message.text = message.text.replacen(&name, "", 1);
        }
        message
    };
    service.content.log.iter().map(shorten).collect()
}
