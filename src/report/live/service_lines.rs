//! The services of a deployment, one line for each.

use std::collections::{BTreeMap, BTreeSet};

use super::super::text::{self, Glyphs};
use super::frame::FrameLayout;
use super::line::ScreenLine;
use super::member_view::{Attention, MemberView};
use super::service_view::ServiceView;
use super::style::{self, GAP};

/// The longest bar, in columns.
const BAR_MAX: usize = 20;
/// The shortest bar beside the number of available instances.
const BAR_MIN: usize = 8;
/// The widest name and the widest versions, in columns.
const NAME_MAX: usize = 24;
const VERSIONS_MAX: usize = 32;

/// One line for each service, or at most `room` lines: those that need the most attention, and the
/// number of the others.
pub(super) fn lines(
    services: &[MemberView<'_>],
    room: usize,
    layout: &FrameLayout<'_>,
) -> Vec<ScreenLine> {
    let (shown, hidden) = choose(services, room);
    let columns = ServiceColumns::of(services, layout);
    let mut lines: Vec<_> = shown
        .iter()
        .map(|service| columns.line(service, layout))
        .collect();
    if !hidden.is_empty() && room > 0 {
        lines.push(others(&hidden, layout.glyphs));
    }
    lines
}

/// The services that are shown, in their order, and the attention that each of the others needs.
fn choose<'s, 'a>(
    services: &'s [MemberView<'a>],
    room: usize,
) -> (Vec<&'s MemberView<'a>>, Vec<Attention>) {
    if services.len() <= room {
        return (services.iter().collect(), Vec::new());
    }
    let mut by_attention: Vec<usize> = (0..services.len()).collect();
    by_attention.sort_by_key(|i| (services[*i].attention(), *i));
    let shown: BTreeSet<usize> = by_attention
        .into_iter()
        .take(room.saturating_sub(1))
        .collect();
    let hidden = (0..services.len()).filter(|i| !shown.contains(i));
    let hidden = hidden.map(|i| services[i].attention()).collect();
    (shown.into_iter().map(|i| &services[i]).collect(), hidden)
}

/// `… and 7 more: 5 done, 2 waiting`.
fn others(hidden: &[Attention], glyphs: &Glyphs) -> ScreenLine {
    let mut counts: BTreeMap<Attention, usize> = BTreeMap::new();
    for attention in hidden {
        *counts.entry(*attention).or_default() += 1;
    }
    let counts = counts.iter();
    let counts = counts.map(|(attention, count)| format!("{count} {}", attention.word()));
    let (ellipsis, more) = (glyphs.ellipsis, hidden.len());
    let counts = counts.collect::<Vec<_>>().join(", ");
    ScreenLine::default().and(
        &format!("{ellipsis} and {more} more: {counts}"),
        style::FAINT,
    )
}

/// The widths of the columns of the services. They do not depend on which services are shown, so
/// that the columns stay in place.
struct ServiceColumns {
    name: usize,
    /// 0 if the screen is too narrow for the versions.
    versions: usize,
    state: usize,
    updated: usize,
    bar: usize,
    /// Whether the screen has room for the number of available instances.
    has_available: bool,
}

impl ServiceColumns {
    fn of(services: &[MemberView<'_>], layout: &FrameLayout<'_>) -> Self {
        let glyphs = layout.glyphs;
        let widest = |width: &dyn Fn(&MemberView<'_>) -> usize| {
            services.iter().map(width).max().unwrap_or_default()
        };
        let widest_of_views = |width: &dyn Fn(&MemberView<'_>, &ServiceView<'_>) -> usize| {
            widest(&|it| it.view.map_or(0, |view| width(it, &view)))
        };
        let mut columns = Self {
            name: widest(&|it| name(it).width()).min(NAME_MAX),
            versions: widest(&|it| versions(it, glyphs).width()).min(VERSIONS_MAX),
            // Nothing follows the state of a service without a rollout.
            state: widest_of_views(&|it, _| text::width(&it.state().0)),
            updated: widest_of_views(&|_, view| view.updated().len()),
            bar: widest_of_views(&|_, view| view.bar(glyphs, BAR_MAX).width()),
            has_available: false,
        };
        if columns.width() > layout.width {
            columns.versions = 0;
        }
        let available = widest_of_views(&|it, view| available(it, view, glyphs).width());
        let room = layout.width.saturating_sub(columns.width());
        let beside = room.saturating_sub(GAP.len() + available);
        columns.has_available = beside >= columns.bar.min(BAR_MIN);
        let room = if columns.has_available { beside } else { room };
        columns.bar = columns.bar.min(room);
        columns
    }

    /// The columns before the bar, with the gap after each.
    fn width(&self) -> usize {
        let widths = [self.name, self.versions, self.state, self.updated];
        let shown = widths.into_iter().filter(|width| *width > 0);
        shown.map(|width| width + GAP.len()).sum()
    }

    /// `api  1.0 → 2.0  rolling out  12/30  ████▒▒▒▒▒│··  29 available (≥ 29)`.
    fn line(&self, service: &MemberView<'_>, layout: &FrameLayout<'_>) -> ScreenLine {
        let glyphs = layout.glyphs;
        let mut line = column(name(service), self.name, glyphs);
        if self.versions > 0 {
            line = line.join(column(versions(service, glyphs), self.versions, glyphs));
        }
        let (state, style) = service.state();
        let state = ScreenLine::default().and(&state, style);
        let Some(view) = service.view else {
            return line.join(state);
        };
        let updated = format!("{:>width$}{GAP}", view.updated(), width = self.updated);
        let bar = view.bar(glyphs, self.bar).pad(self.bar);
        let line = line
            .join(state.pad(self.state))
            .and(&format!("{GAP}{updated}"), style::NONE)
            .join(bar);
        if !self.has_available {
            return line;
        }
        line.and(GAP, style::NONE)
            .join(available(service, &view, glyphs))
    }
}

/// The available instances of a service, or how long its rollout took.
fn available(service: &MemberView<'_>, view: &ServiceView<'_>, glyphs: &Glyphs) -> ScreenLine {
    if service.is_in_flight() {
        return view.available(glyphs);
    }
    ScreenLine::default().and(&format!("in {}", view.elapsed()), style::NONE)
}

fn name(service: &MemberView<'_>) -> ScreenLine {
    ScreenLine::default().and(&text::clean(&service.deployed.service), style::STRONG)
}

fn versions(service: &MemberView<'_>, glyphs: &Glyphs) -> ScreenLine {
    match service.view {
        Some(view) => view.versions(glyphs),
        None => ScreenLine::default().and(
            &text::clean(&service.deployed.version),
            style::of_version(None),
        ),
    }
}

/// A cell and the gap after it.
fn column(cell: ScreenLine, width: usize, glyphs: &Glyphs) -> ScreenLine {
    cell.fit(width, glyphs).pad(width).and(GAP, style::NONE)
}
