//! Which process of a balancer answers, and when it took the place of another.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::core::ids::HostId;
use crate::engine::hosts::Hosts;

/// The process that answered last.
#[derive(Debug, Default)]
pub(in crate::engine) struct Succession(Mutex<Option<Process>>);

#[derive(Debug)]
struct Process {
    generation: String,
    /// When it was first seen in the place of another.
    took_over: Option<Instant>,
}

impl Succession {
    /// Takes note of the process that has answered.
    pub(super) fn note(&self, generation: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_none_or(|known| known.generation != generation)
        {
            let took_over = last.is_some().then(Instant::now);
            *last = Some(Process {
                generation: generation.to_owned(),
                took_over,
            });
        }
    }

    /// Nobody answers: whoever does next is no successor that others work beside.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long ago it took the place of another, if it did so before our eyes.
    fn took_over(&self) -> Option<Duration> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.as_ref()?.took_over?.elapsed())
    }
}

impl Hosts {
    /// How long ago a balancer's process took the place of another before our eyes, one that counts
    /// only its own requests.
    pub(in crate::engine) fn took_over(&self, balancer: &HostId) -> Option<Duration> {
        self.links.get(balancer)?.succession.took_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_in_the_place_of_another_has_taken_over() {
        let succession = Succession::default();
        succession.note("1");
        succession.note("1");
        assert_eq!(succession.took_over(), None);
        succession.note("2");
        assert!(succession.took_over().is_some());
        succession.forget();
        succession.note("3");
        assert_eq!(succession.took_over(), None, "its predecessor is gone");
    }
}
