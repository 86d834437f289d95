//! The timeline of the page: a lane for each host, with its instances as shapes. Heights are in pixels,
//! widths in percent.

use super::lane_chart::{Label, Lane, LaneChart, Shape, Timeline, Track, VersionLegend};
use super::time_axis::{Band, Span, Tick};
use crate::core::ids::{HostId, ReleaseId, Slot, SlotNumber};
use crate::core::journal::instance_timeline::{HostTimeline, InstancePhase, InstanceSpan};
use crate::core::time::Time;
use crate::report::clock::LocalClock;

/// A larger fleet has thin lanes, and its hosts with incidents are drawn once more at full height.
const HOSTS_FULL_MAX: usize = 24;
/// Thin lanes that share one name.
const GROUP: usize = 20;
/// Hosts with incidents that are drawn at full height.
const INCIDENT_HOSTS_MAX: usize = 40;

const ROW_PX: u32 = 20;
const THIN_ROW_PX: u32 = 5;

/// Distinguishes the instances of a rollout's target from the others.
pub(super) struct VersionClasses<'a> {
    /// `None` if no rollout has begun.
    pub(super) goal: Option<&'a ReleaseId>,
    /// Whether instances that ran the target before the rollout count as old.
    pub(super) is_restart: bool,
    pub(super) version: &'a dyn Fn(&ReleaseId) -> String,
}

impl VersionClasses<'_> {
    fn is_new(&self, bar: &InstanceSpan) -> bool {
        // If no journal names the release of an instance, only its short digest is known.
        let is_goal = self
            .goal
            .is_some_and(|goal| bar.release == *goal || bar.release.as_str() == goal.short());
        is_goal && (bar.is_new || !self.is_restart)
    }
}

/// A failure of one instance.
pub(super) struct InstanceFailure {
    pub(super) slot: Slot,
    pub(super) at: Time,
    /// In one or two words: `not ready`.
    pub(super) what: &'static str,
}

/// Draws the lanes of a rollout.
pub(super) struct TimelineBuilder<'a> {
    pub(super) span: Span,
    pub(super) kinds: &'a VersionClasses<'a>,
    pub(super) failures: &'a [InstanceFailure],
    pub(super) clock: &'a LocalClock,
}

/// The shapes and labels of a lane.
#[derive(Default)]
struct LaneDrawing {
    shapes: Vec<Shape>,
    labels: Vec<Label>,
}

