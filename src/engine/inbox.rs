//! The background tasks of the controller, and their messages.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::clock::Clock;
use super::messages::{Arrival, Message};

/// The background tasks that the controller has started.
pub(super) struct Inbox {
    running: JoinSet<Arrival>,
    clock: Arc<dyn Clock>,
}

impl Inbox {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            running: JoinSet::new(),
            clock,
        }
    }

    /// Starts a background task, whose message arrives when it ends.
    pub(super) fn spawn(&mut self, task: impl Future<Output = Message> + Send + 'static) {
        let begun = self.clock.now();
        self.running.spawn(async move {
            Arrival {
                begun,
                message: task.await,
            }
        });
    }

    /// Waits for the next message; `None` if no task is running.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        let joined = self.running.join_next().await?;
        Some(joined.unwrap_or_else(|error| self.panicked(&error)))
    }

    /// Returns a message that has arrived, without waiting.
    pub(super) fn try_next(&mut self) -> Option<Arrival> {
        let joined = self.running.try_join_next()?;
        Some(joined.unwrap_or_else(|error| self.panicked(&error)))
    }

    /// Aborts all tasks and waits until they have ended.
    pub(super) async fn shut_down(&mut self) {
        self.running.shutdown().await;
    }

    fn panicked(&self, error: &JoinError) -> Arrival {
        tracing::error!(%error, "a background task of the controller panicked");
        Arrival {
            begun: self.clock.now(),
            message: Message::Panicked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::SteadyClock;

    #[tokio::test]
    async fn inbox_reports_a_panicked_task() {
        let mut inbox = Inbox::new(Arc::new(SteadyClock));
        assert!(inbox.next().await.is_none());
        inbox.spawn(async { panic!("a bug") });
        let message = inbox.next().await.map(|arrival| arrival.message);
        assert!(matches!(message, Some(Message::Panicked)));
    }
}
