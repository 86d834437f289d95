//! From lanes and steps to shapes: places in percent of the width, so that a page of any width can
//! show them, and heights in pixels.

use std::time::Duration;

use serde::Serialize;

use super::capacity::{CapacityStep, fewest};
use super::lanes::{Bar, Lane, Phase, ticks};
use crate::core::ids::ReleaseId;
use crate::core::spec::budget::Budget;
use crate::core::time::{Human, Time};
use crate::report::clock::LocalClock;

/// Fleets of more hosts are drawn in thin lanes, and those in which something went wrong once more,
/// at full height.
const HOSTS_FULL_MAX: usize = 24;
/// So many thin lanes have one label.
const GROUP: usize = 20;
/// So many lanes in which something went wrong are shown at full height.
const WRONG_MAX: usize = 40;

/// So near the edge a word would be cut off.
const EDGE_PERCENT: f64 = 8.0;

const ROW_PX: u32 = 20;
const THIN_ROW_PX: u32 = 5;
const CHART_PX: u32 = 150;

/// A time and its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: Time,
    pub(super) end: Time,
}

impl Span {
    fn whole(self) -> Duration {
        self.end.since(self.begin)
    }

    /// Where a moment is, in percent.
    fn at(self, moment: Time) -> f64 {
        let whole = self.whole().as_secs_f64();
        if whole == 0.0 {
            0.0
        } else {
            (moment.since(self.begin).as_secs_f64() / whole * 100.0).min(100.0)
        }
    }

    /// Where it is, for a shape: `12.345%`.
    pub(super) fn x(self, moment: Time) -> String {
        percent(self.at(moment))
    }

    fn width(self, from: Time, to: Time) -> String {
        percent((self.at(to) - self.at(from)).max(0.0))
    }
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
}

/// How the releases of a rollout are told apart.
pub(super) struct Kinds<'a> {
    /// Where it went.
    pub(super) goal: &'a ReleaseId,
    /// Whether instances of the goal's that were there before are old all the same.
    pub(super) renews: bool,
    /// The versions, for people.
    pub(super) version: &'a dyn Fn(&ReleaseId) -> String,
}

impl Kinds<'_> {
    fn is_new(&self, bar: &Bar) -> bool {
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
    pub(super) boards: Vec<Board>,
    pub(super) versions: Vec<Version>,
}

/// A moment with a word.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) label: String,
    pub(super) class: &'static str,
    /// Where its word has room: before it, after it, or around it.
    side: &'static str,
}

impl Tick {
    pub(super) fn at(moment: Time, span: Span, label: String, class: &'static str) -> Self {
        let side = match span.at(moment) {
            share if share < EDGE_PERCENT => "after",
            share if share > 100.0 - EDGE_PERCENT => "before",
            _ => "around",
        };
        Self {
            x: span.x(moment),
            label,
            class,
            side,
        }
    }
}

/// A version, for the legend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Version {
    pub(super) class: &'static str,
    pub(super) name: String,
}