impl TimelineBuilder<'_> {
    pub(super) fn build(
        &self,
        lanes: &[HostTimeline],
        marks: Vec<Tick>,
        bands: Vec<Band>,
    ) -> Timeline {
        let full = |lane: &HostTimeline| self.track(std::slice::from_ref(lane), ROW_PX);
        let thin = |lanes: &[HostTimeline]| self.track(lanes, THIN_ROW_PX);
        let boards = if lanes.len() <= HOSTS_FULL_MAX {
            vec![LaneChart {
                label: String::new(),
                class: "",
                is_folded: false,
                tracks: lanes.iter().map(full).collect(),
            }]
        } else {
            let incidents = incident_board(lanes, full);
            let all = thin_board(lanes, incidents.is_some(), thin);
            incidents.into_iter().chain([all]).collect()
        };
        let classes = occurring_classes(&boards);
        Timeline {
            ticks: self.span.ticks(),
            marks,
            bands,
            boards,
            versions: self.versions(lanes),
            classes,
        }
    }

    /// The versions of all instances, the new one first.
    fn versions(&self, lanes: &[HostTimeline]) -> Vec<VersionLegend> {
        let mut versions: Vec<_> = lanes
            .iter()
            .flat_map(|lane| lane.instances.values().flatten())
            .map(|bar| {
                let is_new = self.kinds.is_new(bar);
                VersionLegend {
                    class: class(is_new),
                    name: (self.kinds.version)(&bar.release),
                    meaning: class(is_new),
                }
            })
            .collect();
        versions.sort_by(|one, other| other.cmp(one));
        versions.dedup();
        versions.sort_by_key(|version| version.class != "new");
        versions
    }

    fn track(&self, lanes: &[HostTimeline], row: u32) -> Track {
        let mut top = 0;
        let mut all = Vec::new();
        for lane in lanes {
            let (mut drawing, height) = self.draw(lane, row);
            for shape in &mut drawing.shapes {
                shape.y += top;
            }
            for label in &mut drawing.labels {
                label.y += top;
            }
            if row < ROW_PX {
                drawing.labels.clear();
                drawing.shapes.iter_mut().for_each(|shape| shape.sign = "");
            }
            top += height + u32::from(row < ROW_PX);
            all.push(Lane {
                shapes: drawing.shapes,
                labels: drawing.labels,
                words: self.words(lane),
            });
        }
        let name = |lane: Option<&HostTimeline>| {
            lane.map(|lane| lane.host.to_string()).unwrap_or_default()
        };
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

    /// A lane and its height. The height of a bar shows its state: full while it serves, half while
    /// it starts or drains.
    fn draw(&self, lane: &HostTimeline, row: u32) -> (LaneDrawing, u32) {
        let mut drawing = LaneDrawing::default();
        let is_thin = row < ROW_PX;
        let rows: Vec<Vec<(SlotNumber, &InstanceSpan)>> = if is_thin {
            successions(lane)
        } else {
            lane.instances
                .iter()
                .map(|(number, bars)| bars.iter().map(|bar| (*number, bar)).collect())
                .collect()
        };
        let full = if is_thin { row } else { row - 3 };
        for (nth, bars) in (0..).zip(&rows) {
            let top = nth * row + u32::from(!is_thin);
            for (number, bar) in bars {
                self.draw_bar(&lane.host, *number, bar, (top, full), &mut drawing);
            }
        }
        if is_thin {
            // A starting instance would hide the one that still serves.
            let shapes = &mut drawing.shapes;
            shapes.retain(|shape| !shape.class.ends_with(" starting"));
        }
        let height = u32::try_from(rows.len().max(1)).unwrap_or(1) * row;
        let whole = |class: &str, from: Time, to: Time, sign: &'static str| Shape {
            class: class.to_owned(),
            x: self.span.x(from),
            width: self.span.width(from, to),
            y: 0,
            height,
            sign,
        };
        let outages = lane.outages.iter();
        drawing.shapes.extend(
            outages
                .clone()
                .map(|(from, to)| whole("lost", *from, *to, "")),
        );
        drawing.labels.extend(outages.map(|(from, to)| Label {
            class: "lost-label".to_owned(),
            position: self.span.position(*from, *to),
            y: 1,
            parts: vec!["unreachable".to_owned()],
        }));
        let is_labelled = |at: Time| {
            let mut failures = self.failures.iter();
            failures.any(|failure| failure.slot.host == lane.host && failure.at == at)
        };
        drawing.shapes.extend(lane.incidents.iter().map(|incident| {
            let sign = if is_labelled(incident.at) { "" } else { "✗" };
            whole("fail", incident.at, incident.at, sign)
        }));
        (drawing, height)
    }

    fn draw_bar(
        &self,
        host: &HostId,
        number: SlotNumber,
        bar: &InstanceSpan,
        (top, full): (u32, u32),
        drawing: &mut LaneDrawing,
    ) {
        let kind = class(self.kinds.is_new(bar));
        let version = (self.kinds.version)(&bar.release);
        let mut longest: Option<(Time, Time)> = None;
        for ((from, phase), to) in bar.phases.iter().zip(phase_ends(bar)) {
            let (word, height) = phase_shape(*phase, full);
            // The label goes where there is most room.
            let is_longest = longest.is_none_or(|(a, b)| to.since(*from) > b.since(a));
            if is_longest && matches!(*phase, InstancePhase::Ready | InstancePhase::NotReady) {
                longest = Some((*from, to));
            }
            drawing.shapes.push(Shape {
                class: format!("bar {kind} {word}"),
                x: self.span.x(*from),
                width: self.span.width(*from, to),
                y: top + (full - height),
                height,
                sign: "",
            });
        }
        if let Some(failure) = self.failure_of(host, number, bar) {
            drawing.labels.push(Label {
                class: "fail-label".to_owned(),
                position: self.span.beside(failure.at),
                y: top,
                parts: vec![
                    format!("✗ {version}"),
                    failure.what.to_owned(),
                    format!(":{number}"),
                ],
            });
        } else if let Some((from, to)) = longest {
            drawing.labels.push(Label {
                class: format!("label {kind}"),
                position: self.span.position(from, to),
                y: top,
                parts: vec![version, format!(":{number}")],
            });
        }
        if bar.is_gone {
            drawing.shapes.push(Shape {
                class: format!("end {kind}"),
                x: self.span.x(bar.until),
                width: "0%".into(),
                y: top,
                height: full,
                sign: "",
            });
        }
    }

    /// The failure in this slot while this instance existed, if it is a new one.
    fn failure_of(
        &self,
        host: &HostId,
        number: SlotNumber,
        bar: &InstanceSpan,
    ) -> Option<&InstanceFailure> {
        let began = bar.phases.first().map(|(at, _)| *at)?;
        self.failures.iter().find(|failure| {
            let slot = &failure.slot;
            bar.is_new
                && slot.host == *host
                && slot.number == number
                && (began..=bar.until).contains(&failure.at)
        })
    }

    /// A lane in words.
    fn words(&self, lane: &HostTimeline) -> String {
        let time = |at: Time| self.clock.time_of_day(at);
        let mut parts = Vec::new();
        for (number, bars) in &lane.instances {
            for bar in bars {
                let mut text = format!("{} on :{number}", (self.kinds.version)(&bar.release));
                for (at, phase) in &bar.phases {
                    let word = match phase {
                        InstancePhase::Starting => "started",
                        InstancePhase::Ready
                            if !bar.is_new && bar.phases.first() == Some(&(*at, *phase)) =>
                        {
                            "running"
                        }
                        InstancePhase::Ready => "ready",
                        InstancePhase::NotReady => "not ready",
                        InstancePhase::Drained => "drained",
                        InstancePhase::Stopping => "stopping",
                    };
                    text.extend([", ", word, " ", &time(*at)]);
                }
                if bar.is_gone {
                    text.extend([", stopped ", &time(bar.until)]);
                }
                parts.push(text);
            }
        }
        parts.extend(
            lane.outages
                .iter()
                .map(|(from, to)| format!("unreachable from {} to {}", time(*from), time(*to))),
        );
        parts.extend(
            lane.incidents
                .iter()
                .map(|incident| format!("✗ {} {}", time(incident.at), incident.error)),
        );
        if parts.is_empty() {
            parts.push("no instances".to_owned());
        }
        format!("{}: {}", lane.host, parts.join("; "))
    }
}

