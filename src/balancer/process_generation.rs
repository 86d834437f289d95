//! Which process of a balancer responds, and when it replaced another one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The process that responded last.
#[derive(Debug, Default)]
pub(super) struct ProcessGeneration(Mutex<Option<RespondingProcess>>);

#[derive(Debug)]
struct RespondingProcess {
    generation: String,
    /// When this process was first observed in place of another one.
    took_over_at: Option<Instant>,
}

impl ProcessGeneration {
    /// Records the process that has responded.
    pub(super) fn record(&self, generation: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_none_or(|known| known.generation != generation)
        {
            let took_over_at = last.is_some().then(Instant::now);
            *last = Some(RespondingProcess {
                generation: generation.to_owned(),
                took_over_at,
            });
        }
    }

    /// Discards the process: after an outage, the next process does not succeed a running one.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long ago this process replaced another one; `None` if ship has not observed that. The
    /// process counts only its own requests.
    pub(super) fn time_since_takeover(&self) -> Option<Duration> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.as_ref()?.took_over_at?.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_has_taken_over_only_if_it_replaced_another() {
        let process = ProcessGeneration::default();
        process.record("1");
        process.record("1");
        assert_eq!(process.time_since_takeover(), None);
        process.record("2");
        assert!(process.time_since_takeover().is_some());
        process.clear();
        process.record("3");
        assert_eq!(
            process.time_since_takeover(),
            None,
            "its predecessor had ended"
        );
    }
}
