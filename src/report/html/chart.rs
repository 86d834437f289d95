//! The chart of the capacity: steps as shapes, with heights in pixels.

use serde::Serialize;

use super::capacity::fewest;
use super::time_axis::{Span, Tick};
use crate::core::journal::capacity_timeline::CapacityStep;
use crate::core::spec::budget::Budget;
use crate::core::time::Time;

const CHART_PX: u32 = 150;
/// The room above the highest count.
const HEAD_PX: u32 = 12;
/// The distance between the names of two lines.
const NAME_PX: f64 = 16.0;

/// The capacity over time.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    height: u32,
    /// New available instances, and old ones above them.
    areas: Vec<Area>,
    /// The instances that run, available or not, as a step line.
    running: Vec<Segment>,
    /// The instances that are available, as a step line.
    available: Vec<Segment>,
    /// The minimum of available instances.
    floor: Option<Level>,
    zero: u32,
    top: Level,
    ticks: Vec<Tick>,
    /// The classes of the areas that occur, for the legend.
    classes: Vec<&'static str>,
    /// The names of the lines at their ends.
    names: Vec<LineName>,
    words: String,
    /// The fewest available instances, in short.
    pub(super) fewest: String,
}

#[derive(Debug, Serialize)]
struct Area {
    class: &'static str,
    x: String,
    width: String,
    y: String,
    height: String,
}

/// A horizontal or vertical part of a step line.
#[derive(Debug, Serialize)]
struct Segment {
    x1: String,
    x2: String,
    y1: String,
    y2: String,
}

#[derive(Debug, Serialize)]
struct Level {
    y: String,
    count: u32,
}

#[derive(Debug, Serialize)]
struct LineName {
    class: &'static str,
    y: String,
    text: String,
}

/// Draws the steps; `None` if the journal has no counts.
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
    let floor = budget.map(|budget| budget.min_available());
    let ends = steps.iter().skip(1).map(|step| step.from).chain([span.end]);
    let mut areas = Vec::new();
    for (step, to) in steps.iter().zip(ends) {
        areas.extend(scale.areas(step, to, span));
    }
    Some(Chart {
        height: CHART_PX,
        classes: ["new", "old"]
            .into_iter()
            .filter(|class| areas.iter().any(|area: &Area| area.class == *class))
            .collect(),
        areas,
        running: scale.step_line(steps, span, |step| step.total),
        available: scale.step_line(steps, span, |step| step.available),
        floor: floor.map(level),
        zero: CHART_PX,
        top: level(most),
        ticks: span.ticks(),
        names: scale.names(steps.last()?, floor),
        words: words(steps, least, desired, floor),
        fewest: fewest_in_short(steps, least, desired, floor),
    })
}

/// The chart in words.
fn words(steps: &[CapacityStep], least: u32, desired: u32, floor: Option<u32>) -> String {
    let least = format!("At least {least} of {desired} instances were available");
    let at_start = steps.first().map_or(0, |step| step.available);
    let at_end = steps.last().map_or(0, |step| step.available);
    match floor {
        // The minimum does not apply to a fleet that starts below it, as in a first deploy.
        Some(floor) if at_start < floor => {
            format!(
                "{at_start} of {desired} instances were available at the start, {at_end} at the end"
            )
        }
        Some(floor) => format!("{least}; the minimum was {floor}"),
        None => format!("{least}; the minimum is not on record"),
    }
}

/// The fewest available instances, for a table.
fn fewest_in_short(steps: &[CapacityStep], least: u32, desired: u32, floor: Option<u32>) -> String {
    let at_start = steps.first().map_or(0, |step| step.available);
    let at_end = steps.last().map_or(0, |step| step.available);
    // As in `words`.
    match floor {
        Some(floor) if at_start < floor => format!("{at_end} of {desired} at the end"),
        _ => format!("at least {least} of {desired}"),
    }
}

/// Converts counts to heights; `most` is the highest count.
#[derive(Clone, Copy)]
struct ChartScale {
    most: u32,
}

impl ChartScale {
    fn y(self, count: u32) -> f64 {
        let unit = f64::from(CHART_PX - HEAD_PX) / f64::from(self.most);
        f64::from(CHART_PX) - f64::from(count) * unit
    }

    /// One count of each step, as horizontal lines that vertical lines connect.
    fn step_line(
        self,
        steps: &[CapacityStep],
        span: Span,
        count: impl Fn(&CapacityStep) -> u32,
    ) -> Vec<Segment> {
        let mut line = Vec::new();
        let mut last = None;
        let ends = steps.iter().skip(1).map(|step| step.from).chain([span.end]);
        for (step, to) in steps.iter().zip(ends) {
            let (x, y) = (span.x(step.from), px(self.y(count(step))));
            if let Some(last) = last.replace(y.clone())
                && last != y
            {
                line.push(Segment {
                    x1: x.clone(),
                    x2: x.clone(),
                    y1: last,
                    y2: y.clone(),
                });
            }
            line.push(Segment {
                x1: x,
                x2: span.x(to),
                y1: y.clone(),
                y2: y,
            });
        }
        line
    }

    /// The names of the lines at their last heights, with room between them.
    fn names(self, last: &CapacityStep, floor: Option<u32>) -> Vec<LineName> {
        let mut names = vec![
            ("running", last.total, format!("{} running", last.total)),
            (
                "available",
                last.available,
                format!("{} available", last.available),
            ),
        ];
        names.extend(floor.map(|floor| ("floor", floor, format!("{floor} minimum"))));
        let room =
            f64::from(CHART_PX) - NAME_PX * f64::from(u32::try_from(names.len()).unwrap_or(0));
        let mut free = 0.0_f64;
        let mut below = room.max(0.0);
        names
            .into_iter()
            .map(|(class, count, text)| {
                below += NAME_PX;
                let y = self.y(count).max(free).min(below);
                free = y + NAME_PX;
                LineName {
                    class,
                    y: px(y),
                    text,
                }
            })
            .collect()
    }

    /// The new instances of a step, and the old ones above them.
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
