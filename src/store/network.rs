//! Runs the requests to a database on a thread of their own.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// A thread for the requests to a database and for its background tasks. The caller waits, on any
/// thread, also on one that runs asynchronous tasks.
#[derive(Debug)]
pub(super) struct NetworkThread {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// A request was not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeadlinePassed;

impl NetworkThread {
    /// # Errors
    /// If the system permits no thread.
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("ship-store");
        let runtime = builder.enable_all().build()?;
        let runtime = Some(runtime);
        Ok(Self { runtime })
    }

    /// Runs a request and waits for its result. The request is cancelled after `deadline`.
    pub(super) fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, DeadlinePassed> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move {
            let result = tokio::time::timeout(deadline, request).await;
            // The receiver waits.
            drop(sender.send(result.map_err(|_| DeadlinePassed)));
        });
        // The sender is dropped without a result only if the request panicked.
        receiver.recv().unwrap_or(Err(DeadlinePassed))
    }

    /// Starts a background task, which ends when this value is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }
}

impl Drop for NetworkThread {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which asynchronous tasks may not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_runs_while_an_asynchronous_task_waits() {
        let network = NetworkThread::start().unwrap();
        let deadline = Duration::from_mins(1);
        assert_eq!(network.run(deadline, async { 7 }), Ok(7));
        let never = std::future::pending::<()>();
        assert_eq!(
            network.run(Duration::from_millis(1), never),
            Err(DeadlinePassed)
        );
    }
}
