//! The time axis of the page: positions in percent, for any width.

use std::time::Duration;

use serde::Serialize;

use crate::core::time::{Human, Time};

/// A label that is centred closer than this to the edge would not fit.
const EDGE_PERCENT: f64 = 8.0;

/// The time that the axis shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: Time,
    pub(super) end: Time,
}

impl Span {
    fn duration(self) -> Duration {
        self.end.since(self.begin)
    }

    /// The position of a time in percent.
    fn at(self, moment: Time) -> f64 {
        let duration = self.duration().as_secs_f64();
        if duration == 0.0 {
            0.0
        } else {
            (moment.since(self.begin).as_secs_f64() / duration * 100.0).min(100.0)
        }
    }

    /// The position as an attribute: `12.345%`.
    pub(super) fn x(self, moment: Time) -> String {
        percent(self.at(moment))
    }

    /// The width of a part as an attribute.
    pub(super) fn width(self, from: Time, to: Time) -> String {
        percent((self.at(to) - self.at(from)).max(0.0))
    }

    /// The CSS position of an element that spans two times.
    pub(super) fn position(self, from: Time, to: Time) -> String {
        format!("left:{};width:{}", self.x(from), self.width(from, to))
    }

    /// The CSS position of an element beside a time, on the side with more room.
    pub(super) fn beside(self, moment: Time) -> String {
        let share = self.at(moment);
        if share < 50.0 {
            format!("left:{};right:0", percent(share))
        } else {
            format!(
                "left:0;right:{};justify-content:flex-end",
                percent(100.0 - share)
            )
        }
    }

    /// A few round times.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let tick =
            |tick: Duration| Tick::at(self.begin + tick, self, Human(tick).to_string(), "tick");
        divisions(self.duration()).into_iter().map(tick).collect()
    }
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
}

/// A time with a label.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) label: String,
    pub(super) class: &'static str,
    /// Where the label has room: `before`, `after` or `around` the position.
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

/// A time during which the rollout waited.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Band {
    pub(super) x: String,
    pub(super) width: String,
    /// `soak` or `wait`.
    pub(super) class: &'static str,
    pub(super) label: String,
}

impl Band {
    pub(super) fn between(
        from: Time,
        to: Time,
        span: Span,
        class: &'static str,
        label: &str,
    ) -> Self {
        Self {
            x: span.x(from),
            width: span.width(from, to),
            class,
            label: format!("{label} {}", Human(to.since(from))),
        }
    }
}

/// Multiples of a round duration, at most five.
fn divisions(duration: Duration) -> Vec<Duration> {
    const PARTS_MAX: u128 = 5;
    const STEPS_MS: [u64; 22] = [
        100,
        200,
        500,
        1000,
        2000,
        5000,
        10_000,
        15_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        900_000,
        1_800_000,
        3_600_000,
        7_200_000,
        21_600_000,
        43_200_000,
        86_400_000,
        172_800_000,
        604_800_000,
    ];
    let fits = |step: &&u64| duration.as_millis() / u128::from(**step) <= PARTS_MAX;
    let Some(step) = STEPS_MS.iter().find(fits) else {
        return Vec::new();
    };
    let step = Duration::from_millis(*step);
    std::iter::successors(Some(step), |tick| Some(*tick + step))
        .take_while(|tick| *tick < duration)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_has_at_most_five_round_divisions() {
        let of = |s: u64| {
            divisions(Duration::from_secs(s))
                .iter()
                .map(Duration::as_secs)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(5), [1, 2, 3, 4]);
        assert_eq!(of(31), [10, 20, 30]);
        assert_eq!(of(750), [300, 600]);
        assert_eq!(divisions(Duration::ZERO), Vec::<Duration>::new());
    }
}
