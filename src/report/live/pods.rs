//! The table of instances on the live screen: as much of it as there is room for.

use std::collections::{BTreeMap, BTreeSet};

use super::super::text::{self, Glyphs};
use super::super::{grid, table};
use super::line::ScreenLine;
use super::style;
use crate::core::journal::status::{InstanceStatus, Status, StatusRow};

/// Columns left out, in this order, where the screen is narrow: what is said elsewhere on it, or
/// matters least.
const DISPENSABLE: [usize; 5] = [8, 3, 5, 4, 6];
/// Spaces between two columns, from airy to tight.
const GAPS: [usize; 2] = [grid::GAP, 2];
const STATUS_COLUMN: usize = 2;
const VERSION_COLUMNS: [usize; 2] = [0, 7];

/// The headings and at most `room` lines: all instances, or those that matter and a count of the
/// others.
pub(super) fn table(
    status: &Status,
    width: usize,
    room: usize,
    glyphs: &Glyphs,
) -> Vec<ScreenLine> {
    let cells: Vec<Vec<String>> = status.instances.iter().map(table::instance_cells).collect();
    let header = table::INSTANCE_COLUMNS.map(str::to_owned).to_vec();
    let widths =
        grid::widths(std::iter::once(header.as_slice()).chain(cells.iter().map(Vec::as_slice)));
    let (columns, gap) = columns(&widths, width);

    let versions = version_styles(status);
    let (shown, hidden) = choose(&status.instances, room);
    let mut lines = vec![line(&header, &columns, &widths, gap, |_| style::HEADING)];
    lines.extend(shown.iter().map(|i| {
        let row = &status.instances[*i];
        line(&cells[*i], &columns, &widths, gap, |column| match column {
            STATUS_COLUMN => style::of_word(row.status),
            column if VERSION_COLUMNS.contains(&column) => versions
                .get(row.version.as_str())
                .copied()
                .unwrap_or_default(),
            _ => style::NONE,
        })
    }));
    if !hidden.is_empty() {
        lines.push(ScreenLine::default().and(&others(&hidden, glyphs), style::FAINT));
    }
    lines
}

/// The columns that have room, and the gap between them.
fn columns(widths: &[usize], width: usize) -> (Vec<usize>, usize) {
    let mut columns: Vec<usize> = (0..widths.len()).collect();
    let needed = |columns: &[usize], gap: usize| -> usize {
        columns
            .iter()
            .map(|column| widths[*column] + gap)
            .sum::<usize>()
            .saturating_sub(gap)
    };
    if let Some(gap) = GAPS.into_iter().find(|gap| needed(&columns, *gap) <= width) {
        return (columns, gap);
    }
    let gap = GAPS[GAPS.len() - 1];
    for dispensable in DISPENSABLE {
        if needed(&columns, gap) <= width {
            break;
        }
        columns.retain(|column| *column != dispensable);
    }
    (columns, gap)
}

fn line(
    cells: &[String],
    columns: &[usize],
    widths: &[usize],
    gap: usize,
    style: impl Fn(usize) -> anstyle::Style,
) -> ScreenLine {
    let (last, firsts) = columns.split_last().expect("INSTANCE is never left out");
    let padded = firsts.iter().fold(ScreenLine::default(), |line, column| {
        line.and(&cells[*column], style(*column)).and(
            &" ".repeat(widths[*column] + gap - text::width(&cells[*column])),
            style::NONE,
        )
    });
    padded.and(&cells[*last], style(*last))
}

/// What ails is looked at first, what is as it should be last.
fn calm(word: InstanceStatus) -> u8 {
    match word {
        InstanceStatus::NotReady | InstanceStatus::Exited | InstanceStatus::Unknown => 0,
        InstanceStatus::Creating
        | InstanceStatus::Starting
        | InstanceStatus::Draining
        | InstanceStatus::NoTraffic
        | InstanceStatus::Stopping => 1,
        InstanceStatus::Running => 2,
    }
}

/// The instances shown, by their place in the table, and the states of the others. What ails or
/// changes comes first.
fn choose(rows: &[StatusRow], room: usize) -> (Vec<usize>, Vec<InstanceStatus>) {
    if rows.len() <= room {
        return ((0..rows.len()).collect(), Vec::new());
    }
    let mut by_interest: Vec<usize> = (0..rows.len()).collect();
    by_interest.sort_by_key(|i| (calm(rows[*i].status), rows[*i].age_s, *i));
    let shown: BTreeSet<usize> = by_interest.into_iter().take(room - 1).collect();
    let hidden = (0..rows.len())
        .filter(|i| !shown.contains(i))
        .map(|i| rows[i].status)
        .collect();
    (shown.into_iter().collect(), hidden)
}

/// `… and 480 more: 460 Running, 20 Starting`.
fn others(hidden: &[InstanceStatus], glyphs: &Glyphs) -> String {
    let mut counts: BTreeMap<InstanceStatus, usize> = BTreeMap::new();
    for word in hidden {
        *counts.entry(*word).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    format!(
        "{} and {} more: {}",
        glyphs.ellipsis,
        hidden.len(),
        counts.join(", ")
    )
}

fn version_styles(status: &Status) -> BTreeMap<&str, anstyle::Style> {
    let target = status.version.as_deref();
    let versions: BTreeSet<&str> = status
        .instances
        .iter()
        .map(|row| row.version.as_str())
        .collect();
    let others = versions
        .into_iter()
        .filter(|version| Some(*version) != target)
        .enumerate();
    let others = others.map(|(n, version)| (version, style::of_version(Some(n))));
    others
        .chain(target.map(|target| (target, style::of_version(None))))
        .collect()
}
