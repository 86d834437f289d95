//! The lanes of the page, one a host: its instances as shapes, with heights in pixels.

use serde::Serialize;

use super::time_axis::{Span, Tick};
use crate::core::ids::ReleaseId;
use crate::core::journal::instance_timeline::{HostTimeline, InstancePhase, InstanceSpan};
use crate::core::time::Time;
use crate::report::clock::LocalClock;

/// Fleets of more hosts are drawn in thin lanes, and those in which something went wrong once more,
/// at full height.
const HOSTS_FULL_MAX: usize = 24;
/// So many thin lanes have one label.
const GROUP: usize = 20;
/// So many lanes in which something went wrong are shown at full height.
const WRONG_MAX: usize = 40;

const ROW_PX: u32 = 20;
const THIN_ROW_PX: u32 = 5;

/// How the releases of a rollout are told apart.
pub(super) struct VersionClasses<'a> {
    pub(super) goal: &'a ReleaseId,
    /// Whether instances of the goal's that were there before are old all the same.
    pub(super) renews: bool,
    pub(super) version: &'a dyn Fn(&ReleaseId) -> String,
}

impl VersionClasses<'_> {
    fn is_new(&self, bar: &InstanceSpan) -> bool {
        // Of an instance that no journal knows only the first digits of its release are known.
        let is_goal = bar.release == *self.goal || bar.release.as_str() == self.goal.short();
        is_goal && (bar.is_new || !self.renews)
    }
}

/// The lanes, as they are drawn.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    pub(super) ticks: Vec<Tick>,
    /// Lines through all lanes: the rollout's turn, its steps.
    pub(super) marks: Vec<Tick>,
    pub(super) boards: Vec<LaneChart>,
    pub(super) versions: Vec<Version>,
}

/// A version, for the legend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Version {
    pub(super) class: &'static str,
    pub(super) name: String,
}

/// Lanes below each other.
#[derive(Debug, Serialize)]
pub(super) struct LaneChart {
    /// What they are, where they are not all of them at full height.
    label: String,
    class: &'static str,
    is_folded: bool,
    tracks: Vec<Track>,
}

/// What has one name beside it: a host's lane, or thin ones of many.
#[derive(Debug, Serialize)]
struct Track {
    name: String,
    height: u32,
    lanes: Vec<Drawn>,
}

#[derive(Debug, Serialize)]
struct Drawn {
    shapes: Vec<Shape>,
    /// In words, for who cannot see it.
    words: String,
}

/// A part of a bar, or a sign.
#[derive(Debug, Serialize)]
struct Shape {
    class: String,
    x: String,
    width: String,
    y: u32,
    height: u32,
    /// Written into it, as far as there is room.
    label: String,
}

pub(super) fn timeline(
    lanes: &[HostTimeline],
    span: Span,
    kinds: &VersionClasses<'_>,
    marks: Vec<Tick>,
    clock: &LocalClock,
) -> Timeline {
    let full = |lane: &HostTimeline| track(std::slice::from_ref(lane), span, kinds, clock, ROW_PX);
    let thin = |lanes: &[HostTimeline]| track(lanes, span, kinds, clock, THIN_ROW_PX);
    let boards = if lanes.len() <= HOSTS_FULL_MAX {
        vec![LaneChart {
            label: String::new(),
            class: "",
            is_folded: false,
            tracks: lanes.iter().map(full).collect(),
        }]
    } else {
        let wrong = wrong_board(lanes, full);
        let all = thin_board(lanes, wrong.is_some(), thin);
        wrong.into_iter().chain([all]).collect()
    };
    Timeline {
        ticks: span.ticks(),
        marks,
        boards,
        versions: legend(lanes, kinds),
    }
}

