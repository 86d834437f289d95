//! Waiting for somebody else, within a bound.

use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub struct Deadline {
    began: Instant,
    wait: Duration,
    looks: u32,
}

impl Deadline {
    /// Begins to wait, for so long at most.
    pub fn new(wait: Duration) -> Self {
        Self {
            began: Instant::now(),
            wait,
            looks: 0,
        }
    }

    /// Whether there is time left.
    pub fn is_left(&self) -> bool {
        self.began.elapsed() < self.wait
    }

    /// Whether nothing was waited for yet.
    pub fn is_new(&self) -> bool {
        self.looks == 0
    }

    /// Waits until it is worth looking again.
    pub async fn pause(&mut self) {
        self.looks += 1;
        tokio::time::sleep(LOOK_EVERY.min(self.wait.saturating_sub(self.began.elapsed()))).await;
    }
}