/// The hosts with incidents at full height; `None` if there are none.
fn incident_board(
    lanes: &[HostTimeline],
    full: impl Fn(&HostTimeline) -> Track,
) -> Option<LaneChart> {
    let affected: Vec<_> = lanes.iter().filter(|lane| has_incident(lane)).collect();
    let label = match affected.len() {
        0 => return None,
        1 => "The host with an incident".to_owned(),
        many @ 2..=INCIDENT_HOSTS_MAX => format!("The {many} hosts with incidents"),
        many => format!("{INCIDENT_HOSTS_MAX} of the {many} hosts with incidents"),
    };
    Some(LaneChart {
        label,
        class: "",
        is_folded: false,
        tracks: affected
            .into_iter()
            .take(INCIDENT_HOSTS_MAX)
            .map(full)
            .collect(),
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
        label: format!("All {hosts} hosts, one thin line per instance and its successors"),
        class: "thin",
        is_folded,
        tracks: lanes.chunks(GROUP).map(thin).collect(),
    }
}

fn has_incident(lane: &HostTimeline) -> bool {
    let mut bars = lane.instances.values().flatten();
    let was_unready = |bar: &InstanceSpan| {
        bar.phases
            .iter()
            .any(|(_, phase)| *phase == InstancePhase::NotReady)
    };
    !lane.incidents.is_empty() || !lane.outages.is_empty() || bars.any(was_unready)
}

/// The classes that the legend explains, in its order.
fn occurring_classes(boards: &[LaneChart]) -> Vec<&'static str> {
    let shapes = boards
        .iter()
        .flat_map(|board| &board.tracks)
        .flat_map(|track| &track.lanes)
        .flat_map(|lane| &lane.shapes);
    let occurring: std::collections::BTreeSet<&str> = shapes
        .flat_map(|shape| shape.class.split_ascii_whitespace())
        .collect();
    ["starting", "unready", "drained", "end", "lost", "fail"]
        .into_iter()
        .filter(|class| occurring.contains(class))
        .collect()
}

fn class(is_new: bool) -> &'static str {
    if is_new { "new" } else { "old" }
}

fn phase_ends(bar: &InstanceSpan) -> impl Iterator<Item = Time> {
    let starts = bar.phases.iter().skip(1).map(|(at, _)| *at);
    starts.chain([bar.until])
}

/// Arranges the instances of a host in rows: as many as there were instances at the beginning or at
/// the end, whichever is more. Each new instance continues the row that became free first.
fn successions(lane: &HostTimeline) -> Vec<Vec<(SlotNumber, &InstanceSpan)>> {
    let mut bars: Vec<_> = lane
        .instances
        .iter()
        .flat_map(|(number, bars)| bars.iter().map(|bar| (*number, bar)))
        .collect();
    bars.sort_by_key(|(_, bar)| (bar.is_new, bar.phases.first().map(|(at, _)| *at)));
    let count = |keep: fn(&InstanceSpan) -> bool| bars.iter().filter(|(_, bar)| keep(bar)).count();
    let rows_min = count(|bar| !bar.is_new)
        .max(count(|bar| !bar.is_gone))
        .max(1);
    let mut rows: Vec<Vec<(SlotNumber, &InstanceSpan)>> = vec![Vec::new(); rows_min];
    for (number, bar) in bars {
        let until =
            |row: &&mut Vec<(SlotNumber, &InstanceSpan)>| row.last().map(|(_, last)| last.until);
        if let Some(row) = rows.iter_mut().min_by_key(until) {
            row.push((number, bar));
        }
    }
    rows
}

/// The class of a state, and its height, at least 1.
fn phase_shape(phase: InstancePhase, full: u32) -> (&'static str, u32) {
    let (class, height) = match phase {
        InstancePhase::Starting => ("starting", full / 2),
        InstancePhase::Ready => ("ready", full),
        InstancePhase::NotReady => ("unready", full),
        InstancePhase::Drained => ("drained", full / 2),
        InstancePhase::Stopping => ("stopping", full / 4),
    };
    (class, height.max(1))
}
