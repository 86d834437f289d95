//! The time axis of the page: where moments are, in percent of the width, so that a page of any
//! width can show them.

use std::time::Duration;

use serde::Serialize;

use crate::core::time::{Human, Time};

/// So near the edge a word would be cut off.
const EDGE_PERCENT: f64 = 8.0;

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

    /// How wide a part is, for a shape.
    pub(super) fn width(self, from: Time, to: Time) -> String {
        percent((self.at(to) - self.at(from)).max(0.0))
    }

    /// The moments that divide it into a few parts.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let tick =
            |tick: Duration| Tick::at(self.begin + tick, self, Human(tick).to_string(), "tick");
        divisions(self.whole()).into_iter().map(tick).collect()
    }
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
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

/// The ends of the parts, as long as people divide a time into.
fn divisions(whole: Duration) -> Vec<Duration> {
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
    let fits = |step: &&u64| whole.as_millis() / u128::from(**step) <= PARTS_MAX;
    let Some(step) = STEPS_MS.iter().find(fits) else {
        return Vec::new();
    };
    let step = Duration::from_millis(*step);
    std::iter::successors(Some(step), |tick| Some(*tick + step))
        .take_while(|tick| *tick < whole)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_divided_as_people_do() {
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
