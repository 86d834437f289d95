//! The timeline of a deployment: a lane for each service, with its rollouts as bars.

use super::lane_chart::{Label, Lane, LaneChart, Shape, Timeline, Track, VersionLegend};
use super::page_input::RolloutInput;
use super::section::ReplayedRollout;
use super::time_axis::Span;
use crate::core::rollout::event::{Entry, Event, FailureResponse};
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;
use crate::report::clock::LocalClock;

const ROW_PX: u32 = 20;
const BAR_PX: u32 = 17;

/// The meaning of the bars, in the order of the legend.
const LEGEND: [(&str, &str, &str); 3] = [
    ("new", "rolls out", "to the new revision"),
    ("old", "rolls back", "to the earlier revision"),
    ("contract", "contract migrations", "after all services"),
];

/// A service of the overview.
pub(super) struct OverviewService<'a> {
    pub(super) service: &'a str,
    pub(super) rollouts: Vec<(&'a RolloutInput<'a>, &'a ReplayedRollout)>,
}

/// Draws the rollouts of a deployment that was started with `verb`.
pub(super) fn overview(
    services: &[OverviewService<'_>],
    verb: Verb,
    span: Span,
    clock: &LocalClock,
) -> Timeline {
    let tracks: Vec<_> = services
        .iter()
        .map(|service| Track {
            name: service.service.to_owned(),
            height: ROW_PX,
            lanes: vec![lane(service, verb, span, clock)],
        })
        .collect();
    let shapes = tracks.iter().flat_map(|track| &track.lanes);
    let shapes: Vec<_> = shapes.flat_map(|lane| &lane.shapes).collect();
    let occurs = |class: &str| {
        let mut classes = shapes.iter().map(|shape| shape.class.as_str());
        classes.any(|it| it.split(' ').any(|word| word == class))
    };
    let versions = LEGEND.into_iter().filter(|(class, ..)| occurs(class));
    Timeline {
        ticks: span.ticks(),
        marks: Vec::new(),
        bands: Vec::new(),
        versions: versions
            .map(|(class, name, meaning)| VersionLegend {
                class,
                name: name.to_owned(),
                meaning,
            })
            .collect(),
        classes: ["fail"].into_iter().filter(|it| occurs(it)).collect(),
        boards: vec![LaneChart {
            label: String::new(),
            class: "",
            is_folded: false,
            tracks,
        }],
    }
}

/// What a rollout does for its deployment: `deploy of 2`.
pub(super) fn action(rollout: &ReplayedRollout) -> String {
    let start = &rollout.view.start;
    match start.verb {
        Verb::Migrate => "contract migrations".to_owned(),
        Verb::Rollback => format!("rollback to {}", start.target.version),
        verb => format!("{} of {}", verb.noun(), start.target.version),
    }
}

fn lane(service: &OverviewService<'_>, verb: Verb, span: Span, clock: &LocalClock) -> Lane {
    let (mut shapes, mut labels, mut words) = (Vec::new(), Vec::new(), Vec::new());
    let followers = service.rollouts.iter().skip(1);
    let followers = followers.map(|(_, next)| next.view.began).chain([span.end]);
    for ((input, rollout), next) in service.rollouts.iter().zip(followers) {
        let (began, end) = (rollout.view.began, rollout.view.ended.unwrap_or(next));
        for bar in bars(input.journal, rollout, verb, (began, end)) {
            shapes.push(Shape {
                class: format!("bar {}", bar.class),
                x: span.x(bar.from),
                width: span.width(bar.from, bar.to),
                y: 1,
                height: BAR_PX,
                sign: "",
            });
            labels.push(Label {
                class: format!("label {}", bar.class),
                position: span.position(bar.from, bar.to),
                y: 1,
                parts: vec![bar.text],
            });
        }
        shapes.extend(failure_of(input.journal).map(|at| Shape {
            class: "fail".to_owned(),
            x: span.x(at),
            width: "0%".to_owned(),
            y: 0,
            height: ROW_PX,
            sign: "✗",
        }));
        words.push(format!(
            "{} from {} to {}",
            action(rollout),
            clock.time_of_day(began),
            clock.time_of_day(end)
        ));
    }
    if words.is_empty() {
        words.push("not begun".to_owned());
    }
    Lane {
        shapes,
        labels,
        words: format!("{}: {}", service.service, words.join("; ")),
    }
}

struct RolloutBar {
    class: &'static str,
    from: Time,
    to: Time,
    text: String,
}

/// The bar of a rollout, or two if it rolled back.
fn bars(
    journal: &[Entry],
    rollout: &ReplayedRollout,
    verb: Verb,
    (began, end): (Time, Time),
) -> Vec<RolloutBar> {
    let start = &rollout.view.start;
    let version = &start.target.version;
    let (class, text) = match start.verb {
        Verb::Migrate => ("contract", "contract".to_owned()),
        Verb::Rollback if verb != Verb::Rollback => ("old", format!("↩ {version}")),
        _ => ("new", version.clone()),
    };
    let turn = turn_of(journal);
    let first = RolloutBar {
        class,
        from: began,
        to: turn.unwrap_or(end),
        text,
    };
    let target = start.rollback_target.as_ref();
    let back = turn.zip(target).map(|(turn, target)| RolloutBar {
        class: "old",
        from: turn,
        to: end,
        text: format!("↩ {}", target.version),
    });
    [Some(first), back].into_iter().flatten().collect()
}

/// When a rollout began to roll back.
fn turn_of(journal: &[Entry]) -> Option<Time> {
    let is_turn = |entry: &&Entry| {
        let then = FailureResponse::RollBack;
        match &entry.event {
            Event::RolloutFailed { then: response, .. } => *response == then,
            Event::Aborted { .. } => true,
            _ => false,
        }
    };
    journal.iter().find(is_turn).map(|entry| entry.at)
}

fn failure_of(journal: &[Entry]) -> Option<Time> {
    let is_failure = |entry: &&Entry| matches!(entry.event, Event::RolloutFailed { .. });
    journal.iter().find(is_failure).map(|entry| entry.at)
}
