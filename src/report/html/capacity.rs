//! How many instances served, from moment to moment.

use crate::core::rollout::event::{Entry, Event, Progress, Then};
use crate::core::time::Time;

/// More steps than this are not told apart by eye.
const STEPS_MAX: u64 = 300;

/// The counts from one moment to the next step's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CapacityStep {
    pub(super) from: Time,
    pub(super) available: u32,
    /// Of these, of the version to come.
    pub(super) new: u32,
    /// Of any version, available or not.
    pub(super) total: u32,
}

/// The steps of a rollout that began and ended so. Where there are very many, the fewest of a
/// moment stand for it: what is kept to is kept to by these.
pub(super) fn steps(journal: &[Entry], end: Time) -> Vec<CapacityStep> {
    let begin = journal.first().map_or(end, |entry| entry.at);
    let mut steps: Vec<CapacityStep> = Vec::new();
    let mut is_back = false;
    for entry in journal {
        let Progress {
            available,
            updated_available,
            total,
            ..
        } = match &entry.event {
            Event::Progress(progress) => *progress,
            Event::RolloutFailed {
                then: Then::RollBack,
                ..
            }
            | Event::Aborted { .. } => {
                is_back = true;
                continue;
            }
            _ => continue,
        };
        // On the way back those are counted as updated that run what ran before.
        let updated = updated_available.min(available);
        let new = if is_back {
            available - updated
        } else {
            updated
        };
        let step = CapacityStep {
            from: entry.at,
            available,
            new,
            total,
        };
        // What is seen first has been so from the beginning.
        let step = if steps.is_empty() {
            CapacityStep {
                from: begin,
                ..step
            }
        } else {
            step
        };
        match steps.last_mut() {
            Some(last) if last.from == step.from => *last = step,
            Some(last)
                if (last.available, last.new, last.total)
                    == (step.available, step.new, step.total) => {}
            _ => steps.push(step),
        }
    }
    thinned(steps, begin, end)
}

fn thinned(steps: Vec<CapacityStep>, begin: Time, end: Time) -> Vec<CapacityStep> {
    let whole_ms = end.0.saturating_sub(begin.0);
    if u64::try_from(steps.len()).unwrap_or(u64::MAX) <= STEPS_MAX || whole_ms == 0 {
        return steps;
    }
    let moment = |step: &CapacityStep| {
        step.from
            .0
            .saturating_sub(begin.0)
            .saturating_mul(STEPS_MAX)
            / whole_ms
    };
    steps
        .chunk_by(|one, next| moment(one) == moment(next))
        .filter_map(|same| {
            let fewest = same.iter().min_by_key(|step| step.available)?;
            Some(CapacityStep {
                from: same.first()?.from,
                ..*fewest
            })
        })
        .collect()
}

/// The fewest that served at any moment.
pub(super) fn fewest(steps: &[CapacityStep]) -> Option<u32> {
    steps.iter().map(|step| step.available).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{Play, START};

    #[test]
    fn the_articles_rollout_always_has_three_that_serve() {
        let journal: Vec<_> = Play::article()
            .entries
            .into_iter()
            .map(|(entry, _)| entry)
            .collect();
        let end = journal.last().unwrap().at;
        let steps = steps(&journal, end);
        assert_eq!(steps.first().map(|step| step.from), Some(START));
        assert_eq!(fewest(&steps), Some(3));
        let last = steps.last().unwrap();
        assert_eq!((last.available, last.new, last.total), (3, 3, 3));
    }

    #[test]
    fn of_very_many_steps_the_fewest_are_kept() {
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
        let steps = steps(&journal, Time(10_000));
        assert!(steps.len() <= 301, "{}", steps.len());
        assert_eq!(fewest(&steps), Some(1));
    }
}