/// Lanes below each other.
#[derive(Debug, Serialize)]
pub(super) struct Board {
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

/// A host's lane.
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

/// Draws the lanes.
pub(super) fn timeline(
    lanes: &[Lane],
    span: Span,
    kinds: &Kinds<'_>,
    marks: Vec<Tick>,
    clock: &LocalClock,
) -> Timeline {
    let mut versions: Vec<_> = lanes
        .iter()
        .flat_map(|lane| lane.rows.values().flatten())
        .map(|bar| Version {
            class: class(kinds.is_new(bar)),
            name: (kinds.version)(&bar.release),
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.dedup();
    let tick = |tick: Duration| Tick::at(span.begin + tick, span, Human(tick).to_string(), "tick");
    let ticks = ticks(span.whole()).into_iter().map(tick).collect();
    let full = |lane: &Lane| track(std::slice::from_ref(lane), span, kinds, clock, ROW_PX);
    if lanes.len() <= HOSTS_FULL_MAX {
        let tracks = lanes.iter().map(full).collect();
        let boards = vec![Board {
            label: String::new(),
            class: "",
            is_folded: false,
            tracks,
        }];
        return Timeline {
            ticks,
            marks,
            boards,
            versions,
        };
    }
    let wrong: Vec<_> = lanes.iter().filter(|lane| is_wrong(lane)).collect();
    let label = match wrong.len() {
        1 => "The host on which something went wrong".to_owned(),
        many @ 0..=WRONG_MAX => format!("The {many} hosts on which something went wrong"),
        many => format!("{WRONG_MAX} of the {many} hosts on which something went wrong"),
    };
    let tracks: Vec<_> = wrong.into_iter().take(WRONG_MAX).map(full).collect();
    let is_folded = !tracks.is_empty();
    let wrong = is_folded.then_some(Board {
        label,
        class: "",
        is_folded: false,
        tracks,
    });
    let label = format!(
        "All {} hosts, a thin line for each instance and what took its place",
        lanes.len()
    );
    let tracks = lanes
        .chunks(GROUP)
        .map(|lanes| track(lanes, span, kinds, clock, THIN_ROW_PX))
        .collect();
    let all = Board {
        label,
        class: "thin",
        is_folded,
        tracks,
    };
    Timeline {
        ticks,
        marks,
        boards: wrong.into_iter().chain([all]).collect(),
        versions,
    }
}

fn is_wrong(lane: &Lane) -> bool {
    let mut bars = lane.rows.values().flatten();
    let is_sick = |bar: &Bar| {
        bar.phases
            .iter()
            .any(|(_, phase)| *phase == Phase::NotReady)
    };
    !lane.marks.is_empty() || !lane.lost.is_empty() || bars.any(is_sick)
}

fn class(is_new: bool) -> &'static str {
    if is_new { "new" } else { "old" }
}

fn track(lanes: &[Lane], span: Span, kinds: &Kinds<'_>, clock: &LocalClock, row: u32) -> Track {
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
    let name = |lane: Option<&Lane>| lane.map(|lane| lane.host.to_string()).unwrap_or_default();
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
fn shapes(lane: &Lane, span: Span, kinds: &Kinds<'_>, row: u32) -> (Vec<Shape>, u32) {
    let mut shapes = Vec::new();
    let is_thin = row < ROW_PX;
    let rows: Vec<Vec<(u16, &Bar)>> = if is_thin {
        successions(lane)
    } else {
        lane.rows
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
        lane.lost
            .iter()
            .map(|(from, to)| whole("lost", *from, *to, "out of reach")),
    );
    shapes.extend(
        lane.marks
            .iter()
            .map(|mark| whole("fail", mark.at, mark.at, "✗")),
    );
    (shapes, height)
}

/// The instances of a host in as many lines as there were at its beginning, or at its end if that
/// is more: each new one follows the one that went first.
fn successions(lane: &Lane) -> Vec<Vec<(u16, &Bar)>> {
    let mut bars: Vec<_> = lane
        .rows
        .iter()
        .flat_map(|(port, bars)| bars.iter().map(|bar| (*port, bar)))
        .collect();
    bars.sort_by_key(|(_, bar)| (bar.is_new, bar.phases.first().map(|(at, _)| *at)));
    let count = |keep: fn(&Bar) -> bool| bars.iter().filter(|(_, bar)| keep(bar)).count();
    let lines = count(|bar| !bar.is_new)
        .max(count(|bar| !bar.is_gone))
        .max(1);
    let mut rows: Vec<Vec<(u16, &Bar)>> = vec![Vec::new(); lines];
    for (port, bar) in bars {
        let until = |row: &&mut Vec<(u16, &Bar)>| row.last().map(|(_, last)| last.until);
        if let Some(row) = rows.iter_mut().min_by_key(until) {
            row.push((port, bar));
        }
    }
    rows
}

fn bar_shapes(
    bar: &Bar,
    port: u16,
    span: Span,
    kinds: &Kinds<'_>,
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
        let (word, height) = match phase {
            Phase::Starting => ("starting", full / 2),
            Phase::Ready => ("ready", full),
            Phase::NotReady => ("sick", full),
            Phase::Drained => ("drained", full / 2),
            Phase::Stopping => ("stopping", full / 4),
        };
        let height = height.max(1);
        // Where it was longest there is most room for its name.
        let is_longest =
            !is_labelled && Some(to.since(*from)) == longest && *phase != Phase::Stopping;
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
        let x = span.x(bar.until);
        shapes.push(Shape {
            class: format!("end {kind}"),
            x,
            width: "0%".into(),
            y: top,
            height: full,
            label: String::new(),
        });
    }
}

/// A lane in words.
fn words(lane: &Lane, kinds: &Kinds<'_>, clock: &LocalClock) -> String {
    let mut told = Vec::new();
    for (port, bars) in &lane.rows {
        for bar in bars {
            let mut text = format!("{} on :{port}", (kinds.version)(&bar.release));
            for (at, phase) in &bar.phases {
                let word = match phase {
                    Phase::Starting => "started",
                    Phase::Ready if !bar.is_new && bar.phases.first() == Some(&(*at, *phase)) => {
                        "there"
                    }
                    Phase::Ready => "ready",
                    Phase::NotReady => "not ready",
                    Phase::Drained => "drained",
                    Phase::Stopping => "told to stop",
                };
                text.extend([", ", word, " ", &clock.time_of_day(*at)]);
            }
            if bar.is_gone {
                text.extend([", gone ", &clock.time_of_day(bar.until)]);
            }
            told.push(text);
        }
    }
    let out = lane.lost.iter().map(|(from, to)| {
        format!(
            "out of reach from {} to {}",
            clock.time_of_day(*from),
            clock.time_of_day(*to)
        )
    });
    told.extend(out);
    told.extend(
        lane.marks
            .iter()
            .map(|mark| format!("✗ {} {}", clock.time_of_day(mark.at), mark.what)),
    );
    if told.is_empty() {
        told.push("nothing of it ran here".to_owned());
    }
    format!("{}: {}", lane.host, told.join("; "))
}

/// The serving capacity, as it is drawn.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    height: u32,
    /// Old and new instances that serve, one on the other.
    areas: Vec<Area>,
    /// How many run, serving or not.
    total: Vec<Stroke>,
    /// The least that was promised.
    bound: Option<Level>,
    /// How many were wanted.
    wanted: Level,
    zero: u32,
    top: Level,
    ticks: Vec<Tick>,
    words: String,
}

#[derive(Debug, Serialize)]
struct Area {
    class: &'static str,
    x: String,
    width: String,
    y: String,
    height: String,
}

#[derive(Debug, Serialize)]
struct Stroke {
    x1: String,
    x2: String,
    y: String,
}

#[derive(Debug, Serialize)]
struct Level {
    y: String,
    count: u32,
}

/// Draws the steps; `None` where nothing was counted.
pub(super) fn chart(
    steps: &[CapacityStep],
    span: Span,
    desired: u32,
    budget: Option<Budget>,
) -> Option<Chart> {
    let least = fewest(steps)?;
    let most = steps
        .iter()
        .map(|step| step.total.max(step.available))
        .max()?
        .max(desired)
        .max(1);
    let head = 12;
    let unit = f64::from(CHART_PX - head) / f64::from(most);
    let y = |count: u32| f64::from(CHART_PX) - f64::from(count) * unit;
    let px = |value: f64| format!("{value:.2}");
    let ends = steps.iter().skip(1).map(|step| step.from).chain([span.end]);
    let (mut areas, mut total) = (Vec::new(), Vec::new());
    for (step, to) in steps.iter().zip(ends) {
        let (x, width) = (span.x(step.from), span.width(step.from, to));
        let area = |class, from: u32, upto: u32| Area {
            class,
            x: x.clone(),
            width: width.clone(),
            y: px(y(upto)),
            height: px(y(from) - y(upto)),
        };
        let parts = [
            area("new", 0, step.new),
            area("old", step.new, step.available),
        ];
        areas.extend(parts.into_iter().filter(|part| part.height != "0.00"));
        total.push(Stroke {
            x1: span.x(step.from),
            x2: span.x(to),
            y: px(y(step.total)),
        });
    }
    let level = |count: u32| Level {
        y: px(y(count)),
        count,
    };
    let bound = budget.map(|budget| budget.min_available());
    let served = format!("{least} of {desired} wanted instances served at the least");
    let began = steps.first().map_or(0, |step| step.available);
    let ended = steps.last().map_or(0, |step| step.available);
    let words = match bound {
        // Nobody can keep what was not there, as in a first deploy.
        Some(bound) if began < bound => {
            format!(
                "{began} of {desired} wanted instances served when it began, {ended} when it ended"
            )
        }
        Some(bound) => format!("{served}; at least {bound} were promised"),
        None => format!("{served}; what was promised is not known any more"),
    };
    let tick = |tick: Duration| Tick::at(span.begin + tick, span, Human(tick).to_string(), "tick");
    Some(Chart {
        height: CHART_PX,
        areas,
        total,
        bound: bound.map(level),
        wanted: level(desired),
        zero: CHART_PX,
        top: level(most),
        ticks: ticks(span.whole()).into_iter().map(tick).collect(),
        words,
    })
}
