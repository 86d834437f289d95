//! Which process of a balancer answers, and when it replaced another one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The process that answered last.
#[derive(Debug, Default)]
pub(super) struct ProcessGeneration(Mutex<Option<AnsweringProcess>>);

#[derive(Debug)]
struct AnsweringProcess {
    generation: String,
    /// When it was first observed in place of another process.
    took_over: Option<Instant>,
}

impl ProcessGeneration {
    /// Takes note of the process that has answered.
    pub(super) fn note(&self, generation: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_none_or(|known| known.generation != generation)
        {
            let took_over = last.is_some().then(Instant::now);
            *last = Some(AnsweringProcess {
                generation: generation.to_owned(),
                took_over,
            });
        }
    }

    /// Forgets the process: after an outage, the next one is not the successor of a running one.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long ago it took the place of another, one that counts only its own requests, if it did
    /// so before our eyes.
    pub(super) fn took_over(&self) -> Option<Duration> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.as_ref()?.took_over?.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_in_the_place_of_another_has_taken_over() {
        let process = ProcessGeneration::default();
        process.note("1");
        process.note("1");
        assert_eq!(process.took_over(), None);
        process.note("2");
        assert!(process.took_over().is_some());
        process.forget();
        process.note("3");
        assert_eq!(process.took_over(), None, "its predecessor is gone");
    }
}
