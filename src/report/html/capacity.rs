//! The steps of a rollout's capacity, reduced to what a reader can see.

use super::time_axis::Span;
use crate::core::journal::capacity_timeline::CapacityStep;

/// The most steps that a reader can distinguish in the chart.
const STEPS_MAX: u64 = 300;

/// At most [`STEPS_MAX`] steps. If several steps fall into one interval, keeps the one with the
/// fewest available instances, because the reader compares it with the minimum.
pub(super) fn visible(steps: Vec<CapacityStep>, span: Span) -> Vec<CapacityStep> {
    let begin_ms = span.begin.0;
    let duration_ms = span.end.0.saturating_sub(begin_ms);
    if u64::try_from(steps.len()).unwrap_or(u64::MAX) <= STEPS_MAX || duration_ms == 0 {
        return steps;
    }
    let interval = |step: &CapacityStep| {
        step.from
            .0
            .saturating_sub(begin_ms)
            .saturating_mul(STEPS_MAX)
            / duration_ms
    };
    steps
        .chunk_by(|one, next| interval(one) == interval(next))
        .filter_map(|same| {
            let fewest = same.iter().min_by_key(|step| step.available)?;
            Some(CapacityStep {
                from: same.first()?.from,
                ..*fewest
            })
        })
        .collect()
}

/// The lowest number of available instances.
pub(super) fn fewest(steps: &[CapacityStep]) -> Option<u32> {
    steps.iter().map(|step| step.available).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::capacity_timeline::CapacityTimeline;
    use crate::core::rollout::event::{Entry, Event, Progress};
    use crate::core::time::Time;

    #[test]
    fn many_steps_are_reduced_to_the_fewest_available() {
        let progress = |n: u64| {
            let available = if n == 5000 {
                1
            } else {
                100 + u32::try_from(n % 2).unwrap()
            };
            Event::Progress(Progress {
                available,
                total: available,
                ..Progress::default()
            })
        };
        let journal: Vec<_> = (0..10_000)
            .map(|n| Entry {
                at: Time(n),
                event: progress(n),
            })
            .collect();
        let span = Span {
            begin: Time(0),
            end: Time(10_000),
        };
        let steps = visible(CapacityTimeline::of(&journal).steps, span);
        assert!(steps.len() <= 301, "{}", steps.len());
        assert_eq!(fewest(&steps), Some(1));
    }
}