/// The versions of all instances, the latest kind first.
fn legend(lanes: &[HostTimeline], kinds: &VersionClasses<'_>) -> Vec<Version> {
    let mut versions: Vec<_> = lanes
        .iter()
        .flat_map(|lane| lane.instances.values().flatten())
        .map(|bar| Version {
            class: class(kinds.is_new(bar)),
            name: (kinds.version)(&bar.release),
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.dedup();
    versions
}

/// The hosts on which something went wrong, at full height; `None` if there are none.
fn wrong_board(lanes: &[HostTimeline], full: impl Fn(&HostTimeline) -> Track) -> Option<LaneChart> {
    let wrong: Vec<_> = lanes.iter().filter(|lane| is_wrong(lane)).collect();
    let label = match wrong.len() {
        0 => return None,
        1 => "The host on which something went wrong".to_owned(),
        many @ 2..=WRONG_MAX => format!("The {many} hosts on which something went wrong"),
        many => format!("{WRONG_MAX} of the {many} hosts on which something went wrong"),
    };
    Some(LaneChart {
        label,
        class: "",
        is_folded: false,
        tracks: wrong.into_iter().take(WRONG_MAX).map(full).collect(),
    })
}

/// All hosts in thin lanes.
fn thin_board(
    lanes: &[HostTimeline],
    is_folded: bool,
    thin: impl Fn(&[HostTimeline]) -> Track,
) -> LaneChart {
    let hosts = lanes.len();
    LaneChart {
        label: format!("All {hosts} hosts, a thin line for each instance and what took its place"),
        class: "thin",
        is_folded,
        tracks: lanes.chunks(GROUP).map(thin).collect(),
    }
}

fn is_wrong(lane: &HostTimeline) -> bool {
    let mut bars = lane.instances.values().flatten();
    let is_sick = |bar: &InstanceSpan| {
        bar.phases
            .iter()
            .any(|(_, phase)| *phase == InstancePhase::NotReady)
    };
    !lane.incidents.is_empty() || !lane.outages.is_empty() || bars.any(is_sick)
}

fn class(is_new: bool) -> &'static str {
    if is_new { "new" } else { "old" }
}

fn track(
    lanes: &[HostTimeline],
    span: Span,
    kinds: &VersionClasses<'_>,
    clock: &LocalClock,
    row: u32,
) -> Track {
    let mut top = 0;
    let mut all = Vec::new();
    for lane in lanes {
        let (mut shapes, height) = shapes(lane, span, kinds, row);
        for shape in &mut shapes {
            shape.y += top;
            if row < ROW_PX {
                shape.label.clear();
            }
        }
        top += height + u32::from(row < ROW_PX);
        all.push(Drawn {
            shapes,
            words: words(lane, kinds, clock),
        });
    }
    let name =
        |lane: Option<&HostTimeline>| lane.map(|lane| lane.host.to_string()).unwrap_or_default();
    let (first, last) = (name(lanes.first()), name(lanes.last()));
    Track {
        name: if first == last {
            first
        } else {
            format!("{first} – {last}")
        },
        height: top,
        lanes: all,
    }
}

/// The shapes of a lane, and its height. The state is in the height: all of it serves, half of it
/// is on its way out.
fn shapes(
    lane: &HostTimeline,
    span: Span,
    kinds: &VersionClasses<'_>,
    row: u32,
) -> (Vec<Shape>, u32) {
    let mut shapes = Vec::new();
    let is_thin = row < ROW_PX;
    let rows: Vec<Vec<(u16, &InstanceSpan)>> = if is_thin {
        successions(lane)
    } else {
        lane.instances
            .iter()
            .map(|(port, bars)| bars.iter().map(|bar| (*port, bar)).collect())
            .collect()
    };
    let full = if is_thin { row } else { row - 3 };
    for (nth, bars) in (0..).zip(&rows) {
        let top = nth * row + u32::from(!is_thin);
        for (port, bar) in bars {
            bar_shapes(bar, *port, span, kinds, (top, full), &mut shapes);
        }
    }
    if is_thin {
        // What is about to come would hide what still serves.
        shapes.retain(|shape| !shape.class.ends_with(" starting"));
    }
    let height = u32::try_from(rows.len().max(1)).unwrap_or(1) * row;
    let whole = |class: &str, from: Time, to: Time, label: &str| Shape {
        class: class.to_owned(),
        x: span.x(from),
        width: span.width(from, to),
        y: 0,
        height,
        label: label.to_owned(),
    };
    shapes.extend(
        lane.outages
            .iter()
            .map(|(from, to)| whole("lost", *from, *to, "out of reach")),
    );
    shapes.extend(
        lane.incidents
            .iter()
            .map(|incident| whole("fail", incident.at, incident.at, "✗")),
    );
    (shapes, height)
}

/// The instances of a host in as many lines as there were at its beginning, or at its end if that
/// is more: each new one follows the one that went first.
fn successions(lane: &HostTimeline) -> Vec<Vec<(u16, &InstanceSpan)>> {
    let mut bars: Vec<_> = lane
        .instances
        .iter()
        .flat_map(|(port, bars)| bars.iter().map(|bar| (*port, bar)))
        .collect();
    bars.sort_by_key(|(_, bar)| (bar.is_new, bar.phases.first().map(|(at, _)| *at)));
    let count = |keep: fn(&InstanceSpan) -> bool| bars.iter().filter(|(_, bar)| keep(bar)).count();
    let lines = count(|bar| !bar.is_new)
        .max(count(|bar| !bar.is_gone))
        .max(1);
    let mut rows: Vec<Vec<(u16, &InstanceSpan)>> = vec![Vec::new(); lines];
    for (port, bar) in bars {
        let until = |row: &&mut Vec<(u16, &InstanceSpan)>| row.last().map(|(_, last)| last.until);
        if let Some(row) = rows.iter_mut().min_by_key(until) {
            row.push((port, bar));
        }
    }
    rows
}

fn bar_shapes(
    bar: &InstanceSpan,
    port: u16,
    span: Span,
    kinds: &VersionClasses<'_>,
    place: (u32, u32),
    shapes: &mut Vec<Shape>,
) {
    let (top, full) = place;
    let kind = class(kinds.is_new(bar));
    let version = (kinds.version)(&bar.release);
    let ends = bar
        .phases
        .iter()
        .skip(1)
        .map(|(at, _)| *at)
        .chain([bar.until]);
    let longest = bar
        .phases
        .iter()
        .zip(ends.clone())
        .map(|((from, _), to)| to.since(*from))
        .max();
    let mut is_labelled = false;
    for ((from, phase), to) in bar.phases.iter().zip(ends) {
        let (word, height) = phase_shape(*phase, full);
        // Where it was longest there is most room for its name.
        let is_longest =
            !is_labelled && Some(to.since(*from)) == longest && *phase != InstancePhase::Stopping;
        is_labelled |= is_longest;
        shapes.push(Shape {
            class: format!("bar {kind} {word}"),
            x: span.x(*from),
            width: span.width(*from, to),
            y: top + (full - height),
            height,
            label: if is_longest && height > 8 {
                format!("{version} :{port}")
            } else {
                String::new()
            },
        });
    }
    if bar.is_gone {
        shapes.push(Shape {
            class: format!("end {kind}"),
            x: span.x(bar.until),
            width: "0%".into(),
            y: top,
            height: full,
            label: String::new(),
        });
    }
}

/// The class of a state, and its height, at least 1.
fn phase_shape(phase: InstancePhase, full: u32) -> (&'static str, u32) {
    let (class, height) = match phase {
        InstancePhase::Starting => ("starting", full / 2),
        InstancePhase::Ready => ("ready", full),
        InstancePhase::NotReady => ("sick", full),
        InstancePhase::Drained => ("drained", full / 2),
        InstancePhase::Stopping => ("stopping", full / 4),
    };
    (class, height.max(1))
}

/// A lane in words.
fn words(lane: &HostTimeline, kinds: &VersionClasses<'_>, clock: &LocalClock) -> String {
    let mut told = Vec::new();
    for (port, bars) in &lane.instances {
        for bar in bars {
            let mut text = format!("{} on :{port}", (kinds.version)(&bar.release));
            for (at, phase) in &bar.phases {
                let word = match phase {
                    InstancePhase::Starting => "started",
                    InstancePhase::Ready
                        if !bar.is_new && bar.phases.first() == Some(&(*at, *phase)) =>
                    {
                        "there"
                    }
                    InstancePhase::Ready => "ready",
                    InstancePhase::NotReady => "not ready",
                    InstancePhase::Drained => "drained",
                    InstancePhase::Stopping => "told to stop",
                };
                text.extend([", ", word, " ", &clock.time_of_day(*at)]);
            }
            if bar.is_gone {
                text.extend([", gone ", &clock.time_of_day(bar.until)]);
            }
            told.push(text);
        }
    }
    let out = lane.outages.iter().map(|(from, to)| {
        format!(
            "out of reach from {} to {}",
            clock.time_of_day(*from),
            clock.time_of_day(*to)
        )
    });
    told.extend(out);
    told.extend(
        lane.incidents
            .iter()
            .map(|incident| format!("✗ {} {}", clock.time_of_day(incident.at), incident.error)),
    );
    if told.is_empty() {
        told.push("nothing of it ran here".to_owned());
    }
    format!("{}: {}", lane.host, told.join("; "))
}
