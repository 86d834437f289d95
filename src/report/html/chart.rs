//! The chart of the serving capacity: steps as shapes, with heights in pixels.

use serde::Serialize;

use super::capacity::fewest;
use super::time_axis::{Span, Tick};
use crate::core::journal::capacity_timeline::CapacityStep;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;

const CHART_PX: u32 = 150;
/// The room above the highest count.
const HEAD_PX: u32 = 12;

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
    let scale = ChartScale { most };
    let level = |count: u32| Level {
        y: px(scale.y(count)),
        count,
    };
    let bound = budget.map(|budget| budget.min_available());
    let ends = steps.iter().skip(1).map(|step| step.from).chain([span.end]);
    let (mut areas, mut total) = (Vec::new(), Vec::new());
    for (step, to) in steps.iter().zip(ends) {
        areas.extend(scale.areas(step, to, span));
        total.push(Stroke {
            x1: span.x(step.from),
            x2: span.x(to),
            y: px(scale.y(step.total)),
        });
    }
    Some(Chart {
        height: CHART_PX,
        areas,
        total,
        bound: bound.map(level),
        wanted: level(desired),
        zero: CHART_PX,
        top: level(most),
        ticks: span.ticks(),
        words: words(steps, least, desired, bound),
    })
}

/// The chart in words.
fn words(steps: &[CapacityStep], least: u32, desired: u32, bound: Option<u32>) -> String {
    let served = format!("{least} of {desired} wanted instances served at the least");
    let began = steps.first().map_or(0, |step| step.available);
    let ended = steps.last().map_or(0, |step| step.available);
    match bound {
        // Nobody can keep what was not there, as in a first deploy.
        Some(bound) if began < bound => {
            format!(
                "{began} of {desired} wanted instances served when it began, {ended} when it ended"
            )
        }
        Some(bound) => format!("{served}; at least {bound} were promised"),
        None => format!("{served}; what was promised is not known any more"),
    }
}

/// The heights of counts, of which the chart has to show `most`.
#[derive(Clone, Copy)]
struct ChartScale {
    most: u32,
}

impl ChartScale {
    fn y(self, count: u32) -> f64 {
        let unit = f64::from(CHART_PX - HEAD_PX) / f64::from(self.most);
        f64::from(CHART_PX) - f64::from(count) * unit
    }

    /// The new instances of a step, and the old ones above them, as far as there are any.
    fn areas(self, step: &CapacityStep, to: Time, span: Span) -> impl Iterator<Item = Area> {
        let area = |class, from: u32, upto: u32| Area {
            class,
            x: span.x(step.from),
            width: span.width(step.from, to),
            y: px(self.y(upto)),
            height: px(self.y(from) - self.y(upto)),
        };
        let parts = [
            area("new", 0, step.new),
            area("old", step.new, step.available),
        ];
        parts.into_iter().filter(|part| part.height != "0.00")
    }
}

fn px(value: f64) -> String {
    format!("{value:.2}")
}
