//! Waits for another process, up to a deadline.

use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub struct Deadline {
    began: Instant,
    wait: Duration,
    polls: u32,
}

impl Deadline {
    /// A deadline `wait` from now.
    pub fn after(wait: Duration) -> Self {
        Self {
            began: Instant::now(),
            wait,
            polls: 0,
        }
    }

    pub fn has_passed(&self) -> bool {
        self.began.elapsed() >= self.wait
    }

    /// Whether [`Deadline::sleep`] has not been called yet.
    pub fn is_first_poll(&self) -> bool {
        self.polls == 0
    }

    /// Sleeps until the next poll, but not beyond the deadline.
    pub async fn sleep(&mut self) {
        self.polls += 1;
        tokio::time::sleep(POLL_INTERVAL.min(self.wait.saturating_sub(self.began.elapsed()))).await;
    }
}
