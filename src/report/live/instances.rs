//! The table of instances on the live screen, reduced to the room that it has.

use std::collections::{BTreeMap, BTreeSet};

use anstyle::Style;

use super::super::text::{self, Glyphs};
use super::super::{columns, table};
use super::line::ScreenLine;
use super::style;
use crate::core::journal::status::{InstanceStatus, Status, StatusRow};

/// Columns that a narrow screen omits, in this order: REVISION, RESTARTS, ADDRESS, AGE, HOST.
const DISPENSABLE: [usize; 5] = [8, 3, 5, 4, 6];
/// Spaces between two columns, from wide to narrow.
const GAPS: [usize; 2] = [columns::GAP, 2];
/// From this age on, an instance is not more interesting than an older one.
const OLD_S: u64 = 60;
const STATUS_COLUMN: usize = 2;
const VERSION_COLUMNS: [usize; 2] = [0, 7];

/// An instance in the table.
#[derive(Clone, Copy)]
pub(super) struct InstanceRow<'a> {
    pub(super) instance: &'a StatusRow,
    /// The style of its version.
    version: Style,
}

impl InstanceRow<'_> {
    /// The rank of the instance: problems first, changes second, running instances last.
    pub(super) fn rank(&self) -> InstanceRank {
        rank(self.instance.status)
    }

    /// The age, in seconds. It is the same for all old instances, so that they keep their places.
    pub(super) fn age_s(&self) -> u64 {
        self.instance.age_s.min(OLD_S)
    }
}

/// The instances of a service. `new_version` is the target version of the rollout.
pub(super) fn rows<'a>(status: &'a Status, new_version: &str) -> Vec<InstanceRow<'a>> {
    let versions = version_styles(status, new_version);
    let row = |instance: &'a StatusRow| InstanceRow {
        instance,
        version: versions
            .get(instance.version.as_str())
            .copied()
            .unwrap_or_default(),
    };
    status.instances.iter().map(row).collect()
}

/// The headings and at most `room` lines: all instances, or the most interesting ones and a count
/// of the others.
pub(super) fn table(
    rows: &[InstanceRow<'_>],
    width: usize,
    room: usize,
    glyphs: &Glyphs,
) -> Vec<ScreenLine> {
    let instances = rows.iter().map(|row| row.instance);
    let cells: Vec<Vec<String>> = instances.map(table::instance_cells).collect();
    let header = table::INSTANCE_COLUMNS.map(str::to_owned).to_vec();
    let widths =
        columns::widths(std::iter::once(header.as_slice()).chain(cells.iter().map(Vec::as_slice)));
    let (columns, gap) = columns(&widths, width);

    let (shown, hidden) = choose(rows, room);
    let mut lines = vec![line(&header, &columns, &widths, gap, |_| style::HEADING)];
    lines.extend(shown.iter().map(|i| {
        let row = rows[*i];
        line(&cells[*i], &columns, &widths, gap, |column| match column {
            STATUS_COLUMN => style::of_instance(row.instance.status),
            column if VERSION_COLUMNS.contains(&column) => row.version,
            _ => style::NONE,
        })
    }));
    if !hidden.is_empty() {
        lines.push(ScreenLine::default().and(&others(&hidden, glyphs), style::FAINT));
    }
    lines
}

/// The columns that fit, and the gap between them.
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
    style: impl Fn(usize) -> Style,
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

/// How interesting an instance is, most interesting first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InstanceRank {
    Problem,
    Change,
    Running,
}

fn rank(status: InstanceStatus) -> InstanceRank {
    match status {
        InstanceStatus::NotReady | InstanceStatus::Exited | InstanceStatus::Unknown => {
            InstanceRank::Problem
        }
        InstanceStatus::Creating
        | InstanceStatus::Starting
        | InstanceStatus::Draining
        | InstanceStatus::NoTraffic
        | InstanceStatus::Stopping
        | InstanceStatus::Lingering
        | InstanceStatus::Ended => InstanceRank::Change,
        InstanceStatus::Running => InstanceRank::Running,
    }
}

/// The indexes of the instances that are shown, in the order of the table, and the states of the
/// others.
fn choose(rows: &[InstanceRow<'_>], room: usize) -> (Vec<usize>, Vec<InstanceStatus>) {
    if rows.len() <= room {
        return ((0..rows.len()).collect(), Vec::new());
    }
    let mut by_interest: Vec<usize> = (0..rows.len()).collect();
    by_interest.sort_by_key(|i| (rows[*i].rank(), rows[*i].age_s(), *i));
    let shown: BTreeSet<usize> = by_interest
        .into_iter()
        .take(room.saturating_sub(1))
        .collect();
    let hidden = (0..rows.len())
        .filter(|i| !shown.contains(i))
        .map(|i| rows[i].instance.status)
        .collect();
    (shown.into_iter().collect(), hidden)
}

/// `… and 480 more: 460 Running, 20 Starting`.
fn others(hidden: &[InstanceStatus], glyphs: &Glyphs) -> String {
    let mut counts: BTreeMap<InstanceStatus, usize> = BTreeMap::new();
    for status in hidden {
        *counts.entry(*status).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    format!(
        "{} and {} more: {}",
        glyphs.ellipsis,
        hidden.len(),
        counts.join(", ")
    )
}

/// The style of each version. It stays the same in a rollback.
pub(super) fn version_styles<'a>(
    status: &'a Status,
    new_version: &'a str,
) -> BTreeMap<&'a str, Style> {
    let versions: BTreeSet<&str> = status
        .instances
        .iter()
        .map(|row| row.version.as_str())
        .filter(|version| *version != new_version)
        .collect();
    let old = versions.into_iter().enumerate();
    old.map(|(n, version)| (version, style::of_version(Some(n))))
        .chain([(new_version, style::of_version(None))])
        .collect()
}
